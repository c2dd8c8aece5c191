//! Sessions that do not hear SIGTERM.

use serde_json::json;

use super::{attached, create, host};
use crate::daemon;

/// A grace of nothing, and a removal by force, end what is deaf at once.
#[test]
fn a_deaf_session_is_ended_at_once_where_that_is_asked() {
    let d = daemon();
    host(&d);
    let deaf = || {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let id = create(&d, attached(&["sh", "-c", script]));
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({}), true);
        stream.read_until("ready");
        id
    };
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
