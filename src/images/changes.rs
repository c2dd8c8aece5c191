//! Who reads what a container has changed, while the container may be removed.
//!
//! A removal takes the tree away by one rename and then empties it. Who is reading would go on in what is
//! being emptied, and take what is left for all there was. So, as in Docker (moby `layer`, the references
//! of a read-write layer), the tree of a removed container stays until its last reader goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::Store;
use crate::writable;

/// The trees that are being read.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    reading: Mutex<HashMap<String, Reading>>,
}

#[derive(Debug, Default)]
struct Reading {
    readers: usize,
    /// To be removed when the last one goes.
    remove: bool,
}

/// Keeps what a container has changed, though the container may be removed.
#[derive(Debug)]
pub struct HeldChanges {
    readers: Arc<Readers>,
    store: Arc<Store>,
    key: String,
}

impl Readers {
    pub(crate) fn hold(self: &Arc<Self>, store: &Arc<Store>, key: &str) -> HeldChanges {
        self.reading().entry(key.to_owned()).or_default().readers += 1;
        HeldChanges {
            readers: self.clone(),
            store: store.clone(),
            key: key.to_owned(),
        }
    }

    /// Removes a tree, now or when its last reader goes; the bytes that are free by then.
    pub(crate) fn remove(&self, store: &Store, key: &str) -> model::Result<u64> {
        if let Some(reading) = self.reading().get_mut(key) {
            reading.remove = true;
        } else {
            return writable::remove(store, key);
        }
        writable::unmount(store, key).map(|()| 0)
    }

    fn reading(&self) -> MutexGuard<'_, HashMap<String, Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldChanges {
    fn drop(&mut self) {
        let mut all = self.readers.reading();
        let Some(reading) = all.get_mut(&self.key) else {
            return;
        };
        reading.readers -= 1;
        if reading.readers > 0 {
            return;
        }
        let remove = reading.remove;
        all.remove(&self.key);
        drop(all);
        if !remove {
            return;
        }
        let (store, key) = (self.store.clone(), std::mem::take(&mut self.key));
        // It may take long, and nobody knows on which thread this is. What stays goes at the next start.
        let removing = std::thread::Builder::new().name("remove".to_owned());
        let removing = removing.spawn(move || {
            if let Err(e) = writable::remove(&store, &key) {
                tracing::warn!(key, error = %e, "the tree of a removed container stays");
            }
        });
        if let Err(e) = removing {
            tracing::warn!(error = %e, "the tree of a removed container stays");
        }
    }
}
