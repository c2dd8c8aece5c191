//! Health checks: when a container is looked at, what is shown, told and waited for.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Daemon, until};

use crate::daemon;

const MS: u64 = 1_000_000;

/// A container that is well as long as the file `well` is in a directory of the host.
fn checked(d: &Daemon, times: &Value, labels: &Value) -> (Value, std::path::PathBuf) {
    let dir = d.root().join("signs");
    std::fs::create_dir_all(&dir).expect("a directory in ours");
    let mut check = json!({
        "Test": ["CMD-SHELL", "echo looked; echo wrong >&2; test -e /signs/well"],
        "Interval": 50 * MS, "Retries": 2,
    });
    for (key, value) in times.as_object().expect("a map") {
        check[key] = value.clone();
    }
    let body = json!({
        "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"],
        "Healthcheck": check, "Labels": labels,
        "HostConfig": {"Binds": [format!("{}:/signs", dir.display())]},
    });
    (body, dir.join("well"))
}

fn health(d: &Daemon, id: &str) -> Value {
    d.inspect(id)["State"]["Health"].clone()
}

fn become_as(d: &Daemon, id: &str, status: &str) {
    until(&format!("it is {status}"), || {
        health(d, id)["Status"] == status
    });
}

#[test]
fn a_container_becomes_healthy_ill_and_healthy_again() {
    let d = daemon();
    let (body, well) = checked(&d, &json!({}), &json!({}));
    let only = json!({"event": ["health_status", "die"]}).to_string();
    let mut events = d
        .http
        .events(&testkit::query("/events", &[("filters", &only)]));
    d.create("it", body);
    assert_eq!(health(&d, "it"), Value::Null);
    d.start_container("it");
    become_as(&d, "it", "unhealthy");
    let ill = health(&d, "it");
    assert!(ill["FailingStreak"].as_u64() >= Some(2), "{ill}");
    let result = &ill["Log"][0];
    assert_eq!(result["ExitCode"], 1);
    let output = result["Output"].as_str().expect("text");
    assert!(
        output.contains("looked\n") && output.contains("wrong\n"),
        "{output}"
    );
    assert!(
        result["Start"].as_str() < result["End"].as_str(),
        "{result}"
    );
    until("five results are kept", || {
        health(&d, "it")["Log"].as_array().map(Vec::len) == Some(5)
    });
    let listed = |filter: &str| {
        let filters = json!({"health": [filter]}).to_string();
        let path = testkit::query("/containers/json", &[("filters", &filters)]);
        d.http.get(&path).expect(200).json()
    };
    let status = listed("unhealthy")[0]["Status"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(status.ends_with(" (unhealthy)"), "{status}");
    assert_eq!(listed("healthy"), json!([]));
    std::fs::write(&well, "").expect("a file in ours");
    become_as(&d, "it", "healthy");
    assert_eq!(health(&d, "it")["FailingStreak"], 0);
    let told = |events: &mut testkit::Events| events.next_event().expect("one")["Action"].clone();
    assert_eq!(told(&mut events), "health_status: unhealthy");
    assert_eq!(told(&mut events), "health_status: healthy");
    // While it is paused nobody looks.
    d.http.post("/containers/it/pause").expect(204);
    let before = health(&d, "it");
    // To clients one that nobody looks after is not healthy, and nothing tells of that.
    assert_eq!(before["Status"], "unhealthy");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(health(&d, "it"), before);
    d.http.post("/containers/it/unpause").expect(204);
    become_as(&d, "it", "healthy");
    assert_eq!(told(&mut events), "health_status: healthy");
    d.http.post("/containers/it/stop").expect(204);
    assert_eq!(health(&d, "it")["Status"], "unhealthy");
    assert_eq!(told(&mut events), "die");
    std::fs::remove_file(&well).expect("it is there");
    d.start_container("it");
    assert_eq!(health(&d, "it")["Status"], "starting");
    drop(events);
    d.finish();
}

#[test]
fn failures_of_the_start_period_do_not_count() {
    let d = daemon();
    let times = json!({"StartPeriod": 3_600_000 * MS, "StartInterval": 20 * MS,
        "Interval": 3_600_000 * MS});
    let (body, well) = checked(&d, &times, &json!({}));
    d.run_detached("it", body);
    until("it was looked at often", || {
        health(&d, "it")["Log"].as_array().map(Vec::len) == Some(5)
    });
    let starting = health(&d, "it");
    assert_eq!(starting["Status"], "starting");
    assert_eq!(starting["FailingStreak"], 0);
    let list = d.http.get("/containers/json").expect(200).json();
    let status = list[0]["Status"].as_str().expect("text");
    assert!(status.ends_with(" (health: starting)"), "{status}");
    std::fs::write(&well, "").expect("a file in ours");
    become_as(&d, "it", "healthy");
    d.finish();
}

#[test]
fn a_check_that_takes_too_long_is_killed() {
    let d = daemon();
    let check = json!({"Test": ["CMD", "sh", "-c", "echo begun; sleep 1000"],
        "Interval": 20 * MS, "Timeout": 200 * MS, "Retries": 1});
    d.run_detached(
        "it",
        json!({"Cmd": ["sleep", "1000"], "Healthcheck": check}),
    );
    become_as(&d, "it", "unhealthy");
    let result = &health(&d, "it")["Log"][0];
    assert_eq!(result["ExitCode"], -1);
    assert_eq!(
        result["Output"],
        "Health check exceeded timeout (200ms): begun\n"
    );
    // One that is not there is no end of the world either.
    let check = json!({"Test": ["CMD", "/no/such"], "Interval": 20 * MS, "Retries": 1});
    d.run_detached(
        "other",
        json!({"Cmd": ["sleep", "1000"], "Healthcheck": check}),
    );
    become_as(&d, "other", "unhealthy");
    let result = &health(&d, "other")["Log"][0];
    assert_eq!(result["ExitCode"], -1);
    let output = result["Output"].as_str().expect("text");
    assert!(output.contains("no such file or directory"), "{output}");
    let many = json!({"Test": ["CMD", "sh", "-c", "yes | head -c 100000"], "Interval": 20 * MS});
    d.run_detached(
        "loud",
        json!({"Cmd": ["sleep", "1000"], "Healthcheck": many}),
    );
    become_as(&d, "loud", "healthy");
    let output = health(&d, "loud")["Log"][0]["Output"].clone();
    let output = output.as_str().expect("text");
    assert_eq!(output.len(), 4096 + 3);
    assert!(output.ends_with("..."), "{output}");
    // Checks leave nothing that clients would list, or that takes the place of their sessions.
    until("only what runs is there", || {
        let execs = d.http.get("/moored/containers/it/execs").expect(200).json();
        execs.as_array().map(Vec::len) <= Some(1)
    });
    d.finish();
}

#[test]
fn a_wait_for_health() {
    let d = daemon();
    let (body, well) = checked(&d, &json!({"Interval": 20 * MS}), &json!({}));
    d.create("it", body.clone());
    let wait = |id: &str| {
        let path = format!("/containers/{id}/wait?condition=healthy");
        d.http.stream("POST", &path, &[], b"")
    };
    let answer = |mut stream: testkit::Streaming| -> Value {
        serde_json::from_slice(&stream.body.read_to_end()).expect("JSON")
    };
    let mut before = wait("it");
    d.start_container("it");
    become_as(&d, "it", "unhealthy");
    assert!(before.body.is_waiting());
    std::fs::write(&well, "").expect("a file in ours");
    assert_eq!(answer(before), json!({"StatusCode": 0}));
    assert_eq!(answer(wait("it")), json!({"StatusCode": 0}));
    std::fs::remove_file(&well).expect("it is there");
    d.run_detached("other", body);
    let ends = wait("other");
    d.http.post("/containers/other/kill").expect(204);
    let ended = answer(ends);
    assert_eq!(ended["StatusCode"], 137);
    assert_eq!(
        ended["Error"]["Message"],
        "the container ended before it was healthy"
    );
    // One that has ended is not waited for.
    assert_eq!(answer(wait("other")), ended);
    d.run_detached("none", json!({"Cmd": ["sleep", "1000"]}));
    let refused = d
        .http
        .post("/containers/none/wait?condition=healthy")
        .error(409);
    assert!(refused.ends_with("has no health check"), "{refused}");
    assert_eq!(health(&d, "none"), Value::Null);
    d.finish();
}

#[test]
fn one_that_asks_for_it_is_restarted_when_it_is_ill() {
    let d = daemon();
    let labels = json!({"moored.on-unhealthy": "restart"});
    let (body, well) = checked(&d, &json!({}), &labels);
    let mut events = d.http.events("/events");
    d.run_detached("it", body);
    let told: Vec<Value> = events
        .up_to("restart")
        .iter()
        .map(|e| e["Action"].clone())
        .collect();
    let changes: Vec<&str> = told
        .iter()
        .filter_map(Value::as_str)
        .filter(|action| !action.starts_with("exec_"))
        .collect();
    let expected = [
        "create",
        "start",
        "health_status: unhealthy",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
    ];
    assert_eq!(changes, expected);
    std::fs::write(&well, "").expect("a file in ours");
    become_as(&d, "it", "healthy");
    drop(events);
    d.finish();
}

#[test]
fn the_check_of_an_image_is_run_unless_it_is_switched_off() {
    let d = daemon();
    let change = "HEALTHCHECK --interval=20ms --retries=1 CMD test -e /no/such";
    let path = testkit::query(
        "/images/create",
        &[("fromSrc", "-"), ("repo", "checked"), ("changes", change)],
    );
    let layer = testkit::Image::busybox().layers.remove(0);
    d.http
        .send(
            "POST",
            &path,
            &[("Content-Type", "application/x-tar")],
            &layer,
        )
        .expect(200);
    let image = d.http.get("/images/checked/json").expect(200).json();
    let check = &image["Config"]["Healthcheck"];
    assert_eq!(check["Test"], json!(["CMD-SHELL", "test -e /no/such"]));
    assert_eq!(check["Interval"], 20 * MS);
    d.run_detached("it", json!({"Image": "checked", "Cmd": ["sleep", "1000"]}));
    become_as(&d, "it", "unhealthy");
    assert_eq!(&d.inspect("it")["Config"]["Healthcheck"], check);
    let off = json!({"Test": ["NONE"]});
    d.run_detached(
        "off",
        json!({"Image": "checked", "Cmd": ["sleep", "1000"], "Healthcheck": off}),
    );
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(health(&d, "off"), Value::Null);
    assert_eq!(d.inspect("off")["Config"]["Healthcheck"], off);
    d.finish();
}

#[test]
fn one_that_is_being_stopped_is_not_restarted_for_its_health() {
    let d = daemon();
    let (mut body, well) = checked(
        &d,
        &json!({"Retries": 1}),
        &json!({"moored.on-unhealthy": "restart"}),
    );
    std::fs::write(&well, "").expect("a file in ours");
    let script = "trap 'rm /signs/well; sleep 1; exit 0' TERM; while :; do sleep 0.01; done";
    body["Cmd"] = json!(["sh", "-c", script]);
    d.run_detached("it", body);
    become_as(&d, "it", "healthy");
    let ill = json!({"event": ["health_status"]}).to_string();
    let mut events = d
        .http
        .events(&testkit::query("/events", &[("filters", &ill)]));
    d.http.post("/containers/it/stop?t=60").expect(204);
    assert_eq!(
        events.next_event().expect("one")["Action"],
        "health_status: unhealthy"
    );
    drop(events);
    assert_eq!(d.status("it"), "exited");
    assert_eq!(d.inspect("it")["State"]["ExitCode"], 0);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(d.status("it"), "exited");
    d.finish();
}
