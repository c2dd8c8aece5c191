//! How much a file system still takes.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::StatVfs;

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes for unprivileged writers.
    pub bytes: u64,
    /// Bytes for root, who may use what is reserved.
    pub root_bytes: u64,
    /// Files; `u64::MAX` where they are made as needed.
    pub files: u64,
}

impl Space {
    /// Of the file system that `path` is on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::statvfs(path)?))
    }
}

/// Which kind of file system `path` is on, as statfs(2) has it.
///
/// # Errors
/// What the file system says.
pub fn file_system_type(path: &Path) -> io::Result<u64> {
    let magic = rustix::fs::statfs(path)?.f_type;
    Ok(u64::try_from(magic).unwrap_or_default())
}

impl crate::beneath::Dir {
    /// How much the file system still takes that this directory is on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn space(&self) -> io::Result<Space> {
        Ok(Space::from(rustix::fs::fstatvfs(self.as_fd())?))
    }
}

impl From<StatVfs> for Space {
    fn from(stat: StatVfs) -> Self {
        Self {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            root_bytes: stat.f_bfree.saturating_mul(stat.f_frsize),
            // btrfs and others count none.
            files: if stat.f_files == 0 {
                u64::MAX
            } else {
                stat.f_favail
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_use_has_room_or_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let before = Space::of(dir.path()).unwrap();
        assert!(before.bytes > 0 && before.files > 0);
        assert!(before.root_bytes >= before.bytes);
        assert!(Space::of(&dir.path().join("missing")).is_err());
        // A file system that takes nothing.
        assert_eq!(Space::of(Path::new("/proc")).unwrap().bytes, 0);
    }
}
