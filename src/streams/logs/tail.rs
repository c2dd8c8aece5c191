//! Where the last N lines of a log begin, found by reading backwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::record::Record;
use super::scan::RECORD_BYTES_MAX;
use crate::stdcopy::StreamId;

const BLOCK_BYTES: usize = 64 << 10;
/// How much further back the beginning of a line is looked for when all N lines were found but
/// records of the other stream stand between a line's pieces.
const JOIN_BYTES_MAX: u64 = 1 << 20;

/// Offsets from which the records of each stream count. Two, because the pieces of a stream's
/// first wanted line can stand before lines of the other that are not wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Starts {
    stdout: u64,
    stderr: u64,
}

impl Starts {
    /// Where reading begins.
    pub(super) fn first(self) -> u64 {
        self.stdout.min(self.stderr)
    }

    pub(super) fn of(self, stream: StreamId) -> u64 {
        match stream {
            StreamId::Stderr => self.stderr,
            _ => self.stdout,
        }
    }
}

/// The beginning of the last `lines` lines of the first `size` bytes. As Docker's, `tail` counts
/// the lines of both streams, whichever of them are wanted.
pub(super) fn find(file: &File, size: u64, lines: u64) -> io::Result<Starts> {
    let mut backwards = Backwards::new(file, size);
    if lines == 0 {
        // A record that is being written now is new: it is not cut in two.
        let start = match backwards.previous()? {
            Some(line) if !line.terminated => line.begin,
            _ => size,
        };
        return Ok(Starts {
            stdout: start,
            stderr: start,
        });
    }
    let mut seen = BothSeen::default();
    let mut counted = 0;
    let mut at = size;
    // Where the earliest wanted line ended.
    let mut counted_at = size;
    while counted < lines || (seen.any_open() && counted_at - at <= JOIN_BYTES_MAX) {
        let Some(line) = backwards.previous()? else {
            at = 0;
            break;
        };
        at = line.begin;
        if let Some(record) = Record::parse(line.text) {
            let seen = seen.of(record.stream);
            // A partial record belongs to the line after it, if there is one.
            let is_line = !record.partial || *seen == Seen::NotYet;
            if is_line && counted < lines {
                counted += 1;
                counted_at = at;
                *seen = Seen::Open;
            } else if is_line && !matches!(seen, Seen::Closed(_)) {
                *seen = Seen::Closed(line.end);
            }
        }
    }
    Ok(Starts {
        stdout: seen.stdout.start(at),
        stderr: seen.stderr.start(at),
    })
}

/// What is known of a stream, looking back.
#[derive(Debug, Default, PartialEq, Eq)]
enum Seen {
    /// No record yet.
    #[default]
    NotYet,
    /// The earliest record so far belongs to a wanted line, which may begin before it.
    Open,
    /// Nothing before this offset is wanted.
    Closed(u64),
}

impl Seen {
    fn start(&self, otherwise: u64) -> u64 {
        match self {
            Self::Closed(offset) => *offset,
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

    fn any_open(&self) -> bool {
        self.stdout == Seen::Open || self.stderr == Seen::Open
    }
}

/// Reads a file's lines from the end to the beginning.
struct Backwards<'a> {
    file: &'a File,
    /// What was read and not returned yet is `block[..end]`, at offset `base` of the file.
    block: Vec<u8>,
    end: usize,
    base: u64,
}

struct FoundLine<'a> {
    begin: u64,
    /// Behind its newline.
    end: u64,
    /// Without its newline; empty when it is too long for any record.
    text: &'a [u8],
    terminated: bool,
}

impl<'a> Backwards<'a> {
    fn new(file: &'a File, size: u64) -> Self {
        Self {
            file,
            block: Vec::new(),
            end: 0,
            base: size,
        }
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
                if self.end == 0 && dropped == 0 {
                    return Ok(None);
                }
                break (0, text_end);
            }
            if self.end > RECORD_BYTES_MAX {
                dropped += self.end as u64;
                self.end = 0;
            }
            self.prepend()?;
        };
        let end = std::mem::replace(&mut self.end, begin);
        Ok(Some(FoundLine {
            begin: self.base + begin as u64,
            end: self.base + end as u64 + dropped,
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
        self.file.read_exact_at(&mut block, self.base)?;
        block.extend_from_slice(&self.block[..self.end]);
        self.end = block.len();
        self.block = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TIME: &str = "2026-11-23T11:52:22.085016519+00:00";

    /// Writes one record for each `out F text`, and looks which of them the tail takes.
    fn taken(records: &[&str], lines: u64) -> Vec<usize> {
        let mut file = tempfile::tempfile().unwrap();
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
        let starts = find(&file, file.metadata().unwrap().len(), lines).unwrap();
        (0..records.len())
            .filter(|n| offsets[*n].0 >= starts.of(offsets[*n].1))
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
        let mut file = tempfile::tempfile().unwrap();
        writeln!(file, "{TIME} stdout F a").unwrap();
        let begin = file.metadata().unwrap().len();
        file.write_all(&vec![0; 1 << 20]).unwrap();
        writeln!(file).unwrap();
        let after = file.metadata().unwrap().len();
        writeln!(file, "{TIME} stdout F b").unwrap();
        let size = file.metadata().unwrap().len();
        assert_eq!(find(&file, size, 1).unwrap().first(), begin);
        assert_eq!(find(&file, size, 2).unwrap().first(), 0);
        assert!(begin < after);
    }
}
