//! Sessions that do not hear SIGTERM.

use serde_json::json;
use testkit::{Daemon, until};

use super::{attached, create, host};
use crate::daemon;

/// A running session of the container `host` that is deaf.
fn deaf(d: &Daemon) -> String {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let id = create(d, attached(&["sh", "-c", script]));
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({}), true);
    stream.read_until("ready");
    id
}

/// A grace of nothing, and a removal by force, end what is deaf at once.
#[test]
fn a_deaf_session_is_ended_at_once_where_that_is_asked() {
    let d = daemon();
    host(&d);
    let deaf = || deaf(&d);
    let stopped = deaf();
    d.http
        .post(&format!("/moored/exec/{stopped}/stop?t=0"))
        .expect(204);
    let shown = d
        .http
        .get(&format!("/exec/{stopped}/json"))
        .expect(200)
        .json();
    assert_eq!(
        (&shown["Running"], &shown["ExitCode"]),
        (&json!(false), &json!(137)),
        "{shown}"
    );
    let removed = deaf();
    d.http
        .delete(&format!("/moored/exec/{removed}?force=1"))
        .expect(204);
    d.http.get(&format!("/exec/{removed}/json")).expect(404);
    d.finish();
}

/// Without a pid namespace it would outlive the container's first process.
#[test]
fn a_deaf_session_ends_with_its_container_in_the_hosts_pid_namespace() {
    let d = daemon();
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": {"PidMode": "host"}});
    d.run_detached("host", body);
    until("it is ready", || d.logs("host").stdout == "ready\n");
    let id = deaf(&d);
    d.http.post("/containers/host/stop?t=1").expect(204);
    until("the session ends", || {
        let shown = d.http.get(&format!("/exec/{id}/json"));
        shown.status == 404 || shown.json()["Running"] == false
    });
    let shown = d.http.get(&format!("/exec/{id}/json")).expect(200).json();
    assert_eq!(shown["ExitCode"], 137, "{shown}");
    d.finish();
}
