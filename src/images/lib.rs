//! Bytes by digest and trees by layer: the image store, its archives, and the trees of containers.
//!
//! What comes in is verified before it is visible, and durable when it is. The room never sees
//! containers or the ledger: it is told which records live, and what no record
//! names is garbage. All functions block; callers put them where that is fine.
//!
//! Registries are another room's: here a layer is whatever a [`Read`] brings. So is what a client
//! reads and writes of a container's files.

mod changes;
mod commit;
mod config;
mod copy;
mod digesting;
mod furnish;
mod held;
mod import;
mod json;
mod keep;
mod layer;
mod leases;
mod load;
pub mod manifest;
mod plain;
mod pull;
mod save;
mod source;
mod storage;
mod store;
mod sweep;
mod writable;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::Changed;
use model::{
    Blob, Context, Digest, ImageConfig, ImageRecord, Layer, Result, StorageDriver, Timestamp,
};

pub use changes::HeldChanges;
pub use commit::Commit;
pub use config::platform as platform_of;
pub use held::Hold;
pub use leases::Lease;
pub use load::{LoadStep, LoadedImage};
pub use pull::{Described, WantedLayer};
pub use save::ToSave;
pub use source::{BlobFile, LayerTar, StoreUsage};
use storage::Storage;
pub use storage::{StorageFound, look as look_at_storage};
use store::Store;
pub use sweep::{Partials, Swept};
pub use writable::{Shown, WritablePaths};

/// The image store; clones share it.
#[derive(Debug, Clone)]
pub struct Images {
    store: Arc<Store>,
    storage: Arc<Storage>,
    trees: Arc<held::Trees>,
    readers: Arc<changes::Readers>,
}

impl Images {
    /// Opens or makes the store at `root`, removes what a killed daemon left unfinished, and
    /// tries how overlays can be mounted on it. New containers' trees are made as `driver` says, or else
    /// as they can be.
    ///
    /// # Errors
    /// `Unavailable` when another process uses the store; `System`, saying what to do, when the
    /// host cannot carry it, or cannot mount the trees of containers that are there.
    pub fn open(root: &Path, driver: Option<StorageDriver>) -> Result<Self> {
        let store = Arc::new(Store::open(root).context("cannot open the image store")?);
        let storage = Arc::new(storage::choose(&store, &store.stage()?, driver)?);
        Ok(Self {
            store,
            storage,
            trees: Arc::default(),
            readers: Arc::default(),
        })
    }

    /// How the trees of new containers are made.
    pub fn driver(&self) -> StorageDriver {
        self.storage.driver
    }

    /// Takes in every image of a docker-archive or OCI layout, whichever way it is compressed,
    /// reading it once and to its end. The images are in the order of the archive's manifest,
    /// each once.
    ///
    /// # Errors
    /// `InvalidParameter` for a damaged, incomplete or hostile archive; `System` when the host
    /// cannot hold it. No image of the archive is there then; layers that were complete before
    /// the disk ended are garbage to the next sweep.
    pub fn load(
        &self,
        archive: &mut dyn Read,
        progress: &mut dyn FnMut(LoadStep),
    ) -> Result<Vec<LoadedImage>> {
        load::load(&self.store, self.storage.layers_max(), archive, progress)
    }

    /// Writes `images`, which must be held, as one archive.
    ///
    /// # Errors
    /// `Conflict` for a layer whose tar an older daemon did not keep, before anything is written; `System`
    /// when something kept is damaged; what `out` says.
    pub fn save(&self, images: &[ToSave], out: &mut dyn Write) -> Result<()> {
        save::save(self, images, out)
    }

    /// Makes an image of one layer from the tar of a root file system, compressed or not.
    /// `config` says the rest; its times and history are set from `created` and `comment`.
    ///
    /// # Errors
    /// As [`Images::load`].
    pub fn import(
        &self,
        tar: &mut dyn Read,
        config: ImageConfig,
        comment: &str,
        created: Timestamp,
    ) -> Result<LoadedImage> {
        import::import(&self.store, tar, config, comment, created)
    }

    /// Makes an image of another one and of what was changed.
    ///
    /// # Errors
    /// `Conflict` when somebody changes what is packed so that it cannot be; `System`.
    pub fn commit(&self, wanted: Commit) -> Result<LoadedImage> {
        commit::commit(&self.store, self.storage.layers_max(), wanted)
    }

    /// An image's configuration as it came, byte for byte.
    ///
    /// # Errors
    /// `NotFound`, and `System` when the file is damaged.
    pub fn config_blob(&self, id: &Digest) -> Result<Vec<u8>> {
        self.store.read_blob(id)
    }

    /// Keeps all that is kept of an image from a sweep. To be asked for before the record is looked up for
    /// the last time: what nobody held may be gone.
    pub fn hold(&self, record: &ImageRecord) -> Lease {
        source::hold(&self.store, record)
    }

    /// Whether all that is kept of an image, which must be held, is there.
    pub fn is_whole(&self, record: &ImageRecord) -> bool {
        source::is_whole(&self.store, record)
    }

    /// The tar of a layer, the very bytes its diff_id is of, whichever way they are kept. It must be held.
    ///
    /// # Errors
    /// `Conflict` for a layer that an older daemon made, whose tar was not kept; `System`. Reading it
    /// fails at the end when it is not what the diff_id says.
    pub fn layer_tar(&self, layer: &Layer) -> Result<LayerTar> {
        LayerTar::open(&self.store, layer)
    }

    /// A blob of any size, as it came: the `blob` of a layer, say. It must be held.
    ///
    /// # Errors
    /// `NotFound`, `System`.
    pub fn blob(&self, digest: &Digest) -> Result<BlobFile> {
        BlobFile::open(&self.store, digest)
    }

    /// What a layer is called as a compressed blob, here or in registries; what it came as first.
    ///
    /// # Errors
    /// `System`.
    pub fn known_blobs(&self, layer: &Layer) -> Result<Vec<Blob>> {
        source::known_blobs(&self.store, layer)
    }

    /// Remembers what a layer is called as a compressed blob elsewhere.
    ///
    /// # Errors
    /// `System`.
    pub fn remember_blob(&self, diff_id: &Digest, blob: &Blob) -> Result<()> {
        self.store.remember_blob(diff_id, blob)
    }

    /// Whether a blob is here. Only for one that is held does that last.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.store.has_blob(digest)
    }

    /// The content of a small blob (a manifest, a configuration), checked against its digest.
    ///
    /// # Errors
    /// `NotFound`, and `System` when the file is damaged.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.store.read_blob(digest)
    }

    /// What is kept, and how much it takes.
    ///
    /// # Errors
    /// `System`.
    pub fn usage(&self) -> Result<StoreUsage> {
        source::usage(&self.store)
    }

    /// Removes every layer and blob that no record names, and beginnings of layers. `live` must give the records of all
    /// images, and of those that only containers still use; it is called once, at the right
    /// moment for loads that end meanwhile.
    ///
    /// # Errors
    /// What `live` says, or `System`; what was swept before stays so.
    pub fn sweep(
        &self,
        partials: Partials,
        live: impl FnOnce() -> Result<Vec<Arc<ImageRecord>>>,
    ) -> Result<Swept> {
        sweep::sweep(&self.store, partials, live)
    }

    /// Makes the directories of the writable tree `key` (`[a-z0-9]`, at most 200); fine when
    /// they exist.
    ///
    /// # Errors
    /// `System`.
    pub fn create_writable(&self, key: &str) -> Result<()> {
        writable::create(&self.store, self.driver(), key)
    }

    /// The empty directory of the writable tree `key`, made if need be, that takes changes in the form of
    /// a layer before it is mounted for the first time.
    ///
    /// # Errors
    /// `System`.
    pub fn place_of_changes(&self, key: &str) -> Result<PathBuf> {
        writable::place_of_changes(&self.store, self.driver(), key)
    }

    /// Mounts the writable tree `key` on `layers`, given from the bottom up, and tells where;
    /// fine when it is mounted.
    ///
    /// # Errors
    /// `System`, naming a layer that is missing or the place that cannot be mounted.
    pub fn mount(&self, key: &str, layers: &[Layer], shown: Shown<'_>) -> Result<PathBuf> {
        // First, so that a holder who goes meanwhile leaves it.
        self.trees.needed(key);
        writable::mount(&self.store, &self.storage, key, layers, shown)
    }

    /// As [`Images::mount`], for one who holds `key` and says nothing of how long it is needed.
    ///
    /// # Errors
    /// As [`Images::mount`].
    pub fn mount_held(&self, key: &str, layers: &[Layer], shown: Shown<'_>) -> Result<PathBuf> {
        writable::mount(&self.store, &self.storage, key, layers, shown)
    }

    /// Keeps `key` mounted where it is, or will be, as long as what is returned lives: it is unmounted
    /// after that.
    pub fn hold_tree(&self, key: &str) -> Hold {
        self.trees.hold(&self.store, key)
    }

    /// Whether somebody holds `key`.
    pub fn is_held(&self, key: &str) -> bool {
        self.trees.is_held(key)
    }

    /// Runs `work` while nobody else prepares the mount of `key`.
    pub fn alone<T>(&self, key: &str, work: impl FnOnce() -> T) -> T {
        self.trees.alone(key, work)
    }

    /// Whether `key` is mounted.
    ///
    /// # Errors
    /// `System`.
    pub fn is_mounted(&self, key: &str) -> Result<bool> {
        writable::is_mounted(&self.store, key)
    }

    /// The directory below which writable trees are mounted.
    pub fn writable_root(&self) -> PathBuf {
        writable::root(&self.store)
    }

    /// Unmounts `key`, when nobody holds it any more; fine when it is not mounted. One that is in use
    /// otherwise disappears at once and ends with its last user.
    ///
    /// # Errors
    /// `System`.
    pub fn unmount(&self, key: &str) -> Result<()> {
        self.trees
            .unmount(key, || writable::unmount(&self.store, key))
    }

    /// Keeps what was changed in `key` as long as what is returned lives, whoever removes it.
    pub fn hold_changes(&self, key: &str) -> HeldChanges {
        self.readers.hold(&self.store, key)
    }

    /// Unmounts and removes `key` with its changes, and tells how many bytes that freed; fine
    /// when it does not exist. Changes that somebody holds go after that.
    ///
    /// # Errors
    /// `System`; what could not be removed is tried again when the store is opened.
    pub fn remove_writable(&self, key: &str) -> Result<u64> {
        // First: who reads it must not take what is left for all there was.
        self.trees.doom(key);
        self.readers.remove(&self.store, key)
    }

    /// The bytes of the changes (Docker's `SizeRw`). A copy of layers takes those too, where the file
    /// system cannot share them.
    ///
    /// # Errors
    /// `System`.
    pub fn changed_size(&self, changed: &Changed) -> Result<u64> {
        writable::size(changed)
    }

    /// The directories of `key` on `layers`, whether or not they exist (Docker's `GraphDriver`).
    ///
    /// # Errors
    /// `System` for a bad key.
    pub fn paths(&self, key: &str, layers: &[Layer]) -> Result<WritablePaths> {
        writable::paths(&self.store, self.driver(), key, layers)
    }

    /// The directories of `layers`, given from the bottom up: the topmost first, each once.
    pub fn trees(&self, layers: &[Layer]) -> Vec<PathBuf> {
        writable::trees(&self.store, layers)
    }

    /// The keys of all writable trees, sorted.
    ///
    /// # Errors
    /// `System`.
    pub fn writable_keys(&self) -> Result<Vec<String>> {
        writable::keys(&self.store)
    }

    /// Copies what the mounted tree at `merged` has in the directory `inside` into the directory
    /// `destination`, with owners, modes, attributes, links and times; the directory itself gets
    /// those of `inside`. Returns `false` when nothing was done because `destination` is not
    /// empty or there is no such directory (Docker's copy-up into a new volume).
    ///
    /// # Errors
    /// `System`; `destination` may hold part of it then.
    pub fn copy_out(&self, merged: &Path, inside: &Path, destination: &Path) -> Result<bool> {
        copy::copy_out(merged, inside, destination)
    }

    /// Makes what every container finds in its root, image or not: `/.dockerenv`, and the places
    /// of the files that are mounted in `/etc`. What is there stays.
    ///
    /// # Errors
    /// What the host says.
    pub fn furnish(&self, merged: &Path) -> Result<()> {
        furnish::furnish(merged)
    }
}

#[cfg(test)]
mod tests;
