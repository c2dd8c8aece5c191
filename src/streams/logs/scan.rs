//! Reads a log's files forwards in blocks and turns what is there into batches.
//!
//! Blocking, and meant to: one step reads at most one block and is run on a thread that may
//! block. Damage is passed over and counted, never an error: a log is most wanted after a crash.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Bytes, BytesMut};

use super::assemble::{Assembler, Stop};
use super::cursor::{Cursor, Opened};
use super::files::LogFiles;
use super::pack::Unpacking;
use super::payload::Payload;
use super::record::Record;
use super::tail::{self, Place, Starts};
use crate::Want;

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
    /// Files that were rotated away before this reader came to them.
    pub files: u64,
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes to send.
    Batch(Bytes),
    /// There is no more in the log now.
    CaughtUp,
    /// There is no more, and nothing will come.
    Done,
    /// There would be more, but not what comes next: it was removed.
    Lost,
}

/// What records become.
#[derive(Debug)]
pub(super) enum Product {
    /// Lines, as `docker logs` shows them.
    Lines(Assembler),
    /// The bytes that were written.
    Payload(Payload),
}

/// What is read.
#[derive(Debug)]
enum Source {
    File(File),
    Packed(Box<Unpacking>),
}

#[derive(Debug)]
pub(super) struct Scanner {
    cursor: Cursor,
    source: Option<Source>,
    /// `pending` is what was read and not parsed; it stands at offset `at` of the file.
    pending: Vec<u8>,
    at: u64,
    /// Records that begin here or later are not ours.
    end: Option<Place>,
    starts: Starts,
    /// Where runs begin that are not reached yet, the next one last.
    runs: Vec<Place>,
    product: Product,
    /// Within a line that is too long to be a record.
    overlong: bool,
    /// A batch that was made while the beginning was looked for.
    first: Option<Bytes>,
    done: bool,
    has_hole: bool,
    skipped: Skipped,
}

/// The bytes of the wanted streams in file `number`.
pub(super) fn count(files: &LogFiles, number: u64, want: Want) -> io::Result<u64> {
    let payload = Product::Payload(Payload::new(want, false, u64::MAX));
    let mut scanner = Scanner::open(files, None, true, payload)?;
    scanner.cursor.go_to(number)?;
    scanner.end = Some(Place {
        number: number + 1,
        offset: 0,
    });
    while scanner.cursor.number() == number && !scanner.done {
        scanner.step(true)?;
    }
    Ok(u64::MAX - scanner.to_skip())
}

impl Scanner {
    /// Finds where to begin. No file is an empty log, to which one may come.
    pub(super) fn open(
        files: &LogFiles,
        tail: Option<u64>,
        follow: bool,
        product: Product,
    ) -> io::Result<Self> {
        let mut scanner = Self {
            cursor: Cursor::enter(files)?,
            source: None,
            pending: Vec::new(),
            at: 0,
            end: None,
            starts: Starts::default(),
            runs: files.runs()?,
            product,
            overlong: false,
            first: None,
            done: !follow && tail == Some(0),
            has_hole: false,
            skipped: Skipped::default(),
        };
        let end = scanner.now()?;
        if let Some(lines) = tail
            && let Some(starts) = tail::find(&scanner.cursor, end, lines, &scanner.runs)?
        {
            scanner.starts = starts;
            let first = starts.first();
            if first != Place::default() {
                scanner.cursor.go_to(first.number)?;
                scanner.at = first.offset;
            }
        }
        if scanner.at == 0 {
            scanner.leave_out_rest_of_line()?;
        }
        scanner.runs.reverse();
        scanner.end = (!follow).then_some(end);
        Ok(scanner)
    }

    /// Leaves out what is to be left out of the bytes: where those that come begin, or how many
    /// lack that are not there yet.
    pub(super) fn skip_ahead(&mut self) -> io::Result<Result<u64, u64>> {
        let Product::Payload(payload) = &mut self.product else {
            return Ok(Ok(0));
        };
        let begin = payload.begin_at(self.cursor.base());
        let ended = self.end.is_some();
        while self.to_skip() > 0 {
            match self.step(ended)? {
                Step::Batch(batch) if batch.is_empty() => {}
                Step::Batch(batch) => self.first = Some(batch),
                Step::CaughtUp | Step::Done | Step::Lost => return Ok(Err(self.to_skip())),
            }
        }
        Ok(Ok(begin))
    }

    fn to_skip(&self) -> u64 {
        match &self.product {
            Product::Payload(payload) => payload.to_skip(),
            Product::Lines(_) => 0,
        }
    }

    pub(super) fn skipped(&self) -> Skipped {
        Skipped {
            files: self.cursor.lost(),
            ..self.skipped
        }
    }

    /// Reads on by at most a block; the batch is empty when nothing in it was wanted. With
    /// `ended`, what is in the log now is all there will be.
    pub(super) fn step(&mut self, ended: bool) -> io::Result<Step> {
        if let Some(first) = self.first.take() {
            return Ok(Step::Batch(first));
        }
        if self.done {
            return Ok(if self.has_hole {
                Step::Lost
            } else {
                Step::Done
            });
        }
        if ended && self.end.is_none() {
            self.end = Some(self.now()?);
        }
        // Asked before the file is read: what is in a final file then is all of it.
        let is_final = self.cursor.is_final()?;
        let is_last = self
            .end
            .is_some_and(|end| self.cursor.number() >= end.number);
        let mut out = BytesMut::new();
        let length = if self.open_file()? {
            self.read_block()?
        } else {
            0
        };
        if length > 0 {
            // What is sent is rarely longer than what was read: frames are shorter than times.
            out.reserve(self.pending.len());
            if self.parse_lines(&mut out).is_err() {
                self.finish(&mut out);
            }
        } else if (is_final || ended) && !is_last {
            self.torn_end(&mut out);
            if !self.next_file(&mut out)? {
                self.finish(&mut out);
            }
        } else if ended {
            let is_payload = matches!(self.product, Product::Payload(_));
            self.has_hole = self.source.is_none() && self.cursor.has_lost_its_file()? && is_payload;
            self.torn_end(&mut out);
            self.finish(&mut out);
        } else {
            return Ok(Step::CaughtUp);
        }
        Ok(Step::Batch(out.freeze()))
    }

    /// Where conmon writes now.
    fn now(&self) -> io::Result<Place> {
        let (number, offset) = self.cursor.files().now()?;
        Ok(Place { number, offset })
    }

    /// Whether there is a file.
    fn open_file(&mut self) -> io::Result<bool> {
        if self.source.is_none() {
            self.source = match self.cursor.open(self.cursor.number())? {
                Some(Opened::Plain(mut file)) => {
                    file.seek(SeekFrom::Start(self.at))?;
                    Some(Source::File(file))
                }
                Some(Opened::Packed(file)) => {
                    let mut unpacking = Unpacking::new(file);
                    io::copy(&mut (&mut unpacking).take(self.at), &mut io::sink())?;
                    Some(Source::Packed(Box::new(unpacking)))
                }
                None => None,
            };
        }
        Ok(self.source.is_some())
    }

    /// Goes on at the beginning of the next newer file; false when there is none, or what was
    /// between this and it is gone and the bytes would have a hole.
    fn next_file(&mut self, out: &mut BytesMut) -> io::Result<bool> {
        let (number, lost) = (self.cursor.number(), self.cursor.lost());
        if let Some(Source::Packed(unpacking)) = &self.source {
            self.skipped.places += u64::from(unpacking.is_damaged);
        }
        self.cursor.advance(self.source.take().is_some())?;
        self.at = 0;
        self.overlong = false;
        let is_payload = matches!(self.product, Product::Payload(_));
        self.has_hole = is_payload && self.cursor.lost() > lost;
        if self.cursor.lost() > lost {
            // A line that waits for its newline is not that of what comes.
            self.product.begin_run(out);
            self.leave_out_rest_of_line()?;
        }
        Ok(self.cursor.number() > number && !self.has_hole)
    }

    /// At the beginning of a file: what is left of a line that began in one that is gone.
    fn leave_out_rest_of_line(&mut self) -> io::Result<()> {
        let cut = self.cursor.cut()?;
        if let Product::Lines(lines) = &mut self.product {
            lines.begin_within(cut.stdout, cut.stderr);
        }
        Ok(())
    }

    /// Reads at most a block behind `pending`, and gives memory back when there is nothing.
    fn read_block(&mut self) -> io::Result<usize> {
        let read_to = self.at + self.pending.len() as u64;
        let length = match &mut self.source {
            None => 0,
            Some(Source::Packed(_)) => BLOCK_BYTES as u64,
            Some(Source::File(file)) => {
                let size = file.metadata()?.len();
                if size < read_to {
                    // Somebody emptied the file; what comes is a new log.
                    self.pending.clear();
                    self.at = 0;
                    self.starts = Starts::default();
                    file.rewind()?;
                    return self.read_block();
                }
                (size - read_to).min(BLOCK_BYTES as u64)
            }
        };
        if length == 0 {
            self.pending.shrink_to_fit();
            return Ok(0);
        }
        self.pending
            .reserve(usize::try_from(length).unwrap_or(BLOCK_BYTES));
        match &mut self.source {
            None => Ok(0),
            Some(Source::File(file)) => file.take(length).read_to_end(&mut self.pending),
            Some(Source::Packed(packed)) => packed.take(length).read_to_end(&mut self.pending),
        }
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
        let place = self.place(begin);
        if self.end.is_some_and(|end| place >= end) {
            return Err(Stop);
        }
        let record = Record::parse(line).or_else(|| {
            let salvaged = Record::salvage(line);
            self.skip(salvaged.map_or(line.len(), |(damage, _)| damage));
            salvaged.map(|(_, record)| record)
        });
        while self.runs.pop_if(|run| *run <= place).is_some() {
            self.product.begin_run(out);
        }
        match record {
            Some(record) if place >= self.starts.of(record.stream) => {
                self.product.push(&record, out)
            }
            _ => Ok(()),
        }
    }

    fn place(&self, begin: usize) -> Place {
        Place {
            number: self.cursor.number(),
            offset: self.at + begin as u64,
        }
    }

    /// Takes what stands behind the last newline of a file that has ended: a record that a full
    /// disk or a crash cut off. What is left of its text is told.
    fn torn_end(&mut self, out: &mut BytesMut) {
        let torn = std::mem::take(&mut self.pending);
        if torn.is_empty() || self.end.is_some_and(|end| self.place(0) >= end) {
            return;
        }
        match Record::parse(&torn) {
            Some(record) if !self.overlong => {
                let record = Record {
                    partial: true,
                    ..record
                };
                // Nothing follows in this file that could be stopped.
                let _ = self.product.push(&record, out);
            }
            _ => self.skip(torn.len()),
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if let Product::Lines(lines) = &mut self.product {
            lines.finish(out);
        }
        self.pending = Vec::new();
        self.done = true;
    }

    /// Counts damage; all of an overlong line is one place.
    fn skip(&mut self, bytes: usize) {
        self.skipped.places += u64::from(!self.overlong);
        self.skipped.bytes += bytes as u64;
    }
}

impl Product {
    /// What comes is another run's, or not what came next: a line that waits for its newline has
    /// none.
    fn begin_run(&mut self, out: &mut BytesMut) {
        if let Self::Lines(lines) = self {
            lines.finish(out);
        }
    }

    fn push(&mut self, record: &Record<'_>, out: &mut BytesMut) -> Result<(), Stop> {
        match self {
            Self::Lines(lines) => lines.push(record, out),
            Self::Payload(payload) => {
                payload.push(record, out);
                Ok(())
            }
        }
    }
}
