//! Who may look into containers, and how many at once: one container whose files are slow, or whose
//! clients are, does not keep others waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::{Error, Result, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transfer::{Downloads, Uploads};

/// The turns of all containers; clones share them.
#[derive(Debug, Clone)]
pub struct Gates {
    /// Whose turn it is to be sent something, of all containers.
    pub(crate) downloads: Downloads,
    /// Whose turn it is to send something, of all containers.
    pub(crate) uploads: Uploads,
    looks: Arc<Semaphore>,
    containers: Arc<Mutex<HashMap<String, Weak<Gate>>>>,
}

/// The turns of one container.
#[derive(Debug)]
pub(crate) struct Gate {
    looks: Arc<Semaphore>,
    /// Those of all containers.
    all_looks: Arc<Semaphore>,
    archives: Arc<Semaphore>,
    /// Of those that send one. As in Docker one after the other: two that put the same file somewhere would
    /// be in each other's way.
    inward: Arc<Semaphore>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            downloads: Downloads::with_turns(limits::FILES_ARCHIVES_MAX),
            uploads: Uploads::with_turns(limits::FILES_ARCHIVES_MAX),
            looks: Arc::new(Semaphore::new(limits::FILES_LOOKS_MAX)),
            containers: Arc::default(),
        }
    }
}

impl Gates {
    /// Whether somebody sends something.
    pub fn is_busy(&self) -> bool {
        self.uploads.is_busy()
    }

    /// That of the container `id`.
    pub(crate) fn of(&self, id: &str) -> Arc<Gate> {
        let mut all = self
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = all.get(id).and_then(Weak::upgrade) {
            return gate;
        }
        all.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate {
            looks: Arc::new(Semaphore::new(limits::FILES_LOOKS_OF_ONE_MAX)),
            all_looks: self.looks.clone(),
            archives: Arc::new(Semaphore::new(limits::FILES_ARCHIVES_OF_ONE_MAX)),
            inward: Arc::new(Semaphore::new(1)),
        });
        all.insert(id.to_owned(), Arc::downgrade(&gate));
        gate
    }
}

impl Gate {
    /// The turn of one who looks at a path, or at what has changed.
    pub(crate) async fn look(&self) -> Result<[OwnedSemaphorePermit; 2]> {
        let own = turn(&self.looks).await?;
        Ok([own, turn(&self.all_looks).await?])
    }

    /// The turn of one who is sent an archive.
    pub(crate) async fn archive(&self) -> Result<OwnedSemaphorePermit> {
        turn(&self.archives).await
    }

    /// The turn of one who sends an archive, of which something came.
    pub(crate) async fn inward(&self) -> Result<OwnedSemaphorePermit> {
        turn(&self.inward).await
    }
}

async fn turn(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    let turn = of.clone().acquire_owned().await;
    turn.map_err(|e| Error::system(format!("nobody is let in any more: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_container_has_its_own_turns_and_leaves_nothing() {
        let gates = Gates::default();
        let (one, again) = (gates.of("one"), gates.of("one"));
        let mut held = Vec::new();
        for _ in 0..limits::FILES_ARCHIVES_OF_ONE_MAX {
            held.push(one.archive().await.unwrap());
        }
        assert!(again.archives.try_acquire().is_err());
        drop(again.look().await.unwrap());
        drop(gates.of("two").archive().await.unwrap());
        drop((one, again));
        assert!(gates.of("one").archives.try_acquire().is_ok());
        assert_eq!(gates.containers.lock().unwrap().len(), 1);
    }
}
