//! One session of the docker CLI, the same as in the machine of `make vm`: cgroup v1 here, v2 there.

use std::path::Path;

use crate::with_each_runtime;

#[test]
fn the_same_session_as_on_cgroup_v2() {
    is_green("session.sh");
}

#[test]
fn volumes_and_limits_as_on_cgroup_v2() {
    is_green("bounds.sh");
}

fn is_green(session: &str) {
    let sessions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session");
    let session = sessions.join(session);
    with_each_runtime(|d| {
        let docker = d.docker();
        // It bounds what it waits for; this is for the case that it does not.
        let mut command = docker.beside("timeout");
        command.arg("600").arg("sh").arg(&session).arg("busybox");
        let out = command.output().expect("timeout(1) of coreutils runs");
        let said = String::from_utf8_lossy(&out.stdout);
        let complaint = String::from_utf8_lossy(&out.stderr);
        eprintln!("{said}");
        assert!(out.status.success(), "{}: {complaint}", out.status);
        assert_eq!(complaint, "", "a session says what is wrong");
        assert!(said.contains("the session is green"), "{said}");
    });
}
