//! `stats`: for one and for many, over a container's whole life.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Body, Daemon, Streaming, census, until};

use crate::daemon;

/// A stream of records.
struct Records {
    body: Body,
    left: Vec<u8>,
}

impl Records {
    fn of(d: &Daemon, name: &str) -> Self {
        let path = format!("/containers/{name}/stats");
        let Streaming { status, body, .. } = d.http.stream("GET", &path, &[], &[]);
        assert_eq!(status, 200);
        Self {
            body,
            left: Vec::new(),
        }
    }

    /// The next one; `None` at the end of the stream.
    fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.left.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.left.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a record is JSON"));
            }
            self.left.extend(self.body.piece()?);
        }
    }

    /// The next one that is as wanted.
    fn next_that(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        for _ in 0..30 {
            let record = self.next().expect("the stream goes on");
            if wanted(&record) {
                return record;
            }
        }
        panic!("not among 30 records: {what}");
    }
}

pub(super) fn one_shot(d: &Daemon, name: &str) -> Value {
    let path = format!("/containers/{name}/stats?stream=0&one-shot=1");
    d.http.get(&path).expect(200).json()
}

fn is_running(record: &Value) -> bool {
    record["read"] != "0001-01-01T00:00:00Z"
}

pub(super) fn total(record: &Value) -> u64 {
    record["cpu_stats"]["cpu_usage"]["total_usage"]
        .as_u64()
        .expect("a number")
}

#[test]
fn a_second_record_has_the_first_in_it() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let mut records = Records::of(&d, "it");
    let first = records.next().expect("a record");
    assert_eq!(first["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(first["precpu_stats"].get("system_cpu_usage"), None);
    let mut last = first;
    for _ in 0..2 {
        let next = records.next().expect("a record");
        assert_eq!(next["preread"], last["read"]);
        assert_eq!(next["precpu_stats"], last["cpu_stats"]);
        assert!(total(&next) > total(&last));
        last = next;
    }
    // Without a stream, one that has the second before in it; versions before 1.41 know no other.
    for path in [
        "/v1.47/containers/it/stats?stream=false",
        "/v1.40/containers/it/stats?stream=0&one-shot=1",
    ] {
        let one = d.http.get(path).expect(200);
        assert_eq!(one.header("Content-Type"), Some("application/json"));
        let one = one.json();
        assert_ne!(one["preread"], "0001-01-01T00:00:00Z", "{path}");
        let before = &one["precpu_stats"]["cpu_usage"]["total_usage"];
        assert!(total(&one) > before.as_u64().expect("a number"));
    }
    d.finish();
}

#[test]
fn twenty_streams_of_one_container_tell_the_same() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let mut streams: Vec<Records> = (0..20).map(|_| Records::of(&d, "it")).collect();
    let mut by_time: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for records in &mut streams {
        for _ in 0..3 {
            let mut record = records.next().expect("a record");
            let read = record["read"].as_str().expect("a time").to_owned();
            // What came before the first differs.
            record["preread"].take();
            record["precpu_stats"].take();
            by_time.entry(read).or_default().push(record);
        }
    }
    for (read, records) in &by_time {
        assert!(records.iter().all(|r| *r == records[0]), "of {read}");
    }
    assert!(
        by_time.len() <= 5,
        "it is looked at for all at once: {:?}",
        by_time.keys()
    );
    d.finish();
}

#[test]
fn a_stream_goes_on_over_a_stop_and_a_start_until_the_removal() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let mut records = Records::of(&d, "it");
    assert!(is_running(&records.next().expect("a record")));
    d.http.post("/containers/it/kill").expect(204);
    d.wait("it");
    let stopped = records.next_that("that it has ended", |record| !is_running(record));
    assert_eq!(stopped["memory_stats"], json!({}));
    assert_eq!(stopped["pids_stats"], json!({}));
    assert_eq!(stopped["blkio_stats"]["io_serviced_recursive"], Value::Null);
    assert_eq!(
        (&stopped["name"], &stopped["id"]),
        (&json!("/it"), &json!(id))
    );
    // Without a stream, the same at once.
    let none = |record: &mut Value| {
        record["preread"].take();
        record["precpu_stats"].take();
        record.to_string()
    };
    for path in [
        "/containers/it/stats?stream=0",
        "/containers/it/stats?stream=0&one-shot=1",
    ] {
        let mut one = d.http.get(path).expect(200).json();
        assert_eq!(one["preread"], "0001-01-01T00:00:00Z");
        assert_eq!(none(&mut one), none(&mut stopped.clone()));
    }
    d.start_container("it");
    let again = records.next_that("that it runs again", is_running);
    assert_eq!(again["pids_stats"]["current"], 1);
    d.http.post("/containers/it/rename?name=other").expect(204);
    records.next_that("its new name", |record| record["name"] == "/other");
    d.http.delete("/containers/other?force=1").expect(204);
    until("the stream ends", || records.next().is_none());
    d.finish();
}

#[test]
fn a_container_that_ends_while_it_is_looked_at_is_no_error() {
    let d = daemon();
    let mut streams = Vec::new();
    for n in 0..6 {
        let name = format!("c{n}");
        d.run_detached(
            &name,
            json!({"Cmd": ["sleep", "1000"], "HostConfig": {"AutoRemove": true}}),
        );
        streams.push(Records::of(&d, &name));
    }
    let path = |n: usize| format!("/containers/c{n}/stats?stream=0&one-shot=1");
    std::thread::scope(|scope| {
        for n in 0..streams.len() {
            let d = &d;
            scope.spawn(move || {
                loop {
                    let one = d.http.get(&path(n));
                    if one.status == 404 {
                        return;
                    }
                    let one = one.expect(200).json();
                    // All of it is there, or nothing.
                    let runs = is_running(&one);
                    assert_eq!(one["memory_stats"].get("limit").is_some(), runs, "{one}");
                    assert_eq!(total(&one) > 0, runs, "{one}");
                }
            });
            d.http.post(&format!("/containers/c{n}/kill")).expect(204);
        }
    });
    for records in &mut streams {
        until("the stream ends", || records.next().is_none());
    }
    assert!(!d.log().contains("ended early"), "{}", d.log());
    d.finish();
}

#[test]
fn who_hangs_up_is_forgotten() {
    let d = daemon();
    d.run_detached("runs", json!({"Cmd": ["sleep", "1000"]}));
    d.create("never", json!({"Cmd": ["true"]}));
    let before = census::descriptors(d.pid()).len();
    let mut streams = Vec::new();
    for name in ["runs", "never"].into_iter().cycle().take(40) {
        streams.push(Records::of(&d, name));
    }
    assert!(census::descriptors(d.pid()).len() >= before + 40);
    for records in streams.iter_mut().take(20) {
        assert!(records.next().is_some());
    }
    drop(streams);
    until("nothing is held for them", || {
        census::descriptors(d.pid()).len() <= before
    });
    d.finish();
}

#[test]
fn a_daemon_that_comes_back_counts_on() {
    let mut d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let before = one_shot(&d, "it");
    let mut records = Records::of(&d, "it");
    assert!(records.next().is_some());
    d.kill9();
    d.restart();
    let after = one_shot(&d, "it");
    assert!(total(&after) > total(&before));
    assert_eq!(after["pids_stats"]["current"], 1);
    // An end in good order waits for no stream.
    let _records = Records::of(&d, "it");
    d.stop();
    d.restart();
    assert!(is_running(&one_shot(&d, "it")));
    d.finish();
}

#[test]
fn what_cannot_be_asked_is_refused_in_dockers_words() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["true"]}));
    for path in [
        "/containers/it/stats?one-shot=1",
        "/containers/it/stats?stream=1&one-shot=1",
    ] {
        d.http
            .get(path)
            .expect_error(400, "cannot have stream=true and one-shot=true");
    }
    for query in ["", "?one-shot=1", "?stream=0"] {
        d.http
            .get(&format!("/containers/none/stats{query}"))
            .expect_error(404, "No such container: none");
    }
    d.finish();
}
