//! Where bytes and trees are, how they become visible, and who holds them.
//!
//! ```text
//! root/lock                      held while a daemon uses the store
//! root/blobs/sha256/HEX          configurations, manifests and compressed layers, by their digest
//! root/partial/HEX               the beginning of a compressed layer, see `pull`
//! root/trees/HEX/tree            a layer's files, by diff_id
//! root/trees/HEX/tree.json       what is known about it
//! root/trees/HEX/frame, ...      what its tar had beside them, see `archive::record`
//! root/staging/N                 work that is not finished; emptied when the store is opened
//! root/writable/KEY/             a container's own tree, see `writable`
//! ```
//!
//! Nothing is visible before it is durable: layers are written in staging, the file system is
//! synced once, and renames make them visible; other blobs are small and written whole. Something
//! that is there was verified, so nothing is verified twice.
//!
//! Determination. A layer is kept so that the very bytes can be given on: one that came compressed
//! as the blob it was, for nobody compresses to the same bytes again; a plain tar as its tree and a
//! frame, which is a hundredth of its size. A compressed layer costs its tree *and* its blob, as with
//! containerd. Trees that older daemons made have neither: they work, and can be saved once their image
//! was loaded again.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::image::Blob;
use model::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use sys::beneath::Dir;
use sys::durable::FileSystem;
use sys::own::Lock;

use crate::layer::{self, Kept, Unpack};
use crate::leases::Leases;
use archive::At;

/// The store's directories and leases.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    pub(crate) leases: Leases,
    next_staging: AtomicU64,
    /// Held while the description of a tree that is visible is changed.
    pub(crate) describing: Mutex<()>,
    /// Keeps a second daemon out.
    _lock: Lock,
}

/// What `tree.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeInfo {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Sum of the sizes of its regular files.
    pub(crate) size_bytes: u64,
    // What follows is absent from what older daemons wrote.
    /// Size of the uncompressed tar.
    #[serde(default)]
    pub(crate) tar_bytes: Option<u64>,
    /// What its frame takes, where it has one.
    #[serde(default)]
    pub(crate) frame_bytes: Option<u64>,
    /// What is known to unpack to this tar. The store may have it, for as long as a record names it.
    #[serde(default)]
    pub(crate) packed: Vec<Blob>,
}

impl From<Unpack> for TreeInfo {
    fn from(u: Unpack) -> Self {
        let (frame_bytes, packed) = match u.kept {
            Kept::Frame(bytes) => (Some(bytes), None),
            Kept::Packed(blob) => (None, Some(blob)),
        };
        Self {
            diff_id: u.diff_id,
            size_bytes: u.size_bytes,
            tar_bytes: Some(u.tar_bytes),
            frame_bytes,
            packed: packed.into_iter().collect(),
        }
    }
}

impl Store {
    /// Opens or makes the store at `root` and removes what a killed daemon left unfinished.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let lock_path = root.join("lock");
        let dirs = [
            "",
            "blobs",
            "blobs/sha256",
            "partial",
            "trees",
            "staging",
            "writable",
        ];
        for dir in dirs {
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
            leases: Leases::default(),
            next_staging: AtomicU64::new(0),
            describing: Mutex::default(),
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
        layer::tree_in(&self.layer_dir(diff_id))
    }

    /// What holds them, and all else that is kept of the layer.
    pub(crate) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.trees().join(diff_id.hex())
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
            disk: FileSystem::watch(&path).at("open", &path)?,
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
    /// Told of all writes into it that fail.
    disk: FileSystem,
}

/// A layer in staging that is to become visible.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// Of [`Staging::layer`].
    pub(crate) dir: PathBuf,
    /// What is known of it.
    pub(crate) info: TreeInfo,
    /// Where the bytes are that it came as, where those are kept.
    pub(crate) packed: Option<PathBuf>,
}

impl Staged {
    /// One of which all is in `dir`.
    pub(crate) fn new(dir: PathBuf, info: TreeInfo) -> Self {
        let packed = (!info.packed.is_empty()).then(|| layer::packed_in(&dir));
        Self { dir, info, packed }
    }
}

impl Staging {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes everything in it durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.disk.sync().at("sync the file system of", &self.path)
    }

    /// A directory for the layer number `n`, with an empty tree in it.
    pub(crate) fn layer(&self, n: usize) -> Result<PathBuf> {
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
        Ok(dir)
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
