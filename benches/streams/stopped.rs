//! A client that stopped reading: what it costs the container, and the daemon's memory.
//!
//! The container writes flat out into a log while one client is attached: (a) one that reads all
//! the time, (b) one that does not read at all before the container has ended, (c) the same where
//! so little may wait for it that it is closed with an error. The container's speed is taken from
//! two files that it makes itself, before its first byte and after its last. The client of (b)
//! must then get every byte; that of (c) a beginning and the word of the loss.

use std::fs;
use std::time::{Duration, Instant};

use benchkit::{Shape, median_of};
use testkit::Daemon;

use crate::bed::{self, SharedDir};
use crate::client::{self, Peer, STDOUT, rate};
use crate::pattern::Pattern;

const ROUNDS: usize = 3;
/// What may wait for the client of (c), where there is more to come.
const LITTLE: u64 = 64 << 20;

/// What one run came to.
struct Outcome {
    /// The container's, in MB/s.
    speed: f64,
    /// How much the daemon's resident memory rose at most, in MiB.
    growth: f64,
    /// How fast the client got what waited for it, in MB/s.
    catch_up: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Reads {
    AllTheTime,
    AfterTheEnd,
    TooLate,
}

/// Prints the three.
pub(crate) fn stopped(shared: &SharedDir) {
    // With the frames' headers, and some.
    let much = bed::daemon(
        shared,
        Some(shared.pattern.bytes() + (shared.pattern.bytes() >> 4)),
    );
    let little = LITTLE.min(shared.pattern.bytes() / 4);
    let little = bed::daemon(shared, Some(little));
    let ways = [
        (&much, Reads::AllTheTime),
        (&much, Reads::AfterTheEnd),
        (&little, Reads::TooLate),
    ];
    let mut outcomes = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((daemon, reads), outcomes) in ways.iter().zip(&mut outcomes) {
            outcomes.push(run(daemon, shared, *reads));
        }
    }
    let of = |way: usize, what: fn(&Outcome) -> f64| {
        median_of(&mut outcomes[way].iter().map(what).collect::<Vec<_>>())
    };
    // A peak that hides in two rounds of three is one all the same.
    let growth = |way: usize| outcomes[way].iter().map(|o| o.growth).fold(0.0, f64::max);
    let speed = of(0, |o| o.speed);
    println!(
        "a container beside a client that reads: {speed:.0} MB/s; the daemon grows by {:.1} MiB",
        growth(0)
    );
    for (way, name) in [(1, "has stopped"), (2, "has stopped and is closed")] {
        let with = of(way, |o| o.speed);
        println!(
            "a container beside a client that {name}: {with:.0} MB/s ({:.0} % of it); \
             the daemon grows by {:.1} MiB",
            100.0 * with / speed,
            growth(way)
        );
    }
    println!(
        "what waited for the client that goes on: {:.0} MB/s",
        of(1, |o| o.catch_up)
    );
    much.finish();
    little.finish();
}

fn run(daemon: &Daemon, shared: &SharedDir, reads: Reads) -> Outcome {
    let pattern = shared.written(1);
    let script = format!(": >/bench/begin; {}; : >/bench/end", shared.writes(1));
    let id = bed::create(&daemon.http, shared, &Shape::new(&["sh", "-c", &script]));
    let mut peer = client::attach(&daemon.http, &id, false);
    for name in ["begin", "end"] {
        let _ = fs::remove_file(shared.path(name));
    }
    let before = Memory::forget_peak(daemon);
    let catch_up = std::thread::scope(|scope| {
        let reading = (reads == Reads::AllTheTime)
            .then(|| scope.spawn(|| peer.read_pattern(&pattern, STDOUT)));
        bed::start(&daemon.http, &id);
        bed::wait(&daemon.http, &id);
        reading.map(|reading| reading.join().expect("it read all"))
    });
    let growth = Memory::peak(daemon) - before;
    let took = match (catch_up, reads) {
        (Some(took), _) => took,
        (None, Reads::TooLate) => {
            let start = Instant::now();
            read_loss(&mut peer, &pattern);
            start.elapsed()
        }
        (None, _) => peer.read_pattern(&pattern, STDOUT),
    };
    bed::remove(&daemon.http, &id);
    Outcome {
        speed: rate(pattern.bytes(), container_time(shared)),
        growth,
        catch_up: rate(pattern.bytes(), took),
    }
}

/// Between the two files that the container made.
fn container_time(shared: &SharedDir) -> Duration {
    let [begin, end] = ["begin", "end"].map(|name| {
        let made = fs::metadata(shared.path(name)).and_then(|m| m.modified());
        made.expect("the container made it")
    });
    end.duration_since(begin).expect("one after the other")
}

/// Reads a beginning of the stream, then the words of the loss.
fn read_loss(peer: &mut Peer<'_>, pattern: &Pattern) {
    let mut check = pattern.check();
    let mut words = String::new();
    let mut buffer = vec![0; 64 << 10];
    while peer.read(&mut buffer, |kind, payload| match kind {
        STDOUT => check.feed(payload),
        _ => words.push_str(&String::from_utf8_lossy(payload)),
    }) {}
    assert!(check.seen() < pattern.bytes(), "nothing was lost");
    assert!(words.contains("reads too slowly"), "{words:?}");
}

/// The daemon's resident memory in MiB, as the kernel counts it.
struct Memory;

impl Memory {
    /// Begins to look for the peak; what it is now.
    fn forget_peak(daemon: &Daemon) -> f64 {
        fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").expect("we are root");
        Self::field(daemon, "VmRSS:")
    }

    fn peak(daemon: &Daemon) -> f64 {
        Self::field(daemon, "VmHWM:")
    }

    fn field(daemon: &Daemon, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        let kibibytes: f64 = number.and_then(|n| n.parse().ok()).expect("a number");
        kibibytes / 1024.0
    }
}
