//! Network namespaces that no process need be in: each is pinned by a bind mount on a file.
//!
//! The mounts are made in the daemon's own mount namespace. A namespace ends when it is pinned no
//! more and its last process and socket are gone; the kernel takes its interfaces away some time later.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::ProcessRef;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::namespace::{self, Kind};
use crate::proc;

/// `NSFS_MAGIC` of linux/magic.h: the file system of namespaces.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Makes a new network namespace, pinned at `path`. Its loopback is down. What was pinned there is
/// unpinned.
///
/// # Errors
/// Whatever unshare(2), mount(2) and the file system say; then nothing stays.
pub fn make(path: &Path) -> io::Result<()> {
    pinned(path, || {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(rustix::mount::mount_bind("/proc/thread-self/ns/net", path)?)
        })
    })
}

/// Pins the network namespace of `process` at `path`; `false` when the process is gone.
///
/// # Errors
/// Whatever /proc, mount(2) and the file system say; then nothing stays.
pub fn pin(process: ProcessRef, path: &Path) -> io::Result<bool> {
    let Some(held) = namespace::hold(process, Kind::Net)? else {
        return Ok(false);
    };
    let bind = || Ok(rustix::mount::mount_bind(held.path(), path)?);
    match pinned(path, bind) {
        // It ended in between, as /proc tells only now.
        Err(e) if proc::is_gone(&e) => Ok(false),
        pinned => pinned.map(|()| true),
    }
}

/// Whether a namespace is pinned at `path`.
///
/// # Errors
/// What statfs(2) says; nothing at all there is no error.
pub fn is_pinned(path: &Path) -> io::Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(found) => Ok(found.f_type == NSFS_MAGIC),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Unpins what is pinned at `path` and removes the file. Nothing there is fine.
///
/// # Errors
/// Whatever umount(2) and unlink(2) say.
pub fn remove(path: &Path) -> io::Result<()> {
    // Two may lie on each other, where a daemon was killed between mounting and telling.
    loop {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        match rustix::mount::unmount(path, flags) {
            Ok(()) => {}
            // No mount, or no file.
            Err(Errno::INVAL) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The files in `dir`, pinned or left over; none when there is no such directory.
///
/// # Errors
/// What reading the directory says.
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Runs `work` in the namespace pinned at `path`, on a thread of its own.
///
/// # Errors
/// What opening and setns(2) say, and what `work` does.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let namespace = File::open(path)?;
    on_a_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Makes the file, lets `mount` mount on it, and takes it away when that fails.
fn pinned(path: &Path, mount: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    remove(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o400);
    options.open(path)?;
    mount().inspect_err(|_| {
        let _ = remove(path);
    })
}

/// A thread that changed its namespace must not run anything else: it ends with the work.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let named = std::thread::Builder::new().name("netns".to_owned());
        let joined = named.spawn_scoped(scope, work)?.join();
        joined.unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::read_link;
    use std::process::{Command, Stdio};

    use model::Pid;

    use super::*;

    fn inode(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_namespace_is_made_entered_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netns/a");
        assert!(!is_pinned(&path).unwrap());
        make(&path).unwrap();
        assert!(is_pinned(&path).unwrap());
        let listed = list(path.parent().unwrap()).unwrap();
        assert_eq!(listed.as_slice(), std::slice::from_ref(&path));
        let own = read_link("/proc/self/ns/net").unwrap();
        let is = inside(&path, || read_link("/proc/thread-self/ns/net")).unwrap();
        assert_ne!(is, own);
        assert_eq!(is.to_str().unwrap(), format!("net:[{}]", inode(&path)));
        assert_eq!(read_link("/proc/thread-self/ns/net").unwrap(), own);
        // Made anew, it is another one, and only one is pinned.
        let before = inode(&path);
        let held = File::open(&path).unwrap();
        make(&path).unwrap();
        assert_ne!(inode(&path), before);
        drop(held);
        remove(&path).unwrap();
        assert!(!is_pinned(&path).unwrap() && !path.exists());
        remove(&path).unwrap();
        assert!(list(&dir.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn a_processs_namespace_outlives_it_and_a_strangers_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let mut child = Command::new("/usr/bin/unshare")
            .args(["--net", "/bin/sh", "-c", "echo; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line comes from inside.
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = Pid::new(child.id().into()).unwrap();
        let process = proc::process_ref(pid).unwrap().unwrap();
        let stranger = ProcessRef {
            start_ticks: process.start_ticks + 1,
            ..process
        };
        assert!(!pin(stranger, &path).unwrap());
        assert!(!path.exists());
        assert!(pin(process, &path).unwrap());
        let is = read_link(format!("/proc/{}/ns/net", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(is.to_str().unwrap(), format!("net:[{}]", inode(&path)));
        remove(&path).unwrap();
        assert!(!pin(process, &path).unwrap());
    }
}
