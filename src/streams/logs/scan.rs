//! Reads a log file forwards in blocks and turns what is there into batches.
//!
//! Blocking, and meant to: one step reads at most one block and is run on a thread that may
//! block. Damage is passed over and counted, never an error: a log is most wanted after a crash.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::assemble::{Assembler, Stop};
use super::record::Record;
use super::tail::{self, Starts};

/// Read at once, and about what one batch holds.
const BLOCK_BYTES: usize = 128 << 10;
/// No record is longer: conmon's have 8192 bytes of text. What is, is damage.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;

/// What was passed over in a log because it could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Damaged places.
    pub places: u64,
    /// Bytes of the file in them.
    pub bytes: u64,
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes to send.
    Batch(Bytes),
    /// There is no more in the file now.
    CaughtUp,
    /// There is no more, and nothing will come.
    Done,
}

#[derive(Debug)]
pub(super) struct Scanner {
    path: PathBuf,
    file: Option<File>,
    /// `pending` is what was read and not parsed; it stands at offset `at` of the file.
    pending: Vec<u8>,
    at: u64,
    /// Records that begin here or later are not ours.
    end: Option<u64>,
    starts: Starts,
    assembler: Assembler,
    /// Within a line that is too long to be a record.
    overlong: bool,
    done: bool,
    skipped: Skipped,
}

impl Scanner {
    /// Opens the log and finds where to begin. No file is an empty log, to which one may come.
    pub(super) fn open(
        path: PathBuf,
        tail: Option<u64>,
        follow: bool,
        assembler: Assembler,
    ) -> io::Result<Self> {
        let mut scanner = Self {
            path,
            file: None,
            pending: Vec::new(),
            at: 0,
            end: None,
            starts: Starts::default(),
            assembler,
            overlong: false,
            done: false,
            skipped: Skipped::default(),
        };
        if scanner.open_file()? {
            let size = scanner.size()?;
            if let (Some(lines), Some(file)) = (tail, &mut scanner.file) {
                scanner.starts = tail::find(file, size, lines)?;
                scanner.at = scanner.starts.first();
                file.seek(SeekFrom::Start(scanner.at))?;
            }
            if !follow {
                scanner.end = Some(if tail == Some(0) { 0 } else { size });
            }
        }
        Ok(scanner)
    }

    pub(super) fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Reads on by at most a block; the batch is empty when nothing in it was wanted. With
    /// `ended`, what is in the file now is all there will be.
    pub(super) fn step(&mut self, ended: bool) -> io::Result<Step> {
        if self.done {
            return Ok(Step::Done);
        }
        if !self.open_file()? {
            return Ok(if ended { Step::Done } else { Step::CaughtUp });
        }
        if ended && self.end.is_none() {
            self.end = Some(self.size()?);
        }
        let mut out = BytesMut::new();
        let length = self.read_block()?;
        if length == 0 {
            if !ended {
                return Ok(Step::CaughtUp);
            }
            self.torn_end(&mut out);
            self.finish(&mut out);
        } else {
            // What is sent is rarely longer than what was read: frames are shorter than times.
            out.reserve(self.pending.len());
            if self.parse_lines(&mut out).is_err() {
                self.finish(&mut out);
            }
        }
        Ok(Step::Batch(out.freeze()))
    }

    /// Whether there is a file.
    fn open_file(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn size(&self) -> io::Result<u64> {
        self.file
            .as_ref()
            .map_or(Ok(0), |f| Ok(f.metadata()?.len()))
    }

    /// Reads at most a block behind `pending`, and gives memory back when there is nothing.
    fn read_block(&mut self) -> io::Result<usize> {
        let size = self.size()?;
        let Some(file) = &mut self.file else {
            return Ok(0);
        };
        let read_to = self.at + self.pending.len() as u64;
        if size < read_to {
            // Somebody emptied the file; what comes is a new log.
            self.pending.clear();
            self.at = 0;
            self.starts = Starts::default();
            file.rewind()?;
            return self.read_block();
        }
        let length = (size - read_to).min(BLOCK_BYTES as u64);
        if length == 0 {
            self.pending.shrink_to_fit();
            return Ok(0);
        }
        self.pending
            .reserve(BLOCK_BYTES.min(usize::try_from(length).unwrap_or(BLOCK_BYTES)));
        file.take(length).read_to_end(&mut self.pending)
    }

    /// Parses all whole lines of `pending`.
    fn parse_lines(&mut self, out: &mut BytesMut) -> Result<(), Stop> {
        let pending = std::mem::take(&mut self.pending);
        let mut begin = 0;
        let mut result = Ok(());
        for newline in memchr::memchr_iter(b'\n', &pending) {
            result = self.line(begin, &pending[begin..newline], out);
            begin = newline + 1;
            if result.is_err() {
                break;
            }
        }
        self.at += begin as u64;
        self.pending = pending;
        self.pending.drain(..begin);
        if self.overlong || self.pending.len() > RECORD_BYTES_MAX {
            self.at += self.pending.len() as u64;
            self.skip(self.pending.len());
            self.pending.clear();
            self.overlong = true;
        }
        result
    }
    /// Takes one line, which begins `begin` bytes behind `at`.
    fn line(&mut self, begin: usize, line: &[u8], out: &mut BytesMut) -> Result<(), Stop> {
        if self.overlong {
            self.skip(line.len());
            self.overlong = false;
            return Ok(());
        }
        let offset = self.at + begin as u64;
        if self.end.is_some_and(|end| offset >= end) {
            return Err(Stop);
        }
        let record = Record::parse(line).or_else(|| {
            let salvaged = Record::salvage(line);
            self.skip(salvaged.map_or(line.len(), |(damage, _)| damage));
            salvaged.map(|(_, record)| record)
        });
        match record {
            Some(record) if offset >= self.starts.of(record.stream) => {
                self.assembler.push(&record, out)
            }
            _ => Ok(()),
        }
    }

    /// Takes what stands behind the last newline of a log that has ended: a record that a full
    /// disk or a crash cut off. What is left of its text is told.
    fn torn_end(&mut self, out: &mut BytesMut) {
        let torn = std::mem::take(&mut self.pending);
        if torn.is_empty() || self.end.is_some_and(|end| self.at >= end) {
            return;
        }
        match Record::parse(&torn) {
            Some(record) if !self.overlong => {
                let record = Record {
                    partial: true,
                    ..record
                };
                // Nothing follows that could be stopped.
                let _ = self.assembler.push(&record, out);
            }
            _ => self.skip(torn.len()),
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.assembler.finish(out);
        self.pending = Vec::new();
        self.done = true;
    }

    /// Counts damage; all of an overlong line is one place.
    fn skip(&mut self, bytes: usize) {
        self.skipped.places += u64::from(!self.overlong);
        self.skipped.bytes += bytes as u64;
    }
}
