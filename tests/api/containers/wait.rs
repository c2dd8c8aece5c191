//! `POST /containers/{id}/wait`: three conditions, headers at once, always an answer.

use serde_json::json;
use testkit::Streaming;

use crate::daemon;

fn answer(mut wait: Streaming) -> String {
    String::from_utf8(wait.body.read_to_end()).expect("JSON is text")
}

#[test]
fn the_head_comes_before_the_end() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["sh", "-c", "exit 7"]}));
    let mut wait = d
        .http
        .stream("POST", "/containers/it/wait?condition=next-exit", &[], b"");
    assert_eq!(wait.status, 200);
    assert_eq!(wait.header("Content-Type"), Some("application/json"));
    assert_eq!(wait.header("Transfer-Encoding"), Some("chunked"));
    assert!(wait.body.is_waiting());
    d.start_container("it");
    assert_eq!(answer(wait), "{\"StatusCode\":7}\n");
    d.finish();
}

#[test]
fn not_running_answers_at_once_for_what_does_not_run() {
    let d = daemon();
    d.create("made", json!({"Cmd": ["true"]}));
    assert_eq!(d.wait("made"), 0);
    d.run("done", json!({"Cmd": ["sh", "-c", "exit 3"]}));
    assert_eq!(d.wait("done"), 3);
    d.finish();
}

#[test]
fn next_exit_waits_for_another_one() {
    let d = daemon();
    let script = "test -e /once && exit 4; touch /once; exit 3";
    d.run("twice", json!({"Cmd": ["sh", "-c", script]}));
    let mut wait = d.http.stream(
        "POST",
        "/containers/twice/wait?condition=next-exit",
        &[],
        b"",
    );
    assert!(wait.body.is_waiting());
    d.start_container("twice");
    assert_eq!(answer(wait), "{\"StatusCode\":4}\n");
    d.finish();
}

#[test]
fn removed_answers_with_the_code_when_the_container_is_gone() {
    let d = daemon();
    d.run_detached("held", json!({"Cmd": ["sleep", "1000"]}));
    let wait = d
        .http
        .stream("POST", "/containers/held/wait?condition=removed", &[], b"");
    d.http.delete("/containers/held?force=1").expect(204);
    assert_eq!(answer(wait), "{\"StatusCode\":137}\n");
    d.finish();
}

#[test]
fn a_hundred_waiters_get_the_same_answer() {
    let d = daemon();
    let id = d.run_detached("popular", json!({"Cmd": ["sleep", "1000"]}));
    let waits: Vec<_> = (0..100)
        .map(|_| {
            d.http
                .stream("POST", &format!("/containers/{id}/wait"), &[], b"")
        })
        .collect();
    d.http.post("/containers/popular/kill").expect(204);
    for wait in waits {
        assert_eq!(answer(wait), "{\"StatusCode\":137}\n");
    }
    d.finish();
}
