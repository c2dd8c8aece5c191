//! Regular files: what is in them, their holes, and what becomes of one that shrinks.

use std::fs::File;
use std::io::{self, Read, Write};

use model::{Error, Result, limits};
use sys::beneath::{Metadata, content_ranges, file_metadata, file_xattrs};

use super::Packer;
use crate::failure::At;
use crate::tar::{EntryKind, Segment};

/// How much content is moved at once.
pub(super) const COPY_BYTES: usize = 256 << 10;
/// Files of up to this size are read before their header is written.
pub(super) const SMALL_BYTES: usize = 128 << 10;
/// The unit of `st_blocks` (inode(7)).
const STAT_BLOCK_BYTES: u64 = 512;

impl<W: Write> Packer<'_, W> {
    pub(super) fn file(&mut self, mut file: &File, found: &Metadata) -> Result<()> {
        let mut entry = self.entry(EntryKind::File, found);
        let attributes = file_xattrs(file);
        let attributes = attributes.at("read the attributes of", &self.at())?;
        entry.xattrs = self.kept(attributes)?;
        self.links.remember(found, &entry);
        if let Ok(size) = usize::try_from(entry.size_bytes)
            && size <= SMALL_BYTES
        {
            let read = read_whole(&mut file, &mut self.buffer[..size]);
            let read = read.at("read", &self.at())?;
            entry.size_bytes = read as u64;
            self.write_entry(&entry)?;
            let written = self.out.write_all(&self.buffer[..read]);
            return written.map_err(crate::failure::writing);
        }
        let whole = 0..entry.size_bytes;
        // Most files have as many blocks as they need, and no holes to look for.
        let has_holes = found.blocks.saturating_mul(STAT_BLOCK_BYTES) < entry.size_bytes;
        let ranges = match self.policy.is_exact && has_holes {
            true => content_ranges(file, entry.size_bytes, limits::SPARSE_SEGMENTS_MAX - 1),
            false => Ok(None),
        };
        let Some(ranges) = ranges.at("read", &self.at())? else {
            self.write_entry(&entry)?;
            return self.content(file, whole);
        };
        let segments = ranges.iter().map(|range| Segment {
            offset: range.start,
            length: range.end - range.start,
        });
        entry.segments = Some(segments.collect());
        self.write_entry(&entry)?;
        for range in ranges {
            use std::io::Seek as _;
            // Looking for holes has moved it.
            let moved = file.seek(io::SeekFrom::Start(range.start));
            moved.at("read", &self.at())?;
            self.content(file, range)?;
        }
        // What looked like a hole may have been cut off.
        let now = file_metadata(file).at("look at", &self.at())?;
        match now.size < entry.size_bytes {
            true => Err(self.shorter()),
            false => Ok(()),
        }
    }

    fn content(&mut self, mut file: &File, range: std::ops::Range<u64>) -> Result<()> {
        let mut left = range.end - range.start;
        let mut is_cut = false;
        while left > 0 {
            let wanted = COPY_BYTES.min(usize::try_from(left).unwrap_or(COPY_BYTES));
            let mut read = 0;
            if !is_cut {
                let piece = read_whole(&mut file, &mut self.buffer[..wanted]);
                read = piece.at("read", &self.at())?;
            }
            if read < wanted {
                if !self.policy.is_in_use {
                    return Err(self.shorter());
                }
                if !is_cut {
                    tracing::warn!("{}: zeros are sent instead", self.shorter());
                }
                is_cut = true;
                self.buffer[read..wanted].fill(0);
            }
            let written = self.out.write_all(&self.buffer[..wanted]);
            written.map_err(crate::failure::writing)?;
            left -= wanted as u64;
        }
        Ok(())
    }

    fn shorter(&self) -> Error {
        let at = self.at();
        let at = at.display();
        Error::conflict(format!("{at} has become shorter while it was read"))
    }
}

/// Fills `room`, or as much of it as there is to read.
fn read_whole(file: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match file.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
