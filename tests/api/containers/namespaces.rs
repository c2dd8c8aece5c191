//! Namespaces of other containers: processes and shared memory that are seen by both, and what becomes
//! of the one when the other ends.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Daemon, until};

use crate::{daemon, options};

fn joining(script: &str, of: &str) -> Value {
    let host = json!({"PidMode": format!("container:{of}"), "IpcMode": format!("container:{of}")});
    json!({"Cmd": ["sh", "-c", script], "HostConfig": host})
}

fn donor() -> Value {
    json!({"Cmd": ["sh", "-c", "echo shared > /dev/shm/it; exec sleep 1000"],
        "HostConfig": {"IpcMode": "shareable", "ShmSize": 8 << 20}})
}

fn namespace(d: &Daemon, container: &str, kind: &str) -> PathBuf {
    let path = format!("/proc/{}/ns/{kind}", d.init_pid(container));
    fs::read_link(path).expect("it runs")
}

/// Starts it and says how that was refused.
fn refused(d: &Daemon, name: &str, body: Value, status: u16) -> String {
    d.create(name, body);
    let path = format!("/containers/{name}/start");
    let said = d.http.post(&path).error(status);
    let path = format!("/containers/{name}");
    d.http.delete(&path).expect(204);
    said
}

#[test]
fn the_namespaces_of_another_are_joined_and_end_with_it() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(options().runtime(runtime));
        let donor_id = d.run_detached("donor", donor());
        until("the donor's file", || {
            let root = format!("/proc/{}/root/dev/shm/it", d.init_pid("donor"));
            fs::metadata(root).is_ok()
        });
        let script = "cat /dev/shm/it; echo back > /dev/shm/back; ps -o args; exec sleep 1000";
        d.run_detached("joins", joining(script, "donor"));
        for kind in ["pid", "ipc"] {
            let donors = namespace(&d, "donor", kind);
            assert_eq!(namespace(&d, "joins", kind), donors, "{runtime} {kind}");
        }
        assert_ne!(namespace(&d, "joins", "uts"), namespace(&d, "donor", "uts"));
        let shown = d.inspect("joins");
        let by_id = format!("container:{donor_id}");
        assert_eq!(shown["HostConfig"]["PidMode"], by_id.as_str());
        assert_eq!(shown["HostConfig"]["IpcMode"], by_id.as_str());
        until("its output", || {
            d.logs("joins").stdout.contains("sleep 1000")
        });
        let said = d.logs("joins").stdout;
        assert!(said.starts_with("shared\n"), "{said}");
        let back = format!("/proc/{}/root/dev/shm/back", d.init_pid("donor"));
        assert_eq!(fs::read_to_string(back).expect("the same memory"), "back\n");
        // A signal reaches what is not the namespace's first process, and the other is left alone.
        d.http.post("/containers/joins/restart?t=5").expect(204);
        assert_eq!(namespace(&d, "joins", "ipc"), namespace(&d, "donor", "ipc"));
        // The kernel ends a pid namespace with its first process.
        d.http.post("/containers/donor/kill").expect(204);
        d.wait_status("joins", "exited");
        assert_eq!(d.inspect("joins")["State"]["ExitCode"], 137);
        let said = d.http.post("/containers/joins/start").error(409);
        assert_eq!(said, format!("container {donor_id} is not running"));
        d.http.delete("/containers/donor").expect(204);
        let said = d.http.post("/containers/joins/start").error(400);
        assert_eq!(said, format!("No such container: {donor_id}"));
        d.http.delete("/containers/joins").expect(204);
        d.finish();
    }
}

/// The memory that is mounted for it goes with it, and not before, whatever becomes of the daemon.
#[test]
fn what_is_joined_outlives_the_daemon_and_leaves_nothing() {
    let mut d = Daemon::start(options());
    d.run_detached("donor", donor());
    d.run_detached("joins", joining("exec sleep 1000", "donor"));
    d.kill9();
    d.spawn();
    d.wait_ready();
    assert_eq!(d.status("joins"), "running");
    d.http.post("/containers/joins/stop?t=0").expect(204);
    // In the memory of another nothing is removed with one that joined.
    let kept = format!("/proc/{}/root/dev/shm/it", d.init_pid("donor"));
    assert_eq!(fs::read_to_string(&kept).expect("it is there"), "shared\n");
    d.start_container("joins");
    let init = i32::try_from(d.init_pid("donor")).expect("a pid");
    d.kill9();
    // Both end while no daemon is there.
    let init = rustix::process::Pid::from_raw(init).expect("a pid");
    rustix::process::kill_process(init, rustix::process::Signal::KILL).expect("it lives");
    d.spawn();
    d.wait_ready();
    d.wait_status("joins", "exited");
    for name in ["joins", "donor"] {
        d.http.delete(&format!("/containers/{name}")).expect(204);
    }
    d.finish();
}

#[test]
fn who_cannot_be_joined_is_told_in_dockers_words() {
    let d = daemon();
    let said = |mode: &str| {
        let body =
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {mode: "container:none"}});
        d.http.post_json("/containers/create", &body).error(400)
    };
    for mode in ["PidMode", "IpcMode"] {
        assert_eq!(said(mode), "No such container: none");
    }
    let other = d.create("other", json!({"Cmd": ["sleep", "1000"]}));
    let join = |mode: &str| json!({"Cmd": ["true"], "HostConfig": {mode: "container:other"}});
    for mode in ["PidMode", "IpcMode"] {
        let said = refused(&d, "joins", join(mode), 409);
        assert_eq!(said, format!("container {other} is not running"));
    }
    d.start_container("other");
    let said = refused(&d, "joins", join("IpcMode"), 400);
    let hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
    assert_eq!(said, format!("container {other}: {hint}"));
    let mut other_ids = join("PidMode");
    other_ids["HostConfig"]["UsernsMode"] = "0:300000:1000".into();
    other_ids["Image"] = "busybox".into();
    let said = d
        .http
        .post_json("/containers/create", &other_ids)
        .error(400);
    assert!(said.contains("other ids"), "{said}");
    d.http.delete("/containers/other?force=1").expect(204);
    d.finish();
}

#[test]
fn an_ipc_namespace_of_none_has_no_shared_memory() {
    let d = daemon();
    let body = json!({"Cmd": ["sh", "-c", "ls -d /dev/shm; ls -d /dev/mqueue"],
        "HostConfig": {"IpcMode": "none"}});
    let done = d.run("none", body);
    assert_eq!(done.output.stdout, "/dev/mqueue\n");
    assert_eq!(d.inspect("none")["HostConfig"]["IpcMode"], "none");
    d.http.delete("/containers/none").expect(204);
    d.finish();
}

/// With ids of its own a container joins one of the same, in the same user namespace.
#[test]
fn ids_of_their_own_are_shared_by_two() {
    let d = daemon();
    let ids = "0:300000:1000";
    let mut first = donor();
    first["HostConfig"]["UsernsMode"] = ids.into();
    d.run_detached("donor", first);
    let mut second = joining("exec sleep 1000", "donor");
    second["HostConfig"]["UsernsMode"] = ids.into();
    d.run_detached("joins", second);
    for kind in ["user", "pid", "ipc"] {
        assert_eq!(
            namespace(&d, "joins", kind),
            namespace(&d, "donor", kind),
            "{kind}"
        );
    }
    for name in ["joins", "donor"] {
        d.http
            .delete(&format!("/containers/{name}?force=1"))
            .expect(204);
    }
    d.finish();
}
