//! The images of this daemon, and the gate between those who use them and the sweep.

use std::sync::Arc;

use model::{Digest, ImageRecord, Reference, limits};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, Semaphore};

/// Records and names, the store behind them, and the gate.
#[derive(Debug)]
pub(crate) struct ImageIndex {
    /// Blobs and trees.
    pub(crate) store: images::Images,
    /// Records and names; the ledger has the same.
    pub(crate) index: images::Index,
    /// Held for reading by whoever is about to write a row that needs an image or a volume; for
    /// writing by whoever removes one.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// A permit for each archive that may be read at once.
    pub(super) uploads: Arc<Semaphore>,
}

impl ImageIndex {
    pub(crate) fn new(
        store: images::Images,
        records: Vec<ImageRecord>,
        names: Vec<(Reference, Digest)>,
    ) -> Self {
        Self {
            store,
            index: images::Index::new(records, names),
            gate: Arc::default(),
            uploads: Arc::new(Semaphore::new(limits::UPLOADS_MAX)),
        }
    }

    /// Keeps removals out while a row that needs an image is being written.
    pub(crate) async fn gate(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Keeps everybody out while something is removed.
    pub(crate) async fn gate_all(&self) -> OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }
}
