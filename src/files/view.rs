//! A container's tree with its mounts, as its processes see it or would.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{ContainerSpec, Context as _, Error, IdMaps, ProcessRef, Result};
use sys::beneath::Dir;
use sys::id_map::{UserNamespace, make_read_only, mapped_clone};
use sys::mount::{detached_clone, detached_tmpfs};
use sys::tree::{Tree, put};

use crate::walk::{open_or_make, walk};

/// What is kept as long as a view: a mount, say.
pub trait Kept: Send + Sync + fmt::Debug {}

impl<T: Send + Sync + fmt::Debug> Kept for T {}

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where, in the container.
    pub destination: String,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// What it shows.
    pub shows: Mounted,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// A directory with the ids inside.
    Volume(PathBuf),
    /// A file or directory of the host, as it is there.
    Bind {
        /// Where it is on the host.
        path: PathBuf,
        /// With what is mounted in it.
        recursive: bool,
    },
    /// A file system in memory. One that no process has is empty, and gone with the view, as in Docker.
    Tmpfs,
}

/// A container's files.
#[derive(Debug)]
pub struct View {
    root: Root,
    /// After the root: what is mounted in it is let go of first.
    _kept: Box<dyn Kept>,
}

#[derive(Debug)]
enum Root {
    Tree(Tree),
    Bare(Dir),
}

/// Of a file system in memory that no process has.
const TMPFS_BYTES: u64 = 64 << 20;

impl View {
    /// What a process of the container sees; `None` when it is gone.
    ///
    /// # Errors
    /// System.
    pub fn of_process(process: ProcessRef, kept: Box<dyn Kept>) -> Result<Option<Self>> {
        let tree = Tree::of_process(process).context("open the root of the container's process")?;
        Ok(tree.map(|tree| Self {
            root: Root::Tree(tree),
            _kept: kept,
        }))
    }

    /// The tree mounted at `rootfs` with these mounts in it, seen by nobody else. Places that are
    /// missing are made, as a start would; they and volumes have the ids of `ids`.
    ///
    /// # Errors
    /// System, naming what cannot be mounted.
    pub fn planted(
        rootfs: &Path,
        places: &[Place],
        ids: Option<&UserNamespace>,
        kept: Box<dyn Kept>,
    ) -> Result<Self> {
        let owner = ids.map(UserNamespace::root);
        let tree = Tree::planted(rootfs, owner, |root| {
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
            root: Root::Tree(tree),
            _kept: kept,
        })
    }

    /// A tree that has no mounts in it.
    pub fn bare(root: Dir, kept: Box<dyn Kept>) -> Self {
        Self {
            root: Root::Bare(root),
            _kept: kept,
        }
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Dir {
        match &self.root {
            Root::Tree(tree) => tree.root(),
            Root::Bare(root) => root,
        }
    }

    /// A path of the host that leads to its root as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.root {
            Root::Tree(tree) => tree.path(),
            Root::Bare(root) => sys::tree::path_of(root),
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
    let (mount, is_dir) = match &place.shows {
        Mounted::Volume(path) => match ids {
            Some(ids) => (mapped_clone(path, ids)?, true),
            None => (detached_clone(path, true)?, true),
        },
        Mounted::Bind { path, recursive } => (detached_clone(path, *recursive)?, path.is_dir()),
        Mounted::Tmpfs => (detached_tmpfs(TMPFS_BYTES, 0o1777)?, true),
    };
    if place.read_only {
        make_read_only(mount.as_fd())?;
    }
    let target: OwnedFd = open_or_make(root, Path::new(&place.destination), is_dir)?;
    put(mount.as_fd(), target.as_fd())
}

/// The host's ids behind root's.
pub(crate) fn owner_of(ids: Option<&IdMaps>) -> Option<(u32, u32)> {
    let ids = ids?;
    Some((ids.uids.outside(0)?, ids.gids.outside(0)?))
}
