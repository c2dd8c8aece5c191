//! From records back to the bytes that were written, from a given one on.
//!
//! Pure, as `assemble`. conmon's records lose nothing: a text and, after a full one, its newline
//! are what a container wrote. The bytes of the wanted streams are counted in the order in which
//! conmon read them, which is also the order in which an attached client gets them.

use bytes::{BufMut, BytesMut};

use super::record::Record;
use crate::Want;
use crate::stdcopy::{self, StreamId};

#[derive(Debug)]
pub(super) struct Payload {
    want: Want,
    framed: bool,
    /// Bytes still to be left out.
    skip: u64,
}

impl Payload {
    pub(super) fn new(want: Want, framed: bool, skip: u64) -> Self {
        Self { want, framed, skip }
    }

    /// The bytes before `base` are gone. Where the first byte that is not left out stands.
    pub(super) fn begin_at(&mut self, base: u64) -> u64 {
        let begin = self.skip.max(base);
        self.skip -= self.skip.min(base);
        begin
    }

    /// Bytes still to be left out.
    pub(super) fn to_skip(&self) -> u64 {
        self.skip
    }

    /// Takes the next record of the file.
    pub(super) fn push(&mut self, record: &Record<'_>, out: &mut BytesMut) {
        if !self.want.takes(record.stream) {
            return;
        }
        let newline: &[u8] = if record.partial { b"" } else { b"\n" };
        let length = (record.text.len() + newline.len()) as u64;
        if self.skip >= length {
            self.skip -= length;
            return;
        }
        // Smaller than the record, so it fits.
        let skip = usize::try_from(std::mem::take(&mut self.skip)).unwrap_or(usize::MAX);
        let text = record.text.get(skip..).unwrap_or_default();
        self.put(out, record.stream, text, newline);
    }

    fn put(&self, out: &mut BytesMut, stream: StreamId, text: &[u8], newline: &[u8]) {
        if self.framed {
            let length = u32::try_from(text.len() + newline.len());
            let length = length.expect("a record is bounded by RECORD_BYTES_MAX");
            out.put_slice(&stdcopy::header(stream, length));
        }
        out.put_slice(text);
        out.put_slice(newline);
    }
}
