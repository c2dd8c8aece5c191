//! One created container.

use std::path::{Path, PathBuf};

use model::{ContainerId, ProcessRef, Result, Signal};

use crate::ctl::Ctl;
use crate::watched::{TaskEvent, Watched};
use crate::{RuntimeName, Runtimes};

/// A created or running container.
#[derive(Debug)]
pub struct Task {
    runtimes: Runtimes,
    id: ContainerId,
    runtime: RuntimeName,
    watched: Watched,
}

impl Task {
    pub(crate) fn new(
        runtimes: &Runtimes,
        id: ContainerId,
        runtime: RuntimeName,
        watched: Watched,
    ) -> Self {
        Self {
            runtimes: runtimes.clone(),
            id,
            runtime,
            watched,
        }
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its OCI runtime.
    pub fn runtime(&self) -> &RuntimeName {
        &self.runtime
    }

    /// Its bundle.
    pub fn bundle(&self) -> &Path {
        self.watched.bundle()
    }

    /// Its first process: what the ledger stores.
    pub fn init(&self) -> ProcessRef {
        self.watched.process()
    }

    /// Its conmon: what the ledger stores. `None` once that is gone.
    pub fn monitor(&self) -> Option<ProcessRef> {
        self.watched.monitor()
    }

    /// Whether its first process has ended, be it told as an event already or not.
    pub fn has_ended(&self) -> bool {
        self.watched.has_ended()
    }

    /// conmon's attach socket. The path may be longer than a socket address takes: connect
    /// through `sys::attach_socket`.
    pub fn attach_socket(&self) -> PathBuf {
        self.watched.attach_socket()
    }

    /// Starts the container's command.
    ///
    /// # Errors
    /// As [`Runtimes::start`].
    pub async fn start(&self) -> Result<(), crate::StartError> {
        self.runtimes
            .start(&self.id, &self.runtime, self.watched.bundle())
            .await
    }

    /// Sends a signal to the first process, through its pidfd: at once and never to a stranger.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.watched.signal(signal)
    }

    /// Sends a signal to all its processes, where the container has no pid namespace of its own
    /// and the others would outlive the first (the seed's `--all`, without a process for it).
    ///
    /// # Errors
    /// As [`Task::signal`]. The others are signalled as far as they are found; what a fork hides
    /// meanwhile is killed with the cgroup when the container is deleted.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        let init = self.init().pid;
        let cgroups = &self.runtimes.inner.placement.hierarchies;
        let others = cgroups.signal_others(init, signal);
        let sent = self.signal(signal);
        if let Err(e) = others {
            tracing::warn!(container = %self.id, error = %e, "some processes got no signal");
        }
        sent
    }

    /// The way to its conmon, for whoever wants its terminal resized or its log rotated.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub fn ctl(&self) -> Result<Ctl> {
        self.watched.ctl()
    }

    /// The next event; after [`TaskEvent::Exited`] that one again. Cancel-safe, and the engine
    /// is meant to drop it often, in a `select!`.
    pub async fn next_event(&mut self) -> TaskEvent {
        self.watched.next_event().await
    }
}
