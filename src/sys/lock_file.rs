//! A lock that a program holds together with who started it: it is free when both are gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The lock, held. Dropped, it is held on by those who got a copy.
#[derive(Debug)]
pub struct LockFile(File);

impl LockFile {
    /// Takes the lock at `path`, which is made when it is missing; `None` while somebody has it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// A copy for a program, which holds the lock until it and all it started are gone.
    ///
    /// # Errors
    /// When this process may open no more.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_got_a_copy_holds_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = LockFile::try_take(&path).unwrap().unwrap();
        let copy = lock.share().unwrap();
        assert!(LockFile::try_take(&path).unwrap().is_none());
        drop(lock);
        assert!(LockFile::try_take(&path).unwrap().is_none());
        drop(copy);
        assert!(LockFile::try_take(&path).unwrap().is_some());
    }
}
