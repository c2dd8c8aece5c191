//! The content of one file put into another.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Where a file of `length` bytes has content, in order; `None` when it has no holes, or more pieces
/// than `pieces_max`.
///
/// # Errors
/// What lseek(2) says.
pub fn content_ranges(
    file: &File,
    length: u64,
    pieces_max: usize,
) -> io::Result<Option<Vec<Range<u64>>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(length),
            // No data after this point.
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(length),
            // It has become shorter than that.
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        if data < hole {
            pieces.push(data..hole);
        }
        if pieces.len() > pieces_max {
            return Ok(None);
        }
        at = hole.max(data + 1);
    }
    let is_whole = length == 0 || pieces.first().is_some_and(|first| *first == (0..length));
    Ok((!is_whole).then_some(pieces))
}

/// Copies `length` bytes of content from one file to another, both from their start, keeping
/// holes as holes and sharing extents where the file system can.
///
/// # Errors
/// Whatever the file systems say; the target may hold part of the content then.
pub fn copy_content(from: &File, to: &File, length: u64) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // No data after this point.
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(length);
        rustix::fs::seek(from, SeekFrom::Start(data))?;
        rustix::fs::seek(to, SeekFrom::Start(data))?;
        let wanted = hole.saturating_sub(data);
        let copied = io::copy(&mut io::Read::take(from, wanted), &mut &*to)?;
        if copied < wanted {
            // Shorter than it was: somebody truncated it meanwhile.
            break;
        }
        at = hole.max(data + 1);
    }
    Ok(rustix::fs::ftruncate(to, length)?)
}
