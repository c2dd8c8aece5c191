//! All containers by id and by name, and the answer to "which one does this text mean".
//!
//! The lock is held for map operations only, never over work; a name is taken by reserving it
//! here before anything is made, so two creates cannot both believe they have it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{ContainerId, ContainerName, Error, Result, limits};

use crate::ContainerView;
use crate::handle::Handle;

/// The containers of this daemon.
#[derive(Debug, Default)]
pub struct Registry {
    maps: RwLock<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    by_id: BTreeMap<ContainerId, Arc<Handle>>,
    /// Includes names reserved by creates and renames under way.
    by_name: HashMap<ContainerName, ContainerId>,
    /// Ids of containers that are on their way.
    claimed: HashSet<ContainerId>,
}

/// An id that nobody else may have. Given back when dropped.
#[derive(Debug)]
pub struct Claim {
    of: Arc<Registry>,
    id: ContainerId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.of.write().claimed.remove(&self.id);
    }
}

impl Registry {
    /// Takes `name` for `id`.
    ///
    /// # Errors
    /// Docker's conflict when another container has it.
    pub fn reserve(&self, name: &ContainerName, id: &ContainerId) -> Result<()> {
        let mut maps = self.write();
        if let Some(holder) = maps.by_name.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \
                 \"{holder}\". You have to remove (or rename) that container to be able to reuse \
                 that name."
            )));
        }
        // Giving one of them another name is no more of them.
        if maps.by_id.len() >= limits::CONTAINERS_MAX && !maps.by_id.contains_key(id) {
            return Err(Error::conflict(format!(
                "this daemon keeps at most {} containers: remove some first",
                limits::CONTAINERS_MAX
            )));
        }
        maps.by_name.insert(name.clone(), id.clone());
        Ok(())
    }

    /// Takes an id for a container that is on its way.
    ///
    /// # Errors
    /// Conflict when there is one of this id, or will be.
    pub fn claim(self: &Arc<Self>, id: &ContainerId) -> Result<Claim> {
        let mut maps = self.write();
        if maps.by_id.contains_key(id) || !maps.claimed.insert(id.clone()) {
            return Err(Error::conflict(format!(
                "container {id} is here already, or on its way: remove it first"
            )));
        }
        Ok(Claim {
            of: self.clone(),
            id: id.clone(),
        })
    }

    /// Gives a name back, if `id` has it.
    pub fn release(&self, name: &ContainerName, id: &ContainerId) {
        let mut maps = self.write();
        if maps.by_name.get(name) == Some(id) {
            maps.by_name.remove(name);
        }
    }

    /// Whether a name is taken.
    pub fn is_taken(&self, name: &ContainerName) -> bool {
        self.read().by_name.contains_key(name)
    }

    /// Whether there is a container of exactly this id, or one on its way.
    pub fn has_id(&self, id: &str) -> bool {
        let maps = self.read();
        maps.by_id.contains_key(id) || maps.claimed.contains(id)
    }

    /// Makes a container visible; its name must be reserved.
    pub fn insert(&self, handle: Arc<Handle>) {
        self.write().by_id.insert(handle.id().clone(), handle);
    }

    /// Takes a container and its name out, unless another one has the id by now.
    pub fn remove(&self, container: &Arc<Handle>) {
        let (id, name) = (container.id(), container.view().name.clone());
        let mut maps = self.write();
        if maps
            .by_id
            .get(id)
            .is_some_and(|other| Arc::ptr_eq(other, container))
        {
            maps.by_id.remove(id);
            if maps.by_name.get(&name) == Some(id) {
                maps.by_name.remove(&name);
            }
        }
    }

    /// No container that is on its way may have this id: something of it is here that cannot be read.
    pub fn keep_out(&self, id: ContainerId) {
        self.write().claimed.insert(id);
    }

    /// All containers, by id.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        self.read().by_id.values().cloned().collect()
    }

    /// What all of them are now, by id.
    pub fn views(&self) -> Vec<Arc<ContainerView>> {
        self.all().iter().map(|handle| handle.view()).collect()
    }

    /// The container that `text` means: a full id, a name with or without its slash, or the only
    /// id that begins so (moby `GetContainer`).
    ///
    /// # Errors
    /// `No such container: x`; 400 when several ids begin so.
    pub fn find(&self, text: &str) -> Result<Arc<Handle>> {
        if text.is_empty() {
            return Err(Error::invalid("invalid name or ID supplied: \"\""));
        }
        let maps = self.read();
        if let Some(handle) = maps.by_id.get(text) {
            return Ok(handle.clone());
        }
        let bare = text.strip_prefix('/').unwrap_or(text);
        if let Some(handle) = maps.by_name.get(bare).and_then(|id| maps.by_id.get(id)) {
            return Ok(handle.clone());
        }
        let mut matches = maps
            .by_id
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .take_while(|(id, _)| !text.is_empty() && id.as_str().starts_with(text));
        match (matches.next(), matches.next()) {
            (Some((_, only)), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "Multiple IDs found with provided prefix: {text}"
            ))),
            (None, _) => {
                let shown: String = text.chars().take(256).collect();
                Err(Error::not_found(format!("No such container: {shown}")))
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}
