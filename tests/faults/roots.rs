//! Sockets and roots: a stale socket is replaced, a live one refused, two daemons live side by
//! side, SIGTERM leaves containers alone.

use std::process::Command;

use serde_json::json;
use testkit::Daemon;

use crate::{daemon, options};

#[test]
fn sigterm_ends_the_daemon_with_streams_open_and_leaves_containers() {
    let mut d = daemon();
    let id = d.run_detached("stays", json!({"Cmd": ["sleep", "1000"]}));
    let init = d.init_pid(&id);
    let _follow = d
        .http
        .stream("GET", "/containers/stays/logs?stdout=1&follow=1", &[], b"");
    let _wait = d.http.stream("POST", "/containers/stays/wait", &[], b"");
    let _attach = d
        .http
        .hijack("/containers/stays/attach?stream=1&stdout=1", true);
    let start = std::time::Instant::now();
    d.stop();
    // A second on an idle machine; the tests share theirs.
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    d.restart();
    assert_eq!(d.init_pid(&id), init);
    d.finish();
}

#[test]
fn a_live_socket_is_refused_and_a_stale_one_replaced() {
    let mut d = daemon();
    let other = tempfile::tempdir().expect("a directory");
    let second = Command::new(env!("CARGO_BIN_EXE_moored"))
        .args(["serve", "--socket"])
        .arg(d.http.socket())
        .arg("--data-root")
        .arg(other.path().join("data"))
        .arg("--run-root")
        .arg(other.path().join("run"))
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("moored.sock"), "{said}");
    d.http.get("/_ping").expect(200);
    // kill -9 leaves the socket behind.
    d.kill9();
    assert!(std::fs::exists(d.http.socket()).expect("our directory"));
    d.restart();
    d.finish();
}

#[test]
fn a_second_daemon_on_the_same_roots_is_refused() {
    let d = daemon();
    let second = Command::new(env!("CARGO_BIN_EXE_moored"))
        .args(["serve", "--socket"])
        .arg(d.root().join("other.sock"))
        .arg("--data-root")
        .arg(d.root().join("data"))
        .arg("--run-root")
        .arg(d.root().join("run"))
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("data"), "{said}");
    d.http.get("/_ping").expect(200);
    d.finish();
}

#[test]
fn two_daemons_live_side_by_side() {
    let [a, b] = [options(), options()].map(Daemon::start);
    for d in [&a, &b] {
        d.run_detached("same", json!({"Cmd": ["sleep", "1000"]}));
    }
    assert_ne!(a.inspect("same")["Id"], b.inspect("same")["Id"]);
    a.http.delete("/containers/same?force=1").expect(204);
    assert_eq!(b.status("same"), "running");
    a.finish();
    b.finish();
}

#[test]
fn the_socket_is_for_root_and_its_group() {
    use std::os::unix::fs::PermissionsExt;
    let d = daemon();
    let mode = std::fs::metadata(d.http.socket())
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    d.finish();
}
