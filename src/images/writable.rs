//! Writable trees: an overlay of an image's layers and a directory that takes the changes.
//!
//! Each has an opaque key; whose it is, nobody here knows. `root/writable/KEY/` holds `upper`
//! (the changes), `work` (overlayfs' own) and `merged` (where it is mounted).

use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::{Context, Digest, Error, Layer, Result, limits};
use sys::beneath::{Dir, Kind, Node, tree_usage};
use sys::id_map::UserNamespace;
use sys::mount;
use sys::overlay::{Overlay, OverlayApi, overlay};

use crate::store::{Staging, Store};
use archive::At;

/// The directories of a writable tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritablePaths {
    /// The image's layers, the topmost first, each once.
    pub lower: Vec<PathBuf>,
    /// Takes the changes.
    pub upper: PathBuf,
    /// Overlayfs' own.
    pub work: PathBuf,
    /// Where it is mounted.
    pub merged: PathBuf,
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

pub(crate) fn paths(store: &Store, key: &str, layers: &[Layer]) -> Result<WritablePaths> {
    let dir = dir_of(store, key)?;
    let mut lower = trees(store, layers);
    if lower.is_empty() {
        // An image made from nothing; overlayfs wants one lower directory.
        lower.push(empty_tree(store));
    }
    Ok(WritablePaths {
        lower,
        upper: dir.join("upper"),
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

pub(crate) fn create(store: &Store, key: &str) -> Result<()> {
    let dir = dir_of(store, key)?;
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.at("create", &dir)?,
    }
    for name in ["upper", "work", "merged"] {
        let path = dir.join(name);
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
            other => other.at("create", &path)?,
        }
        // The root of a container is its upper directory's: the umask must not show there.
        let made = Dir::open(&path).and_then(|d| d.set_own_mode(0o755));
        made.at("change the mode of", &path)?;
    }
    Ok(())
}

pub(crate) fn mount(
    store: &Store,
    api: OverlayApi,
    key: &str,
    layers: &[Layer],
    Shown { ids, label }: Shown<'_>,
) -> Result<PathBuf> {
    let paths = paths(store, key, layers)?;
    if mount::is_mount_point(&paths.merged).at("look at", &paths.merged)? {
        let has_ids = || shows_other_ids(&paths).at("look at", &paths.merged);
        if ids.is_none() || has_ids()? {
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
    let wanted = Overlay {
        lower: &paths.lower,
        upper: &paths.upper,
        work: &paths.work,
        ids,
        label,
    };
    let mounted = overlay(api, wanted, &paths.merged);
    let cannot = mounted.as_ref().is_err_and(|e| {
        use std::io::ErrorKind::{InvalidInput, Unsupported};
        ids.is_some() && matches!(e.kind(), InvalidInput | Unsupported)
    });
    let mounted = mounted.at("mount an overlay at", &paths.merged);
    match cannot {
        true => mounted.context(
            "a user namespace needs an overlay that shows other ids than the disk has, that is \
             Linux 5.19 and a data root on ext4, xfs, btrfs or the like",
        )?,
        false => mounted?,
    }
    Ok(paths.merged)
}

/// Whether the mounted tree's root belongs to somebody else than the disk says.
fn shows_other_ids(paths: &WritablePaths) -> std::io::Result<bool> {
    let owner = |path: &Path| {
        let found = Dir::open(path)?.own_metadata()?;
        Ok::<_, std::io::Error>((found.uid, found.gid))
    };
    Ok(owner(&paths.merged)? != owner(&paths.upper)?)
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
pub(crate) fn size(store: &Store, key: &str) -> Result<u64> {
    let upper = dir_of(store, key)?.join("upper");
    let opened = match Dir::open(&upper) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other.at("open", &upper)?,
    };
    let furnished = crate::furnish::bytes(&opened);
    let usage =
        tree_usage(opened, limits::SIZE_DEPTH_MAX, limits::SIZE_ENTRIES_MAX).at("read", &upper)?;
    if usage.cut {
        tracing::info!(
            "{} has more than is looked at: the size of {key} is too low",
            upper.display()
        );
    }
    Ok(usage.bytes.saturating_sub(furnished))
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

fn empty_tree(store: &Store) -> PathBuf {
    store.root().join("empty")
}

/// Finds how overlays can be mounted here, by mounting one with a whiteout and looking at it.
///
/// # Errors
/// `System`, saying what to do, when neither way works.
pub(crate) fn probe(store: &Store, staging: &Staging) -> Result<OverlayApi> {
    let empty = empty_tree(store);
    std::fs::create_dir_all(&empty).at("create", &empty)?;
    let try_one = |api: OverlayApi, name: &str| try_overlay(api, &staging.path().join(name));
    let Err(first) = try_one(OverlayApi::Fsopen, "fsopen") else {
        return Ok(OverlayApi::Fsopen);
    };
    tracing::debug!("overlay by fsopen is not to be had ({first}), trying mount(2)");
    try_one(OverlayApi::MountOptions, "mount").map_err(|e| {
        Error::system(format!(
            "cannot mount an overlay on {} ({}): {e}. The image store needs overlayfs, root, and \
             a file system that can carry it, such as ext4 or xfs with ftype=1: run `modprobe \
             overlay`, or put the data root on such a file system",
            store.root().display(),
            mount::fs_type_of(store.root()),
        ))
    })?;
    Ok(OverlayApi::MountOptions)
}

fn try_overlay(api: OverlayApi, dir: &Path) -> std::io::Result<()> {
    let make = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).map(|()| path)
    };
    let (top, bottom) = (make("top")?, make("bottom")?);
    let (upper, work, merged) = (make("upper")?, make("work")?, make("merged")?);
    std::fs::write(bottom.join("hidden"), "")?;
    std::fs::write(bottom.join("seen"), "")?;
    let handle = Dir::open(&top)?;
    handle.mknod("hidden".as_ref(), Node::CharDevice(Default::default()))?;
    let wanted = Overlay {
        lower: &[top, bottom],
        upper: &upper,
        work: &work,
        ids: None,
        label: None,
    };
    overlay(api, wanted, &merged)?;
    let looked = Dir::open(&merged).and_then(|d| {
        let hidden = d.metadata("hidden".as_ref())?;
        let seen = d.metadata("seen".as_ref())?;
        Ok(hidden.is_none() && seen.is_some_and(|s| s.kind == Kind::File))
    });
    mount::unmount(&merged, true)?;
    if looked? {
        return Ok(());
    }
    Err(std::io::Error::other(
        "it was mounted but does not merge its layers",
    ))
}
