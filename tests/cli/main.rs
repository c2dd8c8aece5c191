//! The real docker CLI end to end: what a stranger types first, with runc and with crun. Docker's
//! exit codes and words are what is expected. Each test has a daemon of its own and ends with a
//! census.

mod codes;
mod copy;
mod events;
mod exec;
mod images;
mod many;
mod registry;
mod run;
mod session;
mod stats;
mod terminal;
mod update;
mod volumes;

use testkit::{Daemon, Options};

/// The runtimes every test of this suite is run with.
const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// A daemon with that runtime and busybox.
fn daemon(runtime: &str) -> Daemon {
    testkit::require(runtime, runtime);
    Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")).runtime(runtime))
}

/// Runs a test with each runtime, one after the other.
fn with_each_runtime(test: impl Fn(&Daemon)) {
    for runtime in RUNTIMES {
        eprintln!("with {runtime}");
        let d = daemon(runtime);
        test(&d);
        d.finish();
    }
}

#[test]
fn the_cli_speaks_with_the_daemon() {
    let d = daemon("runc");
    let docker = d.docker();
    let version = docker.run(&["version"]).expect(0);
    // For the reader of the log: which CLI this was.
    eprintln!("{}", version.stdout);
    assert!(version.stdout.contains("Server:"), "{}", version.stdout);
    assert!(version.stdout.contains("1.47"), "{}", version.stdout);
    let info = docker
        .run(&["info", "--format", "{{.DefaultRuntime}}"])
        .expect(0);
    assert_eq!(info.trimmed(), "runc");
    d.finish();
}
