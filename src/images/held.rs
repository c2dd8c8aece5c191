//! Who needs a writable tree mounted besides the container it belongs to.
//!
//! Overlayfs wants each upper directory in one mount at a time: what is changed through one may not be
//! seen through another (kernel, Documentation/filesystems/overlayfs.rst, "Sharing and copying
//! layers"). So whoever looks at a container's files shares its mount, and as long as somebody does it
//! stays, whoever unmounts it: a container that is started meanwhile finds it and uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::Store;
use crate::writable;

/// The trees that are held, and those that are being mounted.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    held: Mutex<HashMap<String, Held>>,
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Held {
    holders: usize,
    /// To be unmounted when the last one goes.
    unmount: bool,
    /// It is being removed, or was.
    doomed: bool,
}

/// Keeps a writable tree mounted.
#[derive(Debug)]
pub struct Hold {
    trees: Arc<Trees>,
    store: Arc<Store>,
    key: String,
}

impl Trees {
    pub(crate) fn hold(self: &Arc<Self>, store: &Arc<Store>, key: &str) -> Hold {
        self.held().entry(key.to_owned()).or_default().holders += 1;
        Hold {
            trees: self.clone(),
            store: store.clone(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn is_held(&self, key: &str) -> bool {
        self.held().contains_key(key)
    }

    /// Runs `work` as the only one that mounts the tree or looks whether it is.
    pub(crate) fn alone<T>(&self, key: &str, work: impl FnOnce() -> T) -> T {
        let turn = {
            let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            making.entry(key.to_owned()).or_default().clone()
        };
        let done = {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            work()
        };
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // This one's and the table's.
        if Arc::strong_count(&turn) == 2 {
            making.remove(key);
        }
        done
    }

    /// The container needs it mounted: it stays so when the last holder goes.
    pub(crate) fn needed(&self, key: &str) {
        if let Some(held) = self.held().get_mut(key) {
            held.unmount = false;
        }
    }

    /// Unmounts the tree, now or when the last holder goes.
    pub(crate) fn unmount(&self, store: &Store, key: &str) -> model::Result<()> {
        let mut all = self.held();
        match all.get_mut(key) {
            Some(held) => {
                held.unmount = true;
                Ok(())
            }
            None => writable::unmount(store, key),
        }
    }

    /// Says to all who hold it that it will not be whole any more.
    pub(crate) fn doom(&self, key: &str) {
        if let Some(held) = self.held().get_mut(key) {
            held.doomed = true;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Whether the tree was removed, or begun to be: what was seen of it before this was asked for was
    /// whole only if not.
    pub fn is_doomed(&self) -> bool {
        let all = self.trees.held();
        all.get(&self.key).is_none_or(|held| held.doomed)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.trees.held();
        let Some(held) = all.get_mut(&self.key) else {
            return;
        };
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let unmount = held.unmount;
        all.remove(&self.key);
        // Before anybody else can hold it.
        if unmount && let Err(e) = writable::unmount(&self.store, &self.key) {
            tracing::warn!(key = self.key, error = %e, "a tree that nobody needs stays mounted");
        }
    }
}
