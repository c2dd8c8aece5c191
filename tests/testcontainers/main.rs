//! testcontainers as tests in other languages use it: containers, ports, waiting, networks, and the reaper
//! that tidies up from a container of its own, through the daemon's socket.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::{Daemon, Image, Options, TarBuilder, clients, until};

/// What the reaper's image is called.
const REAPER: &str = "reaper-standin:1";

/// Runs `session.py` in the daemon's namespaces.
fn session(d: &Daemon, what: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testcontainers/session.py");
    let mut python = d.command_inside(clients().join("python/bin/python"));
    python
        .arg("-B")
        .arg(script)
        .arg(what)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", d.http.socket().display()),
        )
        // Nobody's settings and credentials.
        .env("HOME", d.root())
        .env("DOCKER_CONFIG", d.root())
        .env("TC_POOLING_INTERVAL", "0.1")
        .env("RYUK_CONTAINER_IMAGE", REAPER)
        .env("RYUK_RECONNECTION_TIMEOUT", "1s");
    python
}

/// The stand-in for Ryuk, which no registry in reach has.
fn reaper() -> Image {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("reaper");
    let built = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testcontainers/reaper.rs"))
        .status()
        .expect("rustc runs");
    assert!(built.success());
    let mut layer = TarBuilder::new();
    let bytes = std::fs::read(program).expect("it was built");
    layer.file("reaper", 0o755, &bytes);
    let mut image = Image::with(REAPER, &json!({"Cmd": ["/reaper"]}));
    image.layers.push(layer.finish());
    image
}

fn daemon(runtime: &str) -> Daemon {
    testkit::require(runtime, runtime);
    Daemon::start(
        Options::new(env!("CARGO_BIN_EXE_moored"))
            .runtime(runtime)
            .networks(),
    )
}

#[test]
fn a_session_of_tests_is_served() {
    for runtime in ["runc", "crun"] {
        let d = daemon(runtime);
        let mut session = session(&d, "use");
        let done = session.env("TESTCONTAINERS_RYUK_DISABLED", "true").output();
        let done = done.expect("python runs");
        let said = String::from_utf8_lossy(&done.stdout);
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {complaint}", done.status);
        assert_eq!(said, "one by one\non a network\n", "{complaint}");
        assert_eq!(d.docker().run(&["ps", "-aq"]).expect(0).stdout, "");
        d.finish();
    }
}

#[test]
fn what_a_killed_session_leaves_is_reaped_under_the_next_daemon() {
    let mut d = daemon("runc");
    d.load(&reaper());
    let mut left = session(&d, "leave")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut said = String::new();
    BufReader::new(left.stdout.take().expect("it is a pipe"))
        .read_line(&mut said)
        .expect("its output is readable");
    assert_eq!(said, "3 run\n", "two of its own, and the reaper");
    // The reaper's mount of the socket must lead to the next daemon.
    d.kill9();
    d.restart();
    drop(left.stdin.take());
    assert!(left.wait().expect("it is our child").success());
    let docker = d.docker();
    until("the reaper has removed all, and itself", || {
        docker.run(&["ps", "-aq"]).expect(0).stdout.is_empty()
    });
    let networks = docker
        .run(&["network", "ls", "--format", "{{.Name}}"])
        .expect(0);
    assert_eq!(networks.stdout, "bridge\nhost\nnone\n");
    d.finish();
}

#[test]
fn a_reaper_reaches_the_next_daemon_through_its_mount() {
    let mut d = daemon("runc");
    d.load(&reaper());
    let mount = format!("{}:/var/run/docker.sock", d.http.socket().display());
    let docker = d.docker();
    let set = "RYUK_RECONNECTION_TIMEOUT=0s";
    let run = ["run", "-d", "--rm", "--name", "reaper", "--network", "host"];
    docker
        .run(&[&run[..], &["-v", &mount, "-e", set, REAPER]].concat())
        .expect(0);
    until("it listens", || {
        let log = docker.run(&["logs", "reaper"]).expect(0);
        log.stdout.contains("Started!")
    });
    for label in ["session=one", "session=other"] {
        let run = ["run", "-d", "--network", "none", "--label", label];
        docker
            .run(&[&run[..], &["busybox", "sleep", "1000"]].concat())
            .expect(0);
    }
    let mut client = d
        .command_inside("busybox")
        .args(["nc", "127.0.0.1", "8080"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("busybox has nc");
    let mut asked = client.stdin.take().expect("it is a pipe");
    asked.write_all(b"label=session=one\n").expect("it reads");
    let mut acknowledged = String::new();
    BufReader::new(client.stdout.take().expect("it is a pipe"))
        .read_line(&mut acknowledged)
        .expect("its output is readable");
    assert_eq!(acknowledged, "ACK\n");

    d.kill9();
    d.restart();
    client.kill().expect("it is our child");
    client.wait().expect("it is our child");
    drop(asked);
    let listed = || docker.run(&["ps", "-a", "--format", "{{.Label \"session\"}}"]);
    until("what has the label is gone, and the reaper", || {
        listed().expect(0).stdout == "other\n"
    });
    d.finish();
}
