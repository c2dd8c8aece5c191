//! The content of one file put into another.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

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
