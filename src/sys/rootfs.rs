//! Small files read from inside a container's root, without ever leaving it.
//!
//! Whatever the image put there, symbolic links (absolute ones too) are followed as the
//! container itself would follow them, with the root directory as `/`. Only regular files are
//! opened: a device or FIFO that an image planted is looked at (`O_PATH`), never opened for
//! reading. This file writes nothing and mounts nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::beneath::{Dir, Kind, file_metadata};

/// Reads the regular file that a process chrooted into `root` would see at `path`.
///
/// `None` when there is no such file (also when a parent is missing or is no directory, or a
/// link leads nowhere).
///
/// # Errors
///
/// When the path names something else than a regular file, when it has more than `max_bytes`
/// bytes, or when the kernel fails.
pub fn read_file(root: &Path, path: &str, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let handle = match Dir::open(root)?.handle_in_root(Path::new(path)) {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        other => other?,
    };
    if file_metadata(&handle)?.kind != Kind::File {
        return Err(io::Error::other("not a regular file"));
    }
    read_bounded(&handle, max_bytes).map(Some)
}

/// Reads what `handle` names, refusing the first byte above the limit: the size in the inode
/// may change while we read.
fn read_bounded(handle: &OwnedFd, max_bytes: u64) -> io::Result<Vec<u8>> {
    // The same inode again, now for reading: no name is resolved twice.
    let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let file = File::open(&again)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "larger than {max_bytes} bytes, the most that is read"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        dir
    }

    #[test]
    fn a_plain_file_is_read_and_a_missing_one_is_none() {
        let dir = root();
        fs::write(dir.path().join("etc/passwd"), "root:x:0:0\n").unwrap();
        let read = |path| read_file(dir.path(), path, 100).unwrap();
        assert_eq!(read("/etc/passwd").unwrap(), b"root:x:0:0\n");
        assert_eq!(read("/etc/group"), None);
        assert_eq!(read("/etc/passwd/below"), None);
        assert_eq!(read("/nowhere/passwd"), None);
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let dir = root();
        let etc = dir.path().join("etc");
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/p"), "inside").unwrap();
        // The host has an /etc/hostname or at least /proc/version; the root has neither.
        symlink("/proc/version", etc.join("host")).unwrap();
        symlink("../../../../../../data/p", etc.join("dots")).unwrap();
        symlink("/data/p", etc.join("absolute")).unwrap();
        symlink("/etc/loop", etc.join("loop")).unwrap();
        let read = |path| read_file(dir.path(), path, 100);
        assert_eq!(read("/etc/host").unwrap(), None);
        assert_eq!(read("/etc/dots").unwrap().unwrap(), b"inside");
        assert_eq!(read("/etc/absolute").unwrap().unwrap(), b"inside");
        assert!(read("/etc/loop").is_err());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = root();
        fs::write(dir.path().join("etc/big"), [b'x'; 101]).unwrap();
        fs::write(dir.path().join("etc/fits"), [b'x'; 100]).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            dir.path().join("etc/fifo"),
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        let read = |path| read_file(dir.path(), path, 100);
        assert!(
            read("/etc/big")
                .unwrap_err()
                .to_string()
                .contains("100 bytes")
        );
        assert_eq!(read("/etc/fits").unwrap().unwrap().len(), 100);
        // A FIFO without a writer would hang an ordinary open for ever.
        assert!(read("/etc/fifo").is_err());
        assert!(read("/etc").is_err());
    }
}
