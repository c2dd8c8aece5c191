//! netavark and aardvark-dns fail in every way, hang, or are not there: clear words that name the program,
//! nothing half made, and everything works when they do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Daemon, until};

use super::{
    address, fetched, make_network, remove, resolved, said_inside, server, sleeper, truth,
};
use crate::options;

/// A netavark that does what a script says, with the real one as `$REAL`.
struct Fake {
    dir: tempfile::TempDir,
}

/// Where distributions put it.
fn real(name: &str) -> PathBuf {
    let dirs = ["/usr/lib/podman", "/usr/libexec/podman"];
    let found = dirs.map(|dir| Path::new(dir).join(name));
    let found = found.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: see scripts/setup.sh"))
}

impl Fake {
    fn new() -> Self {
        let fake = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        fake.behave("");
        fake
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("netavark")
    }

    /// From the next call on; `$VERB` is `setup`, `teardown` or `version`.
    fn behave(&self, script: &str) {
        let text = format!(
            "#!/bin/bash\nREAL={}\nfor VERB in \"$@\"; do case \"$VERB\" in \
             setup|teardown|version|--version) break;; esac; done\n\
             echo \"$VERB\" >>{}\n{script}\nexec $REAL \"$@\"\n",
            real("netavark").display(),
            self.dir.path().join("calls").display(),
        );
        let next = self.dir.path().join("next");
        fs::write(&next, text).expect("a file in our dir");
        fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(next, self.path()).expect("a file in our dir");
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn config(&self) -> String {
        format!("[networks]\nnetavark = {:?}\n", self.path())
    }
}

#[test]
fn every_failure_of_netavark_is_told_and_undone() {
    let fake = Fake::new();
    let d = Daemon::start(options().networks().config(&fake.config()));
    make_network(&d, "one");
    make_network(&d, "two");
    d.create("it", server("it", "one", 18080));
    for (script, words) in [
        (
            "[ $VERB != setup ] || { echo '{\"error\":\"no room\"}'; exit 1; }",
            "no room",
        ),
        (
            "[ $VERB != setup ] || { echo '{\"error\":'; exit 1; }",
            "netavark setup",
        ),
        (
            "[ $VERB != setup ] || { head -c 100000 /dev/urandom; exit 1; }",
            "netavark setup",
        ),
        ("[ $VERB != setup ] || exit 1", "without a word"),
        ("[ $VERB != setup ] || kill -9 $$", "netavark setup"),
        // All is made, and then it fails.
        (
            "[ $VERB != setup ] || { $REAL \"$@\"; exit 3; }",
            "netavark setup",
        ),
        // The half of it, as far as anybody can tell.
        (
            "[ $VERB != setup ] || { timeout -s KILL 0.03 $REAL \"$@\"; exit 3; }",
            "netavark setup",
        ),
        (
            "[ $VERB != setup ] || { timeout -s KILL 0.06 $REAL \"$@\"; exit 3; }",
            "netavark setup",
        ),
    ] {
        // The undoing may call it again: only the first call fails.
        let once = fake.dir.path().join("once");
        let _ = fs::remove_file(&once);
        let once = once.display();
        fake.behave(&format!(
            "if [ $VERB = setup ] && [ ! -e {once} ]; then touch {once}; {script}; fi"
        ));
        let said = d.http.post("/containers/it/start").error(500);
        assert!(said.contains(words), "{script}: {said}");
        assert!(
            said.starts_with("failed to set up container networking: "),
            "{said}"
        );
        assert_eq!(d.inspect("it")["State"]["Error"], said.as_str(), "{script}");
        truth::expect(&d, script);
    }
    fake.behave("");
    d.start_container("it");
    until("it serves", || fetched(&d, 18080) == "it");
    let body = json!({"Container": "it"});
    fake.behave("[ $VERB != setup ] || { echo '{\"error\":\"no room\"}'; exit 1; }");
    let said = d.http.post_json("/networks/two/connect", &body).error(500);
    assert!(said.contains("no room"), "{said}");
    fake.behave("");
    truth::expect(&d, "after a connect that failed");
    d.http.post_json("/networks/two/connect", &body).expect(200);
    fake.behave("[ $VERB != teardown ] || { echo '{\"error\":\"too much room\"}'; exit 1; }");
    let said = d
        .http
        .post_json("/networks/two/disconnect", &body)
        .error(500);
    assert!(said.contains("too much room"), "{said}");
    fake.behave("");
    d.http
        .post_json("/networks/two/disconnect", &body)
        .expect(200);
    truth::expect(&d, "after a disconnect that failed once");
    assert_eq!(fetched(&d, 18080), "it");
    d.finish();
}

/// A teardown that fails delays no exit and no removal; it is done when it can be.
#[test]
fn what_cannot_be_taken_away_is_tried_again() {
    let fake = Fake::new();
    let mut d = Daemon::start(options().networks().config(&fake.config()));
    make_network(&d, "one");
    d.run_detached("stays", sleeper("one"));
    let failures = |d: &Daemon| d.log().matches("networks were not taken away").count();
    for round in 0..3 {
        d.run_detached("it", server("it", "one", 18080));
        let first = address(&d, "it", "one");
        let before = failures(&d);
        fake.behave("[ $VERB != teardown ] || { echo '{\"error\":\"no way\"}'; exit 1; }");
        if round != 1 {
            d.http.delete("/containers/it?force=1").expect(204);
        } else {
            d.http.post("/containers/it/stop?t=0").expect(204);
        }
        until("it is not taken away", || failures(&d) > before);
        // Its address is nobody else's while it may still be there.
        let again = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "one"},
            "NetworkingConfig": {"EndpointsConfig": {"one": {"IPAMConfig": {"IPv4Address": first}}}}});
        d.create("again", again);
        // Who wants it is told at once.
        let start = Instant::now();
        d.http.post("/containers/again/start").error(403);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
        fake.behave("");
        if round == 0 {
            let pid = rustix::process::Pid::from_raw(d.pid().cast_signed()).expect("a pid");
            let hang_up = rustix::process::Signal::HUP;
            rustix::process::kill_process(pid, hang_up).expect("it is alive");
        } else {
            d.kill9();
            d.restart();
        }
        d.start_container("again");
        assert_eq!(address(&d, "again", "one"), first);
        truth::expect(&d, "when netavark works again");
        remove(&d, "again");
        remove(&d, "it");
    }
    d.finish();
}

/// A network that could neither be connected nor taken away again is nobody's until it is.
#[test]
fn what_a_failed_connect_has_left_stays_held() {
    let fake = Fake::new();
    let mut d = Daemon::start(options().networks().config(&fake.config()));
    for name in ["one", "two"] {
        make_network(&d, name);
    }
    let body = json!({"Container": "it"});
    for round in 0..4 {
        d.run_detached("it", server("it", "one", 18080));
        fake.behave(
            "case $VERB in setup) $REAL \"$@\" >/dev/null;; teardown) ;; *) exec $REAL \"$@\";; esac\n\
             echo '{\"error\":\"too late\"}'; exit 1",
        );
        let said = d.http.post_json("/networks/two/connect", &body).error(500);
        assert!(said.contains("too late"), "{said}");
        fake.behave("");
        d.run_detached("other", sleeper("two"));
        let other = address(&d, "other", "two");
        assert!(other.ends_with(".3"), "{other} is in use");
        remove(&d, "other");
        match round {
            0 => d.http.post_json("/networks/two/connect", &body).expect(200),
            1 => d.http.delete("/containers/it?force=1").expect(204),
            2 => d.http.post("/containers/it/restart?t=0").expect(204),
            _ => {
                d.kill9();
                d.restart();
                d.http.get("/_ping").expect(200)
            }
        };
        truth::expect(&d, &format!("at the end of round {round}"));
        remove(&d, "it");
    }
    d.finish();
}

/// Only those that need netavark wait for one that hangs, and not for longer than it takes.
#[test]
fn a_netavark_that_hangs_delays_nobody_who_does_not_need_it() {
    let fake = Fake::new();
    let d = Daemon::start(options().networks().config(&fake.config()));
    make_network(&d, "one");
    d.run_detached("stays", sleeper("one"));
    d.create("it", sleeper("one"));
    let before = fake.calls().len();
    let pidfile = fake.dir.path().join("pid");
    fake.behave(&format!(
        "[ $VERB != setup ] || {{ echo $$ >{}; exec sleep 1000; }}",
        pidfile.display()
    ));
    std::thread::scope(|scope| {
        let http = &d.http;
        let stuck = scope.spawn(move || http.post("/containers/it/start"));
        until("netavark hangs", || {
            fake.calls()[before..].iter().any(|call| call == "setup") && pidfile.exists()
        });
        fake.behave("");
        let start = Instant::now();
        assert_eq!(d.run("other", json!({"Cmd": ["true"]})).code, 0);
        for path in [
            "/_ping",
            "/containers/json?all=1",
            "/containers/it/json",
            "/networks",
        ] {
            d.http.get(path).expect(200);
        }
        make_network(&d, "two");
        d.http.delete("/networks/two").expect(204);
        d.http.post("/containers/stays/pause").expect(204);
        d.http.post("/containers/stays/unpause").expect(204);
        eprintln!("others took {:?}", start.elapsed());
        assert!(!stuck.is_finished());
        let pid = fs::read_to_string(&pidfile).expect("it was written");
        let pid = pid
            .trim()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let kill = rustix::process::Signal::KILL;
        rustix::process::kill_process(pid.expect("a pid"), kill).expect("it hangs");
        let said = stuck.join().expect("it answers").error(500);
        assert!(said.contains("netavark setup"), "{said}");
    });
    truth::expect(&d, "after a netavark that hung");
    d.start_container("it");
    truth::expect(&d, "when it works again");
    d.finish();
}

/// What is missing or too old is named, with its package; those who need no network do not notice.
#[test]
fn missing_programs_are_named_with_their_package() {
    let fake = Fake::new();
    let mut d = Daemon::start(
        options()
            .networks()
            .config("[networks]\nnetavark = \"/no/such\"\n"),
    );
    d.create("it", sleeper("bridge"));
    let said = d.http.post("/containers/it/start").error(500);
    assert!(
        said.contains("/no/such") && said.contains("apt install netavark"),
        "{said}"
    );
    assert_eq!(d.run("other", json!({"Cmd": ["true"]})).code, 0);
    truth::expect(&d, "without netavark");
    for (script, words) in [
        (
            "case $VERB in *version) echo netavark 1.0.3; exit;; esac",
            "1.0.3",
        ),
        (
            "case $VERB in *version) echo banana; exit;; esac",
            "netavark",
        ),
        ("case $VERB in *version) exit 1;; esac", "netavark"),
    ] {
        fake.behave(script);
        d.stop();
        d.reconfigure(&fake.config());
        d.restart();
        let said = d.http.post("/containers/it/start").error(500);
        eprintln!("{said}");
        assert!(said.contains(words), "{script}: {said}");
        truth::expect(&d, script);
    }
    // Another one is installed: no restart is needed.
    fake.behave("");
    d.start_container("it");
    truth::expect(&d, "with a netavark that works");
    remove(&d, "it");
    // netavark needs iptables.
    let path = tempfile::tempdir().expect("a directory");
    for name in ["runc", "conmon"] {
        let found = testkit::require(name, name);
        std::os::unix::fs::symlink(found, path.path().join(name)).expect("a link in our dir");
    }
    d.finish();
    let d = Daemon::start(options().networks().path(path.path()));
    d.create("it", sleeper("bridge"));
    let said = d.http.post("/containers/it/start").error(500);
    eprintln!("{said}");
    assert!(said.contains("install the package iptables"), "{said}");
    truth::expect(&d, "without iptables");
    d.finish();
}

/// Names are lost without aardvark-dns, and nothing else is.
#[test]
fn without_aardvark_only_names_are_missing() {
    let config = "[networks]\naardvark-dns = \"/no/such\"\n";
    let mut d = Daemon::start(options().networks().config(config));
    make_network(&d, "one");
    let id = d.run_detached("it", server("it", "one", 18080));
    until("it serves", || fetched(&d, 18080) == "it");
    assert!(d.log().contains("apt install aardvark-dns"), "{}", d.log());
    assert_eq!(resolved(&d, &id, "it"), None);
    // The outside is still known by name: it asks those that the host asks, and not where nobody listens.
    let resolver = said_inside(&d, &id, &["cat", "/etc/resolv.conf"]);
    let gateway = &d.inspect(&id)["NetworkSettings"]["Networks"]["one"]["Gateway"];
    let gateway = gateway.as_str().expect("text");
    assert!(!resolver.contains(gateway), "{gateway}: {resolver}");
    d.stop();
    d.reconfigure("");
    d.restart();
    d.http.post("/containers/it/restart?t=1").expect(204);
    until("its name is found", || {
        resolved(&d, &id, "it") == Some(address(&d, &id, "one"))
    });
    truth::expect(&d, "with aardvark-dns");
    d.finish();
}
