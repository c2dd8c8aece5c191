//! Whether a log begins within a line, because the file with its beginning was removed: a small
//! file beside it. Blocks.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::files::with_suffix;

/// Of one file, the oldest that is left: which streams go on there within a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// The file's number.
    pub(super) number: u64,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Cut {
    /// What stands beside the log `path`. What cannot be read costs half a line more.
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(name(path)).unwrap_or_default();
        let mut words = text.split_whitespace();
        let mut next = || words.next().and_then(|word| word.parse().ok());
        Self {
            number: next().unwrap_or_default(),
            stdout: next() == Some(1),
            stderr: next() == Some(1),
        }
    }

    /// Puts it there, in one write of the same length each time.
    pub(super) fn write(self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let (stdout, stderr) = (u8::from(self.stdout), u8::from(self.stderr));
        let text = format!("{:20} {stdout} {stderr}\n", self.number);
        options.open(name(path))?.write_all_at(text.as_bytes(), 0)
    }
}

fn name(path: &Path) -> std::path::PathBuf {
    with_suffix(path, ".cut")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(Cut::read(&path), Cut::default());
        let cut = Cut {
            number: 7,
            stdout: false,
            stderr: true,
        };
        cut.write(&path).unwrap();
        assert_eq!(Cut::read(&path), cut);
        fs::write(name(&path), "x y z").unwrap();
        assert_eq!(Cut::read(&path), Cut::default());
    }
}
