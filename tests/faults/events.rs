//! Events over the death of the daemon: each change is told once, and followers go on where they
//! were.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use testkit::{Client, until};

use crate::daemon;

fn text(event: &Value) -> String {
    let name = event["Actor"]["Attributes"]["name"].as_str();
    format!(
        "{} {}",
        event["Action"].as_str().expect("text"),
        name.unwrap_or_default()
    )
}

#[test]
fn what_happened_while_no_daemon_was_there_is_told_once() {
    let mut d = daemon();
    let start = d.http.events("/moored/events").began_at();
    let sleep = json!({"Cmd": ["sleep", "1000"]});
    d.run_detached("stays", sleep.clone());
    let ends = d.run_detached("ends", sleep.clone());
    let gone = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"AutoRemove": true}});
    let goes = d.run_detached("goes", gone);
    d.run_detached("frozen", sleep);
    let inits = [&ends, &goes].map(|id| d.init_pid(id));
    d.kill9();
    for pid in inits {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is alive");
        until("it has ended", || {
            rustix::process::test_kill_process(pid).is_err()
        });
    }
    d.restart();
    d.wait_status("ends", "exited");
    until("it is removed", || {
        d.http.get("/containers/goes/json").status == 404
    });
    let end = d.http.events("/moored/events").began_at();
    d.kill9();
    d.restart();
    let again = d.http.events("/moored/events").began_at();
    assert_eq!(again, end, "a second recovery tells nothing");
    let mut events = d
        .http
        .events(&format!("/moored/events?since={start}&until=1"));
    assert_eq!(events.rest(), Vec::<Value>::new(), "all later than that");
    drop(events);
    let mut follower = d.http.events(&format!("/moored/events?since={start}"));
    let mut counts = BTreeMap::<String, u32>::new();
    for number in start + 1..=end {
        let event = follower.next_event().expect("more");
        assert_eq!(event["number"], number);
        *counts.entry(text(&event)).or_default() += 1;
        if event["Action"] == "die" {
            assert_eq!(event["Actor"]["Attributes"]["exitCode"], "137");
        }
    }
    drop(follower);
    let made = ["create", "start"].iter();
    let mut expected: BTreeMap<String, u32> = made
        .flat_map(|action| {
            ["stays", "ends", "goes", "frozen"].map(|c| (format!("{action} {c}"), 1))
        })
        .collect();
    expected.extend(["die ends", "die goes", "destroy goes"].map(|e| (e.to_owned(), 1)));
    assert_eq!(counts, expected);
    d.finish();
}

/// How many of what: short in `make test`, the full numbers in `make soak`.
struct Counts {
    events: u64,
    followers: usize,
    kills: u64,
}

/// Follows until `end`, from one daemon to the next, and checks that no number is missed or
/// doubled.
fn follow(http: &Client, start: u64, end: u64, slow: bool) {
    let mut number = start;
    while number < end {
        if !http.answers() {
            std::thread::sleep(std::time::Duration::from_millis(5));
            continue;
        }
        let Ok(mut stream) = http.connect() else {
            continue;
        };
        let request = format!("GET /moored/events?since={number} HTTP/1.0\r\nHost: moored\r\n\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            continue;
        }
        let reader = std::io::BufReader::new(stream);
        for line in std::io::BufRead::lines(reader) {
            let Ok(line) = line else { break };
            let Some(at) = line.find("{\"number\":") else {
                continue;
            };
            // A line that was cut by the death of the daemon is none.
            let Ok(event) = serde_json::from_str::<Value>(&line[at..]) else {
                break;
            };
            let next = event["number"].as_u64().expect("a number");
            assert_eq!(next, number + 1, "none is missed and none comes twice");
            number = next;
            if slow && number.is_multiple_of(64) {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            if number >= end {
                break;
            }
        }
    }
}

#[test]
fn followers_of_any_speed_miss_none_over_kills() {
    let counts = match std::env::var_os("MOORED_SOAK") {
        Some(_) => Counts {
            events: 100_000,
            followers: 100,
            kills: 10,
        },
        None => Counts {
            events: 2_000,
            followers: 20,
            kills: 3,
        },
    };
    let mut d = daemon();
    d.run_detached("it", json!({"Cmd": ["sleep", "100000"]}));
    let start = d.http.events("/moored/events").began_at();
    let end = start + counts.events;
    let followers: Vec<_> = (0..counts.followers)
        .map(|n| {
            let http = d.http.clone();
            std::thread::spawn(move || follow(&http, start, end, n % 2 == 0))
        })
        .collect();
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (http, enough) = (d.http.clone(), enough.clone());
            std::thread::spawn(move || {
                // One that is refused, for no daemon is there, is sent again.
                while !enough.load(Ordering::Relaxed) {
                    signal(&http);
                }
            })
        })
        .collect();
    for kill in 1..=counts.kills {
        let at = start + counts.events * kill / (counts.kills + 1);
        until("there are more events", || {
            d.http.events("/moored/events").began_at() >= at
        });
        d.kill9();
        d.restart();
    }
    until("all events are there", || {
        d.http.events("/moored/events").began_at() >= end
    });
    enough.store(true, Ordering::Relaxed);
    for thread in writers.into_iter().chain(followers) {
        thread.join().expect("it found nothing wrong");
    }
    d.finish();
}

/// Sends many signals over one connection, each an event.
fn signal(http: &Client) {
    let Ok(mut stream) = http.connect() else {
        std::thread::sleep(std::time::Duration::from_millis(5));
        return;
    };
    let one = "POST /containers/it/kill?signal=URG HTTP/1.1\r\nHost: moored\r\n\r\n";
    for _ in 0..100 {
        if stream.write_all(one.as_bytes()).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}
