//! Who needs a writable tree mounted besides the container it belongs to.
//!
//! Overlayfs wants each upper directory in one mount at a time: what is changed through one may not be
//! seen through another (kernel, Documentation/filesystems/overlayfs.rst, "Sharing and copying
//! layers"). So whoever looks at a container's files shares its mount, and as long as somebody does it
//! stays, whoever unmounts it: a container that is started meanwhile finds it and uses it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::Store;
use crate::writable;

/// The trees that are held, and those that are being mounted.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    held: Mutex<HashMap<String, Held>>,
    /// A tree is unmounted.
    unmounted: Condvar,
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Held {
    holders: usize,
    /// To be unmounted when the last one goes.
    unmount: bool,
    /// It is being removed, or was.
    doomed: bool,
    /// That is being done, and takes as long as it takes: the last unmount writes out what was
    /// changed. Whoever wants this tree waits; nobody waits for another one's.
    unmounting: bool,
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
        let mut all = self.settled(key);
        all.entry(key.to_owned()).or_default().holders += 1;
        Hold {
            trees: self.clone(),
            store: store.clone(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn is_held(&self, key: &str) -> bool {
        self.settled(key).contains_key(key)
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
        if let Some(held) = self.settled(key).get_mut(key) {
            held.unmount = false;
        }
    }

    /// Unmounts the tree by `unmount`, now or when the last holder goes.
    pub(crate) fn unmount(
        &self,
        key: &str,
        unmount: impl FnOnce() -> model::Result<()>,
    ) -> model::Result<()> {
        let mut all = self.settled(key);
        let held = all.entry(key.to_owned()).or_default();
        held.unmount = true;
        if held.holders > 0 {
            return Ok(());
        }
        held.unmounting = true;
        drop(all);
        self.end(key, unmount)
    }

    /// Unmounts a tree that nobody holds and that is marked so.
    fn end(&self, key: &str, unmount: impl FnOnce() -> model::Result<()>) -> model::Result<()> {
        let unmounted = unmount();
        self.held().remove(key);
        self.unmounted.notify_all();
        unmounted
    }

    /// All trees, when `key` is not being unmounted.
    fn settled(&self, key: &str) -> MutexGuard<'_, HashMap<String, Held>> {
        let busy = |all: &mut HashMap<String, Held>| all.get(key).is_some_and(|h| h.unmounting);
        let waited = self.unmounted.wait_while(self.held(), busy);
        waited.unwrap_or_else(PoisonError::into_inner)
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
        if !held.unmount {
            all.remove(&self.key);
            return;
        }
        // Nobody else can hold it before it is done.
        held.unmounting = true;
        drop(all);
        let unmount = || writable::unmount(&self.store, &self.key);
        if let Err(e) = self.trees.end(&self.key, unmount) {
            tracing::warn!(key = self.key, error = %e, "a tree that nobody needs stays mounted");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_slow_unmount_keeps_nobody_from_another_tree() {
        let trees = Arc::new(Trees::default());
        let (begun, slow) = mpsc::channel();
        let (finish, finished) = mpsc::channel::<()>();
        let own = trees.clone();
        let unmounting = std::thread::spawn(move || {
            own.unmount("slow", || {
                begun.send(()).unwrap();
                finished.recv().unwrap();
                Ok(())
            })
        });
        slow.recv().unwrap();
        let (tell, told) = mpsc::channel();
        for key in ["other", "slow"] {
            let (own, tell) = (trees.clone(), tell.clone());
            std::thread::spawn(move || {
                own.needed(key);
                tell.send(key).unwrap();
            });
        }
        let first = told.recv_timeout(Duration::from_secs(10));
        assert_eq!(first, Ok("other"));
        assert!(told.try_recv().is_err(), "its own tree is waited for");
        finish.send(()).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok("slow"));
        unmounting.join().unwrap().unwrap();
        assert!(!trees.is_held("slow"));
    }
}
