//! Checkpoints of a container: made by its task, one after the other with its other work; listed and
//! removed beside it.

use checkpoints::{Checkpoints, Options, Origin};
use model::{Action, CheckpointName, Context, Error, Result};
use rules::Operation;
use runtime::{CriuOptions, Dump, Restore};

use crate::container::actor::{Actor, AfterExit, Done, answer};
use crate::container::handle::Reply;
use crate::container::policy::StartCause;
use crate::container::{Change, CheckpointContainer, ContainerView, check};
use crate::{Engine, Inner};

impl Engine {
    /// The names of a container's checkpoints.
    ///
    /// # Errors
    /// 404; a directory that cannot be read.
    pub async fn list_checkpoints(&self, reference: &str) -> Result<Vec<CheckpointName>> {
        let checkpoints = self.inner.checkpoints_of(&*self.container(reference)?);
        crate::blocking(move || checkpoints.list()).await
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// 404 for either.
    pub async fn remove_checkpoint(&self, reference: &str, name: CheckpointName) -> Result<()> {
        let checkpoints = self.inner.checkpoints_of(&*self.container(reference)?);
        crate::blocking(move || checkpoints.remove(&name)).await
    }
}

impl Inner {
    fn checkpoints_of(&self, view: &ContainerView) -> Checkpoints {
        Checkpoints::of(&self.layout.container(&view.id), view.name.as_str())
    }

    async fn dump(&self, view: &ContainerView, request: &CheckpointContainer) -> Result<()> {
        let (checkpoints, name) = (self.checkpoints_of(view), request.name.clone());
        let making = crate::blocking(move || checkpoints.begin(&name)).await?;
        let dump = Dump {
            images: making.images().to_owned(),
            leave_running: !request.exit,
            options: CriuOptions {
                tcp_established: request.tcp_established,
                file_locks: request.file_locks,
            },
        };
        let runtime = self.runtime_of(view)?;
        let dumped = self.runtimes.checkpoint(&view.id, &runtime, &dump).await;
        dumped.context(format_args!("Cannot checkpoint container {}", view.name))?;
        let (origin, options) = (origin_of(view), options_of(dump.options));
        crate::blocking(move || making.finish(origin, options)).await
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
        let legal = check(&view, Operation::Checkpoint).and_then(|()| match view.spec.tty {
            // moby `CheckpointCreate`; CRIU has no terminal to give back.
            true => Err(Error::invalid(
                "checkpoint not support on containers with tty",
            )),
            false => Ok(()),
        });
        if let Err(e) = legal {
            answer(reply, Err(e));
            return;
        }
        if request.exit {
            self.end_by_request().await;
        }
        // None beside it: its process is none of the container's tree.
        self.checks.due = None;
        let engine = self.engine.clone();
        self.begin(async move {
            Done::Checkpoint {
                exit: request.exit,
                result: engine.dump(&view, &request).await,
                reply,
            }
        });
    }

    /// Takes in what a checkpoint did; whoever asked for one that ends the container hears of it
    /// when it has ended.
    pub(crate) async fn conclude_checkpoint(
        &mut self,
        exit: bool,
        result: Result<()>,
        reply: Reply<()>,
    ) {
        let runs = self.task.is_some();
        if result.is_ok() {
            let event = self.event(&Action::Checkpoint);
            self.tell(event).await;
        }
        match (exit, &result) {
            (true, Ok(())) if runs => {
                self.after_exit.push(AfterExit::Killed(reply));
                return;
            }
            (true, Err(_)) if runs => self.go_on().await,
            _ => {}
        }
        if runs {
            self.resume_checks();
        }
        answer(reply, result);
    }

    /// Begins a start out of a checkpoint, when there is one that fits.
    pub(crate) async fn begin_restore(&mut self, name: &CheckpointName, reply: Reply<Change>) {
        match self.find_checkpoint(name).await {
            Ok(restore) => {
                let replies = vec![reply];
                self.begin_start_from(Some(restore), replies, StartCause::Start)
                    .await;
            }
            Err(e) => answer(reply, Err(e)),
        }
    }

    async fn find_checkpoint(&self, name: &CheckpointName) -> Result<Restore> {
        let view = self.view();
        check(&view, Operation::Restore)?;
        let (checkpoints, here) = (self.engine.checkpoints_of(&view), origin_of(&view));
        let name = name.clone();
        // Every byte is read: it is better to know now than when a process is half made.
        let found = crate::blocking(move || checkpoints.open(&name, &here)).await?;
        Ok(Restore {
            images: found.images,
            options: CriuOptions {
                tcp_established: found.options.tcp_established,
                file_locks: found.options.file_locks,
            },
        })
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

fn options_of(options: CriuOptions) -> Options {
    Options {
        tcp_established: options.tcp_established,
        file_locks: options.file_locks,
    }
}
