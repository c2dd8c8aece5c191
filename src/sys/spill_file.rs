//! A file without a name: bytes that do not fit into memory for a while, gone with the process.
//!
//! All of it blocks, as files do.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};

use crate::space::Space;

/// An unlinked file, written at its end and read from its beginning.
#[derive(Debug)]
pub struct SpillFile {
    file: File,
}

impl SpillFile {
    /// Makes one in `dir`. No name of it is ever seen, or it is taken away at once where the file
    /// system cannot do that.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(CWD, dir, flags, mode) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => named(dir, mode)?,
            Err(e) => return Err(e.into()),
        };
        Ok(Self {
            file: File::from(fd),
        })
    }

    /// Writes all of `bytes` at `offset`, unless less than `leave_bytes` of the file system would
    /// be left for everybody else.
    ///
    /// # Errors
    /// `StorageFull` in that case, or what the file system says.
    pub fn write(&self, bytes: &[u8], offset: u64, leave_bytes: u64) -> io::Result<()> {
        let free = Space::from(rustix::fs::fstatvfs(&self.file)?).bytes;
        if free < leave_bytes.saturating_add(bytes.len() as u64) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Reads all of `buffer` from `offset`, where that much was written.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// The file itself, for those who read it as any other.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Gives the space of `length` bytes from `offset` back. Where the file system cannot, it
    /// comes back with the file.
    pub fn forget(&self, offset: u64, length: u64) {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&self.file, hole, offset, length);
    }
}

/// For file systems without `O_TMPFILE` (overlayfs of older kernels, NFS).
fn named(dir: &Path, mode: Mode) -> io::Result<rustix::fd::OwnedFd> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!(".spill-{}-{number}", std::process::id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(CWD, &path, flags, mode)?;
    rustix::fs::unlinkat(CWD, &path, AtFlags::empty())?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_name_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let made = [
            SpillFile::create(dir.path()).unwrap(),
            SpillFile {
                file: named(dir.path(), Mode::RUSR | Mode::WUSR).unwrap().into(),
            },
        ];
        for file in made {
            file.write(b"one", 0, 0).unwrap();
            file.write(b"two", 3, 0).unwrap();
            let mut buffer = [0; 4];
            file.read(&mut buffer, 2).unwrap();
            assert_eq!(&buffer, b"etwo"[..].get(..4).unwrap());
            file.forget(0, 3);
            file.read(&mut buffer[..3], 3).unwrap();
            assert_eq!(&buffer[..3], b"two");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_last_of_the_disk_is_left_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = SpillFile::create(dir.path()).unwrap();
        let e = file.write(b"x", 0, u64::MAX).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    }
}
