//! Where the last N lines of a log begin, found by reading backwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::cursor::{Cursor, Opened};
use super::pack;
use super::record::Record;
use super::scan::RECORD_BYTES_MAX;
use crate::stdcopy::StreamId;

const BLOCK_BYTES: usize = 64 << 10;
/// How much further back the beginning of a line is looked for when all N lines were found but
/// records of the other stream stand between a line's pieces.
const JOIN_BYTES_MAX: u64 = 1 << 20;

/// A place in a log: in which of its files, and where in that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) offset: u64,
}

/// Places from which the records of each stream count. Two, because the pieces of a stream's
/// first wanted line can stand before lines of the other that are not wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Starts {
    stdout: Place,
    stderr: Place,
}

impl Starts {
    /// Where reading begins.
    pub(super) fn first(self) -> Place {
        self.stdout.min(self.stderr)
    }

    pub(super) fn of(self, stream: StreamId) -> Place {
        match stream {
            StreamId::Stderr => self.stderr,
            _ => self.stdout,
        }
    }
}

/// Whether the last line of each stream before `end` has no newline. One that is silent for long is
/// not asked: what it wrote is further back than a block, or in a file before.
pub(super) fn within_lines(cursor: &Cursor, end: Place) -> io::Result<Within> {
    let mut backwards = Backwards::open(cursor, end)?;
    let (mut seen, mut passed_bytes) = ([None, None], 0);
    while seen.contains(&None) && passed_bytes <= BLOCK_BYTES as u64 {
        let Some(line) = backwards.previous()? else {
            break;
        };
        passed_bytes += line.end.offset - line.begin.offset;
        if let Some(record) = Record::parse(line.text) {
            let seen = &mut seen[usize::from(record.stream == StreamId::Stderr)];
            seen.get_or_insert(record.partial);
        }
    }
    Ok(Within {
        stdout: seen[0] == Some(true),
        stderr: seen[1] == Some(true),
    })
}

/// Which streams are within a line at some place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// The beginning of the last `lines` lines before `end`; `None` when that is the log's own. As
/// Docker's, `tail` counts the lines of both streams, whichever of them are wanted. No line goes
/// over one of `runs`.
pub(super) fn find(
    cursor: &Cursor,
    end: Place,
    lines: u64,
    mut runs: &[Place],
) -> io::Result<Option<Starts>> {
    let mut backwards = Backwards::open(cursor, end)?;
    if lines == 0 {
        // A record that is being written now is new: it is not cut in two.
        let start = match backwards.previous()? {
            Some(line) if !line.terminated && line.begin.number == end.number => line.begin,
            _ => end,
        };
        return Ok(Some(Starts {
            stdout: start,
            stderr: start,
        }));
    }
    let mut seen = BothSeen::default();
    let mut counted = 0;
    // Since the earliest wanted line.
    let mut passed_bytes = 0;
    let mut at = end;
    while counted < lines || (seen.any_open() && passed_bytes <= JOIN_BYTES_MAX) {
        let Some(line) = backwards.previous()? else {
            return Ok(seen.starts(Place::default()));
        };
        at = line.begin;
        while let Some((run, earlier)) = runs.split_last()
            && line.begin < *run
        {
            runs = earlier;
            seen.begin_run(*run, counted < lines);
        }
        passed_bytes += line.end.offset - line.begin.offset;
        if let Some(record) = Record::parse(line.text) {
            let seen = seen.of(record.stream);
            // A partial record belongs to the line after it, if there is one.
            let is_line = !record.partial || *seen == Seen::NotYet;
            if is_line && counted < lines {
                counted += 1;
                passed_bytes = 0;
                *seen = Seen::Open;
            } else if is_line && !matches!(seen, Seen::Closed(_)) {
                *seen = Seen::Closed(line.end);
            }
        }
    }
    Ok(seen.starts(at))
}

/// What is known of a stream, looking back.
#[derive(Debug, Default, PartialEq, Eq)]
enum Seen {
    /// No record yet.
    #[default]
    NotYet,
    /// The earliest record so far belongs to a wanted line, which may begin before it.
    Open,
    /// Nothing before this place is wanted.
    Closed(Place),
}

impl Seen {
    fn start(&self, otherwise: Place) -> Place {
        match self {
            Self::Closed(place) => *place,
            Self::NotYet | Self::Open => otherwise,
        }
    }
}

#[derive(Debug, Default)]
struct BothSeen {
    stdout: Seen,
    stderr: Seen,
}

impl BothSeen {
    fn of(&mut self, stream: StreamId) -> &mut Seen {
        match stream {
            StreamId::Stderr => &mut self.stderr,
            _ => &mut self.stdout,
        }
    }

    /// `None` for all of the log.
    fn starts(&self, otherwise: Place) -> Option<Starts> {
        let starts = Starts {
            stdout: self.stdout.start(otherwise),
            stderr: self.stderr.start(otherwise),
        };
        (starts != Starts::default()).then_some(starts)
    }

    /// What is looked at from now on is of an earlier run than what begins at `run`.
    fn begin_run(&mut self, run: Place, wants_more: bool) {
        for seen in [&mut self.stdout, &mut self.stderr] {
            if *seen == Seen::Open {
                *seen = if wants_more {
                    Seen::NotYet
                } else {
                    Seen::Closed(run)
                };
            }
        }
    }

    fn any_open(&self) -> bool {
        self.stdout == Seen::Open || self.stderr == Seen::Open
    }
}

/// Reads a log's lines from the end to the beginning, file after file.
struct Backwards<'a> {
    cursor: &'a Cursor,
    number: u64,
    /// `None` when it is not there: conmon has yet to make it.
    file: Option<File>,
    /// What was read and not returned yet is `block[..end]`, at offset `base` of the file.
    block: Vec<u8>,
    end: usize,
    base: u64,
}

struct FoundLine<'a> {
    begin: Place,
    /// Behind its newline.
    end: Place,
    /// Without its newline; empty when it is too long for any record.
    text: &'a [u8],
    terminated: bool,
}

/// Opens file `number` for reading anywhere. A packed one for which there is no room counts as one
/// that is not there.
fn open(cursor: &Cursor, number: u64) -> io::Result<Option<File>> {
    match cursor.open(number)? {
        None => Ok(None),
        Some(Opened::Plain(file)) => Ok(Some(file)),
        Some(Opened::Packed(file)) => match pack::unpack(file, cursor.files().dir()) {
            Err(e) if e.kind() == io::ErrorKind::StorageFull => Ok(None),
            file => file.map(Some),
        },
    }
}

impl<'a> Backwards<'a> {
    fn open(cursor: &'a Cursor, end: Place) -> io::Result<Self> {
        let file = open(cursor, end.number)?;
        Ok(Self {
            cursor,
            number: end.number,
            base: if file.is_some() { end.offset } else { 0 },
            file,
            block: Vec::new(),
            end: 0,
        })
    }

    /// Goes on at the end of the file before; false when there is none.
    fn go_back(&mut self) -> io::Result<bool> {
        while let Some(number) = self.cursor.before(self.number)? {
            self.number = number;
            if let Some(file) = open(self.cursor, number)? {
                self.base = file.metadata()?.len();
                self.file = Some(file);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The line before the one returned last.
    fn previous(&mut self) -> io::Result<Option<FoundLine<'_>>> {
        let mut dropped = 0;
        let (begin, text_end) = loop {
            let terminated = self.end > 0 && self.block[self.end - 1] == b'\n' && dropped == 0;
            let text_end = self.end - usize::from(terminated);
            if let Some(newline) = memchr::memrchr(b'\n', &self.block[..text_end]) {
                break (newline + 1, text_end);
            }
            if self.base == 0 {
                if self.end > 0 || dropped > 0 {
                    break (0, text_end);
                }
                if !self.go_back()? {
                    return Ok(None);
                }
                continue;
            }
            if self.end > RECORD_BYTES_MAX {
                dropped += self.end as u64;
                self.end = 0;
            }
            self.prepend()?;
        };
        let end = std::mem::replace(&mut self.end, begin);
        let place = |offset| Place {
            number: self.number,
            offset,
        };
        Ok(Some(FoundLine {
            begin: place(self.base + begin as u64),
            end: place(self.base + end as u64 + dropped),
            text: if dropped > 0 {
                &[]
            } else {
                &self.block[begin..text_end]
            },
            terminated: end > text_end,
        }))
    }

    fn prepend(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.base).map_or(BLOCK_BYTES, |base| base.min(BLOCK_BYTES));
        let mut block = vec![0; length];
        self.base -= length as u64;
        if let Some(file) = &self.file {
            file.read_exact_at(&mut block, self.base)?;
        }
        block.extend_from_slice(&self.block[..self.end]);
        self.end = block.len();
        self.block = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::files::LogFiles;
    use std::io::Write;

    const TIME: &str = "2026-11-23T11:52:22.085016519+00:00";

    fn log() -> (tempfile::TempDir, File, Cursor) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = File::create(&path).unwrap();
        let cursor = Cursor::enter(&LogFiles::new(path)).unwrap();
        (dir, file, cursor)
    }

    fn found(cursor: &Cursor, file: &File, lines: u64) -> Starts {
        let end = Place {
            number: cursor.number(),
            offset: file.metadata().unwrap().len(),
        };
        find(cursor, end, lines, &[]).unwrap().unwrap_or_default()
    }

    /// Writes one record for each `out F text`, and looks which of them the tail takes.
    fn taken(records: &[&str], lines: u64) -> Vec<usize> {
        let (_dir, mut file, cursor) = log();
        let mut offsets = Vec::new();
        for record in records {
            let (stream, rest) = record.split_once(' ').unwrap();
            let id = if stream == "out" {
                StreamId::Stdout
            } else {
                StreamId::Stderr
            };
            offsets.push((file.metadata().unwrap().len(), id));
            writeln!(file, "{TIME} std{stream} {rest}").unwrap();
        }
        let starts = found(&cursor, &file, lines);
        (0..records.len())
            .filter(|n| offsets[*n].0 >= starts.of(offsets[*n].1).offset)
            .collect()
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        let records = ["out F a", "err F b", "out F c"];
        assert_eq!(taken(&records, 0), [0; 0]);
        assert_eq!(taken(&records, 1), [2]);
        assert_eq!(taken(&records, 2), [1, 2]);
        assert_eq!(taken(&records, 3), [0, 1, 2]);
        assert_eq!(taken(&records, 100), [0, 1, 2]);
        assert_eq!(taken(&[], 1), [0; 0]);
    }

    #[test]
    fn pieces_belong_to_the_line_they_end_in() {
        let records = ["out F a", "out P b", "out P b", "out F b"];
        assert_eq!(taken(&records, 1), [1, 2, 3]);
        // The piece stands before a line of the other stream that is not wanted.
        let records = ["out F a", "out P b", "err F x", "out F b"];
        assert_eq!(taken(&records, 1), [1, 3]);
        assert_eq!(taken(&records, 2), [1, 2, 3]);
        // A last line without its newline is a line.
        assert_eq!(taken(&["out F a", "out P b", "out P b"], 1), [1, 2]);
        assert_eq!(taken(&["out P b", "out P b"], 5), [0, 1]);
    }

    #[test]
    fn lines_longer_than_a_block_are_found() {
        let piece = format!("out P {}", "p".repeat(8192));
        let mut records = vec!["out F first"];
        records.extend([piece.as_str(); 30]);
        records.push("out F end");
        assert_eq!(taken(&records, 1), (1..32).collect::<Vec<_>>());
        assert_eq!(taken(&records, 2), (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_line_longer_than_any_record_is_passed_over() {
        let (_dir, mut file, cursor) = log();
        writeln!(file, "{TIME} stdout F a").unwrap();
        let begin = file.metadata().unwrap().len();
        file.write_all(&vec![0; 1 << 20]).unwrap();
        writeln!(file).unwrap();
        let after = file.metadata().unwrap().len();
        writeln!(file, "{TIME} stdout F b").unwrap();
        assert_eq!(found(&cursor, &file, 1).first().offset, begin);
        assert_eq!(found(&cursor, &file, 2), Starts::default());
        assert!(begin < after);
    }
}
