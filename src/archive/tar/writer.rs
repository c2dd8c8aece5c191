//! Entries written: ustar headers, and an extended header before one that does not hold all of it
//! (POSIX.1-2017 pax; files with holes as GNU tar's version 1.0, its manual, "Storing Sparse Files").

use std::io::{self, Write};

use sys::beneath::{DeviceNumber, FileTime};

use super::header::BLOCK_BYTES;
use super::pax::{SPARSE_PREFIX, XATTR_PREFIX};
use super::{Entry, EntryKind, Segment};

/// What the fields of a header hold at most: octal digits, and a NUL.
const ID_MAX: u64 = 0o777_7777;
const SIZE_MAX: u64 = 0o777_7777_7777;
/// Bytes of the name fields.
const NAME_BYTES: usize = 100;

/// Writes an archive entry by entry; between two calls of [`Writer::entry`] it takes the content of
/// the current one, as long as the entry says.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    content_left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// `out` should be buffered: headers are written 512 bytes at a time.
    pub fn new(out: W) -> Self {
        Self {
            out,
            content_left: 0,
            padding: 0,
        }
    }

    /// Begins an entry. The content of a file with segments is theirs, one after the other.
    ///
    /// # Errors
    /// `InvalidInput` for what no archive can hold; what `out` says.
    ///
    /// # Panics
    /// When content of the entry before is missing.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_entry()?;
        let map = entry.segments.as_deref();
        let map = map.map(|segments| sparse_map(segments, entry.size_bytes));
        let content = match (&entry.kind, &entry.segments) {
            (EntryKind::File, None) => entry.size_bytes,
            (EntryKind::File, Some(segments)) => segments.iter().map(|s| s.length).sum(),
            _ => 0,
        };
        let stored = content + map.as_ref().map_or(0, |map| map.len() as u64);
        let records = records(entry, stored)?;
        if !records.is_empty() {
            let mut header = Block::new(b"PaxHeaders/entry", b'x');
            header.octal(124..136, records.len() as u64);
            self.out.write_all(&header.sealed())?;
            self.padded(&records)?;
        }
        self.out.write_all(&header(entry, stored).sealed())?;
        if let Some(map) = map {
            self.out.write_all(&map)?;
        }
        self.content_left = content;
        self.padding = padding_of(stored);
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// What `out` says.
    ///
    /// # Panics
    /// As [`Writer::entry`].
    pub fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_entry(&mut self) -> io::Result<()> {
        assert_eq!(self.content_left, 0, "an entry's content is whole");
        self.out.write_all(&[0; BLOCK_BYTES][..self.padding])?;
        self.padding = 0;
        Ok(())
    }

    fn padded(&mut self, content: &[u8]) -> io::Result<()> {
        self.out.write_all(content)?;
        let padding = padding_of(content.len() as u64);
        self.out.write_all(&[0; BLOCK_BYTES][..padding])
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        let written = self.out.write(&content[..content.len().min(room)])?;
        self.content_left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn padding_of(bytes: u64) -> usize {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    usize::try_from(bytes.next_multiple_of(BLOCK) - bytes).expect("less than a block")
}

/// A header with nothing in it but zeros.
const BLANK: [u8; BLOCK_BYTES] = {
    let mut block = [0; BLOCK_BYTES];
    let mut at = 100;
    while at < 148 {
        block[at] = b'0';
        at += 1;
    }
    let ends = [107, 115, 123, 135, 147];
    let mut nth = 0;
    while nth < ends.len() {
        block[ends[nth]] = 0;
        nth += 1;
    }
    let magic = b"ustar\x0000";
    let mut nth = 0;
    while nth < magic.len() {
        block[257 + nth] = magic[nth];
        nth += 1;
    }
    block
};

/// A header that is being filled.
struct Block([u8; BLOCK_BYTES]);

impl Block {
    fn new(name: &[u8], type_flag: u8) -> Self {
        let mut block = Self(BLANK);
        block.text(0..NAME_BYTES, name);
        block.0[156] = type_flag;
        block
    }

    /// What does not fit is cut: an extended header has it whole.
    fn text(&mut self, field: std::ops::Range<usize>, text: &[u8]) {
        let text = &text[..text.len().min(field.len())];
        self.0[field][..text.len()].copy_from_slice(text);
    }

    /// What does not fit is 0, as there.
    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let digits = field.len() - 1;
        let fits = value >> (3 * digits) == 0;
        let mut left = if fits { value } else { 0 };
        for digit in self.0[field][..digits].iter_mut().rev() {
            *digit = b'0' + (left & 7) as u8;
            left >>= 3;
        }
    }

    fn sealed(mut self) -> [u8; BLOCK_BYTES] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        // Six digits, a NUL, and the space that is there.
        self.octal(148..155, sum.into());
        self.0[154] = 0;
        self.0
    }
}

fn header(entry: &Entry, stored: u64) -> Block {
    let (type_flag, link, device): (u8, &[u8], _) = match &entry.kind {
        EntryKind::File => (b'0', b"", None),
        EntryKind::HardLink(target) => (b'1', target, None),
        EntryKind::Symlink(text) => (b'2', text, None),
        EntryKind::CharDevice(device) => (b'3', b"", Some(*device)),
        EntryKind::BlockDevice(device) => (b'4', b"", Some(*device)),
        EntryKind::Dir => (b'5', b"", None),
        EntryKind::Fifo => (b'6', b"", None),
        EntryKind::Unknown(flag) => (*flag, b"", None),
    };
    let mut block = Block::new(&entry.path, type_flag);
    block.octal(100..108, u64::from(entry.mode & 0o7777));
    block.octal(108..116, entry.uid.into());
    block.octal(116..124, entry.gid.into());
    block.octal(124..136, stored);
    let modified = u64::try_from(entry.modified.secs).unwrap_or_default();
    block.octal(136..148, modified);
    block.text(157..257, link);
    if let Some(DeviceNumber { major, minor }) = device {
        block.octal(329..337, major.into());
        block.octal(337..345, minor.into());
    }
    block
}

/// What the header does not hold.
fn records(entry: &Entry, stored: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut out, key, value);
    if entry.path.len() > NAME_BYTES {
        add(b"path", &entry.path)?;
    }
    if let EntryKind::HardLink(link) | EntryKind::Symlink(link) = &entry.kind
        && link.len() > NAME_BYTES
    {
        add(b"linkpath", link)?;
    }
    if stored > SIZE_MAX {
        add(b"size", stored.to_string().as_bytes())?;
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > ID_MAX {
            add(key, id.to_string().as_bytes())?;
        }
    }
    let FileTime { secs, nanos } = entry.modified;
    if nanos != 0 || u64::try_from(secs).map_or(true, |secs| secs > SIZE_MAX) {
        add(b"mtime", time(entry.modified).as_bytes())?;
    }
    for (name, value) in &entry.xattrs {
        add(&[XATTR_PREFIX, name].concat(), value)?;
    }
    if entry.segments.is_some() {
        let mut sparse = |key: &[u8], value: &[u8]| add(&[SPARSE_PREFIX, key].concat(), value);
        sparse(b"major", b"1")?;
        sparse(b"minor", b"0")?;
        sparse(b"name", &entry.path)?;
        sparse(b"realsize", entry.size_bytes.to_string().as_bytes())?;
    }
    Ok(out)
}

/// `length key=value\n`, the length counting its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) -> io::Result<()> {
    if key.contains(&b'=') || key.contains(&0) {
        let name = crate::shown(key);
        let told = format!("an archive cannot hold an attribute that is called {name}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    let body = 1 + key.len() + 1 + value.len() + 1;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Seconds with a fraction, its zeros at the end left out.
fn time(at: FileTime) -> String {
    let (sign, secs, nanos) = match at.secs < 0 && at.nanos > 0 {
        // -2 s and 750,000,000 ns is -1.25.
        true => ("-", -(at.secs + 1), 1_000_000_000 - at.nanos),
        false => ("", at.secs, at.nanos),
    };
    let text = format!("{sign}{secs}.{nanos:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How many, then where each begins and how long it is, a number a line, padded to a block. GNU tar takes
/// the end of the last one for the file's: an empty one says that it ends with a hole.
fn sparse_map(segments: &[Segment], size_bytes: u64) -> Vec<u8> {
    use std::fmt::Write as _;
    let end = segments.last().map_or(0, |last| last.offset + last.length);
    let hole = Segment {
        offset: size_bytes,
        length: 0,
    };
    let hole = (end < size_bytes).then_some(hole);
    let count = segments.len() + usize::from(hole.is_some());
    let mut text = format!("{count}\n");
    for Segment { offset, length } in segments.iter().chain(&hole) {
        writeln!(text, "{offset}\n{length}").expect("a string takes it");
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}
