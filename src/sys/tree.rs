//! Trees that no process sees: one that is mounted once more, with others mounted into it.
//!
//! One is an open root directory, and the mount namespace it is in: while that is held, what is mounted
//! in it stays. A path is looked up in it from the root's descriptor ([`Dir`]), whoever does it and in
//! whatever namespace; no thread has to go there. What belongs where is decided above.
//!
//! What a process has as its root is never looked into: it is what the process makes of it, a directory
//! that it changed its root to included, with the kernel's file systems in it and with those that are
//! served by programs. What is wanted of a process's mounts is taken from its namespace one by one
//! ([`live_mounts`]).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ProcessRef;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MoveMountFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::apart::apart;
use crate::beneath::{Dir, file_metadata};
use crate::id_map::{forbid_devices, make_read_only_alone};
use crate::mount::{attach, detached_clone_of, make_slave};
use crate::proc;

/// A root directory with all that is mounted in it.
#[derive(Debug)]
pub struct Tree {
    root: Dir,
    /// Keeps what is mounted.
    _namespace: OwnedFd,
}

/// How a tree is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Planting {
    /// To whom belongs what is made in it so that something can be mounted there.
    pub owner: Option<(u32, u32)>,
    /// Nothing but what is mounted in it can be written to.
    pub read_only: bool,
}

impl Tree {
    /// What `base` shows, a mount that is attached nowhere, with what `plant` mounts into it ([`put`]) in
    /// a namespace that holds nothing else and is seen by nobody. No device in it can be opened.
    ///
    /// # Errors
    /// What `plant` or the kernel says.
    pub fn planted(
        base: BorrowedFd<'_>,
        how: Planting,
        plant: impl FnOnce(&Dir) -> io::Result<()> + Send,
    ) -> io::Result<Self> {
        apart(|| {
            let namespace = File::open("/proc/thread-self/ns/mnt")?;
            attach(base, Path::new("/"))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = Dir::from(rustix::fs::openat(base, ".", flags, Mode::empty())?);
            // Where the host shares its mounts, as systemd has it, this is one's peer until now: what is
            // planted would be mounted there, too.
            make_slave(&path_of(&root))?;
            if let Some((uid, gid)) = how.owner {
                crate::id_map::act_as(uid, gid)?;
            }
            plant(&root)?;
            forbid_devices(root.as_fd())?;
            if how.read_only {
                make_read_only_alone(root.as_fd())?;
            }
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

/// Mounts `mount`, which is attached nowhere, at what `target` is. What it was cloned from does not hear of
/// what is mounted in it.
///
/// # Errors
/// What move_mount(2) says; `ENOTDIR` where one is a directory and the other is not.
pub fn put(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)?;
    // Others may be put into it, and be seen there alone.
    make_slave(Path::new(&format!("/proc/self/fd/{}", mount.as_raw_fd())))
}

/// What is mounted at each of `paths` in the namespace of `process`, from that's root on, once more and
/// attached nowhere; `None` where nothing is, and `None` for all when the process is gone.
///
/// # Errors
/// What /proc or the kernel says.
pub fn live_mounts(
    process: ProcessRef,
    paths: &[&Path],
) -> io::Result<Option<Vec<Option<OwnedFd>>>> {
    let opened = File::open(format!("/proc/{}/ns/mnt", process.pid.get()));
    // It had its number before this was opened, and nobody else can have it while it lives.
    let now = proc::stat(process.pid)?;
    if now.is_none_or(|now| now.start_ticks != process.start_ticks) {
        return Ok(None);
    }
    let namespace = match opened {
        // Ended, and not collected yet.
        Err(e) if proc::is_gone(&e) => return Ok(None),
        other => other?,
    };
    apart(|| {
        let kind = LinkNameSpaceType::Mount;
        move_into_link_name_space(namespace.as_fd(), Some(kind))?;
        // The thread is at the root of the namespace now, whatever the process made its own.
        let root = Dir::open(Path::new("/"))?;
        let found = paths.iter().map(|path| mount_at(&root, path));
        found.collect::<io::Result<Vec<_>>>().map(Some)
    })
}

fn mount_at(root: &Dir, path: &Path) -> io::Result<Option<OwnedFd>> {
    let at = match root.handle_in_root(path) {
        Err(e) if proc::is_gone(&e) || crate::beneath::is_bad_path(&e) => return Ok(None),
        other => other?,
    };
    if !file_metadata(&at)?.is_mount {
        return Ok(None);
    }
    detached_clone_of(at.as_fd()).map(Some)
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
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::mount::tests::Mounted;
    use crate::mount::{MountOptions, below, bind, detached_clone};

    fn planted(base: &Path, plant: impl FnOnce(&Dir) -> io::Result<()> + Send) -> Tree {
        let base = detached_clone(base, true).unwrap();
        Tree::planted(base.as_fd(), Planting::default(), plant).unwrap()
    }

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
        let tree = planted(&base, |root| {
            let clone = detached_clone(&other, true)?;
            put(clone.as_fd(), root.child(OsStr::new("at"))?.as_fd())
        });
        assert_eq!(read(tree.root(), "/at", "f").unwrap(), "planted");
        assert_eq!(below(temp.path()).unwrap(), before);
        assert!(!base.join("at/f").exists());
        // Its namespace has these two and nothing of the host.
        std::fs::write(tree.path().join("at/new"), "x").unwrap();
        assert_eq!(std::fs::read(other.join("new")).unwrap(), b"x");
        drop(tree);
        assert!(crate::mount::unmount(&base, false).unwrap());
    }

    #[test]
    fn devices_are_not_opened_and_a_root_can_be_closed_to_writes() {
        let temp = tempfile::tempdir().unwrap();
        let (base, other) = (temp.path().join("base"), temp.path().join("other"));
        for dir in [&base, &other] {
            std::fs::create_dir(dir).unwrap();
            let null = crate::beneath::DeviceNumber { major: 1, minor: 3 };
            let node = crate::beneath::Node::CharDevice(null);
            Dir::open(dir)
                .unwrap()
                .mknod(OsStr::new("null"), node)
                .unwrap();
        }
        std::fs::create_dir(base.join("at")).unwrap();
        let clone = detached_clone(&base, false).unwrap();
        let how = Planting {
            owner: None,
            read_only: true,
        };
        let tree = Tree::planted(clone.as_fd(), how, |root| {
            root.mkdir(OsStr::new("made"))?;
            let other = detached_clone(&other, false)?;
            put(other.as_fd(), root.child(OsStr::new("at"))?.as_fd())
        });
        let tree = tree.unwrap();
        for dir in ["/", "/at"] {
            let e = read(tree.root(), dir, "null").unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{dir}");
        }
        let e = tree.root().create_file(OsStr::new("f")).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let at = tree.root().child(OsStr::new("at")).unwrap();
        at.create_file(OsStr::new("f")).unwrap();
        std::fs::write(base.join("f"), "").unwrap();
    }

    /// As on a host with systemd: whatever is mounted below a shared mount is shared.
    #[test]
    fn what_is_planted_is_seen_there_alone_though_the_host_shares_its_mounts() {
        use rustix::mount::{MountPropagationFlags, mount_change};
        let temp = tempfile::tempdir().unwrap();
        let host = temp.path().join("host");
        std::fs::create_dir(&host).unwrap();
        let _guard = Mounted(host.clone());
        bind(&host, &host, false, MountOptions::default()).unwrap();
        mount_change(&host, MountPropagationFlags::SHARED).unwrap();
        let (base, volume, inner) = (host.join("base"), host.join("volume"), host.join("inner"));
        for dir in [&base.join("at"), &volume.join("in"), &inner] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(inner.join("f"), "planted").unwrap();
        let _base = Mounted(base.clone());
        bind(&base, &base, false, MountOptions::default()).unwrap();
        let before = below(temp.path()).unwrap();
        let tree = planted(&base, |root| {
            let clone = detached_clone(&volume, true)?;
            put(clone.as_fd(), root.child(OsStr::new("at"))?.as_fd())?;
            let clone = detached_clone(&inner, true)?;
            put(clone.as_fd(), root.in_root(Path::new("/at/in"))?.as_fd())
        });
        assert_eq!(read(tree.root(), "/at/in", "f").unwrap(), "planted");
        assert_eq!(below(temp.path()).unwrap(), before);
        drop(tree);
        assert_eq!(below(temp.path()).unwrap(), before);
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
        let tree = planted(&base, |root| {
            let dir = detached_clone(&other, true)?;
            let at = root.child(OsStr::new("t"))?.child(OsStr::new("at"))?;
            put(dir.as_fd(), at.as_fd())?;
            let file = detached_clone(&other.join("f"), true)?;
            put(file.as_fd(), root.handle(OsStr::new("file"))?.as_fd())
        });
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

    /// A process in a namespace of its own, in which `script` has made mounts.
    fn apart_with(dir: &Path, script: &str) -> (Killed, ProcessRef) {
        use std::io::Read as _;
        let script = format!("cd {}; {script}; echo; exec sleep 60", dir.display());
        let child = Command::new("unshare")
            .args(["-m", "sh", "-ec", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut ready = [0];
        let mut out = child.0.stdout.take().unwrap();
        out.read_exact(&mut ready).unwrap();
        let pid = model::Pid::new(child.0.id().into()).unwrap();
        let start_ticks = proc::stat(pid).unwrap().unwrap().start_ticks;
        (child, ProcessRef { pid, start_ticks })
    }

    #[test]
    fn a_mount_is_taken_from_the_namespace_of_a_process_and_not_of_a_stranger() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        for name in ["at", "plain", "base"] {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(dir.join("at"), dir.join("link")).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        let script = "mount -t tmpfs own at; echo seen > at/f";
        let (child, process) = apart_with(dir, script);
        assert!(!dir.join("at/f").exists());
        let paths = ["link", "plain", "none", "file/x"].map(|name| dir.join(name));
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let found = live_mounts(process, &paths).unwrap().unwrap();
        let there: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, false, false, false]);
        std::fs::create_dir(dir.join("base/in")).unwrap();
        let tree = planted(&dir.join("base"), |root| {
            let mount = found[0].as_ref().unwrap();
            put(mount.as_fd(), root.child(OsStr::new("in"))?.as_fd())
        });
        assert_eq!(read(tree.root(), "/in", "f").unwrap(), "seen\n");
        drop(child);
        assert!(live_mounts(process, &paths).unwrap().is_none());
        let own = model::Pid::new(std::process::id().into()).unwrap();
        let stranger = ProcessRef {
            pid: own,
            start_ticks: process.start_ticks + 1,
        };
        assert!(live_mounts(stranger, &paths).unwrap().is_none());
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
