//! How much of a counted log is gone: a small file beside it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What was removed from a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Files up to this number.
    pub(super) through: u64,
    /// The bytes that were in them.
    pub(super) bytes: u64,
}

impl Dropped {
    /// What stands beside the log `path`; nothing for one of which all is there.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(name(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(through)), Some(Ok(bytes)), None) => Ok(Self { through, bytes }),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} does not say how much is gone", name(path).display()),
            )),
        }
    }

    /// Puts it beside the log `path`, in one write of the same length each time: it is whole after
    /// a kill, and needs no room on a full disk. Not through a power loss: no session outlives
    /// that.
    pub(super) fn write(self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(name(path))?;
        let text = format!("{:20} {:20}\n", self.through, self.bytes);
        file.write_all_at(text.as_bytes(), 0)
    }
}

fn name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".dropped");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(Dropped::read(&path).unwrap(), Dropped::default());
        let dropped = Dropped {
            through: 7,
            bytes: 1 << 40,
        };
        dropped.write(&path).unwrap();
        assert_eq!(Dropped::read(&path).unwrap(), dropped);
        let most = Dropped {
            through: u64::MAX,
            bytes: u64::MAX,
        };
        for dropped in [most, dropped] {
            dropped.write(&path).unwrap();
            assert_eq!(Dropped::read(&path).unwrap(), dropped);
        }
        for nonsense in ["", "7", "7 x", "1 2 3"] {
            std::fs::write(name(&path), nonsense).unwrap();
            assert!(Dropped::read(&path).is_err(), "{nonsense:?}");
        }
    }
}
