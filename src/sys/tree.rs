//! Trees as somebody else sees them: what a process has as its root, and a tree with others mounted
//! into it that no process sees.
//!
//! Both are an open root directory, and the mount namespace it is in: while that is held, what is
//! mounted in the tree stays. A path is looked up in them from the root's descriptor ([`Dir`]), whoever
//! does it and in whatever namespace; no thread has to go there. What belongs where is decided above.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ProcessRef;
use rustix::mount::{MoveMountFlags, UnmountFlags};

use crate::apart::apart;
use crate::beneath::Dir;
use crate::proc;

/// A root directory with all that is mounted in it.
#[derive(Debug)]
pub struct Tree {
    root: Dir,
    /// Keeps what is mounted.
    _namespace: OwnedFd,
}

impl Tree {
    /// What `process` has as its root; `None` when it is gone.
    ///
    /// # Errors
    /// What /proc says.
    pub fn of_process(process: ProcessRef) -> io::Result<Option<Self>> {
        let of = |name: &str| PathBuf::from(format!("/proc/{}/{name}", process.pid.get()));
        let opened = File::open(of("ns/mnt"))
            .and_then(|namespace| Ok((namespace, Dir::open(&of("root"))?)))
            // What it has mounted over its root is what it sees there.
            .and_then(|(namespace, root)| Ok((namespace, root.in_root(Path::new("/"))?)));
        // It had its number before anything was opened, and nobody else can have it while it lives.
        let now = proc::stat(process.pid)?;
        if now.is_none_or(|now| now.start_ticks != process.start_ticks) {
            return Ok(None);
        }
        let (namespace, root) = match opened {
            // Ended, and not collected yet.
            Err(e) if proc::is_gone(&e) => return Ok(None),
            other => other?,
        };
        Ok(Some(Self {
            root,
            _namespace: namespace.into(),
        }))
    }

    /// What is mounted at `path`, with what `plant` mounts into it ([`put`]) in a namespace that
    /// holds nothing else and is seen by nobody. What `plant` makes in it belongs to `owner`.
    ///
    /// # Errors
    /// What `plant` or the kernel says; `EBUSY` or `EINVAL` where `path` is no mount point.
    pub fn planted(
        path: &Path,
        owner: Option<(u32, u32)>,
        plant: impl FnOnce(&Dir) -> io::Result<()> + Send,
    ) -> io::Result<Self> {
        apart(|| {
            let namespace = File::open("/proc/thread-self/ns/mnt")?;
            let root = Dir::open(path)?;
            if let Some((uid, gid)) = owner {
                crate::id_map::act_as(uid, gid)?;
            }
            plant(&root)?;
            // The rest of the host would live as long as this.
            rustix::process::fchdir(&root)?;
            rustix::process::pivot_root(".", ".")?;
            rustix::mount::unmount(".", UnmountFlags::DETACH)?;
            Ok(Self {
                root,
                _namespace: namespace.into(),
            })
        })
    }

    /// Its root.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// A path that leads to its root as long as this lives, for calls that want one.
    pub fn path(&self) -> PathBuf {
        path_of(&self.root)
    }
}

/// A path that leads to `dir` as long as that lives.
pub fn path_of(dir: &Dir) -> PathBuf {
    format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()).into()
}

/// Mounts `mount`, which is attached nowhere, at what `target` is.
///
/// # Errors
/// What move_mount(2) says; `ENOTDIR` where one is a directory and the other is not.
pub fn put(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", target, "", flags)?)
}

/// Does `work` on a thread whose files belong to that user and group, with all the rights of the
/// daemon: a file cannot be made by one who has no id where it is made.
///
/// # Errors
/// What the work says, or why there is no such thread.
pub fn acting_as<T: Send, E: From<io::Error> + Send>(
    (uid, gid): (u32, u32),
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("acting-as".to_owned())
            .spawn_scoped(scope, || {
                let _runtime = runtime.as_ref().map(tokio::runtime::Handle::enter);
                crate::id_map::act_as(uid, gid)?;
                work()
            })?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that acts panicked").into()))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::{Child, Command};

    use super::*;
    use crate::mount::tests::Mounted;
    use crate::mount::{MountOptions, below, bind, detached_clone, tmpfs};

    fn read(root: &Dir, dir: &str, name: &str) -> io::Result<String> {
        let dir = root.in_root(Path::new(dir))?;
        io::read_to_string(dir.open_file(OsStr::new(name))?)
    }

    #[test]
    fn what_is_planted_is_seen_there_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (base, other) = (temp.path().join("base"), temp.path().join("other"));
        for dir in [&base, &other] {
            std::fs::create_dir(dir).unwrap();
        }
        let _guard = Mounted(base.clone());
        bind(&base, &base, false, MountOptions::default()).unwrap();
        std::fs::create_dir(base.join("at")).unwrap();
        std::fs::write(other.join("f"), "planted").unwrap();
        let before = below(temp.path()).unwrap();
        let tree = Tree::planted(&base, None, |root| {
            let clone = detached_clone(&other, true)?;
            put(clone.as_fd(), root.child(OsStr::new("at"))?.as_fd())
        })
        .unwrap();
        assert_eq!(read(tree.root(), "/at", "f").unwrap(), "planted");
        assert_eq!(below(temp.path()).unwrap(), before);
        assert!(!base.join("at/f").exists());
        // Its namespace has these two and nothing of the host.
        std::fs::write(tree.path().join("at/new"), "x").unwrap();
        assert_eq!(std::fs::read(other.join("new")).unwrap(), b"x");
        drop(tree);
        assert!(crate::mount::unmount(&base, false).unwrap());
        let none = Tree::planted(&other, None, |_| Ok(())).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::ResourceBusy);
    }

    /// The kernel refuses to remove a mount's place in its own namespace alone.
    #[test]
    fn what_is_mounted_elsewhere_is_in_the_way_of_a_removal() {
        let temp = tempfile::tempdir().unwrap();
        let (base, other) = (temp.path().join("base"), temp.path().join("other"));
        std::fs::create_dir_all(base.join("t/at")).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(base.join("file"), "under").unwrap();
        std::fs::write(other.join("f"), "over").unwrap();
        let _guard = Mounted(base.clone());
        bind(&base, &base, false, MountOptions::default()).unwrap();
        let tree = Tree::planted(&base, None, |root| {
            let dir = detached_clone(&other, true)?;
            let at = root.child(OsStr::new("t"))?.child(OsStr::new("at"))?;
            put(dir.as_fd(), at.as_fd())?;
            let file = detached_clone(&other.join("f"), true)?;
            put(file.as_fd(), root.handle(OsStr::new("file"))?.as_fd())
        })
        .unwrap();
        let root = tree.root();
        for name in ["t", "file"] {
            let e = crate::beneath::remove_tree(root, OsStr::new(name)).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::ResourceBusy, "{name}");
        }
        assert_eq!(read(root, "/t/at", "f").unwrap(), "over");
        assert_eq!(read(root, "/", "file").unwrap(), "over");
    }

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_shows_its_mounts_and_a_stranger_of_its_number_does_not() {
        let temp = tempfile::tempdir().unwrap();
        tmpfs(temp.path(), 1 << 16, 0o700, MountOptions::default()).unwrap();
        let _guard = Mounted(temp.path().to_owned());
        std::fs::write(temp.path().join("f"), "seen").unwrap();
        let child = Command::new("unshare")
            .args(["-m", "sleep", "60"])
            .spawn()
            .unwrap();
        let child = Killed(child);
        let pid = model::Pid::new(child.0.id().into()).unwrap();
        let start_ticks = proc::stat(pid).unwrap().unwrap().start_ticks;
        let process = ProcessRef { pid, start_ticks };
        let tree = Tree::of_process(process).unwrap().unwrap();
        let dir = temp.path().to_str().unwrap();
        assert_eq!(read(tree.root(), dir, "f").unwrap(), "seen");
        drop(child);
        assert!(Tree::of_process(process).unwrap().is_none());
        let own = model::Pid::new(std::process::id().into()).unwrap();
        let stranger = ProcessRef {
            pid: own,
            start_ticks: start_ticks + 1,
        };
        assert!(Tree::of_process(stranger).unwrap().is_none());
    }

    #[test]
    fn files_belong_to_whom_the_thread_acts_as() {
        use std::os::unix::fs::MetadataExt as _;
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("f");
        acting_as((300, 400), || std::fs::write(&file, "")).unwrap();
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), (300, 400));
        std::fs::write(temp.path().join("g"), "").unwrap();
        assert_eq!(std::fs::metadata(temp.path().join("g")).unwrap().uid(), 0);
    }
}
