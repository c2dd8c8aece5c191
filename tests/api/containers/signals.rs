//! Stop, kill, restart, pause.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::until;

use crate::daemon;

/// Ends with 44 on TERM and 45 on USR1; says when it is ready.
const TRAPS: &str =
    "trap 'exit 44' TERM; trap 'exit 45' USR1; echo ready; while :; do sleep 0.1; done";

#[test]
fn stop_sends_the_containers_signal_first() {
    let d = daemon();
    let cases = [
        ("term", json!({}), "", 44),
        ("own", json!({"StopSignal": "SIGUSR1"}), "", 45),
        ("asked", json!({}), "&signal=USR1", 45),
    ];
    for (name, mut body, parameter, code) in cases {
        body["Cmd"] = json!(["sh", "-c", TRAPS]);
        let id = d.run_detached(name, body);
        until("the traps are set", || d.logs(&id).stdout == "ready\n");
        d.http
            .post(&format!("/containers/{name}/stop?t=30{parameter}"))
            .expect(204);
        assert_eq!(d.inspect(name)["State"]["ExitCode"], code, "{name}");
    }
    d.finish();
}

#[test]
fn stop_kills_after_its_grace() {
    let d = daemon();
    d.run_detached("deaf", json!({"Cmd": ["sleep", "1000"]}));
    let start = Instant::now();
    d.http.post("/containers/deaf/stop?t=1").expect(204);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(d.inspect("deaf")["State"]["ExitCode"], 137);
    // A container that was stopped can be paused no more, but started again.
    d.http.post("/containers/deaf/start").expect(204);
    d.http.post("/containers/deaf/stop?t=0").expect(204);
    d.finish();
}

/// Its own grace where the request has none; for ever with -1, until a stop with another.
#[test]
fn a_stop_without_a_grace_takes_the_containers_and_the_earlier_of_two_counts() {
    let d = daemon();
    let mut deaf = json!({"Cmd": ["sleep", "1000"], "StopTimeout": 0});
    d.run_detached("hasty", deaf.clone());
    d.http.post("/containers/hasty/stop").expect(204);
    assert_eq!(d.inspect("hasty")["State"]["ExitCode"], 137);
    deaf["StopTimeout"] = json!(-1);
    d.run_detached("patient", deaf);
    let mut stream = d.http.events("/events");
    std::thread::scope(|scope| {
        let http = &d.http;
        let for_ever = scope.spawn(move || http.post("/containers/patient/stop").status);
        // It has sent its signal.
        stream.up_to("kill");
        assert!(!for_ever.is_finished());
        d.http.post("/containers/patient/stop?t=1").expect(204);
        assert_eq!(for_ever.join().expect("no panic"), 204);
    });
    drop(stream);
    assert_eq!(d.inspect("patient")["State"]["ExitCode"], 137);
    d.finish();
}

#[test]
fn a_kill_overtakes_a_long_stop() {
    let d = daemon();
    let id = d.run_detached("slow", json!({"Cmd": ["sleep", "1000"]}));
    std::thread::scope(|scope| {
        let path = format!("/containers/{id}/stop?t=3600");
        let http = &d.http;
        let stop = scope.spawn(move || http.post(&path).status);
        // Whether the stop came first or not, the kill must not wait for it.
        let start = Instant::now();
        d.http.post(&format!("/containers/{id}/kill")).expect(204);
        assert!(start.elapsed() < Duration::from_secs(5));
        let status = stop.join().expect("it answers");
        assert!([204, 304].contains(&status), "{status}");
    });
    assert_eq!(d.wait(&id), 137);
    d.finish();
}

#[test]
fn kill_sends_any_signal_by_name_or_number() {
    let d = daemon();
    for (name, signal, code) in [
        ("by-name", "SIGUSR1", 45),
        ("by-short-name", "usr1", 45),
        ("by-number", "10", 45),
        ("kill", "9", 137),
        ("default", "", 137),
    ] {
        let id = d.run_detached(name, json!({"Cmd": ["sh", "-c", TRAPS]}));
        until("the traps are set", || d.logs(&id).stdout == "ready\n");
        let parameter = if signal.is_empty() {
            String::new()
        } else {
            format!("?signal={signal}")
        };
        d.http
            .post(&format!("/containers/{name}/kill{parameter}"))
            .expect(204);
        assert_eq!(d.wait(&id), code, "{name}");
    }
    let id = d.inspect("kill")["Id"].as_str().expect("text").to_owned();
    d.http.post("/containers/kill/kill").expect_error(
        409,
        &format!("cannot kill container: kill: container {id} is not running"),
    );
    d.finish();
}

/// `docker kill x && docker rm x`: a kill is answered when it is done.
#[test]
fn what_was_killed_can_be_removed_at_once() {
    let d = daemon();
    for n in 0..5 {
        d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
        let signal = ["", "?signal=KILL", "?signal=9"][n % 3];
        d.http
            .post(&format!("/containers/it/kill{signal}"))
            .expect(204);
        d.http.delete("/containers/it").expect(204);
    }
    d.finish();
}

/// The other processes of a container without a pid namespace of its own get the signal, too.
#[test]
fn without_a_pid_namespace_a_stop_reaches_all_processes() {
    let d = daemon();
    let script = "sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.1; done' & \
        trap 'wait; exit 7' TERM; echo set; while :; do sleep 0.05; done";
    let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": {"PidMode": "host"}});
    let id = d.run_detached("it", body);
    until("the traps are set", || {
        d.logs(&id).stdout.lines().count() == 2
    });
    d.http.post("/containers/it/stop?t=30").expect(204);
    assert_eq!(d.inspect(&id)["State"]["ExitCode"], 7);
    assert!(d.logs(&id).stdout.ends_with("child\n"));
    d.finish();
}

#[test]
fn restart_gives_a_new_process() {
    let d = daemon();
    let id = d.run_detached("again", json!({"Cmd": ["sleep", "1000"]}));
    let before = d.init_pid(&id);
    d.http.post("/containers/again/restart?t=0").expect(204);
    assert_ne!(d.init_pid(&id), before);
    // The end of the run before is still known.
    let state = &d.inspect(&id)["State"];
    assert!(state["FinishedAt"].as_str() > Some("2000"), "{state}");
    d.http.post("/containers/again/stop?t=0").expect(204);
    d.http.post("/containers/again/restart?t=0").expect(204);
    assert_eq!(d.status(&id), "running");
    d.finish();
}

#[test]
fn pause_freezes_and_unpause_thaws() {
    let d = daemon();
    let script = "while :; do echo tick; sleep 0.05; done";
    let id = d.run_detached("clock", json!({"Cmd": ["sh", "-c", script]}));
    let ticks = || d.logs(&id).stdout.lines().count();
    until("it ticks", || ticks() > 0);
    d.http.post("/containers/clock/pause").expect(204);
    let state = &d.inspect(&id)["State"];
    assert_eq!(state["Status"], "paused");
    assert_eq!(
        (&state["Running"], &state["Paused"]),
        (&json!(true), &json!(true))
    );
    d.http
        .post("/containers/clock/pause")
        .expect_error(409, &format!("Container {id} is already paused"));
    let message = d.http.post("/containers/clock/start").error(409);
    assert!(message.contains("paused"), "{message}");
    // Frozen: three of its periods bring nothing.
    let frozen = ticks();
    let start = Instant::now();
    until("some time has passed", || {
        start.elapsed() > Duration::from_millis(200)
    });
    assert_eq!(ticks(), frozen);
    d.http.post("/containers/clock/unpause").expect(204);
    until("it ticks again", || ticks() > frozen);
    let message = d.http.post("/containers/clock/unpause").text();
    assert!(message.contains("is not paused"), "{message}");
    // What is paused can be stopped.
    d.http.post("/containers/clock/pause").expect(204);
    d.http.post("/containers/clock/stop?t=0").expect(204);
    assert_eq!(d.inspect(&id)["State"]["ExitCode"], 137);
    let message = d.http.post("/containers/clock/pause").error(409);
    assert!(message.contains("is not running"), "{message}");
    d.finish();
}

/// Without a pid namespace of its own, the others outlive the first process; stop must not leave
/// them.
#[test]
fn stop_reaches_all_processes_of_a_container_in_the_hosts_pid_namespace() {
    let d = daemon();
    let id = d.run_detached(
        "host-pids",
        json!({
            "Cmd": ["sh", "-c", "sleep 1000 & echo ready; wait"],
            "HostConfig": {"PidMode": "host"},
        }),
    );
    until("its child runs", || d.logs(&id).stdout == "ready\n");
    d.http.post("/containers/host-pids/stop?t=1").expect(204);
    d.http.delete("/containers/host-pids").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// What somebody else froze is known when it matters: the kernel is asked.
#[test]
fn what_was_frozen_behind_the_daemons_back_is_thawed_and_stopped() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let runc = |call: &str| {
        let root = d.root().join("run/oci/runc");
        let mut runc = d.command_inside("runc");
        let done = runc.arg("--root").arg(root).arg(call).arg(&id).status();
        assert!(done.expect("runc runs").success(), "{call}");
    };
    runc("pause");
    d.http.post("/containers/it/unpause").expect(204);
    assert_eq!(d.status("it"), "running");
    runc("pause");
    let said = d.http.post("/containers/it/pause").error(409);
    assert!(said.ends_with("is already paused"), "{said}");
    assert_eq!(d.status("it"), "paused");
    runc("resume");
    let said = d.http.post("/containers/it/unpause").error(409);
    assert!(said.ends_with("is not paused"), "{said}");
    runc("pause");
    d.http.post("/containers/it/stop?t=1").expect(204);
    assert_eq!(d.inspect("it")["State"]["ExitCode"], 137);
    d.finish();
}
