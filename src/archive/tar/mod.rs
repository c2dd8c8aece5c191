//! A tar stream as entries, read and written: every dialect in use, nothing unbounded, no effect on any disk.
//!
//! Determinations. The parser is ours, not the `tar` crate's, for three reasons: that one reads
//! long names and extended headers into memory at whatever length they claim, it does not know
//! the sparse files that GNU tar writes in POSIX archives, and where an archive is ambiguous
//! (repeated records, sizes on entries without content) it decides otherwise than Go's
//! `archive/tar`. Docker reads layers with the latter, and two parsers that disagree about one
//! archive are how content is smuggled. What remains to parse are fixed fields.

mod header;
mod pax;
mod sparse;
mod writer;

use std::io::{self, Read};

use model::{Error, Result, limits};
use sys::beneath::{DeviceNumber, FileTime};

use crate::failure;
use header::{BLOCK_BYTES, Header};
use pax::Pax;
pub use sparse::Segment;
pub use writer::Writer;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name as written; see [`crate::path::CleanPath`].
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub modified: FileTime,
    /// Size of the file once it is written out, holes included.
    pub size_bytes: u64,
    /// Names without the archive's prefix, and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content goes when the file has holes.
    pub segments: Option<Vec<Segment>>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A link with this text.
    Symlink(Vec<u8>),
    /// A further name of the member of this name.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// The type flag of something else.
    Unknown(u8),
}

/// Reads an archive entry by entry; between two calls of [`Reader::next_entry`] it is an [`io::Read`]
/// of the current entry's stored content.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    content_left: u64,
    padding: u64,
    ended: bool,
    entry_bytes_max: u64,
}

impl<R: Read> Reader<R> {
    /// `source` should be buffered: headers are read 512 bytes at a time.
    pub fn new(source: R) -> Self {
        Self {
            source,
            content_left: 0,
            padding: 0,
            ended: false,
            entry_bytes_max: limits::LAYER_BYTES_MAX,
        }
    }

    /// Of somebody's files, which are as large as the disk takes.
    #[must_use]
    pub fn of_files(self) -> Self {
        Self {
            entry_bytes_max: i64::MAX.cast_unsigned(),
            ..self
        }
    }

    /// Skips what is left of the current entry and reads the next; `None` at the end.
    ///
    /// # Errors
    /// `InvalidParameter` for anything but a well-formed archive within its limits.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut pax: Option<Pax> = None;
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(Error::invalid(
                        "the archive ends after a header that describes a missing entry",
                    ));
                }
                return Ok(None);
            };
            match header.type_flag() {
                b'x' => set_once(
                    &mut pax,
                    Pax::parse(&self.extension(&header, limits::PAX_BYTES_MAX)?)?,
                )?,
                b'L' => set_once(&mut long_name, self.long_text(&header)?)?,
                b'K' => set_once(&mut long_link, self.long_text(&header)?)?,
                // Defaults for all following entries; Docker ignores them.
                b'g' => self.begin_content(header.size_bytes()?)?,
                _ => return self.entry(&header, pax, long_name, long_link).map(Some),
            }
        }
    }

    /// The source, wherever reading stopped.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn entry(
        &mut self,
        header: &Header,
        pax: Option<Pax>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry> {
        let pax = pax.unwrap_or_default();
        // Of two extensions that name an entry, Go takes GNU's: readers must not see two names.
        let given = |name: Option<Vec<u8>>| name.filter(|name| !name.is_empty());
        let stored_path = given(long_name)
            .or(pax.path)
            .unwrap_or_else(|| header.path());
        let link = given(long_link)
            .or(pax.link)
            .unwrap_or_else(|| header.link());
        let kind = match header.type_flag() {
            0 if stored_path.ends_with(b"/") => EntryKind::Dir,
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::CharDevice(header.device()?),
            b'4' => EntryKind::BlockDevice(header.device()?),
            b'5' => EntryKind::Dir,
            b'6' => EntryKind::Fifo,
            other => EntryKind::Unknown(other),
        };
        let stored_bytes = match kind {
            EntryKind::File | EntryKind::Unknown(_) => match pax.size_bytes {
                Some(size) => size,
                None => header.size_bytes()?,
            },
            // Go's archive/tar: these have no content whatever their size field says.
            _ => 0,
        };
        self.begin_content(stored_bytes)?;
        let sparse = self.sparse_map(header, &pax.sparse)?;
        let (size_bytes, segments) = match sparse {
            Some(map) => {
                map.check(self.content_left)?;
                (map.size_bytes, Some(map.segments))
            }
            None => (stored_bytes, None),
        };
        Ok(Entry {
            path: pax.sparse.name.unwrap_or(stored_path),
            kind,
            mode: header.mode()?,
            uid: id(pax.uid, || header.uid())?,
            gid: id(pax.gid, || header.gid())?,
            modified: match pax.modified {
                Some(time) => time,
                None => header.modified()?,
            },
            size_bytes,
            xattrs: pax.xattrs,
            segments,
        })
    }

    fn sparse_map(
        &mut self,
        header: &Header,
        pax: &pax::SparseRecords,
    ) -> Result<Option<sparse::Map>> {
        match (header.type_flag(), pax.major, pax.minor) {
            (b'S', ..) => {
                let (mut map, mut more) = header.sparse()?;
                while more {
                    let mut block = [0; BLOCK_BYTES];
                    self.source
                        .read_exact(&mut block)
                        .map_err(failure::reading)?;
                    more = map.add_extension(&block)?;
                }
                Ok(Some(map))
            }
            (0 | b'0', Some(1), Some(0)) => {
                let size_bytes = pax
                    .size_bytes
                    .ok_or_else(|| Error::invalid("sparse file without its size in the archive"))?;
                sparse::Map::read_from_content(self, size_bytes).map(Some)
            }
            (0 | b'0', ..) if !pax.segments.is_empty() || pax.size_bytes.is_some() => {
                let size_bytes = pax
                    .size_bytes
                    .ok_or_else(|| Error::invalid("sparse file without its size in the archive"))?;
                Ok(Some(sparse::Map {
                    size_bytes,
                    segments: pax.segments.clone(),
                }))
            }
            _ => Ok(None),
        }
    }

    fn header(&mut self) -> Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(0) => return Err(failure::reading(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failure::reading(e)),
            }
        }
        if block.iter().all(|b| *b == 0) {
            self.ended = true;
            return Ok(None);
        }
        Header::parse(block).map(Some)
    }

    fn begin_content(&mut self, bytes: u64) -> Result<()> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        if bytes > self.entry_bytes_max {
            return Err(Error::invalid(format!(
                "entry of {bytes} bytes in the archive, the largest allowed has {}",
                self.entry_bytes_max
            )));
        }
        self.content_left = bytes;
        self.padding = bytes.next_multiple_of(BLOCK) - bytes;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.content_left + self.padding;
        let skipped = io::copy(&mut (&mut self.source).take(rest), &mut io::sink())
            .map_err(failure::reading)?;
        if skipped < rest {
            return Err(failure::reading(io::ErrorKind::UnexpectedEof.into()));
        }
        (self.content_left, self.padding) = (0, 0);
        Ok(())
    }

    /// The whole content of a header that describes the next entry.
    fn extension(&mut self, header: &Header, limit_bytes: u64) -> Result<Vec<u8>> {
        let size = header.size_bytes()?;
        if size > limit_bytes {
            return Err(Error::invalid(format!(
                "header of {size} bytes in the archive, the longest allowed has {limit_bytes}"
            )));
        }
        self.begin_content(size)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(failure::reading)?;
        Ok(content)
    }

    /// A GNU long name or link: text that ends with a NUL.
    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>> {
        let mut text = self.extension(header, limits::LAYER_PATH_BYTES_MAX as u64 + 1)?;
        if let Some(end) = text.iter().position(|b| *b == 0) {
            text.truncate(end);
        }
        Ok(text)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf
            .len()
            .min(usize::try_from(self.content_left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.source.read(&mut buf[..wanted])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content_left -= n as u64;
        Ok(n)
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::invalid(
            "two headers of one kind describe the same entry of the archive",
        ));
    }
    Ok(())
}

/// An owner. `u32::MAX` is no id: chown(2) takes it for "leave as it is".
fn id(from_pax: Option<u64>, from_header: impl FnOnce() -> Result<u64>) -> Result<u32> {
    let id = match from_pax {
        Some(id) => id,
        None => from_header()?,
    };
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| Error::invalid(format!("owner {id} in the archive is out of range")))
}

#[cfg(test)]
mod tests;
