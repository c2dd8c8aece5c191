//! The names in a directory, and what the file system says they are: many in little memory.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, RawDir, SeekFrom};

use super::{Dir, Kind};

/// What getdents64(2) is given room for at once.
const ROOM_BYTES: usize = 32 << 10;

/// Names, one after the other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u32,
    length: u16,
    kind: Option<Kind>,
}

impl Names {
    /// How many.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// One of them, and what it was when it was read; a file system need not tell.
    pub fn get(&self, nth: usize) -> Option<(&OsStr, Option<Kind>)> {
        let span = self.spans.get(nth)?;
        Some((OsStr::from_bytes(text(&self.bytes, *span)), span.kind))
    }

    /// Adds one; what no file system has as a name is left out.
    pub fn push(&mut self, name: &OsStr, kind: Option<Kind>) {
        let name = name.as_bytes();
        let (from, length) = (u32::try_from(self.bytes.len()), u16::try_from(name.len()));
        if let (Ok(from), Ok(length)) = (from, length) {
            self.bytes.extend_from_slice(name);
            self.spans.push(Span { from, length, kind });
        }
    }

    fn sort(&mut self) {
        let Self { bytes, spans } = self;
        spans.sort_unstable_by(|a, b| text(bytes, *a).cmp(text(bytes, *b)));
    }
}

fn text(bytes: &[u8], span: Span) -> &[u8] {
    let from = span.from as usize;
    &bytes[from..from + usize::from(span.length)]
}

impl Dir {
    /// The names in this directory in order, without `.` and `..`; `None` when they take more memory than
    /// `bytes_max`, which is less than 4 GiB.
    ///
    /// # Errors
    /// Whatever getdents64(2) says.
    pub fn sorted_names(&self, bytes_max: usize) -> io::Result<Option<Names>> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(0))?;
        let mut room = Vec::with_capacity(ROOM_BYTES);
        let mut entries = RawDir::new(&self.fd, room.spare_capacity_mut());
        let mut names = Names::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name), kind_of(entry.file_type()));
            }
            if names.bytes() > bytes_max {
                return Ok(None);
            }
        }
        names.sort();
        Ok(Some(names))
    }
}

fn kind_of(told: FileType) -> Option<Kind> {
    match told {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Dir),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::CharDevice),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        FileType::Socket => Some(Kind::Socket),
        FileType::Unknown => None,
    }
}
