//! A log of a million lines, read whole through the API; the floor is `cat` of the file.
//!
//! Both are read into memory, and looked at when the clock has stopped.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benchkit::{Shape, median};

use crate::bed::{self, Bed};
use crate::pattern::{Frames, Pattern};

const ROUNDS: usize = 9;
const LINE_BYTES: usize = 64;
const FILE_LINES: usize = 15_625;
/// Each stream has the file so often: half a million lines.
const TIMES: usize = 32;
const LINES: usize = 2 * TIMES * FILE_LINES;

/// Prints lines a second.
pub(crate) fn logs(bed: &Bed<'_>) {
    let pattern = Pattern::new(FILE_LINES, LINE_BYTES, TIMES as u64);
    bed.shared.write("lines", pattern.period());
    let files = " /bench/lines".repeat(TIMES);
    let script = format!("cat{files} & cat{files} >&2; wait");
    let id = bed.create(&Shape::new(&["sh", "-c", &script]));
    bed::start(bed.http(), &id);
    bed::wait(bed.http(), &id);
    let log = bed::log(bed.http(), &id);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut read = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(through_daemon(bed, &id, &mut read));
        verify(&read, &pattern);
        let start = Instant::now();
        let mut cat = Command::new("cat");
        let mut cat = cat
            .arg(&log)
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let output = cat.stdout.take().expect("a pipe");
        theirs.push(read_all(output, &mut read, start));
        assert!(cat.wait().is_ok_and(|s| s.success()));
        let newlines = read.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(newlines, LINES, "lines of the file");
    }
    bed.remove(&id);
    let rate = |took: Duration| LINES as f64 / 1e6 / took.as_secs_f64();
    let (ours, theirs) = (rate(median(&mut ours)), rate(median(&mut theirs)));
    println!(
        "logs of a million lines: {ours:.2} M lines/s (floor, cat of the file: {theirs:.2} M lines/s)"
    );
}

fn through_daemon(bed: &Bed<'_>, id: &str, into: &mut Vec<u8>) -> Duration {
    use std::io::Write as _;
    let start = Instant::now();
    let mut stream = bed.http().connect().expect("the daemon listens");
    let request = format!(
        "GET /containers/{id}/logs?stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .expect("the daemon reads");
    read_all(stream, into, start)
}

/// Replaces `into` by all there is; the memory is used again, or the kernel's zeroing of it would
/// be measured.
fn read_all(mut from: impl Read, into: &mut Vec<u8>, start: Instant) -> Duration {
    into.resize(256 << 20, 0);
    let mut length = 0;
    loop {
        let to = (length + (64 << 10)).min(into.len());
        match from.read(&mut into[length..to]).expect("it is read") {
            0 => break,
            more => length += more,
        }
    }
    let took = start.elapsed();
    assert!(length < into.len(), "it is that long");
    into.truncate(length);
    took
}

/// The response is a chunked one with all frames of both streams.
fn verify(response: &[u8], pattern: &Pattern) {
    let end = response.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, mut body) = response.split_at(end.expect("a head") + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut frames = Frames::default();
    let mut checks = [pattern.check(), pattern.check()];
    loop {
        let line = body.iter().position(|byte| *byte == b'\r').expect("a size");
        let size = std::str::from_utf8(&body[..line]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let chunk = &body[line + 2..line + 2 + size];
        frames.feed(chunk, |kind, payload| {
            checks[usize::from(kind) - 1].feed(payload);
        });
        body = &body[line + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    frames.finish();
    checks.iter().for_each(|check| check.finish());
    assert!(body.is_empty(), "the end");
}
