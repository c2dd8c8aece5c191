//! A container's tree with its mounts, as its processes see it or would.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{ContainerSpec, Context as _, Error, IdMaps, Result};
use sys::beneath::{Dir, Kind, file_metadata};
use sys::id_map::{UserNamespace, make_read_only, mapped_clone};
use sys::mount::{detached_clone, detached_tmpfs};
use sys::tree::{Planting, Tree, put};
use tokio::runtime::Handle;

use crate::walk::{open_or_make, walk};

/// What is kept as long as a view: a mount, say.
pub trait Kept: Send + Sync + fmt::Debug {
    /// Whether what it kept was taken away before this was asked.
    fn is_gone(&self) -> bool;
}

/// A mount of the container.
#[derive(Debug)]
pub struct Place {
    /// Where, in the container.
    pub destination: String,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// What it shows.
    pub shows: Mounted,
}

/// What a mount shows.
#[derive(Debug)]
pub enum Mounted {
    /// A file or directory of ours, with the ids inside.
    Own(PathBuf),
    /// A file or directory of the host, as it is there.
    Bind {
        /// Where it is on the host.
        path: PathBuf,
        /// With what is mounted in it.
        recursive: bool,
    },
    /// What a process has mounted there.
    Live(OwnedFd),
    /// A file system in memory that no process has: it is empty, and gone with the view, as in Docker.
    Tmpfs,
}

/// A container's files.
#[derive(Debug)]
pub struct View {
    tree: Tree,
    /// After the tree: what is mounted in it is let go of first.
    kept: LetGo,
}

/// Lets go of what was kept when nobody waits for that any more. The last unmount of a tree writes out
/// what is not on the disk yet, of all its file system: a client has his answer before.
#[derive(Debug)]
struct LetGo(Option<Box<dyn Kept>>);

impl Drop for LetGo {
    fn drop(&mut self) {
        let kept = self.0.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(kept));
        }
    }
}

/// Of a file system in memory that no process has.
const TMPFS_BYTES: u64 = 64 << 20;

impl View {
    /// What `rootfs` shows, a mount that is attached nowhere, with these mounts in it, seen by nobody
    /// else. Places that are missing are made, as a start would; they and what is ours have the ids of
    /// `ids`. With `read_only` all but the mounts is closed to writes after that.
    ///
    /// # Errors
    /// System, naming what cannot be mounted.
    pub fn planted(
        rootfs: BorrowedFd<'_>,
        places: &[Place],
        ids: Option<&UserNamespace>,
        read_only: bool,
        kept: Box<dyn Kept>,
    ) -> Result<Self> {
        let how = Planting {
            owner: ids.map(UserNamespace::root),
            read_only,
        };
        let tree = Tree::planted(rootfs, how, |root| {
            let mut places: Vec<&Place> = places.iter().collect();
            // What is mounted in another comes after it.
            places.sort_by_key(|place| Path::new(&place.destination).components().count());
            places.into_iter().try_for_each(|place| {
                plant(root, place, ids).map_err(|e| {
                    io::Error::new(e.kind(), format!("mount at {}: {e}", place.destination))
                })
            })
        });
        let tree = tree.context("show the container's files")?;
        Ok(Self {
            tree,
            kept: LetGo(Some(kept)),
        })
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Dir {
        self.tree.root()
    }

    /// A path of the host that leads to its root as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        self.tree.path()
    }

    /// To be asked when all was read: what was left of a tree that is being removed is not all there was.
    ///
    /// # Errors
    /// Conflict.
    pub(crate) fn check_whole(&self) -> Result<()> {
        match self.kept.0.as_ref().is_some_and(|kept| kept.is_gone()) {
            false => Ok(()),
            true => Err(Error::conflict(
                "the container was removed while its files were read",
            )),
        }
    }

    /// Whether what is at `path`, which has no links, can be written to.
    ///
    /// # Errors
    /// In moby's words (`checkIfPathIsInAVolume`), with its status.
    pub(crate) fn check_writable(&self, path: &Path, spec: &ContainerSpec) -> Result<()> {
        let around = spec.mounts.iter().filter_map(|mount| {
            // The place that the mount is at, if there were links on the way.
            let destination = Path::new(&mount.destination);
            let walked = walk(self.root(), destination, true);
            let at = walked.map_or_else(|_| destination.to_owned(), |walked| walked.path);
            path.starts_with(&at).then_some((at, mount.read_only))
        });
        let innermost = around.max_by_key(|(at, _)| at.components().count());
        match innermost {
            Some((_, true)) => Err(Error::invalid("mounted volume is marked read-only")),
            None if spec.read_only_rootfs => {
                Err(Error::invalid("container rootfs is marked read-only"))
            }
            _ => Ok(()),
        }
    }
}

fn plant(root: &Dir, place: &Place, ids: Option<&UserNamespace>) -> io::Result<()> {
    let made;
    let mount = match &place.shows {
        Mounted::Live(mount) => mount.as_fd(),
        other => {
            made = match (other, ids) {
                (Mounted::Own(path), Some(ids)) => mapped_clone(path, ids)?,
                (Mounted::Own(path), None) => detached_clone(path, true)?,
                (Mounted::Bind { path, recursive }, _) => detached_clone(path, *recursive)?,
                _ => detached_tmpfs(TMPFS_BYTES, 0o1777)?,
            };
            made.as_fd()
        }
    };
    if place.read_only {
        make_read_only(mount)?;
    }
    // Not of the path, which may be something else by now.
    let is_dir = file_metadata(mount)?.kind == Kind::Dir;
    let target: OwnedFd = open_or_make(root, Path::new(&place.destination), is_dir)?;
    put(mount, target.as_fd())
}

/// The host's ids behind root's.
pub(crate) fn owner_of(ids: Option<&IdMaps>) -> Option<(u32, u32)> {
    let ids = ids?;
    Some((ids.uids.outside(0)?, ids.gids.outside(0)?))
}
