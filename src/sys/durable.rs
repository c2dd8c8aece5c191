//! Files that are whole or absent: write, fsync, rename, fsync the directory.
//!
//! For what the data root promises, through power loss. It does not decide what is worth keeping.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// Puts `bytes` at `path`, replacing what was there, so that after return they survive power
/// loss, and at no moment anything but the old or the new content is visible. `mode` is exact,
/// the umask does not apply.
///
/// # Errors
/// Whatever the file system says; the temporary file beside `path` is removed then.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode)?;
    sync_dir(parent_of(path)?)
}

/// Makes the entries of the directory `path` durable: names created, renamed or removed in it.
///
/// # Errors
/// Whatever open(2) or fsync(2) says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A file system that is watched for writes that fail.
///
/// The kernel tells a failed write-back once to each descriptor that was open then, and to none that
/// is opened after somebody else was told (syncfs(2), Linux 5.8). So who writes a tree and wants to
/// know that it is on the disk opens this before the first byte.
#[derive(Debug)]
pub struct FileSystem(File);

impl FileSystem {
    /// The one that holds the directory `path`.
    ///
    /// # Errors
    /// Whatever open(2) says.
    pub fn watch(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Makes everything on it durable, with one wait.
    ///
    /// For a tree of thousands of files this is the only affordable way: an fsync of each costs a
    /// journal commit of each.
    ///
    /// # Errors
    /// Whatever syncfs(2) says, also about what was written by others since [`FileSystem::watch`].
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

/// Renames `from` to `to` unless `to` exists; `false` when it does, and nothing was changed.
/// Not durable before [`sync_dir`] of both directories.
///
/// # Errors
/// Whatever renameat2(2) says otherwise.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_new(&temporary, bytes, mode)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a leftover temporary file is only untidy.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Makes the file `path`, which must not be there, of these bytes. Not durable before it is synced.
/// `mode` is exact, the umask does not apply.
///
/// # Errors
/// Whatever the file system says; what was written stays.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// A name no other writer of this process uses at this moment; the process id keeps two
/// processes apart.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    hidden.push(format!(".{}-{n}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_with_the_exact_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_whole(&path, b"one", 0o666).unwrap();
        write_whole(&path, b"two", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        // A directory in the way makes the rename fail after the temporary file was written.
        let path = dir.path().join("d");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("keep"), "").unwrap();
        assert!(write_whole(&path, b"x", 0o600).is_err());
        assert_eq!(names(dir.path()), ["d"]);
        assert!(write_whole(Path::new("/"), b"x", 0o600).is_err());
    }

    #[test]
    fn rename_new_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        assert!(rename_new(&a, &b).unwrap());
        std::fs::create_dir(&a).unwrap();
        assert!(!rename_new(&a, &b).unwrap());
        assert_eq!(names(dir.path()), ["a", "b"]);
        assert!(rename_new(&dir.path().join("absent"), &a).is_err());
        FileSystem::watch(dir.path()).unwrap().sync().unwrap();
    }
}
