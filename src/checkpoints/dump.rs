//! Dumping into a checkpoint and finding one to restore: files and runtime together.

use model::{CheckpointName, ContainerId, Context, Pid, Result, Timestamp};
use runtime::{CriuOptions, Dump, Restore, RuntimeName, Runtimes};
use sys::task::blocking;

use crate::manifest::Manifest;
use crate::{Checkpoints, DumpEnd, Origin, Unfinished};

/// A checkpoint to be made.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is called.
    pub name: CheckpointName,
    /// Of which container.
    pub origin: Origin,
    /// What CRIU is to cope with.
    pub options: CriuOptions,
    /// The container ends with it.
    pub exit: bool,
    /// When its run began.
    pub started_at: Timestamp,
    /// The container's runtime and first process.
    pub runtime: RuntimeName,
    /// See `runtime`.
    pub init: Pid,
}

impl Checkpoints {
    /// Dumps a running container. Should the daemon end meanwhile, CRIU goes on, and what it makes is
    /// [`Checkpoints::unfinished`].
    ///
    /// # Errors
    /// As [`Checkpoints::begin`]; what the runtime and CRIU said: the container goes on then.
    pub async fn dump(self, runtimes: &Runtimes, request: Request) -> Result<()> {
        let Request {
            name,
            origin,
            options,
            exit,
            started_at,
            runtime,
            init,
        } = request;
        let ended_run = exit.then_some(started_at);
        let manifest = Manifest::new(origin.clone(), options, ended_run);
        let (id, container) = (origin.container.clone(), self.container.clone());
        let mut making = blocking(move || self.begin(&name, manifest)).await?;
        let dump = Dump {
            images: making.images().to_owned(),
            leave_running: !exit,
            options,
        };
        if let Err(e) = runtimes.checkpoint(&id, &runtime, &dump).await {
            // Gigabytes perhaps: not for an async thread.
            let gone = blocking(move || making.discard()).await;
            if let Err(e) = gone {
                tracing::warn!(container = %id, error = %e, "a failed dump is left");
            }
            thaw(runtimes, &id, &runtime, init).await;
            return Err(e).context(format_args!("Cannot checkpoint container {container}"));
        }
        blocking(move || match making.finish() {
            Err(e) if exit => {
                let kept = making.images().display();
                Err(e).context(format_args!("its processes have ended, and are in {kept}"))
            }
            Err(e) => making.discard().and(Err(e)),
            Ok(()) => Ok(()),
        })
        .await
    }

    /// As [`Checkpoints::open`], off the async threads: every byte is read.
    ///
    /// # Errors
    /// As there.
    pub async fn find(self, name: CheckpointName, here: Origin) -> Result<Restore> {
        let found = blocking(move || self.open(&name, &here)).await?;
        Ok(Restore {
            images: found.images,
            options: found.options,
        })
    }
}

impl Unfinished {
    /// Waits for the dump's end and makes a checkpoint of it.
    ///
    /// # Errors
    /// As [`Unfinished::conclude`].
    pub async fn settle(self, runtimes: &Runtimes, id: &ContainerId) -> Result<DumpEnd> {
        runtimes.dump_ended(id).await;
        blocking(move || self.conclude()).await
    }
}

/// CRIU freezes a container while it dumps it; one that was killed has not thawed it.
pub async fn thaw(runtimes: &Runtimes, id: &ContainerId, runtime: &RuntimeName, init: Pid) {
    if matches!(runtimes.is_paused(init), Ok(Some(true)))
        && let Err(e) = runtimes.resume(id, runtime).await
    {
        tracing::warn!(container = %id, error = %e, "it stays frozen after a dump");
    }
}
