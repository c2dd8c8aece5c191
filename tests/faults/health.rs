//! Health checks over the death of the daemon, and beside checks that hang.

use serde_json::{Value, json};
use testkit::{Daemon, Fakes, until};

use crate::{daemon, options};

const MS: u64 = 1_000_000;
const SLEEP: [&str; 2] = ["sleep", "1000"];

fn health(d: &Daemon, id: &str) -> Value {
    d.inspect(id)["State"]["Health"].clone()
}

fn checked(test: &Value, interval_ms: u64, retries: u32) -> Value {
    let check = json!({"Test": test, "Interval": interval_ms * MS, "Retries": retries});
    json!({"Cmd": SLEEP, "Healthcheck": check})
}

#[test]
fn a_streak_goes_on_in_the_next_daemon() {
    let mut d = daemon();
    d.run_detached("it", checked(&json!(["CMD", "false"]), 100, 1000));
    d.run_detached("well", checked(&json!(["CMD", "true"]), 3_600_000, 1000));
    d.run_detached("fine", checked(&json!(["CMD", "true"]), 20, 1));
    until("a streak", || {
        health(&d, "it")["FailingStreak"].as_u64() >= Some(3)
    });
    until("it is well", || health(&d, "fine")["Status"] == "healthy");
    let fine = json!({"container": ["fine"], "event": ["health_status"]}).to_string();
    let path = testkit::query("/events", &[("filters", &fine), ("until", "4000000000")]);
    let mut streak = health(&d, "it")["FailingStreak"].as_u64();
    for _ in 0..3 {
        d.kill9();
        d.restart();
        let now = health(&d, "it");
        assert!(now["FailingStreak"].as_u64() >= streak, "{now}");
        assert!(
            now["Log"].as_array().is_some_and(|log| !log.is_empty()),
            "{now}"
        );
        assert_eq!(health(&d, "fine")["Status"], "healthy");
        assert_eq!(health(&d, "well")["Status"], "starting");
        streak = now["FailingStreak"].as_u64();
    }
    until("it goes on", || {
        health(&d, "it")["FailingStreak"].as_u64() > streak
    });
    let mut events = d.http.events(&path);
    assert_eq!(
        events.next_event().expect("one")["Action"],
        "health_status: healthy"
    );
    assert!(events.is_waiting(), "it was told once");
    drop(events);
    d.finish();
}

#[test]
fn a_check_of_a_dead_daemon_is_ended() {
    let mut d = daemon();
    let hangs = json!(["CMD", "sh", "-c", "echo $$ > /signs/pid; exec sleep 1001"]);
    let dir = d.root().join("signs");
    std::fs::create_dir(&dir).expect("a directory in ours");
    let mut body = checked(&hangs, 20, 1);
    body["HostConfig"] = json!({"Binds": [format!("{}:/signs", dir.display())]});
    let id = d.run_detached("it", body);
    let pid = dir.join("pid");
    until("it is looked at", || pid.exists());
    d.kill9();
    std::fs::remove_file(&pid).expect("it is there");
    let sleepers = |d: &Daemon| {
        let top = d
            .http
            .get(&format!("/containers/{id}/top?ps_args=-o+pid,args"));
        top.expect(200).text().matches("sleep 1001").count()
    };
    d.restart();
    until("the next daemon looks at it", || pid.exists());
    until("the old check is gone", || sleepers(&d) == 1);
    d.finish();
}

#[test]
fn checks_that_hang_delay_nobody_elses() {
    let fakes = Fakes::new();
    let soon = "[launch]\ncreate-timeout-s = 5\n";
    let d = Daemon::start(options().fakes(&fakes).and_config(soon));
    let hangs = json!(["CMD", "sleep", "1000"]);
    for n in 0..8 {
        d.run_detached(&format!("hangs-{n}"), checked(&hangs, 20, 1));
    }
    until("all eight are looked at", || {
        let calls = fakes.calls();
        calls
            .iter()
            .filter(|call| call.starts_with("runc") && call.contains(" exec "))
            .count()
            >= 8
    });
    let id = d.run_detached("it", checked(&json!(["CMD", "true"]), 20, 1));
    until("it is well", || health(&d, &id)["Status"] == "healthy");
    // Starts that hang give their place away.
    fakes.behave("conmon exec hang");
    for n in 0..5 {
        d.run_detached(
            &format!("stuck-{n}"),
            checked(&json!(["CMD", "true"]), 20, 1),
        );
    }
    until("five starts hang", || {
        let calls = fakes.calls();
        calls
            .iter()
            .filter(|c| c.starts_with("conmon") && c.contains("--exec-"))
            .count()
            >= 13
    });
    fakes.behave("");
    let other = d.run_detached("other", checked(&json!(["CMD", "true"]), 20, 1));
    until("it is well", || health(&d, &other)["Status"] == "healthy");
    d.finish();
}
