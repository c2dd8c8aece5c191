//! How containers' trees are made on this data root: overlays where they can be had, else copies.
//!
//! Determination. The choice is about new containers. A container's own tree says what it is, by what is
//! in its directory, and goes on as that: copies where overlays have become possible, overlays where
//! somebody asked for copies. Overlays that cannot be mounted any more are never taken for copies, nor for
//! nothing: a store that has some is not opened without overlayfs unless somebody asks for that.
//!
//! Where the file system has no whiteouts, layers keep names instead (`archive::has_overlay_marks`), of
//! which overlayfs knows nothing. The store remembers that in a file, whatever it is moved to later.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use archive::{At, has_overlay_marks};
use model::{Error, Result, StorageDriver, limits};
use sys::beneath::{Dir, Kind, Node};
use sys::mount::{self, MountOptions};
use sys::overlay::{Overlay, OverlayApi, overlay};

use crate::store::{Staging, Store};
use crate::writable;

/// What to do where an overlay cannot be mounted.
pub(crate) const TO_DO: &str = "Overlayfs needs a kernel that has it and a file system that can carry \
     it, such as ext4 or xfs with ftype=1, and no overlay itself: run `modprobe overlay`, or put the data \
     root on such a file system";
/// The file that says that layers may hold names where overlayfs wants marks.
const BY_NAME: &str = "layers-marked-by-name";

/// How trees are made here.
#[derive(Debug)]
pub(crate) struct Storage {
    /// Of new containers.
    pub(crate) driver: StorageDriver,
    /// How overlays are mounted, or why they cannot be.
    pub(crate) overlay: std::result::Result<OverlayApi, String>,
}

impl Storage {
    /// How many layers an image may have.
    pub(crate) fn layers_max(&self) -> usize {
        match (self.driver, &self.overlay) {
            (StorageDriver::Overlay2, Ok(api)) => api.layers_max(),
            _ => limits::IMAGE_LAYERS_MAX,
        }
    }
}

/// Finds out what can be had here, and chooses; `wanted` weighs more.
///
/// # Errors
/// `System`, saying what to do: nothing can be mounted, what is wanted cannot be had, or there are
/// overlays of containers that cannot be mounted.
pub(crate) fn choose(
    store: &Store,
    staging: &Staging,
    wanted: Option<StorageDriver>,
) -> Result<Storage> {
    let empty = writable::empty_tree(store);
    std::fs::create_dir_all(&empty).at("create", &empty)?;
    let overlay = probe(store, staging);
    let driver = match (wanted, &overlay) {
        (Some(StorageDriver::Overlay2), Err(why)) => {
            return Err(Error::system(format!(
                "storage-driver is overlay2, and that cannot be had: {why}. {TO_DO}, or take the setting \
                 out to have copies"
            )));
        }
        (Some(driver), _) => driver,
        (None, Ok(_)) => StorageDriver::Overlay2,
        (None, Err(why)) => {
            expect_no_overlays(store, why)?;
            tracing::warn!("each container gets a copy of its image's files: {why}. {TO_DO}");
            StorageDriver::Vfs
        }
    };
    if driver == StorageDriver::Vfs {
        try_bind(&staging.path().join("bind")).map_err(|e| {
            let root = store.root().display();
            Error::system(format!(
                "cannot mount anything on {root}: {e}. The image store needs root with CAP_SYS_ADMIN"
            ))
        })?;
        remember_marks(store, &staging.path().join("marks"))?;
    }
    let kept = writable::overlay_keys(store)?.len();
    if let (Err(why), 1..) = (&overlay, kept) {
        tracing::error!(
            "{kept} containers cannot be started, their files are overlays: {why}. {TO_DO}"
        );
    }
    Ok(Storage { driver, overlay })
}

fn expect_no_overlays(store: &Store, why: &str) -> Result<()> {
    let keys = writable::overlay_keys(store)?;
    let Some(first) = keys.first() else {
        return Ok(());
    };
    Err(Error::system(format!(
        "the files of {} containers here are overlays, {first} the first of them, and overlays cannot be \
         mounted now: {why}. {TO_DO}. With storage-driver = \"vfs\" the daemon starts without them",
        keys.len()
    )))
}

/// How overlays can be mounted here, or why not: tried with a whiteout.
fn probe(store: &Store, staging: &Staging) -> std::result::Result<OverlayApi, String> {
    if store.root().join(BY_NAME).exists() {
        return Err(format!(
            "{} was used where overlays cannot be mounted, and has layers that they do not understand",
            store.root().display()
        ));
    }
    probe_in(staging.path()).map_err(|e| {
        let (root, kind) = (store.root(), mount::fs_type_of(store.root()));
        format!(
            "cannot mount an overlay on {} ({kind}): {e}",
            root.display()
        )
    })
}

/// How overlays can be mounted in the directory `dir`, in which nothing is left mounted.
///
/// # Errors
/// What the kernel says.
pub(crate) fn probe_in(dir: &Path) -> io::Result<OverlayApi> {
    let try_one = |api: OverlayApi, name: &str| try_overlay(api, &dir.join(name));
    let Err(first) = try_one(OverlayApi::Fsopen, "fsopen") else {
        return Ok(OverlayApi::Fsopen);
    };
    tracing::debug!("overlay by fsopen is not to be had ({first}), trying mount(2)");
    try_one(OverlayApi::MountOptions, "mount")?;
    Ok(OverlayApi::MountOptions)
}

fn try_overlay(api: OverlayApi, dir: &Path) -> io::Result<()> {
    let make = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).map(|()| path)
    };
    let (top, bottom) = (make("top")?, make("bottom")?);
    let (upper, work, merged) = (make("upper")?, make("work")?, make("merged")?);
    std::fs::write(bottom.join("hidden"), "")?;
    std::fs::write(bottom.join("seen"), "")?;
    let handle = Dir::open(&top)?;
    handle
        .mknod("hidden".as_ref(), Node::CharDevice(Default::default()))
        .map_err(|e| io::Error::new(e.kind(), format!("make a whiteout: {e}")))?;
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
    // What it is to carry is made and removed in it, not in what it is made of.
    let wrote = std::fs::write(merged.join("new"), "")
        .and_then(|()| std::fs::remove_file(merged.join("seen")));
    mount::unmount(&merged, true)?;
    match looked? {
        true => wrote,
        false => Err(io::Error::other(
            "it was mounted but does not merge its layers",
        )),
    }
}

/// What copies need.
fn try_bind(dir: &Path) -> io::Result<()> {
    let (from, to) = (dir.join("from"), dir.join("to"));
    std::fs::create_dir_all(&from)?;
    std::fs::create_dir_all(&to)?;
    mount::bind(&from, &to, false, MountOptions::default())?;
    mount::unmount(&to, true).map(drop)
}

/// Writes down that overlayfs will not understand the layers here, where that is so.
fn remember_marks(store: &Store, dir: &Path) -> Result<()> {
    std::fs::create_dir(dir).at("create", dir)?;
    let has_them = Dir::open(dir).and_then(|dir| has_overlay_marks(&dir));
    let file = store.root().join(OsStr::new(BY_NAME));
    if has_them.at("look for whiteouts in", dir)? || file.exists() {
        return Ok(());
    }
    sys::durable::write_whole(&file, b"", 0o600).at("write", &file)
}

/// What there is on a data root, and what could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFound {
    /// Whether overlays can be had, and if not, why.
    pub overlay: std::result::Result<(), String>,
    /// Containers whose trees are overlays.
    pub overlays: usize,
}

/// Looks at the store at `root`, which may be in use or not there yet: what it would be made in is
/// looked at then. Tries in a directory that it makes and removes.
///
/// # Errors
/// What the host says.
pub fn look(root: &Path) -> Result<StorageFound> {
    let near = root.ancestors().find(|path| path.is_dir());
    let near = near.ok_or_else(|| Error::system(format!("{} has no root", root.display())))?;
    let writable = std::fs::read_dir(root.join("writable"));
    let trees = writable.into_iter().flatten().flatten();
    let overlays = trees
        .filter(|tree| tree.path().join("upper").exists())
        .count();
    let overlay = match root.join(BY_NAME).exists() {
        true => Err("the layers here were unpacked where overlays cannot be mounted".to_owned()),
        false => {
            let dir = near.join(format!(".moored-check-{}", std::process::id()));
            std::fs::create_dir(&dir).at("create", &dir)?;
            let tried = probe_in(&dir);
            sys::beneath::remove_all(&dir)?;
            let kind = mount::fs_type_of(near);
            tried
                .map(drop)
                .map_err(|e| format!("{} ({kind}): {e}", near.display()))
        }
    };
    Ok(StorageFound { overlay, overlays })
}
