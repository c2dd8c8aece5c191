//! Where the content of a file with holes goes.

use std::io::Read;

use model::{Error, Result, limits};

use super::header::{self, BLOCK_BYTES};
use super::{Reader, pax};
use crate::failure;

/// A run of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// All runs of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Map {
    /// Size of the file with its holes.
    pub(super) size_bytes: u64,
    pub(super) segments: Vec<Segment>,
}

/// One pair of twelve-byte numbers in a GNU header.
const ENTRY_BYTES: usize = 24;

impl Map {
    /// The runs must come in order, stay within the file, and add up to what is stored.
    pub(super) fn check(&self, stored_bytes: u64) -> Result<()> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for segment in &self.segments {
            let next = segment.offset.checked_add(segment.length);
            match next {
                Some(next) if segment.offset >= end && next <= self.size_bytes => end = next,
                _ => {
                    return Err(Error::invalid(
                        "sparse file with an impossible map in the archive",
                    ));
                }
            }
            sum += segment.length;
        }
        if sum != stored_bytes || self.size_bytes > limits::LAYER_BYTES_MAX {
            return Err(Error::invalid(
                "sparse file with an impossible map in the archive",
            ));
        }
        Ok(())
    }

    /// Pairs of an old GNU header; an empty pair ends them.
    pub(super) fn add_entries(&mut self, field: &[u8]) -> Result<()> {
        for pair in field.chunks_exact(ENTRY_BYTES) {
            if pair[0] == 0 || pair[12] == 0 {
                break;
            }
            let value = |field| {
                u64::try_from(header::number(field)?).map_err(|_| {
                    Error::invalid("sparse file with an impossible map in the archive")
                })
            };
            self.add(value(&pair[..12])?, value(&pair[12..])?)?;
        }
        Ok(())
    }

    /// A block of further pairs; returns whether another follows.
    pub(super) fn add_extension(&mut self, block: &[u8; BLOCK_BYTES]) -> Result<bool> {
        let before = self.segments.len();
        self.add_entries(&block[..21 * ENTRY_BYTES])?;
        let more = block[504] != 0;
        // Blocks without a pair would go on for ever and never meet a limit.
        if more && self.segments.len() == before {
            return Err(Error::invalid(
                "sparse file with an empty map block in the archive",
            ));
        }
        Ok(more)
    }

    /// The map of GNU's version 1.0: decimal lines before the content, padded to a block.
    pub(super) fn read_from_content<R: Read>(
        reader: &mut Reader<R>,
        size_bytes: u64,
    ) -> Result<Self> {
        let mut lines = Lines {
            reader,
            block: [0; BLOCK_BYTES],
            at: BLOCK_BYTES,
        };
        let count = lines.next()?;
        if count > limits::SPARSE_SEGMENTS_MAX as u64 {
            return Err(too_many_segments());
        }
        let mut map = Self {
            size_bytes,
            segments: Vec::new(),
        };
        for _ in 0..count {
            let offset = lines.next()?;
            let length = lines.next()?;
            map.add(offset, length)?;
        }
        Ok(map)
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() >= limits::SPARSE_SEGMENTS_MAX {
            return Err(too_many_segments());
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }
}

pub(super) fn too_many_segments() -> Error {
    Error::invalid(format!(
        "sparse file in more than {} pieces in the archive",
        limits::SPARSE_SEGMENTS_MAX
    ))
}

/// Decimal numbers, one a line, from the blocks at the start of an entry's content.
struct Lines<'a, R> {
    reader: &'a mut Reader<R>,
    block: [u8; BLOCK_BYTES],
    at: usize,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> Result<u64> {
        /// More digits than any 64-bit number has.
        const DIGITS_MAX: usize = 20;
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK_BYTES {
                self.reader
                    .read_exact(&mut self.block)
                    .map_err(failure::reading)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            if byte == b'\n' {
                return pax::number(&digits);
            }
            digits.push(byte);
            if digits.len() > DIGITS_MAX {
                return Err(Error::invalid(
                    "sparse file with a damaged map in the archive",
                ));
            }
        }
    }
}
