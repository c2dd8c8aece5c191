//! `stats`: what a container uses, now or every second.

use std::pin::Pin;
use std::sync::Arc;

use containers::{Handle, Registry};
use model::stats::Samples;
use model::{ContainerId, ContainerName, Error, NetworkMode, Result};
use stats::{Life, Run, Watcher};

use crate::Engine;
use crate::container::{ContainerView, WaitCondition};

/// How often a client wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsRequest {
    /// Every second, until it hangs up or the container is removed.
    pub stream: bool,
    /// Once, and at once: without a sample before it.
    pub one_shot: bool,
}

/// What a container uses, and which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The newest sample and the one before.
    pub samples: Samples,
}

/// What a client is told.
#[derive(Debug)]
pub enum StatsAnswer {
    /// Once.
    One(Box<StatsRecord>),
    /// Every second.
    Stream(StatsStream),
}

/// A container being watched.
pub struct StatsStream {
    watcher: Watcher,
    container: Arc<Handle>,
    registry: Arc<Registry>,
    /// Resolves when it was removed, or could not be.
    removed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for StatsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatsStream")
            .field("watcher", &self.watcher)
            .finish_non_exhaustive()
    }
}

impl StatsStream {
    /// The next record, at most a second after the one before; one without samples of a container that
    /// does not run, or while the host cannot be asked (moby `stats.Collector`). `None` when the
    /// container was removed.
    pub async fn next(&mut self) -> Option<StatsRecord> {
        let samples = self.next_samples().await?.unwrap_or_default();
        Some(record(&self.container.view(), samples))
    }

    async fn next_samples(&mut self) -> Option<Result<Samples>> {
        loop {
            tokio::select! {
                samples = self.watcher.next() => return samples,
                () = &mut self.removed => {
                    if !is_here(&self.registry, &self.container) {
                        return None;
                    }
                    // Its removal has failed.
                    self.removed = Box::pin(std::future::pending());
                }
            }
        }
    }
}

impl Engine {
    /// What a container uses. One that does not run uses nothing, and is told so: at once, or every
    /// second until it runs (moby `ContainerStats`).
    ///
    /// # Errors
    /// 404; 400 for a stream of a single record; 409 for a container without cgroups, which nothing counts.
    pub async fn container_stats(
        &self,
        reference: &str,
        request: StatsRequest,
    ) -> Result<StatsAnswer> {
        let handle = self.shared.registry.find(reference)?;
        if request.stream && request.one_shot {
            return Err(Error::invalid("cannot have stream=true and one-shot=true"));
        }
        let view = handle.view();
        if view.spec.no_cgroups {
            return Err(Error::conflict(format!(
                "container {} has no cgroup, without which nothing counts what it uses",
                view.id
            )));
        }
        if request.stream {
            return Ok(StatsAnswer::Stream(self.watch_stats(handle)));
        }
        let samples = match run_of(&view) {
            None => Samples::default(),
            Some(run) if request.one_shot => Samples {
                now: self.inner.stats.once(&view.id, run).await?,
                before: None,
            },
            Some(_) => return Ok(StatsAnswer::One(Box::new(self.second_stats(handle).await?))),
        };
        Ok(StatsAnswer::One(Box::new(record(&view, samples))))
    }

    /// A record with the one of a second before.
    async fn second_stats(&self, container: Arc<Handle>) -> Result<StatsRecord> {
        let gone = || Error::not_found(format!("No such container: {}", container.id()));
        let mut stream = self.watch_stats(container.clone());
        stream.next_samples().await.ok_or_else(gone)??;
        let samples = stream.next_samples().await.ok_or_else(gone)??;
        Ok(record(&container.view(), samples))
    }

    fn watch_stats(&self, container: Arc<Handle>) -> StatsStream {
        let registry = self.shared.registry.clone();
        let removed = container.wait(WaitCondition::Removed);
        let asked = (registry.clone(), container.clone());
        let ask = move || match is_here(&asked.0, &asked.1) {
            true => run_of(&asked.1.view()).map_or(Life::Stopped, Life::Runs),
            false => Life::Removed,
        };
        StatsStream {
            watcher: self.inner.stats.watch(container.id(), Arc::new(ask)),
            container,
            registry,
            removed: Box::pin(async move { drop(removed.finished().await) }),
        }
    }
}

fn record(view: &ContainerView, samples: Samples) -> StatsRecord {
    StatsRecord {
        id: view.id.clone(),
        name: view.name.clone(),
        samples,
    }
}

/// Its present run. On the host's network it has no interfaces of its own.
fn run_of(view: &ContainerView) -> Option<Run> {
    view.state.running().map(|running| Run {
        init: running.init,
        own_network: view.spec.network != NetworkMode::Host,
    })
}

fn is_here(registry: &Registry, container: &Arc<Handle>) -> bool {
    let found = registry.find(container.id().as_str());
    found.is_ok_and(|found| Arc::ptr_eq(&found, container))
}
