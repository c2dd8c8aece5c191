//! Where bytes and trees are, how they become visible, and who holds them.
//!
//! ```text
//! root/lock                      held while a daemon uses the store
//! root/blobs/sha256/HEX          configurations, by their digest
//! root/trees/HEX/tree            a layer's files, by diff_id
//! root/trees/HEX/tree.json       what is known about it
//! root/staging/N                 work that is not finished; emptied when the store is opened
//! root/writable/KEY/             a container's own tree, see `writable`
//! ```
//!
//! Nothing is visible before it is durable: trees are written in staging, the file system is
//! synced once, and a rename makes them visible; blobs are small and written whole. Something
//! that is there was verified, so nothing is verified twice.
//!
//! Determination. A layer's archive is not kept, only its tree. Saving an image will need it
//! (or a record of the tar's framing) to give back the same digests; `tree.json` says which
//! blob the tree came from, so it can be kept beside it then.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use sys::beneath::Dir;
use sys::durable;
use sys::own::Lock;

use crate::layer::{self, Unpack};
use archive::At;

/// The store's directories and leases.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    leases: Mutex<HashMap<Item, usize>>,
    next_staging: AtomicU64,
    /// Keeps a second daemon out.
    _lock: Lock,
}

/// What can be held and swept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// The blob of this digest.
    Blob(Digest),
    /// The tree of this diff_id.
    Tree(Digest),
}

/// What `tree.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeInfo {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Digest of the tar as it came, which the next archive may name it by.
    pub(crate) blob: Digest,
    /// Size of the tar as it came.
    pub(crate) blob_bytes: u64,
    /// Sum of the sizes of its regular files.
    pub(crate) size_bytes: u64,
}

impl From<Unpack> for TreeInfo {
    fn from(u: Unpack) -> Self {
        Self {
            diff_id: u.diff_id,
            blob: u.blob,
            blob_bytes: u.blob_bytes,
            size_bytes: u.size_bytes,
        }
    }
}

impl Store {
    /// Opens or makes the store at `root` and removes what a killed daemon left unfinished.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let lock_path = root.join("lock");
        for dir in ["", "blobs", "blobs/sha256", "trees", "staging", "writable"] {
            let path = if dir.is_empty() {
                root.to_owned()
            } else {
                root.join(dir)
            };
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .at("create", &path)?;
        }
        let lock = Lock::take(&lock_path).map_err(|e| {
            Error::new(
                model::Kind::Unavailable,
                format!(
                    "cannot lock {}: {e}; is another daemon using {}?",
                    lock_path.display(),
                    root.display()
                ),
            )
        })?;
        let store = Self {
            root: root.canonicalize().at("resolve", root)?,
            leases: Mutex::default(),
            next_staging: AtomicU64::new(0),
            _lock: lock,
        };
        store.remove_left_overs();
        Ok(store)
    }

    /// The store's directory, absolute and without links.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The files of the layer `diff_id`.
    pub(crate) fn tree_path(&self, diff_id: &Digest) -> PathBuf {
        layer::tree_in(&self.trees().join(diff_id.hex()))
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn staging_root(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// What is known about a tree; `None` when there is none.
    pub(crate) fn tree_info(&self, diff_id: &Digest) -> Result<Option<TreeInfo>> {
        let path = self.trees().join(diff_id.hex()).join("tree.json");
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.at("read", &path)?,
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::system(format!("{} is damaged: {e}", path.display())))
    }

    /// All trees, readable ones only: a damaged description is as good as none.
    pub(crate) fn tree_infos(&self) -> Result<Vec<TreeInfo>> {
        let mut infos = Vec::new();
        for digest in digests_in(&self.trees())? {
            match self.tree_info(&digest) {
                Ok(info) => infos.extend(info),
                Err(e) => tracing::warn!("{e}"),
            }
        }
        Ok(infos)
    }

    /// Makes blobs and staged trees visible, after making them durable. A tree that somebody
    /// else committed meanwhile stays staged, to be removed with its staging directory.
    ///
    /// One syncfs(2) serves all of them: an fsync for each of a layer's thousands of files would
    /// cost a journal commit each. The price is that other dirty data of the file system is
    /// written too.
    pub(crate) fn commit(
        &self,
        trees: &[(PathBuf, TreeInfo)],
        blobs: &[(Digest, Vec<u8>)],
    ) -> Result<()> {
        for (dir, info) in trees {
            let path = dir.join("tree.json");
            let text = serde_json::to_vec(info).map_err(|e| Error::system(e.to_string()))?;
            std::fs::write(&path, text).at("write", &path)?;
        }
        if !trees.is_empty() {
            durable::sync_file_system(&self.root).at("sync the file system of", &self.root)?;
        }
        for (dir, info) in trees {
            let target = self.trees().join(info.diff_id.hex());
            durable::rename_new(dir, &target).at("rename a layer to", &target)?;
        }
        // Also when there was nothing to rename: whoever committed a tree that is used here may
        // not have come to this line yet.
        durable::sync_dir(&self.trees()).at("sync", &self.trees())?;
        for (digest, bytes) in blobs {
            let path = self.blob_path(digest);
            durable::write_whole(&path, bytes, 0o600).at("write", &path)?;
        }
        Ok(())
    }

    /// The verified content of a small blob.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!(
                    "no blob {digest} in the image store"
                )));
            }
            other => other.at("read", &path)?,
        };
        if crate::compression::digest_of(&bytes) != *digest {
            return Err(Error::system(format!(
                "{} is damaged: its content is not what its name says",
                path.display()
            )));
        }
        Ok(bytes)
    }

    /// A name in staging that nobody has.
    pub(crate) fn unused(&self) -> PathBuf {
        let n = self.next_staging.fetch_add(1, Ordering::Relaxed);
        self.staging_root().join(n.to_string())
    }

    /// A fresh directory for unfinished work, removed when the value goes.
    pub(crate) fn stage(self: &Arc<Self>) -> Result<Staging> {
        let path = self.unused();
        std::fs::create_dir(&path).at("create", &path)?;
        Ok(Staging {
            store: self.clone(),
            path,
        })
    }

    /// Removes a directory tree, however deep; absent is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<u64> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::system(format!(
                "{} cannot be removed",
                path.display()
            )));
        };
        Dir::open(parent)
            .and_then(|parent| sys::beneath::remove_tree(&parent, name))
            .at("remove", path)
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, HashMap<Item, usize>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what a killed daemon left. What cannot be removed stays for the next start: its
    /// place on the disk is worth less than a daemon that serves.
    fn remove_left_overs(&self) {
        let done = [
            self.unmount_staging(),
            self.empty_staging(),
            self.remove_temporary_blobs(),
        ];
        for e in done.into_iter().filter_map(Result::err) {
            tracing::warn!("unfinished image work is left for the next start: {e}");
        }
    }

    /// A daemon killed while it tried how to mount overlays leaves one mounted.
    fn unmount_staging(&self) -> Result<()> {
        let staging = self.staging_root();
        for left in sys::mount::below(&staging).at("look for mounts in", &staging)? {
            sys::mount::unmount(&left.target, true).at("unmount", &left.target)?;
        }
        Ok(())
    }

    fn empty_staging(&self) -> Result<()> {
        let staging = self.staging_root();
        let left: Vec<_> = Dir::open(&staging)
            .and_then(|d| d.names())
            .at("read", &staging)?;
        // Fresh numbers must not meet what is left.
        let highest = left
            .iter()
            .filter_map(|n| n.to_str()?.parse::<u64>().ok())
            .max();
        self.next_staging
            .store(highest.map_or(0, |n| n + 1), Ordering::Relaxed);
        each(left, |name| self.remove(&staging.join(name)).map(drop))
    }

    fn remove_temporary_blobs(&self) -> Result<()> {
        let blobs = self.blobs();
        let mut left = Dir::open(&blobs)
            .and_then(|d| d.names())
            .at("read", &blobs)?;
        left.retain(|name| name.as_encoded_bytes().starts_with(b"."));
        each(left, |name| {
            let path = blobs.join(name);
            std::fs::remove_file(&path).at("remove", &path)
        })
    }
}

/// Does it to all of them, however some fail; the first failure is told.
fn each(names: Vec<OsString>, remove: impl Fn(OsString) -> Result<()>) -> Result<()> {
    names.into_iter().map(remove).fold(Ok(()), Result::and)
}

/// The digests whose hex names are in a directory; other names are not ours and left alone.
pub(crate) fn digests_in(dir: &Path) -> Result<Vec<Digest>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let name = entry.at("read", dir)?.file_name();
        found.extend(name.to_str().and_then(digest_of_hex));
    }
    Ok(found)
}

/// The digest with these 64 digits.
pub(crate) fn digest_of_hex(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// A directory for unfinished work.
#[derive(Debug)]
pub(crate) struct Staging {
    store: Arc<Store>,
    path: PathBuf,
}

impl Staging {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory for the layer number `n`, and the empty tree in it.
    pub(crate) fn layer(&self, n: usize) -> Result<(PathBuf, PathBuf)> {
        let dir = self.path.join(n.to_string());
        let tree = layer::tree_in(&dir);
        std::fs::create_dir(&dir).at("create", &dir)?;
        DirBuilder::new()
            .mode(0o755)
            .create(&tree)
            .at("create", &tree)?;
        // The umask must not decide what a container's root looks like.
        Dir::open(&tree)
            .and_then(|d| d.set_own_mode(0o755))
            .at("change the mode of", &tree)?;
        Ok((dir, tree))
    }

    /// Removes what [`Staging::layer`] gave.
    pub(crate) fn discard(&self, dir: &Path) -> Result<()> {
        self.store.remove(dir).map(drop)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(e) = self.store.remove(&self.path) {
            tracing::warn!("left for the next start: {e}");
        }
    }
}

/// Keeps what it names from being swept, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    store: Arc<Store>,
    items: Vec<Item>,
}

impl Lease {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: store.clone(),
            items: Vec::new(),
        }
    }

    /// Holds `item` from now on. To be called before looking whether it exists.
    pub(crate) fn hold(&mut self, item: Item) {
        *self.store.leases().entry(item.clone()).or_default() += 1;
        self.items.push(item);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = self.store.leases();
        for item in self.items.drain(..) {
            if let Some(count) = leases.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    leases.remove(&item);
                }
            }
        }
    }
}
