//! Room for the changes that free room: a file that takes some of the disk until the disk is full.
//!
//! Without it nobody could remove a container from a full disk, for its row must be rewritten
//! first.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Enough for some thousand removals.
const RESERVE_BYTES: usize = 1 << 20;
/// How often it is tried to make it again.
const MAKE_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    is_there: bool,
    tried: Instant,
}

impl Reserve {
    /// Beside the ledger at `path`. A disk that has no room for it now may have later.
    pub(crate) fn new(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(".reserve");
        let mut reserve = Self {
            path: name.into(),
            is_there: false,
            tried: Instant::now(),
        };
        reserve.make();
        reserve
    }

    /// Gives it up; false when it was given up before.
    pub(crate) fn give_up(&mut self) -> bool {
        let there = std::mem::take(&mut self.is_there);
        there && fs::remove_file(&self.path).is_ok()
    }

    /// Makes it again, when it was given up some time ago.
    pub(crate) fn restore(&mut self) {
        if !self.is_there && self.tried.elapsed() > MAKE_PAUSE {
            self.make();
        }
    }

    fn make(&mut self) {
        self.tried = Instant::now();
        let has_size = |file: &fs::Metadata| file.len() == RESERVE_BYTES as u64;
        self.is_there = fs::metadata(&self.path).is_ok_and(|file| has_size(&file));
        if self.is_there {
            return;
        }
        let made = self.fill();
        if let Err(e) = &made {
            tracing::warn!(path = %self.path.display(), error = %e, "no room is set aside for removals on a full disk");
            // Half of it helps nobody.
            let _ = fs::remove_file(&self.path);
        }
        self.is_there = made.is_ok();
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        file.write_all(&vec![0; RESERVE_BYTES])?;
        // Some file systems find out late that there is no room.
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_once_and_kept_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.db");
        let mut reserve = Reserve::new(&ledger);
        let path = dir.path().join("ledger.db.reserve");
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES as u64);
        let mut next = Reserve::new(&ledger);
        assert!(next.give_up() && !path.exists());
        assert!(!next.give_up());
        next.restore();
        assert!(!path.exists(), "not at once");
        assert!(!reserve.give_up(), "it was another's");
    }
}
