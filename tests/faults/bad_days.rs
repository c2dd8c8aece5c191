//! The host has a bad day: a process that cannot be killed, no descriptors left, a clock that is
//! wrong. Others are unaffected, what fails says why, and with relief everything works again.

use std::io::Write as _;
use std::time::Instant;

use serde_json::json;
use testkit::{Daemon, Frozen, until};

use crate::{daemon, options};

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[test]
fn what_cannot_be_killed_delays_nobody_and_is_told() {
    let d = daemon();
    let held = format!("{}/held", d.mark());
    let body = json!({"Cmd": SLEEP, "HostConfig": {"CgroupParent": format!("/{held}")}});
    d.run_detached("stuck", body);
    d.run_detached("other", json!({"Cmd": SLEEP}));
    let frozen = Frozen::new(&d, &held);
    let http = d.http.clone();
    let stop = std::thread::spawn(move || {
        let start = Instant::now();
        (http.post("/containers/stuck/stop?t=1"), start.elapsed())
    });
    let start = Instant::now();
    let mut asked = 0;
    while !stop.is_finished() {
        d.http.get("/containers/json").expect(200);
        d.http.get("/containers/stuck/json").expect(200);
        d.http.get("/_ping").expect(200);
        asked += 1;
        assert!(start.elapsed() < testkit::DEADLINE);
    }
    // Not a time: that all went on beside it.
    assert!(asked > 20, "{asked}");
    d.run("fine", json!({"Cmd": ["true"]}));
    let (answer, took) = stop.join().expect("it answers");
    let said = answer.error(500);
    assert!(said.contains("did not end within 5 s of SIGKILL"), "{said}");
    eprintln!("the stop of a stuck container answered after {took:?}");
    frozen.thaw();
    d.wait_status("stuck", "exited");
    assert_eq!(d.inspect("stuck")["State"]["ExitCode"], 137);
    d.start_container("stuck");
    d.http.delete("/containers/stuck?force=1").expect(204);
    // What a client named stays.
    for cgroup in testkit::census::cgroups(&d.mark()) {
        if cgroup.ends_with("held") {
            std::fs::remove_dir(&cgroup).expect("it is empty");
        }
    }
    d.finish();
}

#[test]
fn without_descriptors_it_says_so_and_recovers() {
    let d = Daemon::start(options().open_files_max(96));
    d.run_detached("it", json!({"Cmd": SLEEP}));
    // One that has its connection already is answered whatever else happens.
    let mut early = d.http.connect().expect("it listens");
    let ask = b"GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n";
    let mut crowd = Vec::new();
    for _ in 0..120 {
        let mut stream = d.http.connect().expect("the queue is long");
        stream.write_all(ask).expect("it is taken");
        crowd.push(stream);
    }
    until("none is left", || {
        d.log().contains("cannot accept a connection")
    });
    early.write_all(ask).expect("it is taken");
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut early, &mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    early
        .write_all(
            b"POST /containers/it/restart?t=0 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n",
        )
        .expect("it is taken");
    drop(crowd);
    drop(early);
    until("it answers again", || d.http.answers());
    until("the container is well or can be started", || {
        d.http.post("/containers/it/start");
        d.status("it") == "running"
    });
    assert_eq!(d.run("fine", json!({"Cmd": ["true"]})).code, 0);
    d.finish();
}

/// The daemon's clock, of the test build, is set to another year between two daemons.
#[cfg(feature = "failpoints")]
#[test]
fn a_clock_that_is_a_year_off_changes_no_container() {
    let year = 365 * 24 * 3600_i64;
    let mut d = daemon();
    let check = json!({"Test": ["CMD", "true"], "Interval": 200_000_000});
    d.run_detached("well", json!({"Cmd": SLEEP, "Healthcheck": check}));
    let policy = json!({"RestartPolicy": {"Name": "always"}});
    d.run_detached(
        "loop",
        json!({"Cmd": ["sh", "-c", "sleep 0.1; exit 1"], "HostConfig": policy}),
    );
    for offset in [year, -year, 0] {
        d.kill9();
        d.set_clock(offset);
        d.restart();
        let results = |d: &Daemon| d.inspect("well")["State"]["Health"]["Log"].clone();
        let before = results(&d);
        until("its health is looked at", || results(&d) != before);
        let count = d.inspect("loop")["RestartCount"].as_u64();
        until("its policy acts", || {
            d.inspect("loop")["RestartCount"].as_u64() > count
        });
        let start = Instant::now();
        d.http.post("/containers/well/stop?t=0").expect(204);
        d.start_container("well");
        assert_eq!(
            d.run("fine", json!({"Cmd": ["sh", "-c", "exit 3"]})).code,
            3
        );
        d.http.delete("/containers/fine").expect(204);
        assert!(start.elapsed() < testkit::DEADLINE);
        // The order is that of the numbers, whatever the time says.
        let mut events = d.http.events("/moored/events?since=0&until=9000000000");
        for number in 1..=events.began_at() {
            assert_eq!(events.next_event().expect("one")["number"], number);
        }
        drop(events);
    }
    d.finish();
}
