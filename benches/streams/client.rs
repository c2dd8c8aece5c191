//! Both sides of every comparison as one: a stream of the daemon's, or conmon's attach socket.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use benchkit::{Attach, median_of};
use serde_json::json;
use testkit::{Client, Hijacked};

use crate::pattern::{Check, Frames, Pattern};

/// As much as the docker CLI reads and writes at once, and more.
const BUFFER_BYTES: usize = 64 << 10;
/// conmon takes no more in one packet.
const PACKET_BYTES: usize = 32_768;

/// conmon's names of the streams; the frames' are one less.
pub(crate) const STDOUT: u8 = 2;
pub(crate) const STDERR: u8 = 3;

/// A connected client.
#[derive(Debug)]
pub(crate) enum Peer<'a> {
    /// Of the daemon's; with frames or without.
    Daemon(UnixStream, Option<Frames>),
    /// conmon itself.
    Conmon(&'a Attach),
}

/// Attaches to a container of the daemon, to stdin too where it has one.
pub(crate) fn attach(http: &Client, id: &str, tty: bool) -> Peer<'static> {
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    taken(http.hijack(&path, true), tty)
}

/// Starts an exec in a container of the daemon, attached to all that it has.
pub(crate) fn exec(http: &Client, container: &str, args: &[&str]) -> Peer<'static> {
    let body = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Cmd": args,
    });
    let made = http.post_json(&format!("/containers/{container}/exec"), &body);
    let made = made.expect(201).json();
    let id = made["Id"].as_str().expect("an id");
    let path = format!("/exec/{id}/start");
    taken(http.hijack_json(&path, &json!({}), true), false)
}

fn taken(hijacked: Hijacked, tty: bool) -> Peer<'static> {
    assert_eq!(hijacked.status(), 101);
    let (stream, ahead) = hijacked.into_stream();
    // The session begins when the head was read.
    assert!(ahead.is_empty(), "nothing came with the head");
    Peer::Daemon(stream, (!tty).then(Frames::default))
}

impl Peer<'_> {
    /// Reads once; tells the stream and the payload of each piece. False at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut tell: impl FnMut(u8, &[u8])) -> bool {
        match self {
            Self::Daemon(stream, frames) => {
                let length = stream.read(buffer).expect("the daemon is there");
                match frames {
                    Some(frames) => frames.feed(&buffer[..length], |kind, p| tell(kind + 1, p)),
                    None => tell(STDOUT, &buffer[..length]),
                }
                length > 0
            }
            Self::Conmon(attach) => {
                let length = attach.recv(buffer);
                if length > 0 {
                    tell(buffer[0], &buffer[1..length]);
                }
                length > 0
            }
        }
    }

    /// Writes all of it.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Daemon(stream, _) => stream.write_all(bytes).expect("the daemon reads"),
            Self::Conmon(attach) => bytes.chunks(PACKET_BYTES).for_each(|p| attach.send(p)),
        }
    }

    /// Ends the input.
    pub(crate) fn end_input(&mut self) {
        match self {
            Self::Daemon(stream, _) => stream.shutdown(Shutdown::Write).expect("it is open"),
            Self::Conmon(attach) => attach.end_input(),
        }
    }

    /// Reads to the end and checks that just this came on `stream`; the time from the first byte
    /// to the last.
    pub(crate) fn read_pattern(&mut self, pattern: &Pattern, stream: u8) -> Duration {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut check = pattern.check();
        let (mut first, mut last) = (None, None);
        while self.read(&mut buffer, |kind, payload| {
            take(&mut check, stream, kind, payload)
        }) {
            first = first.or_else(|| Some(Instant::now()));
            if check.is_done() && last.is_none() {
                last = Some(Instant::now());
            }
        }
        check.finish();
        let (first, last) = (first.expect("bytes"), last.expect("all bytes"));
        last.duration_since(first)
    }

    /// Writes the pattern and ends the input; all that comes back until the end, and the time
    /// of it all.
    pub(crate) fn write_pattern(&mut self, pattern: &Pattern) -> (Vec<u8>, Duration) {
        let begin = Instant::now();
        let mut twin = self.twin();
        let mut said = Vec::new();
        std::thread::scope(|scope| {
            // conmon reads no input while nobody takes its output.
            scope.spawn(move || {
                let times = pattern.bytes() / pattern.period().len() as u64;
                (0..times).for_each(|_| twin.write(pattern.period()));
                twin.end_input();
            });
            let mut buffer = vec![0; BUFFER_BYTES];
            while self.read(&mut buffer, |_, payload| said.extend_from_slice(payload)) {}
        });
        (said, begin.elapsed())
    }

    /// The same stream, to be written to by another thread.
    fn twin(&self) -> Self {
        match self {
            Self::Daemon(stream, _) => {
                Self::Daemon(stream.try_clone().expect("a descriptor"), None)
            }
            Self::Conmon(attach) => Self::Conmon(attach),
        }
    }

    /// Sends one byte to a `cat` and waits for it.
    pub(crate) fn echo(&mut self, byte: u8) -> Duration {
        let begin = Instant::now();
        self.write(&[byte]);
        let mut came = None;
        let mut buffer = [0; 64];
        while came.is_none() {
            let open = self.read(&mut buffer, |_, payload| came = Some(payload.to_vec()));
            assert!(open, "the stream ended");
        }
        let took = begin.elapsed();
        assert_eq!(came, Some(vec![byte]));
        took
    }
}

fn take(check: &mut Check, wanted: u8, kind: u8, payload: &[u8]) {
    assert_eq!(
        kind,
        wanted,
        "the stream: {}",
        String::from_utf8_lossy(payload)
    );
    check.feed(payload);
}

/// Megabytes a second.
pub(crate) fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// Throughput of both sides, round by round.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Rates {
    /// Takes the times of one round.
    pub(crate) fn push(&mut self, bytes: u64, ours: Duration, theirs: Duration) {
        self.ours.push(rate(bytes, ours));
        self.theirs.push(rate(bytes, theirs));
    }

    /// The medians. The share is the median of the rounds' own: what else the machine does then
    /// weighs on both sides of a round alike.
    pub(crate) fn print(mut self, what: &str) {
        let pairs = self.ours.iter().zip(&self.theirs);
        let mut shares: Vec<f64> = pairs.map(|(ours, theirs)| 100.0 * ours / theirs).collect();
        println!(
            "{what}: {:.0} MB/s (floor {:.0} MB/s, {:.0} % of it)",
            median_of(&mut self.ours),
            median_of(&mut self.theirs),
            median_of(&mut shares)
        );
    }
}
