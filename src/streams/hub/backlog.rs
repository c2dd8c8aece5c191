//! What one client has not taken yet: in memory first, the rest in an unlinked file.
//!
//! ```text
//!   newest --> tail --write--> file --read--> client
//!     |                                        ^
//!     +--> head (as long as nothing is spilled)+
//! ```
//! The head is what a client that keeps up ever uses. When it is full, what comes later goes to
//! the tail, the tail in large pieces to the file, and both must be taken before memory alone is
//! used again. Who owns this does the blocking work: [`Backlog::begin_write`] and
//! [`Backlog::pop`] hand out jobs. Nothing here waits, and nothing knows tasks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sys::spill_file::SpillFile;

use super::ring::{Full, Ring};
use crate::stdcopy::{self, HEADER_BYTES, StreamId};

/// The file is written and read in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;
/// So much of the file must be read before its space is given back.
const FORGET_BYTES: u64 = 4 << 20;

/// Where clients' backlogs go that do not fit into memory.
#[derive(Debug, Clone)]
pub struct SpillOptions {
    /// A directory for unlinked files.
    pub dir: Arc<Path>,
    /// Most bytes that wait in a file for one client.
    pub bytes_max: u64,
    /// Free space of the file system that is left to others.
    pub leave_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Backlog {
    head: Ring,
    spilled: Option<Spilled>,
    options: Option<SpillOptions>,
}

#[derive(Debug, Default)]
struct Spilled {
    /// `None` until the first write is done.
    file: Option<Arc<SpillFile>>,
    read: u64,
    written: u64,
    /// A write of so many bytes is under way.
    writing: Option<usize>,
    tail: BytesMut,
    /// The space before this was given back.
    forgotten: u64,
}

/// What a push asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    Kept,
    /// There is enough for a write: [`Backlog::begin_write`].
    Write,
}

/// What there is to take.
#[derive(Debug)]
pub(super) enum Popped {
    Bytes(Bytes),
    /// To be run where blocking is fine, then [`Backlog::end_read`].
    Read(ReadJob),
    /// Nothing now.
    Nothing,
}

impl Backlog {
    pub(super) fn new(memory_bytes: usize, options: Option<SpillOptions>) -> Self {
        Self {
            head: Ring::new(memory_bytes),
            spilled: None,
            options,
        }
    }

    /// Adds one write of the container: a frame, or bare for a terminal.
    pub(super) fn push(
        &mut self,
        stream: StreamId,
        payload: &[u8],
        framed: bool,
    ) -> Result<Pushed, Full> {
        if self.spilled.is_none() && self.head.push(stream, payload, framed).is_ok() {
            return Ok(Pushed::Kept);
        }
        let Some(options) = &self.options else {
            return Err(Full);
        };
        let spilled = self.spilled.get_or_insert_default();
        let needed = payload.len() + if framed { HEADER_BYTES } else { 0 };
        if spilled.waiting_bytes() + needed as u64 > options.bytes_max {
            return Err(Full);
        }
        if framed {
            stdcopy::put_frame(&mut spilled.tail, stream, payload);
        } else {
            spilled.tail.extend_from_slice(payload);
        }
        let enough = spilled.tail.len() >= PIECE_BYTES && spilled.writing.is_none();
        Ok(if enough { Pushed::Write } else { Pushed::Kept })
    }

    /// Takes the tail for a write, if one is due.
    pub(super) fn begin_write(&mut self) -> Option<WriteJob> {
        let options = self.options.clone()?;
        let spilled = self.spilled.as_mut()?;
        if spilled.writing.is_some() || spilled.tail.len() < PIECE_BYTES {
            return None;
        }
        let bytes = std::mem::take(&mut spilled.tail).freeze();
        spilled.writing = Some(bytes.len());
        Some(WriteJob {
            file: spilled.file.clone(),
            offset: spilled.written,
            bytes,
            options,
        })
    }

    /// Takes in the file of a write that was done. Nothing when all was cleared meanwhile.
    pub(super) fn end_write(&mut self, file: Arc<SpillFile>) {
        if let Some(spilled) = &mut self.spilled
            && let Some(length) = spilled.writing.take()
        {
            spilled.written += length as u64;
            spilled.file = Some(file);
        }
    }

    /// The oldest bytes, or the work that it takes to get them.
    pub(super) fn pop(&mut self) -> Popped {
        if let Some(bytes) = self.head.pop() {
            return Popped::Bytes(bytes);
        }
        let Some(spilled) = &mut self.spilled else {
            return Popped::Nothing;
        };
        if let Some(file) = &spilled.file
            && spilled.read < spilled.written
        {
            let left = usize::try_from(spilled.written - spilled.read).unwrap_or(usize::MAX);
            return Popped::Read(ReadJob {
                file: file.clone(),
                offset: spilled.read,
                length: left.min(PIECE_BYTES),
                forgotten: spilled.forgotten,
            });
        }
        if spilled.writing.is_some() {
            return Popped::Nothing;
        }
        // All of the file was taken: memory will do again.
        let tail = std::mem::take(&mut spilled.tail).freeze();
        self.spilled = None;
        if tail.is_empty() {
            Popped::Nothing
        } else {
            Popped::Bytes(tail)
        }
    }

    /// Takes in a read that was done.
    pub(super) fn end_read(&mut self, done: &ReadJob) {
        if let Some(spilled) = &mut self.spilled {
            spilled.read = done.offset + done.length as u64;
            spilled.forgotten = done.forgets_up_to().unwrap_or(spilled.forgotten);
        }
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.spilled.as_ref().is_some_and(|s| s.writing.is_some())
    }

    /// Forgets everything and frees the memory. The file, if there is one: closing it frees its
    /// space, which can take long.
    pub(super) fn clear(&mut self) -> Option<Arc<SpillFile>> {
        self.head.clear();
        self.spilled.take()?.file
    }

    /// Most bytes that may wait: in memory, and in the file.
    pub(super) fn bytes_max(&self) -> (usize, u64) {
        let disk = self.options.as_ref().map_or(0, |o| o.bytes_max);
        (self.head.bytes_max(), disk)
    }
}

impl Spilled {
    fn waiting_bytes(&self) -> u64 {
        let in_memory = self.tail.len() + self.writing.unwrap_or(0);
        self.written - self.read + in_memory as u64
    }
}

/// A write that blocks.
#[derive(Debug)]
pub(super) struct WriteJob {
    file: Option<Arc<SpillFile>>,
    bytes: Bytes,
    offset: u64,
    options: SpillOptions,
}

impl WriteJob {
    /// Does it; the file, for [`Backlog::end_write`].
    pub(super) fn run(self) -> io::Result<Arc<SpillFile>> {
        let file = match self.file {
            Some(file) => file,
            None => Arc::new(SpillFile::create(&self.options.dir)?),
        };
        file.write(&self.bytes, self.offset, self.options.leave_bytes)?;
        Ok(file)
    }
}

/// A read that blocks. May be dropped at any time and made again.
#[derive(Debug)]
pub(super) struct ReadJob {
    file: Arc<SpillFile>,
    offset: u64,
    length: usize,
    forgotten: u64,
}

impl ReadJob {
    /// Does it.
    pub(super) fn run(&self) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(self.length);
        self.file.read(&mut buffer, self.offset)?;
        if let Some(up_to) = self.forgets_up_to() {
            self.file.forget(self.forgotten, up_to - self.forgotten);
        }
        Ok(buffer.freeze())
    }

    /// What was read before this may be forgotten; this itself only when it was taken.
    fn forgets_up_to(&self) -> Option<u64> {
        (self.offset - self.forgotten >= FORGET_BYTES).then_some(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backlog(memory: usize, spill: u64) -> (tempfile::TempDir, Backlog) {
        let dir = tempfile::tempdir().unwrap();
        let options = SpillOptions {
            dir: dir.path().into(),
            bytes_max: spill,
            leave_bytes: 0,
        };
        (dir, Backlog::new(memory, Some(options)))
    }

    fn write(backlog: &mut Backlog) {
        if let Some(job) = backlog.begin_write() {
            let file = job.run().unwrap();
            backlog.end_write(file);
        }
    }

    fn take(backlog: &mut Backlog) -> Option<Bytes> {
        match backlog.pop() {
            Popped::Bytes(bytes) => Some(bytes),
            Popped::Read(job) => {
                let bytes = job.run().unwrap();
                backlog.end_read(&job);
                Some(bytes)
            }
            Popped::Nothing => None,
        }
    }

    #[test]
    fn the_limit_counts_memory_and_file() {
        let (_dir, mut b) = backlog(100, 1000);
        for _ in 0..11 {
            b.push(StreamId::Stdout, &[1; 100], false).unwrap();
        }
        assert_eq!(b.push(StreamId::Stdout, &[1], false), Err(Full));
        assert_eq!(b.bytes_max(), (100, 1000));
        take(&mut b).unwrap();
        // Memory is free again, but what waits in the file comes first.
        assert_eq!(b.push(StreamId::Stdout, &[1], false), Err(Full));
        take(&mut b).unwrap();
        b.push(StreamId::Stdout, &[1], false).unwrap();
    }

    #[test]
    fn a_write_under_way_is_waited_for() {
        let (_dir, mut b) = backlog(0, 10 << 20);
        let piece = vec![1; PIECE_BYTES];
        assert_eq!(b.push(StreamId::Stdout, &piece, false), Ok(Pushed::Write));
        let job = b.begin_write().unwrap();
        assert!(b.begin_write().is_none(), "one at a time");
        b.push(StreamId::Stdout, b"after", false).unwrap();
        assert!(matches!(b.pop(), Popped::Nothing));
        b.end_write(job.run().unwrap());
        assert_eq!(take(&mut b).unwrap(), piece);
        assert_eq!(take(&mut b).unwrap(), "after");
        assert!(take(&mut b).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the order of pushes, writes and takes: all bytes come, once and in order.
        #[test]
        fn nothing_is_lost_doubled_or_reordered(
            steps in prop::collection::vec((0_u8..10, 1_usize..60_000), 1..150),
            memory in 0_usize..200_000,
        ) {
            let (_dir, mut b) = backlog(memory, 1 << 30);
            let (mut pushed, mut taken) = (0_u64, 0_u64);
            let pattern: Vec<u8> = (0..=250).cycle().take(10_000_000).collect();
            let expected = |at: u64, length: usize| {
                let from = usize::try_from(at % 251).unwrap();
                &pattern[from..from + length]
            };
            let mut check = |bytes: &Bytes| {
                assert!(bytes == expected(taken, bytes.len()), "at {taken}");
                taken += bytes.len() as u64;
            };
            for (step, length) in steps {
                match step {
                    0..6 => {
                        let payload = expected(pushed, length);
                        b.push(StreamId::Stdout, payload, false).unwrap();
                        pushed += length as u64;
                    }
                    6..8 => write(&mut b),
                    _ => {
                        if let Some(bytes) = take(&mut b) {
                            check(&bytes);
                        }
                    }
                }
            }
            while let Some(bytes) = take(&mut b) {
                check(&bytes);
            }
            prop_assert_eq!(taken, pushed);
        }
    }
}
