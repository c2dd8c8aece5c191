//! Every failpoint: the daemon dies there, fails there, or waits there.

use std::time::{Duration, Instant};

use failpoint::Point;
use serde_json::{Value, json};
use testkit::{Attempt, Client, Daemon, Image, until};

use super::truth;
use crate::daemon;

/// None can be the beginning of an id.
const NAMES: [&str; 6] = ["one", "uno", "wrong", "quick", "loud", "plain"];
const JSON: &str = "application/json";
const TAR: &str = "application/x-tar";

/// A client that goes on whatever the daemon does.
struct Stubborn<'a>(&'a Client);

impl Stubborn<'_> {
    fn send(&self, method: &str, path: &str, body: &Value) -> Option<Attempt> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let answer = self.0.attempt(method, path, JSON, &body);
        if let Some(answer) = &answer
            && answer.status >= 400
        {
            let said: Value = serde_json::from_str(&answer.text).expect("errors are JSON");
            assert!(said["message"].is_string(), "{method} {path}: {said}");
        }
        answer
    }

    fn post(&self, path: &str) {
        self.send("POST", path, &Value::Null);
    }

    /// Asks until `holds`, the daemon is dead, or it has been asked for long enough.
    fn ask_until(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            let Some(answer) = self.send("GET", path, &Value::Null) else {
                return;
            };
            let shown = serde_json::from_str(&answer.text).unwrap_or_default();
            if answer.status != 200 || holds(&shown) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn create(&self, name: &str, mut body: Value) {
        body["Image"] = json!("busybox");
        let path = format!("/containers/create?name={name}");
        self.send("POST", &path, &body);
    }

    /// Does everything that has a failpoint in it.
    fn everything(&self) {
        self.send("POST", "/volumes/create", &json!({"Name": "vol"}));
        for _ in 0..2 {
            self.send("POST", "/volumes/create", &json!({}));
        }
        self.post("/volumes/prune");
        let in_memory = json!({"type": "tmpfs", "device": "tmpfs", "o": "mode=777"});
        let lives = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
        self.create(
            "one",
            json!({
                "Cmd": ["sh", "-c", lives], "Volumes": {"/anon": {}},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10_000_000},
                "Labels": {"moored.sdnotify": "container"},
                "HostConfig": {"NetworkMode": "none", "Binds": ["vol:/v"],
                    "Mounts": [
                        {"Type": "volume", "Source": "vol", "Target": "/part",
                            "VolumeOptions": {"Subpath": "."}},
                        {"Type": "volume", "Target": "/memory", "VolumeOptions": {
                            "DriverConfig": {"Options": in_memory}}}],
                    "UsernsMode": "0:300000:65536",
                    "RestartPolicy": {"Name": "unless-stopped"}},
            }),
        );
        self.post("/containers/one/start");
        self.ask_until("/containers/one/json", |c| {
            c["State"]["Health"]["Log"]
                .as_array()
                .is_some_and(|log| !log.is_empty())
        });
        // Not over before its start is written.
        let exec = json!({"Cmd": ["sleep", "0.2"]});
        if let Some(made) = self.send("POST", "/containers/one/exec", &exec)
            && made.status == 201
        {
            let made: Value = serde_json::from_str(&made.text).expect("JSON");
            let id = made["Id"].as_str().expect("an id");
            self.send(
                "POST",
                &format!("/exec/{id}/start"),
                &json!({"Detach": true}),
            );
            self.ask_until(&format!("/exec/{id}/json"), |e| e["Running"] == false);
        }
        self.post("/containers/one/pause");
        self.post("/containers/one/unpause");
        let more = json!({"Memory": 1 << 30, "MemorySwap": -1, "PidsLimit": 100});
        self.send("POST", "/containers/one/update", &more);
        self.post("/commit?container=one&repo=committed&tag=1");
        self.send("DELETE", "/images/committed:1", &Value::Null);
        self.post("/containers/one/rename?name=uno");
        for name in ["one", "uno"] {
            self.post(&format!("/containers/{name}/stop?t=1"));
            self.send(
                "DELETE",
                &format!("/containers/{name}?v=1&force=1"),
                &Value::Null,
            );
        }
        self.send("DELETE", "/volumes/vol", &Value::Null);
        let host = json!({"NetworkMode": "none"});
        self.create("wrong", json!({"Cmd": ["/no/such"], "HostConfig": host}));
        self.post("/containers/wrong/start");
        let auto = json!({"NetworkMode": "none", "AutoRemove": true});
        self.create("quick", json!({"Cmd": ["true"], "HostConfig": auto}));
        self.post("/containers/quick/start");
        self.ask_until("/containers/quick/json", |_| false);
        let small = json!({"NetworkMode": "none",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}}});
        let loud = "for n in $(seq 40); do seq 1 500; sleep 0.01; done";
        self.create(
            "loud",
            json!({"Cmd": ["sh", "-c", loud], "HostConfig": small}),
        );
        self.post("/containers/loud/start");
        self.post("/containers/loud/wait");
        let image = Image::with("extra", &json!({"Labels": {"a": "b"}})).docker_archive();
        self.0.attempt("POST", "/images/load", TAR, &image);
        self.post("/images/extra/tag?repo=other&tag=1");
        for name in ["other:1", "extra"] {
            self.send("DELETE", &format!("/images/{name}"), &Value::Null);
        }
    }
}

/// Whether the point is passed while a daemon takes containers back.
fn is_of_recovery(point: Point) -> bool {
    point.name().starts_with("recover-")
}

/// Runs everything with a plan, and tells whether the daemon died of it.
fn run(d: &mut Daemon, plan: &str, in_recovery: bool) -> bool {
    if in_recovery {
        // Something to take back, of each kind.
        let sleep = json!({"Cmd": ["sleep", "1000"]});
        d.run_detached("plain", sleep.clone());
        let ends = d.run_detached("wrong", sleep);
        let pid = d.init_pid(&ends);
        d.kill9();
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is alive");
        until("it has ended", || {
            rustix::process::test_kill_process(pid).is_err()
        });
        d.set_failpoints(plan);
        d.spawn();
        if plan.contains("=kill") {
            return d.ends_within(testkit::DEADLINE);
        }
        d.wait_ready();
        return false;
    }
    d.stop();
    d.set_failpoints(plan);
    d.spawn();
    if !plan.contains("=kill") {
        d.wait_ready();
        Stubborn(&d.http).everything();
        return false;
    }
    // A point of the ledger may be passed before it is ready.
    while !d.http.answers() {
        if d.ends_within(Duration::ZERO) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Stubborn(&d.http).everything();
    d.ends_within(Duration::from_secs(2))
}

/// The names are free, or their containers can be removed; everything works again.
fn expect_usable(d: &Daemon, action: &str) {
    truth::check_with(d, action == "error");
    for name in NAMES {
        let gone = d.http.delete(&format!("/containers/{name}?force=1&v=1"));
        assert!(
            matches!(gone.status, 204 | 404 | 409),
            "{name}: {}",
            gone.text()
        );
        until("its name is free", || {
            d.http.get(&format!("/containers/{name}/json")).status == 404
        });
        d.create(name, json!({"Cmd": ["true"]}));
    }
    let all = Stubborn(&d.http);
    for name in NAMES {
        d.http
            .delete(&format!("/containers/{name}?v=1"))
            .expect(204);
    }
    for image in ["committed:1", "other:1", "extra"] {
        all.send("DELETE", &format!("/images/{image}"), &Value::Null);
    }
    let volumes = d.http.get("/volumes").expect(200).json();
    for volume in volumes["Volumes"].as_array().expect("a list") {
        let name = volume["Name"].as_str().expect("a name");
        d.http.delete(&format!("/volumes/{name}")).expect(204);
    }
    assert_eq!(d.run("again", json!({"Cmd": ["true"]})).code, 0);
    truth::check(d);
}

fn search(points: impl Iterator<Item = Point>, action: &str) {
    for point in points {
        // The ledger's are passed at each change.
        let times = match point {
            Point::LedgerCommit | Point::LedgerCommitted => 2..=14,
            _ => 1..=1,
        };
        for time in times.step_by(3) {
            let plan = format!("{}={action}@{time}", point.name());
            eprintln!("{plan}");
            let mut d = daemon();
            let died = run(&mut d, &plan, is_of_recovery(point));
            assert!(
                d.log().contains("failpoint"),
                "{plan} was never passed\n{}",
                d.log()
            );
            assert_eq!(died, action == "kill", "{plan}");
            d.set_failpoints("");
            if died {
                d.restart();
            }
            expect_usable(&d, action);
            d.finish();
        }
    }
}

/// Points dealt out to tests that run beside each other. Those of images and networks are
/// looked at elsewhere.
fn share(of: usize) -> impl Iterator<Item = Point> {
    let all = Point::ALL.iter().copied();
    let elsewhere = |point: &Point| {
        ["image-", "network-"]
            .iter()
            .any(|of| point.name().starts_with(of))
    };
    let all = all.filter(move |point| !elsewhere(point));
    all.skip(of).step_by(2)
}

#[test]
fn killed_at_each_point_first_half() {
    search(share(0), "kill");
}

#[test]
fn killed_at_each_point_second_half() {
    search(share(1), "kill");
}

/// Failing and waiting are for `make soak`, but for a few.
fn shortened(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let step = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 1,
        None => 4,
    };
    points.step_by(step).collect()
}

#[test]
fn failing_at_each_point() {
    search(shortened(share(0)).into_iter(), "error");
    search(shortened(share(1)).into_iter(), "error");
}

#[test]
fn waiting_at_each_point() {
    let slow = shortened(share(0).chain(share(1)));
    search(slow.into_iter(), "delay:200");
}
