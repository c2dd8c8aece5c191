//! Writable trees: an overlay of an image's layers and a directory that takes the changes, or a copy of
//! the layers where that cannot be had.
//!
//! Each has an opaque key; whose it is, nobody here knows. `root/writable/KEY/` holds, besides `merged`
//! where it is mounted:
//!
//! | | |
//! |---|---|
//! | overlay | `upper` (the changes) and `work` (overlayfs' own) |
//! | copy | `copy/tree`, `copy/made` (when), and `incoming` until changes that came are in it |
//!
//! What is there says which of them a tree is; only one that has neither becomes what is chosen here.
//! Both are mounted when they are used: a copy is bound to where an overlay would be, so that its ids can
//! be other ones, and whether it is in use is seen the same way.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{At, Care, ChangeKind, Changed, differences};
use model::{Context, Digest, Error, Layer, Result, StorageDriver, limits};
use sys::beneath::{Dir, Kind, tree_usage};
use sys::id_map::{self, UserNamespace};
use sys::mount::{self, MountOptions};
use sys::overlay::{Overlay, overlay};

use crate::furnish;
use crate::plain::{self, COPY, INCOMING};
use crate::storage::{self, Storage};
use crate::store::Store;

/// The directories of a writable tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritablePaths {
    /// The image's layers, the topmost first, each once.
    pub lower: Vec<PathBuf>,
    /// Where the changes are.
    pub changed: Changed,
    /// Overlayfs' own.
    pub work: PathBuf,
    /// Where it is mounted.
    pub merged: PathBuf,
}

impl WritablePaths {
    /// How the tree is made.
    pub fn driver(&self) -> StorageDriver {
        match self.changed {
            Changed::Upper(_) => StorageDriver::Overlay2,
            Changed::Copy(_) => StorageDriver::Vfs,
        }
    }
}

/// What a tree shows that is not on the disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// Its files belong to the host's ids behind those that the disk has.
    pub ids: Option<&'a UserNamespace>,
    /// The SELinux label of all its files.
    pub label: Option<&'a str>,
}

/// Longest key: a file name, with room for what is put in front of it.
const KEY_BYTES_MAX: usize = 200;

/// Mounts at one place taken away at most before it is given up: more than one is odd, a number
/// without bound is a loop.
const STACKED_MOUNTS_MAX: usize = 64;

/// `chosen` is for a tree that is not there yet.
pub(crate) fn paths(
    store: &Store,
    chosen: StorageDriver,
    key: &str,
    layers: &[Layer],
) -> Result<WritablePaths> {
    let dir = dir_of(store, key)?;
    let mut lower = trees(store, layers);
    if lower.is_empty() {
        // An image made from nothing; overlayfs wants one lower directory.
        lower.push(empty_tree(store));
    }
    let changed = match driver_of(&dir, chosen) {
        StorageDriver::Overlay2 => Changed::Upper(dir.join("upper")),
        StorageDriver::Vfs => Changed::Copy(plain::copied(&dir, lower.clone())),
    };
    Ok(WritablePaths {
        lower,
        changed,
        work: dir.join("work"),
        merged: dir.join("merged"),
    })
}

/// The layers' directories, the topmost first, each once.
pub(crate) fn trees(store: &Store, layers: &[Layer]) -> Vec<PathBuf> {
    let mut seen: HashSet<&Digest> = HashSet::new();
    layers
        .iter()
        .rev()
        // Overlayfs refuses a directory that is stacked twice. The lower one shows nothing that
        // the upper one does not show as well.
        .filter(|layer| seen.insert(&layer.diff_id))
        .map(|layer| store.tree_path(&layer.diff_id))
        .collect()
}

/// What the tree in the directory `dir` is; `chosen` where it is not there yet.
fn driver_of(dir: &Path, chosen: StorageDriver) -> StorageDriver {
    let has = |name: &str| dir.join(name).symlink_metadata().is_ok();
    if has("upper") {
        StorageDriver::Overlay2
    } else if has(COPY) || has(INCOMING) {
        StorageDriver::Vfs
    } else {
        chosen
    }
}

pub(crate) fn create(store: &Store, chosen: StorageDriver, key: &str) -> Result<()> {
    let dir = dir_of(store, key)?;
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.at("create", &dir)?,
    }
    let names: &[&str] = match driver_of(&dir, chosen) {
        // The root of a container is its upper directory's.
        StorageDriver::Overlay2 => &["upper", "work", "merged"],
        StorageDriver::Vfs => &["merged"],
    };
    names.iter().try_for_each(|name| make_dir(&dir.join(name)))
}

/// A directory in which the umask does not show; fine when it is there.
fn make_dir(path: &Path) -> Result<()> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        other => other.at("create", path)?,
    }
    let made = Dir::open(path).and_then(|d| d.set_own_mode(0o755));
    made.at("change the mode of", path)
}

/// The empty directory that takes changes, as a layer has them, of a tree that was never mounted.
pub(crate) fn place_of_changes(store: &Store, chosen: StorageDriver, key: &str) -> Result<PathBuf> {
    create(store, chosen, key)?;
    let dir = dir_of(store, key)?;
    let place = match driver_of(&dir, chosen) {
        StorageDriver::Overlay2 => dir.join("upper"),
        StorageDriver::Vfs => dir.join(INCOMING),
    };
    make_dir(&place).map(|()| place)
}

pub(crate) fn mount(
    store: &Arc<Store>,
    storage: &Storage,
    key: &str,
    layers: &[Layer],
    shown: Shown<'_>,
) -> Result<PathBuf> {
    let paths = paths(store, storage.driver, key, layers)?;
    if mount::is_mount_point(&paths.merged).at("look at", &paths.merged)? {
        let has_ids = || shows_other_ids(&paths).at("look at", &paths.merged);
        if shown.ids.is_none() || has_ids()? {
            return Ok(paths.merged);
        }
        // A daemon that was killed may have left it without the ids.
        unmount(store, key)?;
    }
    for lower in &paths.lower {
        if !lower.is_dir() {
            return Err(Error::system(format!(
                "{} is missing: load the image again",
                lower.display()
            )));
        }
    }
    match &paths.changed {
        Changed::Upper(upper) => mount_overlay(storage, &paths, upper, shown)?,
        Changed::Copy(copied) => {
            plain::make(store, &dir_of(store, key)?, &paths.lower, shown.label)?;
            bind(&copied.tree, &paths.merged, shown.ids)?;
        }
    }
    Ok(paths.merged)
}

fn mount_overlay(
    storage: &Storage,
    paths: &WritablePaths,
    upper: &Path,
    Shown { ids, label }: Shown<'_>,
) -> Result<()> {
    let api = storage.overlay.as_ref().map_err(|why| {
        let to_do = storage::TO_DO;
        Error::system(format!(
            "the container's files are an overlay of its image's and its own, which cannot be mounted \
             now: {why}. {to_do}"
        ))
    })?;
    let wanted = Overlay {
        lower: &paths.lower,
        upper,
        work: &paths.work,
        ids,
        label,
    };
    let mounted = overlay(*api, wanted, &paths.merged);
    let because = "a user namespace needs an overlay that shows other ids than the disk has, that is \
                   Linux 5.19 and a data root on ext4, xfs, btrfs or the like";
    told_of_ids(
        mounted,
        ids.is_some(),
        because,
        "mount an overlay at",
        &paths.merged,
    )
}

/// Shows a copy where an overlay would be.
fn bind(tree: &Path, merged: &Path, ids: Option<&UserNamespace>) -> Result<()> {
    let bound = match ids {
        None => mount::bind(tree, merged, false, MountOptions::default()),
        Some(ids) => {
            id_map::mapped_clone(tree, ids).and_then(|clone| mount::attach(clone.as_fd(), merged))
        }
    };
    let because = "a user namespace needs a copy that shows other ids than the disk has, that is Linux \
                   5.19 and a data root on ext4, xfs, btrfs or the like";
    told_of_ids(bound, ids.is_some(), because, "bind a copy to", merged)
}

/// A failure of mounting, with the usual reason where ids are wanted.
fn told_of_ids(
    mounted: std::io::Result<()>,
    with_ids: bool,
    because: &str,
    what: &str,
    merged: &Path,
) -> Result<()> {
    use std::io::ErrorKind::{InvalidInput, Unsupported};
    let cannot = mounted
        .as_ref()
        .is_err_and(|e| with_ids && matches!(e.kind(), InvalidInput | Unsupported));
    let mounted = mounted.at(what, merged);
    match cannot {
        true => mounted.context(because),
        false => mounted,
    }
}

/// Whether the mounted tree's root belongs to somebody else than the disk says.
fn shows_other_ids(paths: &WritablePaths) -> std::io::Result<bool> {
    let owner = |path: &Path| {
        let found = Dir::open(path)?.own_metadata()?;
        Ok::<_, std::io::Error>((found.uid, found.gid))
    };
    Ok(owner(&paths.merged)? != owner(paths.changed.dir())?)
}

pub(crate) fn is_mounted(store: &Store, key: &str) -> Result<bool> {
    let merged = dir_of(store, key)?.join("merged");
    mount::is_mount_point(&merged).at("look at", &merged)
}

pub(crate) fn unmount(store: &Store, key: &str) -> Result<()> {
    let merged = dir_of(store, key)?.join("merged");
    for _ in 0..STACKED_MOUNTS_MAX {
        let gone = match mount::unmount(&merged, false) {
            // Somebody has a file open in it. The tree goes at once, the mount with its user.
            Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => mount::unmount(&merged, true),
            other => other,
        };
        if !gone.at("unmount", &merged)? {
            return Ok(());
        }
    }
    Err(Error::system(format!(
        "{} is mounted again and again",
        merged.display()
    )))
}

pub(crate) fn remove(store: &Store, key: &str) -> Result<u64> {
    let dir = dir_of(store, key)?;
    unmount(store, key)?;
    // One rename, so that a key either has a whole tree or none.
    let trash = store.unused();
    match std::fs::rename(&dir, &trash) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        other => {
            other.at("remove", &dir)?;
            store.remove(&trash)
        }
    }
}

/// The bytes of the changes: regular files and links, each inode once. A container that was never started
/// has none. What works in the container may change the tree meanwhile, links included.
pub(crate) fn size(changed: &Changed) -> Result<u64> {
    let upper = match changed.at_hand() {
        Changed::Upper(upper) => upper,
        Changed::Copy(copied) => {
            let (mut bytes, mut linked) = (0_u64, HashSet::new());
            differences(&copied, Care::Stat, &mut |found| {
                let is_here = matches!(found.kind, Some(ChangeKind::Added | ChangeKind::Modified));
                let has_size =
                    |now: &sys::beneath::Metadata| matches!(now.kind, Kind::File | Kind::Symlink);
                let is_made = |now: &_| furnish::is_made(&found.path, now);
                let now = found
                    .now
                    .filter(|now| is_here && has_size(now) && !is_made(now));
                if let Some(now) = now
                    && (now.links == 1 || linked.insert(now.inode))
                {
                    bytes = bytes.saturating_add(now.size);
                }
                Ok(())
            })?;
            return Ok(bytes);
        }
    };
    let opened = match Dir::open(&upper) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other.at("open", &upper)?,
    };
    let furnished = furnish::bytes(&opened);
    let usage =
        tree_usage(opened, limits::SIZE_DEPTH_MAX, limits::SIZE_ENTRIES_MAX).at("read", &upper)?;
    if usage.cut {
        tracing::info!(
            "{} has more than is looked at: its size is too low",
            upper.display()
        );
    }
    Ok(usage.bytes.saturating_sub(furnished))
}

/// The keys of those that are overlays.
pub(crate) fn overlay_keys(store: &Store) -> Result<Vec<String>> {
    let mut keys = keys(store)?;
    keys.retain(|key| root(store).join(key).join("upper").exists());
    Ok(keys)
}

/// The directory of all writable trees.
pub(crate) fn root(store: &Store) -> PathBuf {
    store.root().join("writable")
}

pub(crate) fn keys(store: &Store) -> Result<Vec<String>> {
    let root = root(store);
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(&root).at("read", &root)? {
        let name = entry.at("read", &root)?.file_name();
        keys.extend(name.into_string().ok().filter(|n| check_key(n).is_ok()));
    }
    keys.sort();
    Ok(keys)
}

fn dir_of(store: &Store, key: &str) -> Result<PathBuf> {
    check_key(key)?;
    Ok(root(store).join(key))
}

fn check_key(key: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(plain) {
        return Err(Error::system(format!(
            "bad key of a writable tree: {key:?}"
        )));
    }
    Ok(())
}

pub(crate) fn empty_tree(store: &Store) -> PathBuf {
    store.root().join("empty")
}
