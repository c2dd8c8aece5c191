//! Checkpoints of a container: made by its task, one after the other with its other work; listed and
//! removed beside it.

use std::sync::Arc;

use checkpoints::{Checkpoints, DumpEnd, Origin, Request, Unfinished};
use model::{Action, CheckpointName, ContainerState, Error, Exited, Result};
use rules::Operation;
use runtime::{CriuOptions, Restore};

use crate::Shared;
use crate::actor::{Actor, AfterExit, Done, answer};
use crate::handle::{Handle, Reply};
use crate::policy::StartCause;
use crate::start::How;
use crate::{Change, CheckpointContainer, ContainerView, check};

/// A checkpoint that is the container's job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpointing {
    /// The container ends with it.
    exit: bool,
}

impl Shared {
    /// Finds what a daemon before this one had begun, and finishes it in the background: CRIU goes on
    /// without it, and may have ended the container. To be called before a client can begin another.
    pub async fn finish_checkpoints(self: &Arc<Self>) {
        let engine = self.clone();
        let look = move || {
            let of = |handle: Arc<Handle>| {
                let found = engine.checkpoints_of(&handle.view()).unfinished();
                found
                    .into_iter()
                    .map(move |unfinished| (handle.clone(), unfinished))
            };
            Ok(engine
                .registry
                .all()
                .into_iter()
                .flat_map(of)
                .collect::<Vec<_>>())
        };
        for (handle, unfinished) in crate::blocking(look).await.unwrap_or_default() {
            let engine = self.clone();
            tokio::spawn(async move { engine.finish_checkpoint(&handle, unfinished).await });
        }
    }

    async fn finish_checkpoint(&self, handle: &Handle, unfinished: Unfinished) {
        let view = handle.view();
        let (id, name) = (view.id.short(), unfinished.name().clone());
        let end = unfinished.settle(&self.runtimes, &view.id).await;
        match &end {
            Ok(DumpEnd::Failed) => {
                tracing::warn!(id, checkpoint = %name, "was not dumped to its end");
            }
            Ok(DumpEnd::Stopped | DumpEnd::WentOn) => {
                tracing::info!(id, checkpoint = %name, "finished for a dead daemon");
                self.tell(self.container_event(&view, &Action::Checkpoint))
                    .await;
            }
            Err(e) => tracing::warn!(id, checkpoint = %name, error = %e, "was not finished"),
        }
        let end = end.unwrap_or(DumpEnd::Failed);
        handle.tell_dump_ended(end).await;
    }

    /// The checkpoints of a container.
    pub fn checkpoints_of(&self, view: &ContainerView) -> Checkpoints {
        Checkpoints::of(&self.layout.container(&view.id), view.name.as_str())
    }
}

impl Actor {
    /// Begins a checkpoint. One that ends the container is a client's wish that it end.
    pub(crate) async fn begin_checkpoint(
        &mut self,
        request: CheckpointContainer,
        reply: Reply<()>,
    ) {
        let view = self.view();
        let dump = match self.dump_request(&view, &request) {
            Ok(dump) => dump,
            Err(e) => {
                answer(reply, Err(e));
                return;
            }
        };
        self.checkpoint = Some(Checkpointing { exit: request.exit });
        // Where there is a policy a daemon that comes after this one must know, too.
        if self.wants_end(&view.state) {
            self.write_wish().await;
        }
        // None beside it: a check in a frozen container hangs, and counts as failed.
        self.checks.due = None;
        self.checks.running = None;
        let engine = self.engine.clone();
        self.begin(async move {
            let checkpoints = engine.checkpoints_of(&view);
            let result = checkpoints.dump(&engine.runtimes, dump).await;
            Done::Checkpoint { result, reply }
        });
    }

    fn dump_request(&self, view: &ContainerView, asked: &CheckpointContainer) -> Result<Request> {
        check(view, Operation::Checkpoint)?;
        if view.spec.tty {
            // moby `CheckpointCreate`; CRIU has no terminal to give back.
            let refused = "checkpoint not support on containers with tty";
            return Err(Error::invalid(refused));
        }
        if view.spec.id_maps.is_some() {
            return Err(Error::not_implemented(
                "a checkpoint of a container in a user namespace is not implemented by moored yet",
            ));
        }
        if view.spec.auto_remove && asked.exit {
            return Err(Error::conflict(format!(
                "container {} is removed when it ends, and its checkpoints with it: let it go on",
                view.id
            )));
        }
        let gone = || Error::conflict(format!("container {} is not running", view.id));
        let running = view.state.running().ok_or_else(gone)?;
        Ok(Request {
            name: asked.name.clone(),
            origin: origin_of(view),
            options: CriuOptions {
                tcp_established: asked.tcp_established,
                file_locks: asked.file_locks,
            },
            exit: asked.exit,
            started_at: running.started_at,
            runtime: self.engine.runtime_of(view)?,
            init: self
                .task
                .as_ref()
                .map(|task| task.init().pid)
                .ok_or_else(gone)?,
        })
    }

    /// Whether a checkpoint is under way that ends the container.
    pub(crate) fn ends_by_checkpoint(&self) -> bool {
        self.checkpoint.is_some_and(|checkpoint| checkpoint.exit)
    }

    /// Takes in what a checkpoint did; whoever asked for one that ends the container hears of it
    /// when it has ended.
    pub(crate) async fn conclude_checkpoint(&mut self, result: Result<()>, reply: Reply<()>) {
        let exit = self.ends_by_checkpoint();
        let knew = self.wants_end(&self.view().state);
        // Kept until the exit is seen, which is one by a checkpoint then.
        if !exit || result.is_err() || self.task.is_none() {
            self.checkpoint = None;
        }
        self.thaw_due = false;
        if result.is_ok() {
            self.ends_by_request |= exit;
            let event = self.event(&Action::Checkpoint);
            self.tell(event).await;
        }
        if self.task.is_none() {
            answer(reply, result);
            return;
        }
        if exit && result.is_ok() {
            // CRIU has killed it; if it did not, it is to end all the same.
            self.after_exit.push(AfterExit::Killed(reply));
            self.kill_now().await;
            return;
        }
        if knew && !self.ends_by_request {
            // Its policy counts again.
            self.write_wish().await;
        }
        self.resume_checks();
        answer(reply, result);
    }

    /// A dump that another daemon began is over. CRIU had frozen the container, and it was taken back
    /// as paused.
    pub(crate) async fn take_dump_end(&mut self, end: DumpEnd) {
        let view = self.view();
        if let (DumpEnd::Stopped, ContainerState::Exited(last)) = (end, &view.state) {
            // It waits to be restored: what its policy is about to do is called off.
            self.start_due = None;
            let state = ContainerState::Exited(Exited {
                by_checkpoint: true,
                ..last.clone()
            });
            drop(self.set_state(state, None, vec![]).await);
        }
        let Some(init) = self.task.as_ref().map(|task| task.init().pid) else {
            return;
        };
        match end {
            // Its exit is under way.
            DumpEnd::Stopped => self.checkpoint = Some(Checkpointing { exit: true }),
            DumpEnd::WentOn => {}
            DumpEnd::Failed => {
                if let Ok(runtime) = self.engine.runtime_of(&view) {
                    checkpoints::thaw(&self.engine.runtimes, &view.id, &runtime, init).await;
                }
                let knew = self.wants_end(&view.state);
                self.ends_by_request = false;
                if knew {
                    self.write_wish().await;
                }
            }
        }
        if let Ok(Some(frozen)) = self.engine.runtimes.is_paused(init) {
            drop(self.conclude_freeze(frozen, Ok(())).await);
            self.thaw_when_due(false).await;
        }
    }

    /// Begins a start out of a checkpoint, when there is one that fits.
    pub(crate) fn begin_restore(&mut self, name: CheckpointName, reply: Reply<Change>) {
        let view = self.view();
        if let Err(e) = check(&view, Operation::Restore) {
            answer(reply, Err(e));
            return;
        }
        let engine = self.engine.clone();
        self.begin(async move {
            let checkpoints = engine.checkpoints_of(&view);
            let restore = checkpoints.find(name, origin_of(&view)).await;
            Done::Opened(restore, reply)
        });
    }

    /// Goes on with a restore whose checkpoint was found, or was not.
    pub(crate) async fn conclude_open(&mut self, restore: Result<Restore>, reply: Reply<Change>) {
        match restore {
            Ok(restore) => {
                let how = How {
                    restore: Some(restore),
                    ..How::default()
                };
                self.begin_start_as(how, vec![reply], StartCause::Start)
                    .await;
            }
            Err(e) => answer(reply, Err(e)),
        }
    }
}

fn origin_of(view: &ContainerView) -> Origin {
    Origin {
        container: view.id.clone(),
        image: view.image_id.clone(),
        kernel: sys::host::uname().release,
        runtime: view.runtime.clone(),
    }
}
