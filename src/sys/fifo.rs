//! Writing to a fifo without ever blocking on a missing reader.
//!
//! conmon's `ctl` fifo takes one message a write (2.1.x reads only the first line of what it
//! finds), so a message is written whole or not at all, and only when the one before was read.

use std::io;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};

/// Longest message: a write of up to PIPE_BUF bytes is atomic, pipe(7).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Writes `message` in one piece to the fifo at `path`, in which there must be no other.
///
/// # Errors
/// `NotFound` when there is no fifo or nobody reads it (conmon is gone); `WouldBlock` when its
/// reader has yet to read the message before; `InvalidInput` when the path is something else or the message too long.
pub fn write_message(path: &Path, message: &[u8]) -> io::Result<()> {
    if message.is_empty() || message.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let fifo = open(path)?;
    if rustix::io::ioctl_fionread(&fifo)? > 0 {
        return Err(io::Error::from(io::ErrorKind::WouldBlock));
    }
    match rustix::io::write(&fifo, message) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::PIPE) => Err(io::Error::from(io::ErrorKind::NotFound)),
        Err(e) => Err(e.into()),
    }
}

/// Whether all that was written to the fifo at `path` was read.
///
/// # Errors
/// As [`write_message`].
pub fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(rustix::io::ioctl_fionread(open(path)?)? == 0)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    // O_NONBLOCK: without it open(2) waits for a reader, for ever when conmon is dead.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NXIO) => return Err(io::Error::from(io::ErrorKind::NotFound)),
        other => other?,
    };
    let stat = rustix::fs::fstat(&fifo)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a fifo", path.display()),
        ));
    }
    Ok(fifo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn a_fifo_without_a_reader_is_not_found_and_never_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let kind = |r: io::Result<()>| r.unwrap_err().kind();
        assert_eq!(kind(write_message(&path, b"x")), io::ErrorKind::NotFound);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(kind(write_message(&path, b"x")), io::ErrorKind::NotFound);

        let mut reader = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        assert!(is_empty(&path).unwrap());
        write_message(&path, b"1 24 80\n").unwrap();
        assert!(!is_empty(&path).unwrap());
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "1 24 80\n");
    }

    #[test]
    fn a_plain_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        std::fs::write(&path, "keep").unwrap();
        let refused = write_message(&path, b"x").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(std::fs::read(&path).unwrap(), b"keep");
    }

    #[test]
    fn a_reader_that_does_not_read_is_would_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _reader = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        write_message(&path, b"one\n").unwrap();
        let more = write_message(&path, b"two\n").unwrap_err();
        assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
    }
}
