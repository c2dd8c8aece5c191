//! Removal of what no record names.

use std::collections::HashSet;

use model::{Digest, ImageRecord, Result};

use crate::source::items_of;
use crate::store::{Item, Store, digests_in};
use archive::At;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Bytes of files that are gone.
    pub bytes: u64,
    /// Blobs that are gone.
    pub blobs: u64,
    /// Layers that are gone.
    pub trees: u64,
}

/// Removes every blob and tree that is neither named by a record nor held by a lease.
///
/// The records are asked for *after* the leases were looked at. Work that ends meanwhile gave up
/// its lease after its record was written, so it is seen in one place or the other.
pub(crate) fn sweep(
    store: &Store,
    live: impl FnOnce() -> Result<Vec<ImageRecord>>,
) -> Result<Swept> {
    let mut keep: HashSet<Item> = store.leases().keys().cloned().collect();
    for record in live()? {
        keep.extend(items_of(&record));
    }
    let mut swept = Swept::default();
    for digest in digests_in(&store.trees())? {
        if !keep.contains(&Item::Tree(digest.clone()))
            && let Some(bytes) = remove_tree(store, &digest)?
        {
            swept.trees += 1;
            swept.bytes += bytes;
        }
    }
    for digest in digests_in(&store.blobs())? {
        if !keep.contains(&Item::Blob(digest.clone()))
            && let Some(bytes) = remove_blob(store, &digest)?
        {
            swept.blobs += 1;
            swept.bytes += bytes;
        }
    }
    Ok(swept)
}

/// The tree disappears by one rename, so that nobody ever finds half of it; emptying it takes as
/// long as it takes, without the lock.
fn remove_tree(store: &Store, diff_id: &Digest) -> Result<Option<u64>> {
    let tree = store.trees().join(diff_id.hex());
    let trash = store.unused();
    {
        let leases = store.leases();
        if leases.contains_key(&Item::Tree(diff_id.clone())) {
            return Ok(None);
        }
        std::fs::rename(&tree, &trash).at("sweep", &tree)?;
    }
    store.remove(&trash).map(Some)
}

fn remove_blob(store: &Store, digest: &Digest) -> Result<Option<u64>> {
    let path = store.blob_path(digest);
    let leases = store.leases();
    if leases.contains_key(&Item::Blob(digest.clone())) {
        return Ok(None);
    }
    let bytes = std::fs::metadata(&path).at("read", &path)?.len();
    std::fs::remove_file(&path).at("sweep", &path)?;
    Ok(Some(bytes))
}
