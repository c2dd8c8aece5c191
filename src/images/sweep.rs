//! Removal of what no record names.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use model::{ImageRecord, Result};

use crate::leases::{Item, Sweeping};
use crate::source;
use crate::store::{Store, digests_in};
use archive::At;
use failpoint::Point;

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

/// Which beginnings of downloads go with a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    /// Those that nobody went on with for a day, and those of what is here.
    Old,
    /// All that nobody is at.
    All,
}

/// Removes every blob and tree that is neither named by a record nor held by a lease.
///
/// The records are asked for *after* the leases were looked at. Work that ends meanwhile gave up
/// its lease after its record was written, so it is seen in one place or the other; what is held
/// later stays until the next sweep.
pub(crate) fn sweep(
    store: &Arc<Store>,
    partials: Partials,
    live: impl FnOnce() -> Result<Vec<Arc<ImageRecord>>>,
) -> Result<Swept> {
    let (sweeping, mut keep) = store.leases.sweep();
    for record in live()? {
        keep.extend(source::items_of(&record));
    }
    store.pass(Point::ImageSweeping)?;
    let mut swept = Swept::default();
    // One thing that cannot go is in nobody's way; the first is told at the end.
    let mut failed = Ok(());
    let mut taken = |item: Item, path: &Path, keep: &HashSet<Item>| {
        let taken = take(store, &sweeping, keep, &item, path);
        taken.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "something that no image needs stays");
            if failed.is_ok() {
                failed = Err(e);
            }
            None
        })
    };
    for digest in digests_in(&store.trees())? {
        let path = store.layer_dir(&digest);
        if let Some(bytes) = taken(Item::Tree(digest.clone()), &path, &keep) {
            swept.trees += 1;
            swept.bytes += bytes;
        } else if let Err(e) = store.tidy(&digest) {
            tracing::warn!(error = %e, "something is left beside a layer");
        }
    }
    for digest in digests_in(&store.blobs())? {
        let path = store.blob_path(&digest);
        if let Some(bytes) = taken(Item::Blob(digest), &path, &keep) {
            swept.blobs += 1;
            swept.bytes += bytes;
        }
    }
    for digest in store.partials(partials)? {
        let path = store.partial_path(&digest);
        // A record that names the blob does not want its beginning.
        let bytes = taken(Item::Blob(digest), &path, &HashSet::new());
        swept.bytes += bytes.unwrap_or_default();
    }
    failed.map(|()| swept)
}

/// It disappears by one rename, so that nobody ever finds half of it; removing it takes as long as it
/// takes, while others hold what they want.
fn take(
    store: &Arc<Store>,
    sweeping: &Sweeping<'_>,
    keep: &HashSet<Item>,
    item: &Item,
    path: &Path,
) -> Result<Option<u64>> {
    if keep.contains(item) {
        return Ok(None);
    }
    let trash = store.unused();
    match sweeping.unless_held(item, || std::fs::rename(path, &trash)) {
        None => return Ok(None),
        Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Some(renamed) => renamed.at("sweep", path)?,
    }
    store.pass(Point::ImageSetAside)?;
    let bytes = std::fs::symlink_metadata(&trash).at("read", &trash)?;
    if bytes.is_dir() {
        return store.remove(&trash).map(Some);
    }
    std::fs::remove_file(&trash).at("sweep", &trash)?;
    Ok(Some(bytes.len()))
}
