//! What containers write here, and the check that just that arrives.
//!
//! A pattern is numbered lines, over and over. Its period is no multiple of any packet's or
//! page's size, so that one that is lost, doubled or out of its place is found.

use std::fmt::Write as _;
use std::sync::Arc;

/// Numbered lines, and how often they come.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    period: Arc<[u8]>,
    /// Of the whole stream.
    bytes: u64,
}

impl Pattern {
    /// `lines` lines of `line_bytes` each with its newline, `times` times.
    pub(crate) fn new(lines: usize, line_bytes: usize, times: u64) -> Self {
        let mut text = String::with_capacity(lines * line_bytes);
        for number in 0..lines {
            let begin = text.len();
            write!(text, "{number:08} ").expect("a String takes all");
            while text.len() - begin < line_bytes - 1 {
                text.push(char::from(
                    b'a' + u8::try_from(text.len() % 23).expect("small"),
                ));
            }
            text.push('\n');
        }
        Self::of(text.into_bytes(), times)
    }

    fn of(period: Vec<u8>, times: u64) -> Self {
        Self {
            bytes: period.len() as u64 * times,
            period: period.into(),
        }
    }

    /// As it comes out of a terminal.
    pub(crate) fn through_terminal(&self) -> Self {
        let times = self.bytes / self.period.len() as u64;
        let text = String::from_utf8_lossy(&self.period);
        Self::of(text.replace('\n', "\r\n").into_bytes(), times)
    }

    pub(crate) fn period(&self) -> &[u8] {
        &self.period
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The stream up to a whole number of periods.
    pub(crate) fn times(&self, times: u64) -> Self {
        Self {
            period: Arc::clone(&self.period),
            bytes: self.period.len() as u64 * times,
        }
    }

    /// A check of one stream from its beginning.
    pub(crate) fn check(&self) -> Check {
        Check {
            pattern: self.clone(),
            seen: 0,
            phase: 0,
        }
    }
}

/// How far a stream was read, all of it as it should be.
#[derive(Debug)]
pub(crate) struct Check {
    pattern: Pattern,
    seen: u64,
    /// `seen`, within the period.
    phase: usize,
}

impl Check {
    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let period = &self.pattern.period;
            let length = bytes.len().min(period.len() - self.phase);
            let expected = &period[self.phase..self.phase + length];
            assert!(
                bytes[..length] == *expected,
                "wrong bytes from {} on",
                self.seen
            );
            self.seen += length as u64;
            self.phase = (self.phase + length) % period.len();
            bytes = &bytes[length..];
        }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether the whole stream was read.
    pub(crate) fn is_done(&self) -> bool {
        self.seen == self.pattern.bytes
    }

    /// Fails unless the whole stream was read.
    pub(crate) fn finish(&self) {
        assert_eq!(self.seen, self.pattern.bytes, "bytes of the stream");
    }
}

/// Takes stdcopy frames apart, wherever the stream is cut.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 8],
    header_bytes: usize,
    payload_left: usize,
}

impl Frames {
    /// Takes the next bytes; tells the type and the payload of each piece.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let (payload, rest) = bytes.split_at(self.payload_left.min(bytes.len()));
                tell(self.header[0], payload);
                self.payload_left -= payload.len();
                bytes = rest;
                continue;
            }
            let taken = (8 - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if self.header_bytes == 8 {
                let [_, a, b, c, length @ ..] = self.header;
                assert_eq!([a, b, c], [0; 3], "a header is where one is due");
                self.header_bytes = 0;
                self.payload_left = u32::from_be_bytes(length) as usize;
            }
        }
    }

    /// Fails when the stream ended within a frame.
    pub(crate) fn finish(&self) {
        let left = (self.header_bytes, self.payload_left);
        assert_eq!(left, (0, 0), "the stream ends within a frame");
    }
}
