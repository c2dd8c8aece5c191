//! Restart policies over the death of the daemon and of the host.

use serde_json::{Value, json};
use testkit::{Daemon, Fakes, until};

use crate::{daemon, options};

fn with_policy(policy: &Value, cmd: &Value) -> Value {
    json!({"Cmd": cmd, "HostConfig": {"RestartPolicy": policy}})
}

fn policy(name: &str) -> Value {
    json!({"Name": name})
}

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// Kills processes that are no children of ours, and waits until they are gone.
fn kill_all(pids: &[u32]) {
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is alive");
        until("it has ended", || {
            rustix::process::test_kill_process(pid).is_err()
        });
    }
}

fn runs(d: &Daemon, name: &str) -> bool {
    d.status(name) == "running"
}

#[test]
fn those_that_ended_meanwhile_are_started_once() {
    let mut d = daemon();
    let names = ["always", "unless-stopped", "on-failure", "no"];
    let pids = names.map(|name| {
        let id = d.run_detached(name, with_policy(&policy(name), &json!(SLEEP)));
        d.init_pid(&id)
    });
    let kept = d.run_detached("kept", with_policy(&policy("always"), &json!(SLEEP)));
    let kept_pid = d.init_pid(&kept);
    d.kill9();
    kill_all(&pids);
    d.restart();
    for name in &names[..3] {
        until("its policy starts it", || runs(&d, name));
        assert_eq!(d.inspect(name)["RestartCount"], 1);
    }
    assert_eq!(d.status("no"), "exited");
    assert_eq!(d.inspect("no")["State"]["ExitCode"], 137);
    assert_eq!(d.init_pid(&kept), kept_pid, "one that ran is left alone");
    assert_eq!(d.inspect("kept")["RestartCount"], 0);
    let filters = json!({"event": ["die", "start"], "container": ["always"]}).to_string();
    let path = testkit::query("/events", &[("filters", &filters), ("until", "4000000000")]);
    let mut events = d.http.events(&path);
    let told: Vec<Value> = (0..3)
        .map(|_| events.next_event().expect("one")["Action"].clone())
        .collect();
    assert_eq!(told, ["start", "die", "start"]);
    assert!(events.is_waiting());
    drop(events);
    d.finish();
}

#[test]
fn what_a_client_stopped_stays_so_as_the_policy_says() {
    let mut d = daemon();
    let names = ["always", "unless-stopped", "on-failure"];
    for name in names {
        d.run_detached(name, with_policy(&policy(name), &json!(SLEEP)));
        d.http
            .post(&format!("/containers/{name}/stop?t=0"))
            .expect(204);
    }
    let never = d.create("never", with_policy(&policy("always"), &json!(SLEEP)));
    d.kill9();
    d.restart();
    until("as Docker does it", || runs(&d, "always"));
    assert_eq!(d.status("unless-stopped"), "exited");
    assert_eq!(d.status("on-failure"), "exited");
    assert_eq!(d.status(&never), "created");
    d.finish();
}

#[test]
fn a_stop_that_was_cut_short_is_one() {
    let mut d = daemon();
    let body = with_policy(&policy("unless-stopped"), &json!(SLEEP));
    let id = d.run_detached("it", body);
    let pid = d.init_pid(&id);
    // sleep is the first process and lives on after SIGTERM: the stop waits.
    let stopping = d.http.clone();
    let path = format!("/containers/{id}/stop?t=1000");
    let waiting = std::thread::spawn(move || {
        // The daemon dies on it.
        drop(std::panic::catch_unwind(|| stopping.post(&path)));
    });
    let kill = json!({"event": ["kill"]}).to_string();
    let path = testkit::query("/events", &[("filters", &kill), ("until", "4000000000")]);
    d.http
        .events(&path)
        .next_event()
        .expect("the signal is sent");
    d.kill9();
    waiting.join().expect("it was caught");
    kill_all(&[pid]);
    d.restart();
    d.wait_status("it", "exited");
    assert_eq!(d.inspect("it")["RestartCount"], 0);
    d.finish();
}

#[test]
fn a_pause_goes_on_in_the_next_daemon() {
    let mut d = daemon();
    let crash = json!(["sh", "-c", "exit 1"]);
    let id = d.run_detached("it", with_policy(&policy("always"), &crash));
    until("some restarts", || {
        d.inspect(&id)["RestartCount"].as_u64() >= Some(4)
    });
    d.wait_status("it", "restarting");
    let count = d.inspect(&id)["RestartCount"].as_u64();
    for _ in 0..3 {
        d.kill9();
        d.restart();
        assert!(d.inspect(&id)["RestartCount"].as_u64() >= count);
    }
    until("it goes on", || {
        d.inspect(&id)["RestartCount"].as_u64() > count
    });
    d.finish();
}

#[test]
fn a_restart_that_was_cut_short_is_finished() {
    let fakes = Fakes::new();
    let mut d = Daemon::start(options().fakes(&fakes));
    let id = d.run_detached("it", json!({"Cmd": SLEEP}));
    fakes.behave("runc create hang");
    let http = d.http.clone();
    let path = format!("/containers/{id}/restart?t=0");
    let waiting = std::thread::spawn(move || {
        drop(std::panic::catch_unwind(|| http.post(&path)));
    });
    let filters = json!({"event": ["stop"]}).to_string();
    let path = testkit::query("/events", &[("filters", &filters), ("until", "4000000000")]);
    d.http.events(&path).next_event().expect("it is stopped");
    until("the start has begun", || {
        fakes
            .calls()
            .iter()
            .filter(|c| c.contains("create"))
            .count()
            > 1
    });
    d.kill9();
    waiting.join().expect("it was caught");
    fakes.behave("");
    d.restart();
    until("it is started after all", || runs(&d, "it"));
    d.finish();
}

#[test]
fn after_a_reboot_of_the_host_policies_start_what_ran() {
    let mut d = daemon();
    let names = ["always", "unless-stopped", "on-failure", "no"];
    let pids = names.map(|name| {
        let id = d.run_detached(name, with_policy(&policy(name), &json!(SLEEP)));
        d.init_pid(&id)
    });
    d.run_detached(
        "stopped",
        with_policy(&policy("unless-stopped"), &json!(SLEEP)),
    );
    d.http.post("/containers/stopped/stop?t=0").expect(204);
    d.kill9();
    kill_all(&pids);
    d.start_another_boot();
    for name in &names[..3] {
        until("its policy starts it", || runs(&d, name));
    }
    let state = &d.inspect("no")["State"];
    assert_eq!(state["ExitCode"], 255, "{state}");
    assert_eq!(d.status("stopped"), "exited");
    d.finish();
}

/// Whichever write of the ledger fails, the policy goes on when there is room again.
#[cfg(feature = "failpoints")]
#[test]
fn a_write_that_fails_ends_no_policy() {
    for time in 4..10 {
        let mut d = daemon();
        d.stop();
        d.set_failpoints(&format!("ledger-commit=error@{time}"));
        d.restart();
        let crash = json!(["sh", "-c", "exit 1"]);
        d.create("it", with_policy(&policy("always"), &crash));
        until("it is started", || {
            let started = d.http.post("/containers/it/start").status;
            matches!(started, 204 | 304)
        });
        until("its policy goes on", || {
            d.inspect("it")["RestartCount"].as_u64() >= Some(4)
        });
        d.finish();
    }
}

/// A restart for its health that the daemon died on is made by the next one.
#[cfg(feature = "failpoints")]
#[test]
fn an_ill_container_is_restarted_by_the_next_daemon() {
    let mut d = daemon();
    d.stop();
    d.set_failpoints("health-written=kill@2");
    d.restart();
    let check = json!({"Test": ["CMD", "false"], "Interval": 100_000_000, "Retries": 1});
    let body =
        json!({"Cmd": SLEEP, "Healthcheck": check, "Labels": {"moored.on-unhealthy": "restart"}});
    let id = d.create("it", body);
    d.http
        .attempt("POST", &format!("/containers/{id}/start"), "", b"");
    assert!(d.ends_within(testkit::DEADLINE));
    d.set_failpoints("");
    d.restart();
    let restarts = json!({"event": ["restart"]}).to_string();
    let path = testkit::query(
        "/events",
        &[("filters", &restarts), ("until", "4000000000")],
    );
    let mut events = d.http.events(&path);
    assert_eq!(events.next_event().expect("one")["Actor"]["ID"], id);
    drop(events);
    d.finish();
}

/// Checks that are due when the daemon starts are not taken for those of an earlier one.
#[cfg(feature = "failpoints")]
#[test]
fn a_slow_recovery_ends_no_check_of_its_own() {
    let mut d = daemon();
    let check = json!({"Test": ["CMD", "sleep", "1"], "Interval": 50_000_000, "Retries": 1});
    for name in ["one", "two", "three"] {
        d.run_detached(name, json!({"Cmd": SLEEP, "Healthcheck": check}));
        d.wait_health(name, "healthy");
    }
    d.kill9();
    d.set_failpoints("recover-found=delay:1500@3");
    d.restart();
    for _ in 0..2 {
        for name in ["one", "two", "three"] {
            let log = d.inspect(name)["State"]["Health"]["Log"].clone();
            until("it is looked at", || {
                d.inspect(name)["State"]["Health"]["Log"] != log
            });
            assert_eq!(d.inspect(name)["State"]["Health"]["Status"], "healthy");
        }
    }
    d.finish();
}
