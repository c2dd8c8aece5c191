//! Who holds what, so that no sweep takes it.
//!
//! A sweep looks at what is held, then asks which records there are, and removes the rest while work
//! goes on. Work may begin after that look and end before the sweep comes to what it made: so whatever
//! is held while a sweep is under way counts as held until that sweep is over.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Digest;

use crate::store::Store;

/// What can be held and swept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// The blob of this digest.
    Blob(Digest),
    /// The tree of this diff_id.
    Tree(Digest),
}

/// All that is held.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    known: Mutex<Known>,
    /// Held by the one sweep there is.
    sweeping: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    held: HashMap<Item, usize>,
    /// What was held since the sweep that is under way began.
    since: Option<HashSet<Item>>,
}

/// A sweep under way. Others wait for its end.
pub(crate) struct Sweeping<'a> {
    leases: &'a Leases,
    _alone: MutexGuard<'a, ()>,
}

impl Leases {
    /// Begins a sweep, and tells what is held.
    pub(crate) fn sweep(&self) -> (Sweeping<'_>, HashSet<Item>) {
        let alone = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known();
        known.since = Some(HashSet::new());
        let held = known.held.keys().cloned().collect();
        drop(known);
        let sweeping = Sweeping {
            leases: self,
            _alone: alone,
        };
        (sweeping, held)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The maps are whole between any two statements, so a panic elsewhere does not spoil them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sweeping<'_> {
    /// Runs `take`, a rename, unless somebody holds the item or has held it since the sweep began.
    pub(crate) fn unless_held<T>(&self, item: &Item, take: impl FnOnce() -> T) -> Option<T> {
        let known = self.leases.known();
        let is_held = known.held.contains_key(item)
            || known
                .since
                .as_ref()
                .is_some_and(|since| since.contains(item));
        (!is_held).then(take)
    }
}

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.leases.known().since = None;
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
        let mut known = self.store.leases.known();
        if let Some(since) = &mut known.since {
            since.insert(item.clone());
        }
        *known.held.entry(item.clone()).or_default() += 1;
        self.items.push(item);
    }

    /// Holds what `other` holds, in its place.
    pub(crate) fn take_over(&mut self, mut other: Self) {
        self.items.append(&mut other.items);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut known = self.store.leases.known();
        for item in self.items.drain(..) {
            if let Some(count) = known.held.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    known.held.remove(&item);
                }
            }
        }
    }
}
