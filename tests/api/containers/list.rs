//! `GET /containers/json`: filters, limit, size, the fields clients read.

use serde_json::{Value, json};
use testkit::{BUSYBOX, Daemon, Image, query};

use crate::daemon;

/// The names listed with these filters, in order.
#[track_caller]
fn names(d: &Daemon, all: bool, filters: &Value) -> Vec<String> {
    let all = if all { "1" } else { "0" };
    let filters = filters.to_string();
    let path = query("/containers/json", &[("all", all), ("filters", &filters)]);
    let list = d.http.get(&path).expect(200).json();
    list.as_array()
        .expect("a list")
        .iter()
        .map(|c| {
            let name = c["Names"][0].as_str().expect("text");
            name.trim_start_matches('/').to_owned()
        })
        .collect()
}

#[test]
fn a_row_has_what_clients_read() {
    let d = daemon();
    let id = d.run_detached(
        "row",
        json!({"Cmd": ["sleep", "1000"], "Labels": {"a": "b"}}),
    );
    let list = d.http.get("/containers/json").expect(200).json();
    let [row] = list.as_array().expect("a list").as_slice() else {
        panic!("one row: {list}");
    };
    assert_eq!(row["Id"], id.as_str());
    assert_eq!(row["Names"], json!(["/row"]));
    assert_eq!(row["Image"], BUSYBOX);
    assert_eq!(row["ImageID"], Image::busybox().id().as_str());
    assert_eq!(row["Command"], "sleep 1000");
    assert!(row["Created"].as_i64().expect("a number") > 1_700_000_000);
    assert_eq!(row["Ports"], json!([]));
    assert_eq!(row["Labels"], json!({"a": "b"}));
    assert_eq!(row["State"], "running");
    let status = row["Status"].as_str().expect("text");
    assert!(status.starts_with("Up "), "{status}");
    assert_eq!(row["HostConfig"]["NetworkMode"], "none");
    assert!(
        row["NetworkSettings"]["Networks"]["none"].is_object(),
        "{row}"
    );
    assert_eq!(row["Mounts"], json!([]));
    assert_eq!(row["SizeRw"], Value::Null);
    let sized = d.http.get("/containers/json?size=1").expect(200).json();
    assert!(sized[0]["SizeRootFs"].as_u64().expect("a number") > 1_000_000);
    d.finish();
}

#[test]
fn a_container_that_never_started_has_the_size_of_its_image() {
    let d = daemon();
    d.create("new", json!({"Cmd": ["true"]}));
    let image = d.http.get("/images/busybox/json").expect(200).json();
    let list = d.http.get("/containers/json?all=1&size=1").expect(200);
    let inspect = d.http.get("/containers/new/json?size=1").expect(200).json();
    for sized in [&list.json()[0], &inspect] {
        assert_eq!(sized["SizeRootFs"], image["Size"], "{sized}");
    }
    assert_eq!(inspect["SizeRw"], 0);
    d.finish();
}

#[test]
fn filters_choose_in_both_spellings() {
    let d = daemon();
    let sleep = |labels: Value| json!({"Cmd": ["sleep", "1000"], "Labels": labels});
    let first = d.run_detached("first", sleep(json!({"app": "web", "tier": "1"})));
    d.run_detached("second", sleep(json!({"app": "db"})));
    d.http.post("/containers/second/pause").expect(204);
    d.create("third", sleep(json!({"app": "web"})));
    d.run(
        "fourth",
        json!({"Cmd": ["sh", "-c", "exit 3"], "HostConfig": {"Binds": ["vol:/v", "/tmp:/b"]}}),
    );

    assert_eq!(names(&d, false, &json!({})), ["second", "first"]);
    assert_eq!(
        names(&d, true, &json!({})),
        ["fourth", "third", "second", "first"]
    );
    for (filters, wanted) in [
        (json!({"name": ["first"]}), &["first"][..]),
        (json!({"name": {"first": true}}), &["first"]),
        (json!({"name": ["^/s"]}), &["second"]),
        (json!({"name": ["ir"]}), &["third", "first"]),
        (json!({"name": ["("]}), &[]),
        (json!({"id": [&first[..12]]}), &["first"]),
        (json!({"id": [&first[1..]]}), &[]),
        (json!({"label": ["app=web"]}), &["third", "first"]),
        (json!({"label": ["app", "tier=1"]}), &["first"]),
        (json!({"label": ["nope"]}), &[]),
        (json!({"status": ["exited"]}), &["fourth"]),
        (
            json!({"status": ["created", "paused"]}),
            &["third", "second"],
        ),
        (json!({"exited": ["3"]}), &["fourth"]),
        (json!({"exited": ["0"]}), &[]),
        (
            json!({"ancestor": ["busybox"]}),
            &["fourth", "third", "second", "first"],
        ),
        (json!({"ancestor": ["nosuch"]}), &[]),
        (json!({"before": ["third"]}), &["second", "first"]),
        (json!({"since": ["second"]}), &["fourth", "third"]),
        (json!({"volume": ["vol"]}), &["fourth"]),
        (json!({"volume": ["/v"]}), &["fourth"]),
        (json!({"volume": ["/tmp"]}), &["fourth"]),
        (
            json!({"network": ["none"]}),
            &["fourth", "third", "second", "first"],
        ),
        (json!({"network": ["host"]}), &[]),
    ] {
        assert_eq!(names(&d, true, &filters), wanted, "{filters}");
    }
    // A status implies all, an exit code does not; a limit does too.
    assert_eq!(names(&d, false, &json!({"exited": ["3"]})), [""; 0]);
    assert_eq!(names(&d, false, &json!({"status": ["exited"]})), ["fourth"]);
    let limited = d.http.get("/containers/json?limit=2").expect(200).json();
    assert_eq!(limited[0]["Names"], json!(["/fourth"]));
    assert_eq!(limited.as_array().map(Vec::len), Some(2));
    for bad in [
        json!({"nosuch": ["x"]}),
        json!({"label!": ["app"]}),
        json!({"status": ["dancing"]}),
    ] {
        let path = query("/containers/json", &[("filters", &bad.to_string())]);
        d.http.get(&path).error(400);
    }
    d.http.post("/containers/second/unpause").expect(204);
    d.finish();
}

#[test]
fn the_words_of_status_follow_the_state() {
    let d = daemon();
    d.create("made", json!({"Cmd": ["true"]}));
    d.run("done", json!({"Cmd": ["sh", "-c", "exit 9"]}));
    d.run_detached("frozen", json!({"Cmd": ["sleep", "1000"]}));
    d.http.post("/containers/frozen/pause").expect(204);
    let list = d.http.get("/containers/json?all=1").expect(200).json();
    let status = |n: usize| list[n]["Status"].as_str().expect("text").to_owned();
    assert_eq!(list[0]["State"], "paused");
    assert!(
        status(0).starts_with("Up ") && status(0).ends_with(" (Paused)"),
        "{}",
        status(0)
    );
    assert!(
        status(1).starts_with("Exited (9) ") && status(1).ends_with(" ago"),
        "{}",
        status(1)
    );
    assert_eq!(status(2), "Created");
    d.http.post("/containers/frozen/unpause").expect(204);
    d.finish();
}
