//! aardvark-dns is killed, or stands still.

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Daemon, until};

use super::{address, daemon, make_network, remove, resolved, sleeper, truth};

fn server(d: &Daemon) -> Option<Pid> {
    let file = d.inside(d.root().join("run/networks/zones/aardvark.pid"));
    let text = std::fs::read_to_string(file).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

fn expect_names(d: &Daemon, id: &str) {
    until("its name is found", || {
        resolved(d, id, "it") == Some(address(d, id, "one"))
    });
}

#[test]
fn a_server_that_is_killed_is_there_again() {
    let mut d = daemon();
    make_network(&d, "one");
    let id = d.run_detached("it", sleeper("one"));
    expect_names(&d, &id);
    for round in 0..3 {
        let before = server(&d).expect("it runs");
        match round {
            // With nobody to see it, and before the next.
            0 => {
                d.kill9();
                kill_process(before, Signal::KILL).expect("it runs");
                d.restart();
            }
            // By nobody's fault but its own.
            1 => kill_process(before, Signal::KILL).expect("it runs"),
            _ => kill_process(before, Signal::TERM).expect("it runs"),
        }
        until("another one runs", || {
            server(&d).is_some_and(|now| now != before)
        });
        expect_names(&d, &id);
        truth::expect(&d, "with another name server");
    }
    d.finish();
}

/// One that hangs costs names, and delays nothing by more than the time it is waited for.
#[test]
fn a_server_that_hangs_stops_nobody() {
    let d = daemon();
    make_network(&d, "one");
    let id = d.run_detached("it", sleeper("one"));
    expect_names(&d, &id);
    let hangs = server(&d).expect("it runs");
    kill_process(hangs, Signal::STOP).expect("it runs");
    let start = std::time::Instant::now();
    let other = d.run_detached("other", sleeper("one"));
    remove(&d, "other");
    d.run_detached("third", sleeper("one"));
    eprintln!("beside a server that hangs: {:?}", start.elapsed());
    kill_process(hangs, Signal::CONT).expect("it is there");
    expect_names(&d, &id);
    until("the third is found", || {
        resolved(&d, &id, "third") == Some(address(&d, "third", "one"))
    });
    assert_ne!(
        resolved(&d, &id, &other[..12]),
        Some(address(&d, &id, "one"))
    );
    truth::expect(&d, "after a server that hung");
    d.finish();
}
