//! The daemon dies at each failpoint of networks, or fails there.

use std::time::Duration;

use failpoint::Point;
use serde_json::{Value, json};
use testkit::{Client, Daemon, until};

use super::{address, daemon, fetched, make_network, remove, resolved, server, sleeper, truth};

const STAYS_PORT: u16 = 18080;
const PORT: u16 = 18081;

/// What comes and goes while others stay: every point is passed at least twice, those of a network that is
/// joined or left while the container runs once.
fn everything(http: &Client) {
    let send = |method: &str, path: &str, body: &Value| {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        http.attempt(method, path, "application/json", body.as_bytes());
    };
    let mut body = server("it", "one", PORT);
    body["Image"] = json!("busybox");
    send("POST", "/containers/create?name=it", &body);
    send("POST", "/containers/it/start", &Value::Null);
    let it = json!({"Container": "it"});
    send("POST", "/networks/two/connect", &it);
    send("POST", "/containers/it/rename?name=that", &Value::Null);
    send("POST", "/containers/that/restart?t=1", &Value::Null);
    let that = json!({"Container": "that", "Force": true});
    send("POST", "/networks/two/disconnect", &that);
    send("POST", "/containers/that/stop?t=1", &Value::Null);
    send("DELETE", "/containers/that?force=1", &Value::Null);
    let mut mapped = server("mapped", "one", PORT);
    mapped["Image"] = json!("busybox");
    mapped["HostConfig"]["UsernsMode"] = json!("0:300000:65536");
    mapped["HostConfig"]["AutoRemove"] = json!(true);
    send("POST", "/containers/create?name=mapped", &mapped);
    send("POST", "/containers/mapped/start", &Value::Null);
    send("POST", "/containers/mapped/stop?t=1", &Value::Null);
}

/// What was there before the daemon died, and must not notice.
struct Staying {
    id: String,
    init: u32,
    address: String,
}

impl Staying {
    fn new(d: &Daemon) -> Self {
        let id = d.run_detached("stays", server("stays", "one", STAYS_PORT));
        let staying = Self {
            init: d.init_pid(&id),
            address: address(d, &id, "one"),
            id,
        };
        until("it serves", || fetched(d, STAYS_PORT) == "stays");
        staying
    }

    fn expect(&self, d: &Daemon) {
        assert_eq!(d.init_pid(&self.id), self.init);
        assert_eq!(address(d, &self.id, "one"), self.address);
        assert_eq!(fetched(d, STAYS_PORT), "stays");
        until("its name is found", || {
            resolved(d, &self.id, "stays").as_deref() == Some(&self.address)
        });
    }
}

/// All that was asked for can be asked for again.
fn expect_usable(d: &Daemon, staying: &Staying) {
    for name in ["it", "that", "mapped"] {
        remove(d, name);
    }
    truth::expect(d, "after the removals");
    let id = d.run_detached("it", server("it", "one", PORT));
    let peer = d.run_detached("that", sleeper("one"));
    let body = json!({"Container": peer});
    d.http.post_json("/networks/two/connect", &body).expect(200);
    truth::expect(d, "with new ones");
    until("it serves", || fetched(d, PORT) == "it");
    until("its name is found", || {
        resolved(d, &staying.id, "it") == Some(address(d, &id, "one"))
    });
    remove(d, "it");
    remove(d, "that");
}

fn search(points: &[(Point, u32)], action: &str) {
    let mut d = daemon();
    for name in ["one", "two"] {
        make_network(&d, name);
    }
    let staying = Staying::new(&d);
    for (point, times) in points {
        // Failing and waiting in full are for `make soak`.
        let is_soak = std::env::var_os("MOORED_SOAK").is_some();
        let times = match action == "kill" || is_soak {
            true => *times,
            false => 1,
        };
        for time in 1..=times {
            let plan = format!("{}={action}@{time}", point.name());
            eprintln!("{plan}");
            let logged = d.log().len();
            d.stop();
            d.set_failpoints(&plan);
            d.restart();
            everything(&d.http);
            let died = d.ends_within(match action {
                "kill" => Duration::from_secs(3),
                _ => Duration::ZERO,
            });
            // A removal may go on after its answer.
            let passed = |d: &Daemon| d.log()[logged..].contains("failpoint");
            until(&format!("{plan} is passed"), || passed(&d));
            assert_eq!(died, action == "kill", "{plan}");
            d.set_failpoints("");
            if died {
                d.restart();
            }
            truth::expect(&d, &plan);
            staying.expect(&d);
            expect_usable(&d, &staying);
        }
    }
    d.finish();
}

/// With how often each is passed in what is done above.
const COMING: [(Point, u32); 5] = [
    (Point::NetworkPromised, 3),
    (Point::NetworkPinned, 2),
    (Point::NetworkSetUp, 3),
    (Point::NetworkTold, 3),
    (Point::NetworkJoining, 1),
];
const GOING: [(Point, u32); 4] = [
    (Point::NetworkLeft, 3),
    (Point::NetworkTornDown, 3),
    (Point::NetworkReleased, 3),
    (Point::NetworkParted, 1),
];

#[test]
fn killed_where_networks_come() {
    search(&COMING, "kill");
}

#[test]
fn killed_where_networks_go() {
    search(&GOING, "kill");
}

#[test]
fn failing_at_each_point() {
    search(&COMING, "error");
    search(&GOING, "error");
}

/// The daemon is slow there, and clients ask for the next thing.
#[test]
fn waiting_at_each_point() {
    search(&COMING, "delay:300");
    search(&GOING, "delay:300");
}

/// Every point of networks is in one of the lists.
#[test]
fn no_point_is_forgotten() {
    let known = COMING.iter().chain(&GOING).map(|(point, _)| *point);
    let known: Vec<Point> = known.chain(super::bridge::POINTS).collect();
    let all = Point::ALL.iter().copied();
    let forgotten: Vec<_> = all
        .filter(|point| point.name().starts_with("network-") && !known.contains(point))
        .collect();
    assert_eq!(forgotten, []);
}
