//! What containers use, looked at once a second for all who watch.
//!
//! However many watch one container, it is looked at once; all containers are looked at in one go, by
//! one thread, so that two hundred are one wake-up. Who watches none costs nothing: the first who
//! watches begins it, and a second after the last has gone it ends.
//!
//! A sample is immutable and shared. Nothing waits in a queue: who is slow gets the newest.

mod sampler;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::stats::{Sample, Samples};
use model::{ContainerId, Context, Error, ProcessRef, Result, Timestamp, limits};
use sys::cgroup::Hierarchies;
use sys::task::blocking;
use tokio::sync::{Semaphore, watch};

use sampler::{Reader, Sampler};

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Tells what becomes of a container; asked before each look.
pub type Ask = Arc<dyn Fn() -> Life + Send + Sync>;

/// What becomes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Runs(Run),
    /// It does not; it may run again.
    Stopped,
    /// It is there no more.
    Removed,
}

/// One run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its first process.
    pub init: ProcessRef,
    /// It has a network namespace of its own: the interfaces in there are counted.
    pub own_network: bool,
}

/// All looking at containers: a cheap handle.
#[derive(Debug, Clone)]
pub struct Stats {
    sampler: Arc<Sampler>,
    /// For single answers.
    looks: Arc<Semaphore>,
}

impl Stats {
    /// Nobody watches yet. Cgroups are looked for in `hierarchies`.
    pub fn new(hierarchies: Hierarchies, now: Now) -> Self {
        let reader = Reader::new(hierarchies, now);
        Self {
            sampler: Arc::new(Sampler::new(reader)),
            looks: Arc::new(Semaphore::new(limits::STATS_LOOKS_MAX)),
        }
    }

    /// What the container `id` uses now; `None` when that run is over.
    ///
    /// # Errors
    /// System when the host cannot be asked.
    pub async fn once(&self, id: &ContainerId, run: Run) -> Result<Option<Arc<Sample>>> {
        let _permit = self.looks.acquire().await;
        let (sampler, id) = (self.sampler.clone(), id.clone());
        blocking(move || {
            let sample = sampler.reader.read_once(&id, &run);
            let sample = sample.context("cannot read what the container uses")?;
            Ok(sample.map(Arc::new))
        })
        .await
    }

    /// Begins to watch the container `id`, of which `ask` tells what becomes. Its first samples come at
    /// once: a look of now, or the last one where somebody watches it already.
    pub fn watch(&self, id: &ContainerId, ask: Ask) -> Watcher {
        let (newest, watched) = self.sampler.clone().watch(id, ask);
        if let Some(watched) = watched {
            let (sampler, looks) = (self.sampler.clone(), self.looks.clone());
            tokio::spawn(async move {
                let _permit = looks.acquire().await;
                sampler.look_at(vec![watched]).await;
            });
        }
        Watcher {
            newest,
            before: None,
        }
    }

    /// How many containers are watched.
    pub fn watched(&self) -> usize {
        self.sampler.len()
    }
}

/// What one look has found.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    /// There was none yet.
    Pending,
    /// The container did not run.
    Stopped,
    /// It did.
    Found(Arc<Sample>),
    /// The host could not be asked.
    Failed(Error),
}

/// One who watches a container.
#[derive(Debug)]
pub struct Watcher {
    newest: watch::Receiver<Look>,
    before: Option<Arc<Sample>>,
}

impl Watcher {
    /// The newest sample and the one that was given before it, when there is a newer one than that;
    /// `None` when the container was removed. After a failure the next sample has none before it.
    ///
    /// # Errors
    /// System when the host could not be asked in the newest look; the next one may be better.
    pub async fn next(&mut self) -> Option<Result<Samples>> {
        loop {
            self.newest.changed().await.ok()?;
            let now = match &*self.newest.borrow_and_update() {
                Look::Pending => continue,
                Look::Stopped => None,
                Look::Found(sample) => Some(sample.clone()),
                Look::Failed(error) => {
                    self.before = None;
                    return Some(Err(error.clone()));
                }
            };
            let before = std::mem::replace(&mut self.before, now.clone());
            return Some(Ok(Samples { now, before }));
        }
    }
}
