//! Restart policies while the daemon is there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Daemon, until};

use crate::daemon;

/// A container that notes each start in a file of the host, then does what `script` says.
fn noting(d: &Daemon, policy: &Value, script: &str) -> (Value, std::path::PathBuf) {
    let dir = d.root().join("notes");
    std::fs::create_dir_all(&dir).expect("a directory in ours");
    let bind = format!("{}:/notes", dir.display());
    let body = json!({
        "Cmd": ["sh", "-c", format!("cut -d' ' -f1 /proc/uptime >> /notes/starts; {script}")],
        "HostConfig": {"Binds": [bind], "RestartPolicy": policy},
    });
    (body, dir.join("starts"))
}

fn starts(file: &std::path::Path) -> usize {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .count()
}

fn state(d: &Daemon, id: &str) -> Value {
    d.inspect(id)["State"].clone()
}

#[test]
fn on_failure_ends_with_its_number_and_with_success() {
    let d = daemon();
    let policy = json!({"Name": "on-failure", "MaximumRetryCount": 3});
    let (body, file) = noting(&d, &policy, "exit 7");
    let mut events = d.http.events("/events");
    d.run_detached("it", body);
    until("it has given up", || d.inspect("it")["RestartCount"] == 3);
    d.wait_status("it", "exited");
    assert_eq!(starts(&file), 4);
    let state = state(&d, "it");
    assert_eq!(state["ExitCode"], 7);
    assert_eq!(state["Restarting"], false);
    let expected = [
        "create", "start", "die", "start", "die", "start", "die", "start", "die",
    ];
    let told: Vec<Value> = expected
        .iter()
        .map(|_| events.next_event().expect("one")["Action"].clone())
        .collect();
    assert_eq!(told, expected);
    assert!(events.is_waiting());
    drop(events);
    assert_eq!(d.inspect("it")["HostConfig"]["RestartPolicy"], policy);
    // A client's start counts anew.
    d.start_container("it");
    until("it is started again", || starts(&file) > 4);
    d.http.post("/containers/it/stop").expect(204);
    let (body, file) = noting(&d, &json!({"Name": "on-failure"}), "exit 0");
    std::fs::remove_file(&file).expect("it is there");
    d.run("good", body);
    assert_eq!(d.status("good"), "exited");
    assert_eq!(starts(&file), 1);
    d.finish();
}

#[test]
fn the_pause_doubles_and_a_list_shows_it() {
    let d = daemon();
    let (body, file) = noting(&d, &json!({"Name": "always"}), "exit 1");
    d.run_detached("it", body);
    until("five starts", || starts(&file) >= 5);
    let text = std::fs::read_to_string(&file).expect("it is there");
    let times: Vec<f64> = text.lines().map(|t| t.parse().expect("a time")).collect();
    for (n, pair) in times.windows(2).take(4).enumerate() {
        // The clock has steps of 10 ms.
        let least = 0.1 * f64::from(1 << n) - 0.011;
        let pause = pair[1] - pair[0];
        assert!(pause >= least, "pause {n} was {pause} s");
        assert!(pause < least + 5.0, "pause {n} was {pause} s");
    }
    // The next pause is long enough to be looked at.
    d.wait_status("it", "restarting");
    let shown = state(&d, "it");
    assert_eq!(
        (&shown["Running"], &shown["Restarting"]),
        (&json!(true), &json!(true))
    );
    assert_eq!((&shown["Pid"], &shown["ExitCode"]), (&json!(0), &json!(1)));
    let list = d.http.get("/containers/json").expect(200).json();
    assert_eq!(list[0]["State"], "restarting");
    let status = list[0]["Status"].as_str().expect("text");
    assert!(status.starts_with("Restarting (1) "), "{status}");
    d.finish();
}

/// A container between two runs, with a pause of 1.6 s at least.
fn between_runs(d: &Daemon) -> std::path::PathBuf {
    let (body, file) = noting(d, &json!({"Name": "unless-stopped"}), "exit 1");
    d.run_detached("it", body);
    until("five starts", || starts(&file) >= 5);
    d.wait_status("it", "restarting");
    file
}

#[test]
fn what_is_asked_between_two_runs() {
    let d = daemon();
    let file = between_runs(&d);
    let id = d.inspect("it")["Id"].as_str().expect("an id").to_owned();
    let restarting = format!("Container {id} is restarting, wait until the container is running");
    d.http.post("/containers/it/start").expect(304);
    d.http
        .post("/containers/it/pause")
        .expect_error(409, &restarting);
    d.http
        .get("/containers/it/top")
        .expect_error(409, &restarting);
    d.http
        .post_json("/containers/it/exec", &json!({"Cmd": ["true"]}))
        .expect_error(409, &restarting);
    d.http.delete("/containers/it").expect_error(
        409,
        "cannot remove container \"/it\": container is restarting: stop the container before \
         removing or force remove",
    );
    let mut attach = d
        .http
        .hijack("/containers/it/attach?stream=1&stdout=1", true);
    assert_eq!(attach.status(), 409);
    let said = String::from_utf8_lossy(&attach.read_to_end()).into_owned();
    assert!(
        said.contains("container it is restarting, wait until"),
        "{said}"
    );
    let filter = "%7B%22exited%22%3A%5B%221%22%5D%7D";
    let exited = d
        .http
        .get(&format!("/containers/json?all=1&filters={filter}"));
    assert_eq!(exited.expect(200).json(), json!([]), "it counts as running");
    d.http.post("/containers/it/rename?name=that").expect(204);
    // A stop calls the start off.
    let before = starts(&file);
    let mut events = d.http.events("/events");
    d.http.post("/containers/that/stop").expect(204);
    assert_eq!(events.next_event().expect("one")["Action"], "stop");
    drop(events);
    assert_eq!(d.status("that"), "exited");
    assert_eq!(d.wait("that"), 1);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(starts(&file), before);
    d.http.post("/containers/that/stop").expect(304);
    d.finish();
}

#[test]
fn killed_restarted_and_removed_between_two_runs() {
    let d = daemon();
    let file = between_runs(&d);
    let before = starts(&file);
    let asked = Instant::now();
    d.http.post("/containers/it/restart").expect(204);
    until("it is started at once", || starts(&file) > before);
    assert!(asked.elapsed() < Duration::from_millis(1500));
    until("it counts anew", || d.inspect("it")["RestartCount"] == 1);
    until("it is between two runs", || d.status("it") == "restarting");
    d.http.post("/containers/it/kill").expect(204);
    assert_eq!(d.status("it"), "exited");
    d.start_container("it");
    d.wait_status("it", "restarting");
    d.http.delete("/containers/it?force=1").expect(204);
    d.http.get("/containers/it/json").expect(404);
    d.finish();
}

#[test]
fn a_client_that_ends_it_means_it() {
    let d = daemon();
    for name in ["always", "unless-stopped", "on-failure"] {
        let script = "trap 'exit 3' TERM; trap : USR1; while :; do sleep 0.01; done";
        let (body, file) = noting(&d, &json!({"Name": name}), script);
        let _ = std::fs::remove_file(&file);
        let id = d.run_detached(name, body);
        until("it runs", || starts(&file) == 1);
        d.http
            .post(&format!("/containers/{id}/kill?signal=USR1"))
            .expect(204);
        d.http.post(&format!("/containers/{id}/stop")).expect(204);
        assert_eq!(d.status(&id), "exited");
        d.start_container(&id);
        until("it runs again", || starts(&file) == 2);
        d.http.post(&format!("/containers/{id}/kill")).expect(204);
        assert_eq!(d.status(&id), "exited");
        // One that dies by itself after an unimportant signal is started.
        d.start_container(&id);
        until("it runs again", || starts(&file) == 3);
        d.http
            .post(&format!("/containers/{id}/kill?signal=USR1"))
            .expect(204);
        let pid = rustix::process::Pid::from_raw(d.init_pid(&id).cast_signed());
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
            .expect("it is alive");
        until("its policy starts it", || starts(&file) == 4);
        until("it is counted", || d.inspect(&id)["RestartCount"] == 1);
        d.http
            .delete(&format!("/containers/{id}?force=1"))
            .expect(204);
    }
    d.finish();
}

#[test]
fn waits_see_each_exit() {
    let d = daemon();
    let (body, _) = noting(
        &d,
        &json!({"Name": "on-failure", "MaximumRetryCount": 2}),
        "exit 5",
    );
    d.create("it", body);
    let wait = |condition: &str| {
        let path = format!("/containers/it/wait?condition={condition}");
        d.http.stream("POST", &path, &[], b"")
    };
    let mut next = wait("next-exit");
    d.start_container("it");
    let code = |stream: &mut testkit::Streaming| -> Value {
        let body = stream.body.read_to_end();
        serde_json::from_slice::<Value>(&body).expect("JSON")["StatusCode"].clone()
    };
    assert_eq!(code(&mut next), 5);
    until("it has given up", || d.status("it") == "exited");
    assert_eq!(code(&mut wait("not-running")), 5);
    assert_eq!(d.inspect("it")["RestartCount"], 2);
    d.finish();
}

#[test]
fn a_start_that_fails_ends_it() {
    let d = daemon();
    let dir = d.root().join("bound");
    std::fs::create_dir(&dir).expect("a directory in ours");
    let mount = json!({"Type": "bind", "Source": dir, "Target": "/bound"});
    let body = json!({
        "Cmd": ["sleep", "0.2"],
        "HostConfig": {"Mounts": [mount], "RestartPolicy": {"Name": "always"}},
    });
    d.run_detached("it", body);
    std::fs::remove_dir(&dir).expect("it is empty");
    d.wait_status("it", "exited");
    let state = state(&d, "it");
    assert_ne!(state["ExitCode"], 0);
    let error = state["Error"].as_str().expect("text");
    assert!(error.contains("bound"), "{error}");
    std::fs::create_dir(&dir).expect("a directory in ours");
    d.start_container("it");
    until("its policy starts it again", || {
        d.inspect("it")["RestartCount"] != 0
    });
    d.finish();
}
