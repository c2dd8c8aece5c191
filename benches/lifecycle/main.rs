//! How long a container's life takes through the daemon, beside the floor: the same conmon and
//! the same OCI runtime driven by hand with the same `config.json`, in the same run, interleaved.
//!
//! `make bench` prints the table of README. Nothing is asserted here: a benchmark informs.

mod exec;

use std::time::Duration;

use benchkit::{Floor, Shape, Words, enter, median, ms, timed};
use serde_json::json;
use testkit::{Daemon, Options};

const PAIRS: usize = 30;
const LANES: usize = 8;
const LANE_ROUNDS: usize = 8;
const LANE_TURNS: usize = 3;
const LISTED: usize = 1000;
const SLEEPERS: usize = 200;

fn main() {
    let words = Words::of_command_line();
    for runtime in ["runc", "crun"].into_iter().filter(|r| words.want(r)) {
        let daemon = start(runtime);
        println!("== {runtime}");
        let floor = Floor::new(&daemon, runtime, &std::env::temp_dir(), &[]);
        // The floor works in the daemon's namespace; a thread that went there does not come back.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter(&daemon);
                pairs(&daemon, &floor);
                exec::execs(&daemon, &floor);
                lanes(&daemon, &floor);
                floor.end(&daemon);
            });
        });
        daemon.finish();
    }
    println!("== daemon");
    for (part, measure) in [
        ("idle", footprint as fn()),
        ("list", list),
        ("ready", ready),
    ] {
        if words.want(part) {
            measure();
        }
    }
}

fn start(runtime: &str) -> Daemon {
    let program = env!("CARGO_BIN_EXE_moored");
    Daemon::start(Options::new(program).runtime(runtime))
}

/// `run --rm` as the docker CLI does it: create, wait for removal, start, read the wait's end.
fn run_rm(daemon: &Daemon) {
    let body = json!({
        "Image": "busybox", "Cmd": ["true"],
        "HostConfig": {"AutoRemove": true, "NetworkMode": "none"},
    });
    let http = testkit::Client::new(daemon.http.socket());
    let made = http
        .post_json("/containers/create", &body)
        .expect(201)
        .json();
    let id = made["Id"].as_str().expect("an id").to_owned();
    let wait = format!("/containers/{id}/wait?condition=removed");
    let mut waiting = http.stream("POST", &wait, &[], b"");
    http.post(&format!("/containers/{id}/start")).expect(204);
    let end = waiting.body.read_to_end();
    assert_eq!(
        end,
        b"{\"StatusCode\":0}\n",
        "{}",
        String::from_utf8_lossy(&end)
    );
}

/// The same by hand.
fn cycle(floor: &Floor, number: usize) {
    let container = floor.create(number, &Shape::new(&["true"]));
    container.start();
    container.end();
}

fn pairs(daemon: &Daemon, floor: &Floor) {
    run_rm(daemon);
    cycle(floor, 0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..PAIRS {
        ours.push(timed(|| run_rm(daemon)));
        theirs.push(timed(|| cycle(floor, round)));
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "run --rm, sequential: {} (floor {}, over it {})",
        ms(ours),
        ms(theirs),
        ms(ours.saturating_sub(theirs))
    );
}

fn lanes(daemon: &Daemon, floor: &Floor) {
    let spent = |work: &(dyn Fn(usize) + Sync)| {
        timed(|| {
            std::thread::scope(|scope| {
                for lane in 0..LANES {
                    scope.spawn(move || {
                        enter(daemon);
                        (0..LANE_ROUNDS).for_each(|round| work(lane * 1000 + round));
                    });
                }
            });
        })
    };
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..LANE_TURNS {
        theirs += spent(&|round| cycle(floor, round));
        ours += spent(&|_| run_rm(daemon));
    }
    let rate = |spent: Duration| (LANE_TURNS * LANES * LANE_ROUNDS) as f64 / spent.as_secs_f64();
    let (ours, theirs) = (rate(ours), rate(theirs));
    println!(
        "run --rm, {LANES} lanes: {ours:.1}/s (floor {theirs:.1}/s, {:.0} % of it)",
        100.0 * ours / theirs
    );
}

fn footprint() {
    let daemon = Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")).bare());
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1024.0
    };
    println!(
        "idle: RSS {:.1} MiB, of it anonymous {:.1} MiB",
        field("VmRSS:"),
        field("RssAnon:")
    );
    daemon.finish();
}

fn list() {
    let daemon = start("runc");
    let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}});
    let made = timed(|| {
        for _ in 0..LISTED {
            daemon
                .http
                .post_json("/containers/create", &body)
                .expect(201);
        }
    });
    println!(
        "create: {} each ({LISTED} in a row)",
        ms(made / u32::try_from(LISTED).expect("small"))
    );
    let mut took: Vec<_> = (0..PAIRS)
        .map(|_| timed(|| drop(daemon.http.get("/containers/json?all=1").expect(200))))
        .collect();
    println!(
        "containers/json?all=1 with {LISTED}: {}",
        ms(median(&mut took))
    );
    daemon.finish();
}

/// From exec to the first answered ping, with nothing and with running containers. The daemon is
/// put into its namespaces by two small programs; what those take is no part of it.
fn ready() {
    for count in [0, SLEEPERS] {
        let mut daemon = start("runc");
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}});
        for _ in 0..count {
            let made = daemon
                .http
                .post_json("/containers/create", &body)
                .expect(201)
                .json();
            let id = made["Id"].as_str().expect("an id").to_owned();
            daemon
                .http
                .post(&format!("/containers/{id}/start"))
                .expect(204);
        }
        let mut took: Vec<_> = (0..9)
            .map(|_| {
                daemon.kill9();
                timed(|| daemon.restart())
            })
            .collect();
        let mut way: Vec<_> = (0..9).map(|_| timed(|| enter_only(&daemon))).collect();
        let ready = median(&mut took).saturating_sub(median(&mut way));
        println!("exec to ping, {count} running: {}", ms(ready));
        daemon.finish();
    }
}

fn enter_only(daemon: &Daemon) {
    let entered = daemon.command_inside("true").status();
    assert!(entered.is_ok_and(|s| s.success()));
}
