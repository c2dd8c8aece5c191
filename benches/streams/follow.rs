//! How old a line is when one who follows the log gets it.
//!
//! conmon stamps every line with the time of the clock, in nanoseconds, just before it writes it
//! to the log; `timestamps=1` hands the stamp out. A line's age is the clock when the client has
//! it, minus the stamp: it begins when the line goes to the file, whatever took it there. The
//! floor is a follower of our own on the same file: inotify, then a read. The two take turns, so
//! that they do not compete.
//!
//! The lines come through a FIFO into a `cat` in the container, one at a time with a pause, so
//! neither the daemon's stdin nor a new process has a part in it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use benchkit::{Shape, median};
use rustix::fs::inotify;

use crate::bed::{self, Bed};
use crate::echo::us;

const TURNS: usize = 10;
/// Of each follower in a turn.
const LINES: usize = 200;
/// Between two lines: everybody sleeps again.
const PAUSE: Duration = Duration::from_millis(2);
/// Containers whose followers' ends are measured.
const ENDS: usize = 50;
const DAY: i128 = 86_400 * 1_000_000_000;

/// Prints the median ages.
pub(crate) fn follow(bed: &Bed<'_>) {
    let fifo = bed.shared.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a FIFO in our directory");
    let id = bed.create(&Shape::new(&["cat", "/bench/fifo"]));
    bed::start(bed.http(), &id);
    let mut lines = File::options().write(true).open(&fifo).expect("cat reads");
    let log = bed::log(bed.http(), &id);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut number = 0;
    for _ in 0..TURNS {
        // The first line of a turn also says that the follower is there.
        let path = format!("/containers/{id}/logs?follow=1&stdout=1&timestamps=1&tail=0");
        let mut response = bed.http().stream("GET", &path, &[], b"");
        assert_eq!(response.status, 200);
        ages(&mut lines, &mut number, &mut ours, |wanted| {
            let piece = response.body.piece().expect("it goes on");
            let now = clock();
            line_age(now, &piece[8..], wanted)
        });
        let mut follower = Follower::new(&log);
        ages(&mut lines, &mut number, &mut theirs, |wanted| {
            let line = follower.line();
            let now = clock();
            line_age(now, &line, wanted)
        });
    }
    drop(lines);
    bed.remove(&id);
    ends(bed);
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "a followed line: {} old (floor, inotify and a read: {}; over it {})",
        us(ours),
        us(theirs),
        us(ours.saturating_sub(theirs))
    );
}

/// How long after a container's end its follower's stream ends, with the last line.
fn ends(bed: &Bed<'_>) {
    let mut late = Vec::new();
    for _ in 0..ENDS {
        let id = bed.create(&Shape::new(&["echo", "last"]));
        bed::start(bed.http(), &id);
        let path = format!("/containers/{id}/logs?follow=1&stdout=1");
        let mut response = bed.http().stream("GET", &path, &[], b"");
        let all = response.body.read_to_end();
        let now = clock();
        assert!(all.ends_with(b"last\n"), "{all:?}");
        let view = bed.http().get(&format!("/containers/{id}/json")).json();
        let finished = view["State"]["FinishedAt"].as_str().expect("a time");
        // Nine digits, whatever the answer leaves out.
        let (head, digits) = finished
            .trim_end_matches('Z')
            .split_once('.')
            .expect("a fraction");
        let after = (now - nanos_of_day(&format!("{head}.{digits:0<9}Z"))).rem_euclid(DAY);
        // One whose follower came after the end is no measurement, and ends at once.
        late.push(Duration::from_nanos(
            u64::try_from(after).expect("a part of a day"),
        ));
        bed.remove(&id);
    }
    let most = late.iter().max().copied().unwrap_or_default();
    println!(
        "a follower's end after the container's: {} (at most {})",
        us(median(&mut late)),
        us(most)
    );
}

/// Writes lines and takes the age of each.
fn ages(
    lines: &mut File,
    number: &mut usize,
    into: &mut Vec<Duration>,
    mut next: impl FnMut(&str) -> Duration,
) {
    for _ in 0..LINES {
        let text = format!("line {number}");
        *number += 1;
        std::thread::sleep(PAUSE);
        lines
            .write_all(format!("{text}\n").as_bytes())
            .expect("cat reads");
        into.push(next(&text));
    }
}

/// By hand what the daemon does for one who follows.
struct Follower {
    watch: std::os::fd::OwnedFd,
    log: File,
}

impl Follower {
    fn new(log: &std::path::Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&watch, log, inotify::WatchFlags::MODIFY).expect("the log is there");
        let mut log = File::open(log).expect("the log is there");
        log.seek(SeekFrom::End(0)).expect("it is a file");
        Self { watch, log }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut events = inotify::Reader::new(&self.watch, &mut buffer);
            events.next().expect("an event");
            self.log.read_to_end(&mut line).expect("it is a file");
        }
        line
    }
}

/// Since the stamp that `line` begins with. It must end in the text.
fn line_age(now: i128, line: &[u8], wanted: &str) -> Duration {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    assert!(line.ends_with(wanted), "{line:?} is not {wanted}");
    let stamp = line.split(' ').next().expect("a stamp");
    let age = (now - nanos_of_day(stamp)).rem_euclid(DAY);
    Duration::from_nanos(u64::try_from(age).expect("a part of a day"))
}

/// The clock, within a day of UTC.
fn clock() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is later than 1970").as_nanos();
    i128::try_from(now).expect("it is not that late") % DAY
}

/// The same of `2026-11-23T11:52:22.085016519+00:00`, or with `Z`.
fn nanos_of_day(stamp: &str) -> i128 {
    let number = |from: usize, to: usize| -> i128 {
        let digits = stamp.get(from..to);
        digits.and_then(|d| d.parse().ok()).expect("digits")
    };
    let seconds = number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    let offset = match stamp.as_bytes()[29] {
        b'Z' => 0,
        sign => {
            let minutes = number(30, 32) * 60 + number(33, 35);
            if sign == b'-' { -minutes } else { minutes }
        }
    };
    (seconds - offset * 60) * 1_000_000_000 + number(20, 29)
}
