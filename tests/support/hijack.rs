//! A connection that stopped speaking HTTP: attach and exec.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::connection::{Connection, Head, find};
use crate::stdcopy::{Frame, split_frame};

/// A raw stream in both directions, after the response's head.
#[derive(Debug)]
pub struct Hijacked {
    head: Head,
    connection: Connection,
}

impl Hijacked {
    pub(crate) fn new(head: Head, connection: Connection) -> Self {
        Self { head, connection }
    }

    /// The bare stream, for those who read more than this is made for, and what was read of it
    /// already.
    pub fn into_stream(self) -> (UnixStream, Vec<u8>) {
        (self.connection.stream, self.connection.ahead)
    }

    /// 101 after `Upgrade`, 200 the older way, or a refusal.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The reason phrase.
    pub fn reason(&self) -> &str {
        &self.head.reason
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.head.headers, name)
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the daemon closed the stream.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection
            .stream
            .write_all(bytes.as_ref())
            .expect("the hijacked stream takes bytes");
    }

    /// Sends bytes as long as they are taken; says whether all were.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.connection.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        // The daemon may have closed already, which says the same.
        let _ = self.connection.stream.shutdown(Shutdown::Write);
    }

    /// The next bytes; empty at the end.
    pub fn read(&mut self) -> Vec<u8> {
        self.connection.read_some(usize::MAX)
    }

    /// All that is left.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.connection.fill() {}
        std::mem::take(&mut self.connection.ahead)
    }

    /// Reads until `wanted` was seen, and gives everything up to and with it.
    ///
    /// # Panics
    /// When the stream ends, or [`crate::DEADLINE`] passes, before.
    #[track_caller]
    pub fn read_until(&mut self, wanted: &str) -> String {
        loop {
            let seen = &self.connection.ahead;
            let found = seen
                .windows(wanted.len())
                .position(|w| w == wanted.as_bytes());
            if let Some(start) = found {
                let bytes: Vec<u8> = self
                    .connection
                    .ahead
                    .drain(..start + wanted.len())
                    .collect();
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            let more = self.connection.fill();
            assert!(
                more,
                "the stream ended before {wanted:?}: {:?}",
                String::from_utf8_lossy(&self.connection.ahead)
            );
        }
    }

    /// The next stdcopy frame; `None` at the end.
    ///
    /// # Panics
    /// When the stream is not framed, or ends inside a frame.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = split_frame(&self.connection.ahead) {
                let rest = rest.to_vec();
                self.connection.ahead = rest;
                return Some(frame);
            }
            if !self.connection.fill() {
                assert!(self.connection.ahead.is_empty(), "the end inside a frame");
                return None;
            }
        }
    }

    /// Whether the stream is open and nothing is there to be read now.
    pub fn is_idle(&mut self) -> bool {
        self.connection.is_idle()
    }
}
