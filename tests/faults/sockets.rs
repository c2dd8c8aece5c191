//! The daemon's own sockets, mounted in a container, over the death of the daemon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use testkit::{Client, Daemon, until};

use crate::options;

/// A container that has `socket` mounted, and a client that reaches the daemon as it does: the path leads
/// through its mounts.
fn with_mounted(d: &Daemon, name: &str, socket: &Path) -> (String, Client) {
    let binds = [format!("{}:/api.sock", socket.display())];
    let id = d.run_detached(
        name,
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}}),
    );
    let inside = PathBuf::from(format!("/proc/{}/root/api.sock", d.init_pid(&id)));
    (id, Client::new(inside))
}

fn inode(path: &Path) -> u64 {
    inode_of(path).expect("it is there")
}

fn inode_of(path: &Path) -> Option<u64> {
    Some(fs::symlink_metadata(path).ok()?.ino())
}

#[test]
fn a_container_that_has_a_socket_mounted_is_answered_by_the_next_daemon() {
    for runtime in ["runc", "crun"] {
        let mut d = Daemon::start(options().runtime(runtime).docker_socket());
        let sockets = [d.http.socket().to_owned(), d.docker_socket()];
        let before = sockets.clone().map(|path| inode(&path));
        let (first, through_main) = with_mounted(&d, "first", &sockets[0]);
        let (second, through_docker) = with_mounted(&d, "second", &sockets[1]);
        let both = [&through_main, &through_docker];
        for _ in 0..2 {
            assert!(both.iter().all(|client| client.answers()));
            d.kill9();
            d.restart();
            assert!(both.iter().all(|client| client.answers()), "{}", d.log());
            assert_eq!(sockets.clone().map(|path| inode(&path)), before);
        }
        // An end in order leaves them, too.
        d.stop();
        assert_eq!(sockets.clone().map(|path| inode(&path)), before);
        d.restart();
        assert!(both.iter().all(|client| client.answers()), "{}", d.log());
        // Without those who hold them they are as before.
        for id in [first, second] {
            d.http
                .delete(&format!("/containers/{id}?force=1"))
                .expect(204);
        }
        d.expect_nothing_left();
        d.stop();
        for path in &sockets {
            assert!(!path.exists(), "{}", path.display());
        }
        d.restart();
        d.finish();
    }
}

#[test]
fn clients_of_a_socket_that_is_kept_wait_for_the_next_daemon() {
    let mut d = Daemon::start(options());
    let socket = d.http.socket().to_owned();
    let (_id, inside) = with_mounted(&d, "holder", &socket);
    d.kill9();
    let waiting = std::thread::spawn(move || inside.get("/version"));
    // Somebody waits in the queue by now, or comes later: both are answered.
    d.restart();
    waiting.join().expect("it is answered").expect(200);
    d.finish();
}

#[test]
fn a_socket_that_a_dead_daemon_has_left_with_its_containers_is_replaced_by_another() {
    let mut d = Daemon::start(options());
    let socket = d.http.socket().to_owned();
    let (_id, _inside) = with_mounted(&d, "holder", &socket);
    let before = inode(&socket);
    let other = d.root().join("other");
    let serve = |d: &Daemon| {
        let mut command = d.command_inside(env!("CARGO_BIN_EXE_moored"));
        command
            .arg("serve")
            .arg("--socket")
            .arg(&socket)
            .arg("--data-root")
            .arg(other.join("data"))
            .arg("--run-root")
            .arg(other.join("run"))
            .args(["--cgroup-parent", &d.mark()])
            .stderr(Stdio::piped());
        command
    };
    // Not while it lives.
    let refused = serve(&d).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("another process serves it"), "{said}");
    assert_eq!(inode(&socket), before);
    d.kill9();
    let second = serve(&d).stderr(Stdio::null()).spawn();
    let mut second = second.expect("it starts");
    until("the other serves", || {
        inode_of(&socket).is_some_and(|now| now != before) && d.http.answers()
    });
    second.kill().expect("it is our child");
    second.wait().expect("it is our child");
    let exits = other.join("run/exits");
    let unmounted = d.command_inside("umount").arg(exits).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    d.restart();
    d.finish();
}
