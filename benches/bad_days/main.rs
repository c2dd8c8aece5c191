//! How fast others are answered while the host has a bad day, beside a good one on the same machine
//! in the same run.
//!
//! `make bench` prints the table of README. Nothing is asserted about time; that each answer is the
//! right one is. A client with a connection of its own asks for a ping, the list and one container,
//! one after the other, while something else is stuck, full or used up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benchkit::{Words, median, ms, p99};
use serde_json::{Value, json};
use testkit::{Daemon, Fakes, Frozen, Full, Kept, Options, census, until};

/// Requests of each kind in one day.
const ROUNDS: usize = 1000;
/// Between two: others have a life, too.
const PAUSE: Duration = Duration::from_millis(2);
/// Containers that are stuck.
const STUCK: usize = 8;
/// Containers that are well, so that the list has something to say.
const WELL: usize = 20;
const FULL_BYTES: u64 = 64 << 20;
const FEW_FILES: u64 = 256;

type Day = (&'static str, fn());

const DAYS: [Day; 6] = [
    ("good", good),
    ("unkillable", unkillable),
    ("hung", hung),
    ("stopped", stopped),
    ("full", full),
    ("files", files),
];

fn main() {
    let words = Words::of_command_line();
    for (word, day) in DAYS {
        if words.want(word) {
            day();
        }
    }
}

fn start(options: Options) -> Daemon {
    let d = Daemon::start(options);
    for n in 0..WELL {
        d.run_detached(&format!("well{n}"), json!({"Cmd": ["sleep", "1000"]}));
    }
    d
}

fn options() -> Options {
    Options::new(env!("CARGO_BIN_EXE_moored"))
}

/// Asks, and prints what it took.
fn measure(d: &Daemon, day: &str) {
    measure_through(&mut d.http.keep(), day);
}

fn measure_through(line: &mut Kept, day: &str) {
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (path, took) in ["/_ping", "/containers/json", "/containers/well0/json"]
            .iter()
            .zip(&mut took)
        {
            let start = Instant::now();
            let answer = line.attempt("GET", path, &Value::Null);
            took.push(start.elapsed());
            assert_eq!(answer.map(|a| a.status), Some(200), "{path}");
        }
        std::thread::sleep(PAUSE);
    }
    let [ping, list, inspect] = took.map(|mut took| {
        let worst = took.iter().max().copied().unwrap_or_default();
        format!(
            "{} / {} / {}",
            ms(median(&mut took)),
            ms(p99(&mut took)),
            ms(worst)
        )
    });
    println!("{day}: ping {ping}, list {list}, inspect {inspect} (median / p99 / worst)");
}

fn good() {
    let d = start(options());
    measure(&d, "a good day");
    d.finish();
}

/// Stops of containers that no signal reaches.
fn unkillable() {
    let d = start(options());
    let stuck: Vec<_> = (0..STUCK)
        .map(|n| d.run_detached(&format!("stuck{n}"), json!({"Cmd": ["sleep", "1000"]})))
        .collect();
    let frozen: Vec<_> = stuck.iter().map(|id| Frozen::new(&d, id)).collect();
    std::thread::scope(|scope| {
        for id in &stuck {
            let http = d.http.clone();
            scope.spawn(move || http.post(&format!("/containers/{id}/stop?t=1")));
        }
        measure(&d, "containers that cannot be killed are stopped");
    });
    frozen.into_iter().for_each(Frozen::thaw);
    d.finish();
}

/// Starts whose runtime never returns.
fn hung() {
    let fakes = Fakes::new();
    let d = start(options().fakes(&fakes));
    let stuck: Vec<_> = (0..STUCK)
        .map(|n| d.create(&format!("stuck{n}"), json!({"Cmd": ["true"]})))
        .collect();
    let before = fakes.calls().len();
    fakes.behave("runc create hang");
    std::thread::scope(|scope| {
        for id in &stuck {
            let http = d.http.clone();
            scope.spawn(move || http.post(&format!("/containers/{id}/start")));
        }
        until("the runtimes hang", || {
            let calls = fakes.calls();
            calls[before..]
                .iter()
                .filter(|c| c.contains(" create "))
                .count()
                >= STUCK
        });
        measure(&d, "runtimes hang");
        fakes.behave("");
        for process in census::processes(&d.mark(), None, &[]) {
            let is_runtime = process.what.contains("/runc ") && !process.what.contains("conmon ");
            if is_runtime && process.what.contains(" create ") {
                signal(process.pid, rustix::process::Signal::KILL);
            }
        }
    });
    d.finish();
}

/// The conmons of containers that are asked for more are stopped.
fn stopped() {
    let d = start(options());
    let conmons: Vec<_> = (0..STUCK)
        .map(|n| {
            let id = d.run_detached(&format!("stuck{n}"), json!({"Cmd": ["sleep", "1000"]}));
            d.conmon_pid(&id)
        })
        .collect();
    for pid in &conmons {
        signal(*pid, rustix::process::Signal::STOP);
    }
    std::thread::scope(|scope| {
        for n in 0..STUCK {
            let http = d.http.clone();
            scope.spawn(move || http.post(&format!("/containers/stuck{n}/stop?t=0")));
        }
        measure(&d, "conmons are stopped, their containers too");
        for pid in &conmons {
            signal(*pid, rustix::process::Signal::CONT);
        }
    });
    d.finish();
}

/// Creates that find no room.
fn full() {
    let d = start(options().data_root_of_bytes(FULL_BYTES));
    let full = Full::new(&d);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let body = json!({"Image": "busybox", "Cmd": ["true"]});
            while !enough.load(Ordering::Relaxed) {
                d.http.post_json("/containers/create", &body);
            }
        });
        measure(&d, "the disk is full, and more is created");
        enough.store(true, Ordering::Relaxed);
    });
    full.relieve();
    d.finish();
}

/// Others hold all connections that there are descriptors for.
fn files() {
    let d = start(options().open_files_max(FEW_FILES));
    let mut line = d.http.keep();
    let answer = line.attempt("GET", "/_ping", &Value::Null);
    assert_eq!(answer.map(|a| a.status), Some(200));
    let crowd: Vec<_> = (0..FEW_FILES).map(|_| d.http.connect()).collect();
    until("none is left", || {
        d.log().contains("cannot accept a connection")
    });
    measure_through(&mut line, "no descriptors are left");
    drop((line, crowd));
    d.finish();
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it is there");
}
