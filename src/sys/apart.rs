//! Threads that live apart for as long as one piece of work takes: with a mount namespace of their
//! own. A thread that has left the others' namespace must not go back to work among them, so it ends.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use crate::id_map::{UserNamespace, mapped_clone};
use crate::mount::{MountOptions, attach, below, detached_clone, make_slave, tmpfs, unmount};
use crate::selinux::label_next_program;

/// Does `work` on a thread with a mount namespace of its own, of which nothing is seen outside.
///
/// # Errors
/// What the work says, or why there is no such thread.
pub fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("apart".to_owned())
            .spawn_scoped(scope, || {
                leave()?;
                // What is unmounted outside goes here, too, and nothing that is done here goes there.
                make_slave(Path::new("/"))?;
                work()
            })?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that lives apart panicked")))
    })
}

fn leave() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from)
}

/// What a program is given that the daemon's threads have not.
#[derive(Debug, Clone, Default)]
pub struct Apart {
    /// What it has mounted.
    pub mounts: Option<OwnMounts>,
    /// Its SELinux label.
    pub label: Option<String>,
}

impl Apart {
    /// Whether it needs no thread of its own.
    pub fn is_nothing(&self) -> bool {
        self.mounts.is_none() && self.label.is_none()
    }

    /// Makes the calling thread live apart; it must end without other work.
    ///
    /// # Errors
    /// What the kernel says, with the step.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if let Some(label) = &self.label {
            label_next_program(label)
                .map_err(|e| io::Error::new(e.kind(), format!("the SELinux label {label}: {e}")))?;
        }
        self.mounts.as_ref().map_or(Ok(()), OwnMounts::enter)
    }
}

/// What a program's own mount namespace has that the daemon's has not.
///
/// The ids of a container in a user namespace are strangers on the host: what lies below a directory
/// that is closed to others, as all of ours and many of a user's are, is out of their reach. So
/// what the container needs is mounted at one open place, where only its programs see it, and nobody's
/// directory is opened to the world (libpod's `makeAccessible` does that).
#[derive(Debug, Clone)]
pub struct OwnMounts {
    /// An empty directory that everybody can reach.
    place: PathBuf,
    shown: Vec<Shown>,
    /// Directories whose mounts are no business of the program, and must not live as long as it.
    hidden: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
struct Shown {
    path: PathBuf,
    ids: Option<Arc<UserNamespace>>,
}

/// Size of the file system that has the places to mount at.
const PLACES_BYTES: u64 = 1 << 20;

impl OwnMounts {
    /// What is shown first is at this name below the place.
    pub const FIRST: &str = "0";

    /// Mounts at `place`, an empty directory that everybody can reach.
    pub fn at(place: PathBuf) -> Self {
        Self {
            place,
            shown: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Shows `path`, a directory or a file, with what is mounted inside it; with `ids` the ids of that
    /// namespace, and nothing that is mounted inside. Returns where.
    pub fn show(&mut self, path: &Path, ids: Option<&Arc<UserNamespace>>) -> PathBuf {
        let at = self.at_place(self.shown.len());
        self.shown.push(Shown {
            path: path.to_owned(),
            ids: ids.cloned(),
        });
        at
    }

    fn at_place(&self, nth: usize) -> PathBuf {
        self.place.join(nth.to_string())
    }

    /// Takes away all mounts below `dir`, once what is shown of them is held.
    pub fn hide(&mut self, dir: &Path) {
        self.hidden.push(dir.to_owned());
    }

    /// Makes the calling thread live apart, with these mounts.
    ///
    /// Of what it mounts and unmounts from then on no other namespace hears, whatever shares its mounts;
    /// what the host mounts where that is shared still comes here. What is shown was copied before and
    /// stays the host's peer, so a bind that shares its mounts with the host does.
    ///
    /// # Errors
    /// What the kernel says, with the step.
    pub(crate) fn enter(&self) -> io::Result<()> {
        step("leave the daemon's", leave())?;
        let shown = self.shown.iter().map(Shown::clone_mount);
        let shown = step("copy what is shown", shown.collect::<io::Result<Vec<_>>>())?;
        step("keep its mounts to itself", make_slave(Path::new("/")))?;
        for dir in &self.hidden {
            step("unmount what others have", hide(dir))?;
        }
        step("mount what is shown", self.put_in_place(&shown))
    }

    fn put_in_place(&self, mounts: &[OwnedFd]) -> io::Result<()> {
        tmpfs(&self.place, PLACES_BYTES, 0o711, MountOptions::default())?;
        for (nth, mount) in mounts.iter().enumerate() {
            let at = self.at_place(nth);
            // Not of the path, which may be hidden by now.
            let found = rustix::fs::fstat(mount)?;
            if FileType::from_raw_mode(found.st_mode).is_dir() {
                DirBuilder::new().mode(0o755).create(&at)?;
            } else {
                File::create(&at)?;
            }
            attach(mount.as_fd(), &at)?;
        }
        Ok(())
    }
}

impl Shown {
    fn clone_mount(&self) -> io::Result<OwnedFd> {
        match &self.ids {
            Some(ids) => mapped_clone(&self.path, ids),
            None => detached_clone(&self.path, true),
        }
    }
}

/// How often it is looked for mounts that are left: what lies under another shows when that is gone.
const LOOKS_MAX: usize = 16;

fn hide(dir: &Path) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        let left = below(dir)?;
        if left.is_empty() {
            return Ok(());
        }
        for mount in left {
            unmount(&mount.target, true)?;
        }
    }
    let still = format!(
        "something is mounted below {} again and again",
        dir.display()
    );
    Err(io::Error::new(io::ErrorKind::ResourceBusy, still))
}

fn step<T>(step: &str, done: io::Result<T>) -> io::Result<T> {
    done.map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("a mount namespace of its own: {step}: {e}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountPropagationFlags, mount_change};

    use super::*;

    fn with(mounts: OwnMounts) -> Apart {
        Apart {
            mounts: Some(mounts),
            label: None,
        }
    }
    use crate::spawn::{Finished, Program};
    use std::time::Duration;

    async fn run(mounts: OwnMounts, script: &str, args: &[&Path]) -> Finished {
        let program = Program::new("/bin/sh").args(["-c", script, "sh"]);
        let program = program.args(args.iter().map(|a| a.as_os_str().to_owned()));
        let started = program.start_apart(with(mounts)).await.unwrap();
        started.finish(Duration::from_secs(20)).await.unwrap()
    }

    /// What lies below a closed directory is reached by a stranger, with the ids that are shown, and
    /// nobody else sees a mount.
    #[tokio::test]
    async fn strangers_reach_what_is_shown_to_them() {
        let model::UserNamespace::Mapped(maps) =
            model::UserNamespace::parse("0:300000:10").unwrap()
        else {
            panic!("mapped");
        };
        let ids = Arc::new(UserNamespace::new(&maps).unwrap());
        let closed = tempfile::tempdir().unwrap();
        let open = tempfile::tempdir_in("/run").unwrap();
        let place = open.path().join("place");
        for dir in [open.path(), &place] {
            if dir == place {
                std::fs::create_dir(dir).unwrap();
            }
            let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o711);
            std::fs::set_permissions(dir, everybody).unwrap();
        }
        let (dir, file) = (closed.path().join("dir"), closed.path().join("file"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("inside"), "in a directory").unwrap();
        std::fs::write(&file, " and a file").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let mut mounts = OwnMounts::at(place.clone());
        let (dir_at, file_at) = (mounts.show(&dir, None), mounts.show(&file, Some(&ids)));
        assert_eq!(dir_at, place.join("0"));
        let script = "setpriv --reuid 300000 --regid 300000 --clear-groups cat \"$1/inside\" \"$2\"; \
                      setpriv --reuid 300001 --regid 300000 --clear-groups cat \"$2\"";
        let done = run(mounts, script, &[&dir_at, &file_at]).await;
        assert_eq!(
            String::from_utf8_lossy(&done.stdout),
            "in a directory and a file"
        );
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(complaint.contains("Permission denied"), "{complaint}");
        assert_eq!(below(&place).unwrap(), []);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }

    /// Mounts below a directory that shares them with other namespaces, as a host with systemd does.
    struct Shared(tempfile::TempDir);

    impl Shared {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path();
            rustix::mount::mount_bind(path, path).unwrap();
            mount_change(path, MountPropagationFlags::SHARED).unwrap();
            Self(temp)
        }

        fn dir(&self, name: &str) -> PathBuf {
            let dir = self.0.path().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            dir
        }

        fn tmpfs(&self, name: &str) -> PathBuf {
            let dir = self.dir(name);
            tmpfs(&dir, 1 << 16, 0o700, MountOptions::default()).unwrap();
            dir
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            for mount in below(self.0.path()).unwrap_or_default() {
                let _ = unmount(&mount.target, true);
            }
        }
    }

    #[tokio::test]
    async fn what_others_have_is_hidden_and_stays_theirs() {
        let host = Shared::new();
        // One that holds another, and a directory of them that is a mount itself.
        let (root, others) = (host.tmpfs("writable"), host.tmpfs("writable/one"));
        let inner = host.tmpfs("writable/one/inner");
        let place = host.dir("place");
        let link = host.0.path().join("link");
        std::os::unix::fs::symlink(&place, &link).unwrap();
        let before = below(host.0.path()).unwrap();
        let mut mounts = OwnMounts::at(link);
        let kept = mounts.show(&others, None);
        mounts.hide(&root);
        mounts.hide(Path::new("/sys/kernel"));
        let script = "cat /proc/self/mountinfo; ls \"$1\"; sleep 0.2";
        let done = run(mounts, script, &[&kept]).await;
        assert_eq!(
            below(host.0.path()).unwrap(),
            before,
            "the host's mounts are another's business"
        );
        let seen = String::from_utf8(done.stdout).unwrap();
        for hidden in [&root, &others, &inner] {
            assert!(!seen.contains(&format!(" {} ", hidden.display())), "{seen}");
        }
        let shown = place.join(OwnMounts::FIRST);
        assert!(seen.contains(&format!(" {} ", shown.display())), "{seen}");
        assert!(!seen.contains(" /sys/kernel"), "{seen}");
        assert!(
            seen.ends_with("inner\n"),
            "with what is mounted inside it: {seen}"
        );
    }

    /// A bind that is to share its mounts with the host does.
    #[tokio::test]
    async fn what_is_shown_stays_the_hosts_peer() {
        let host = Shared::new();
        let (source, place) = (host.tmpfs("source"), host.dir("place"));
        mount_change(&source, MountPropagationFlags::SHARED).unwrap();
        std::fs::create_dir(source.join("inner")).unwrap();
        let mut mounts = OwnMounts::at(place);
        let at = mounts.show(&source, None);
        let done = run(mounts, "mount -t tmpfs inner \"$1/inner\"", &[&at]).await;
        assert!(done.status.success(), "{}", done.message());
        assert!(crate::mount::is_mount_point(&source.join("inner")).unwrap());
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_told() {
        let mut mounts = OwnMounts::at("/nonexistent/place".into());
        mounts.show(Path::new("/nonexistent/shown"), None);
        let e = Program::new("/bin/true")
            .start_apart(with(mounts))
            .await
            .unwrap_err();
        assert_eq!(
            e.to_string(),
            "cannot run /bin/true: a mount namespace of its own: copy what is shown: No such file \
             or directory (os error 2)"
        );
    }
}
