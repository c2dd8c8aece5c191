//! From records to what a client reads: filtered, joined, prefixed, framed.
//!
//! Pure: it is given records and appends to a buffer. A line is judged (since, until) and stamped
//! by its first piece. Lines above [`limits::LOG_LINE_BYTES_MAX`] go out in pieces, so memory is
//! bounded whatever a container writes.

use bytes::{BufMut, BytesMut};
use model::limits;

use super::record::{Record, Stamp};
use crate::Want;
use crate::stdcopy::{self, StreamId};

/// What to make of records.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) want: Want,
    pub(super) since: Option<Stamp>,
    pub(super) until: Option<Stamp>,
    pub(super) timestamps: bool,
    pub(super) details: Option<String>,
    pub(super) framed: bool,
}

/// Nothing after this record is wanted: it is later than `until`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop;

#[derive(Debug)]
pub(super) struct Assembler {
    format: Format,
    stdout: Line,
    stderr: Line,
}

/// Where a stream is within a line.
#[derive(Debug)]
enum Line {
    /// The next record begins a line.
    Between,
    /// Pieces wait for their newline. `begun` when some have gone out already, prefix and all.
    Joining {
        stamp: Stamp,
        text: Vec<u8>,
        begun: bool,
    },
    /// The rest of the line is not wanted.
    Ignored,
}

impl Assembler {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            stdout: Line::Between,
            stderr: Line::Between,
        }
    }

    /// What comes next goes on within lines whose beginnings are gone: those are left out.
    pub(super) fn begin_within(&mut self, stdout: bool, stderr: bool) {
        for (line, within) in [(&mut self.stdout, stdout), (&mut self.stderr, stderr)] {
            if within {
                *line = Line::Ignored;
            }
        }
    }

    /// Takes the next record of the file.
    pub(super) fn push(&mut self, record: &Record<'_>, out: &mut BytesMut) -> Result<(), Stop> {
        let line = match record.stream {
            StreamId::Stderr => &mut self.stderr,
            _ => &mut self.stdout,
        };
        match line {
            Line::Between => {
                let format = &self.format;
                if format.until.is_some_and(|until| record.stamp > until) {
                    return Err(Stop);
                }
                if !format.wants(record) {
                    if record.partial {
                        *line = Line::Ignored;
                    }
                } else if record.partial {
                    *line = Line::Joining {
                        stamp: record.stamp,
                        text: record.text.to_vec(),
                        begun: false,
                    };
                } else {
                    format.put(
                        out,
                        record.stream,
                        Some(&record.stamp),
                        &[record.text, b"\n"],
                    );
                }
            }
            Line::Joining { stamp, text, begun } => {
                let head = (!*begun).then_some(&*stamp);
                if !record.partial {
                    self.format
                        .put(out, record.stream, head, &[text, record.text, b"\n"]);
                    *line = Line::Between;
                } else if text.len() + record.text.len() > limits::LOG_LINE_BYTES_MAX {
                    self.format
                        .put(out, record.stream, head, &[text, record.text]);
                    text.clear();
                    *begun = true;
                } else {
                    text.extend_from_slice(record.text);
                }
            }
            Line::Ignored => {
                if !record.partial {
                    *line = Line::Between;
                }
            }
        }
        Ok(())
    }

    /// The log has ended: what waits for its newline goes without one.
    pub(super) fn finish(&mut self, out: &mut BytesMut) {
        for (stream, line) in [
            (StreamId::Stdout, &mut self.stdout),
            (StreamId::Stderr, &mut self.stderr),
        ] {
            if let Line::Joining { stamp, text, begun } = line
                && !text.is_empty()
            {
                let head = (!*begun).then_some(&*stamp);
                self.format.put(out, stream, head, &[text]);
            }
            *line = Line::Between;
        }
    }
}

impl Format {
    fn wants(&self, first: &Record<'_>) -> bool {
        self.want.takes(first.stream) && self.since.is_none_or(|since| first.stamp >= since)
    }

    /// Appends one piece of a line; with `head` its first, which gets the prefix: the time, then
    /// the details (moby `httputils.WriteLogStream`).
    fn put(&self, out: &mut BytesMut, stream: StreamId, head: Option<&Stamp>, parts: &[&[u8]]) {
        let at = out.len();
        if self.framed {
            out.put_slice(&stdcopy::header(stream, 0));
        }
        if let Some(stamp) = head {
            if self.timestamps {
                out.put_slice(stamp.as_bytes());
                out.put_slice(b"Z ");
            }
            if let Some(details) = &self.details {
                out.put_slice(details.as_bytes());
                out.put_u8(b' ');
            }
        }
        for part in parts {
            out.put_slice(part);
        }
        if self.framed {
            let begin = at + stdcopy::HEADER_BYTES;
            let length = u32::try_from(out.len() - begin)
                .expect("a line in one piece is bounded by LOG_LINE_BYTES_MAX and a record");
            out[at..begin].copy_from_slice(&stdcopy::header(stream, length));
        }
    }
}
