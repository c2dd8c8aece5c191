//! Starting: mount, spec, conmon, runtime; each step undone when a later one fails.
//!
//! ```text
//!   intent Starting --> tree mounted --> files, spec --> conmon + created --> streams --> started
//!         |                  |                                 |                            |
//!         +------------------+---------- undo: destroy, unmount, intent cleared <-----------+
//! ```
//! The intent is in the ledger before the first effect, so a daemon that dies in between finds
//! the leftovers by the container's id.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::{Made, Mapped};
use failpoint::Point;
use model::{
    Action, Attachment, ContainerState, EndpointSpec, Error, Intent, Readiness, Result, Running,
    StartFailure, WaitOutcome,
};
use rules::Operation;
use runtime::{CreateTask, Restore, RuntimeName, StartError, Task};
use sys::spawn::Descriptors;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::actor::{Actor, Done, Starting, answer};
use crate::exit::auto_removal;
use crate::handle::Reply;
use crate::networks::Networking;
use crate::policy::StartCause;
use crate::{Change, ContainerView, check};

/// A start that came to an end.
#[derive(Debug)]
pub(crate) struct Started {
    /// The running task, or why there is none.
    pub(crate) result: Result<Ran, StartError>,
}

/// What is not the same in every start.
#[derive(Debug, Default)]
pub(crate) struct How {
    /// The processes come out of a checkpoint.
    pub(crate) restore: Option<Restore>,
    /// What the first process has open besides its streams.
    pub(crate) descriptors: Descriptors,
}

impl How {
    /// With these for the first process.
    pub(crate) fn with(descriptors: Descriptors) -> Self {
        Self {
            descriptors,
            ..Self::default()
        }
    }
}

/// The exit code of a container whose start failed for a reason of the daemon's or the host's
/// (moby `exitUnknown`; the CLI itself ends with 125).
const EXIT_CODE_DAEMON: u8 = 128;

impl Actor {
    /// Begins a start.
    pub(crate) async fn begin_start(&mut self, replies: Vec<Reply<Change>>, cause: StartCause) {
        self.begin_start_as(How::default(), replies, cause).await;
    }

    /// Begins a start of a certain kind.
    pub(crate) async fn begin_start_as(
        &mut self,
        how: How,
        replies: Vec<Reply<Change>>,
        cause: StartCause,
    ) {
        let view = self.view();
        let operation = match cause {
            StartCause::Start => Operation::Start,
            // Legal also between two runs.
            StartCause::Restart | StartCause::Policy => Operation::Restart,
        };
        debug_assert!(self.task.is_none() || cause == StartCause::Start, "it runs");
        let begun = match check(&view, operation) {
            Ok(()) => self.promise_start(view.state.clone(), cause).await,
            Err(e) => Err(e),
        };
        if let Err(e) = begun {
            for reply in replies {
                answer(reply, Err(e.clone()));
            }
            return;
        }
        let cancel = CancellationToken::new();
        self.starting = Some(Starting {
            cancel: cancel.clone(),
            give_up_at: None,
            cause,
        });
        let (engine, handle) = (self.engine.clone(), self.handle.clone());
        self.begin(async move {
            let _start = engine.starts.read().await;
            let run = Run {
                engine: &engine,
                view: &view,
                streams: &handle.streams,
                cancel: &cancel,
                how,
            };
            let result = run.start().await;
            if result.is_err() {
                run.undo().await;
            }
            Done::Start(Box::new(Started { result }), replies)
        });
    }

    async fn promise_start(&mut self, state: ContainerState, cause: StartCause) -> Result<()> {
        self.engine.write_boot().await?;
        let count_before = self.restart_count;
        if cause != StartCause::Policy {
            self.restart_count = 0;
        }
        let promised = self.promise(state, cause.intent()).await;
        if promised.is_err() {
            self.restart_count = count_before;
            return promised;
        }
        self.start_due = None;
        self.ends_by_request = false;
        if cause != StartCause::Policy {
            self.delay = None;
        }
        Ok(())
    }

    /// Takes a finished start in.
    pub(crate) async fn conclude_start(
        &mut self,
        started: Started,
        replies: Vec<Reply<Change>>,
        cause: Option<StartCause>,
    ) {
        let result = match started.result {
            Ok(Ran {
                task,
                running,
                attachment,
                endpoints,
            }) => {
                let started_at = running.started_at;
                let watcher = self.engine.runtimes.watcher();
                self.handle.streams.keep_log(&task, watcher);
                self.task = Some(task);
                // Not written is no harm, and was logged: it runs, and the intent to start it is
                // in the ledger, so the next daemon finds it by asking the runtime.
                let mut events = self.engine.mount_events(&self.view());
                events.push(self.event(&Action::Start));
                if cause == Some(StartCause::Restart) {
                    events.push(self.event(&Action::Restart));
                }
                let view = ContainerView {
                    health: self.beginning_health(started_at),
                    attachment,
                    ..self.view_in(ContainerState::Running(running))
                };
                drop(self.set_view(view, None, events).await);
                drop(failpoint::reach(Point::StartWritten).await);
                if let Some(endpoints) = endpoints {
                    // A failure was logged; they are looked for once more at the next start.
                    self.find_networks(endpoints).await;
                }
                self.engine.watch_log_space();
                self.handle.advance(|l| {
                    l.running = true;
                    l.health = None;
                });
                self.begin_checks().await;
                tracing::info!("started");
                Ok(Change::Done)
            }
            Err(failure) => {
                self.fail_start(&failure).await;
                Err(failure.error)
            }
        };
        for reply in replies {
            answer(reply, result.clone());
        }
        self.engine.follow_links();
    }

    /// A failed start leaves the container where it was, with Docker's exit code and the message
    /// in its state; those who wait for an exit are told.
    async fn fail_start(&mut self, failure: &StartError) {
        tracing::warn!(error = %failure.error, code = failure.exit_code, "start failed");
        let error = failure.error.message().to_owned();
        let state = match &self.view().state {
            ContainerState::Exited(before)
            | ContainerState::Restarting(model::Restarting { last: before, .. }) => {
                ContainerState::Exited(model::Exited {
                    status: model::ExitStatus::Known(failure.exit_code),
                    error,
                    by_request: before.by_request || self.ends_by_request,
                    ..before.clone()
                })
            }
            _ => ContainerState::Created {
                failure: Some(StartFailure {
                    exit_code: failure.exit_code,
                    error,
                }),
            },
        };
        // A failed write was logged; the intent stays and recovery undoes the start once more.
        // `--rm` takes what never started, too (moby `containerStart`).
        let removing = self.view().spec.auto_remove;
        let intent = removing.then_some(Intent::Removing { volumes: true });
        drop(self.set_state(state, intent, vec![]).await);
        if removing {
            self.after_exit.push(auto_removal());
            self.carry_on_after_exit();
        }
        self.engine.tidy_soon();
        let status_code = i64::from(failure.exit_code);
        self.handle.advance(|l| {
            l.running = false;
            l.exits += 1;
            l.last = Some(WaitOutcome {
                status_code,
                error: None,
            });
        });
    }
}

/// What a bundle is made with besides what the container was asked to be.
struct Given {
    cgroups_path: String,
    apparmor: Option<String>,
    knows_rro: bool,
    /// The network namespace that was made for it.
    namespace: Option<PathBuf>,
}

/// It runs.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) task: Task,
    pub(crate) running: Running,
    pub(crate) attachment: Option<Arc<Attachment>>,
    /// As in [`Networking::endpoints`].
    pub(crate) endpoints: Option<Vec<EndpointSpec>>,
}

/// What a start works with.
struct Run<'a> {
    engine: &'a Arc<Shared>,
    view: &'a ContainerView,
    streams: &'a stdio::ContainerStreams,
    /// Looked at between steps and in those that may hang, never by dropping one: what had begun
    /// would come after its undoing.
    cancel: &'a CancellationToken,
    how: How,
}

impl Run<'_> {
    async fn start(&self) -> Result<Ran, StartError> {
        pass(Point::StartPromised).await?;
        let begun = Networking::begin(self.engine, self.view).await;
        let mut networking = begun.map_err(daemon_fault)?;
        let ran = self.start_on(&mut networking).await;
        networking.settle(self.cancel.is_cancelled()).await;
        let (task, running) = ran?;
        Ok(Ran {
            task,
            running,
            attachment: networking.attachment,
            endpoints: networking.endpoints,
        })
    }

    async fn start_on(&self, networking: &mut Networking) -> Result<(Task, Running), StartError> {
        let Self { engine, view, .. } = self;
        let runtime = engine.runtime_of(view).map_err(daemon_fault)?;
        let made = self.prepare(&runtime, networking).await;
        let made = made.map_err(daemon_fault)?;
        pass(Point::StartPrepared).await?;
        if self.view.state.exited().is_some() {
            self.streams.begin_log_run().await;
        }
        let Made {
            mapped,
            joined,
            parts,
        } = made;
        if self.how.restore.is_some() {
            // What is restored runs as soon as it is created.
            networking.made().await.map_err(daemon_fault)?;
        }
        // The host's ports, and the daemon's own sockets where it has them mounted.
        let mut held = std::mem::take(&mut networking.held);
        held.extend(engine.api_sockets_of(view).await);
        let creation = self.request(&runtime, mapped, held.into());
        let given_up = self.cancel.cancelled();
        let created = engine.runtimes.create_unless(creation, given_up).await;
        // It is in them, and has them, or will not.
        drop(joined);
        ::volumes::unbind(parts).await;
        let task = created?;
        pass(Point::StartCreated).await?;
        tokio::select! {
            networked = networking.finish(engine, &view.id, task.init()) => {
                networked.map_err(daemon_fault)?;
            }
            () = self.cancel.cancelled() => return Err(given_up_error(view)),
        }
        // Before the process runs: what it writes first would be lost to those already attached.
        self.streams
            .connect(&task.attach_socket())
            .map_err(daemon_fault)?;
        pass(Point::StartConnected).await?;
        // Taken before the call: a short process has ended by the time the runtime returns, and
        // nothing ends before it starts.
        let started_at = (engine.host.now)();
        // What was restored runs already.
        if self.how.restore.is_none() {
            tokio::select! {
                started = task.start() => started?,
                // Dropping the call kills the runtime's process; the undoing does the rest.
                () = self.cancel.cancelled() => return Err(given_up_error(view)),
            }
        }
        pass(Point::StartStarted).await?;
        let running = Running {
            init: task.init(),
            monitor: task.monitor(),
            started_at,
            paused: false,
            readiness: view.spec.notifies.then(Readiness::default),
            last_finished_at: view.state.exited().map(|last| last.finished_at),
        };
        Ok((task, running))
    }

    /// The tree, the files and the spec: all blocking, in one piece.
    async fn prepare(&self, runtime: &RuntimeName, networking: &Networking) -> Result<Made> {
        let (engine, view) = (self.engine.clone(), self.view.clone());
        let namespace = networking.namespace().map(Path::to_owned);
        let knows_rro = engine.runtimes.knows_rro(runtime).await;
        let parent = view.spec.cgroup_parent.as_deref();
        let cgroups_path = engine.runtimes.cgroups_path(&view.id, parent)?;
        let (asked, privileged) = (view.spec.apparmor.as_deref(), view.spec.privileged);
        let apparmor = engine.apparmor.ready(asked, privileged).await?;
        let given = Given {
            cgroups_path,
            apparmor,
            knows_rro,
            namespace,
        };
        crate::blocking(move || engine.make_bundle(&view, &given)).await
    }

    /// conmon keeps what is in `held`.
    fn request(
        &self,
        runtime: &RuntimeName,
        mapped: Option<Mapped>,
        held: Descriptors,
    ) -> CreateTask {
        let spec = &self.view.spec;
        CreateTask {
            id: self.view.id.clone(),
            runtime: runtime.clone(),
            bundle: self.engine.layout.bundle(&self.view.id),
            log_path: self.view.paths.log.clone(),
            journal: stdio::journal_of(&self.view.id, &self.view.name, spec),
            tty: spec.tty,
            stdin: self.streams.stdin(),
            restore: self.how.restore.clone(),
            descriptors: self.how.descriptors.clone(),
            held,
            notifies: spec.notifies,
            no_cgroups: spec.no_cgroups,
            output_owner: mapped.as_ref().map(|mapped| mapped.output_owner),
            mounts: mapped.map(|mapped| mapped.mounts),
        }
    }

    /// Takes back whatever was done. Nothing here may fail the undoing of the rest.
    async fn undo(&self) {
        drop(failpoint::reach(Point::StartUndo).await);
        // First what holds the streams' other end, or their end would be waited for in vain.
        // The client is told that it failed.
        self.engine.undo_start(self.view, false).await;
        self.streams.finish().await;
        drop(failpoint::reach(Point::StartUndone).await);
    }
}

impl Shared {
    fn make_bundle(&self, view: &ContainerView, given: &Given) -> Result<Made> {
        let donors = self.donors(&view.spec)?;
        let naming = self.naming(view)?;
        if let Some(naming) = &naming {
            self.links.remember(view, naming);
        }
        self.with_tree(view, |maker, tree| {
            maker.make(&bundles::Order {
                tree: *tree,
                dir: &self.layout.container(&view.id),
                bundle: &self.layout.bundle(&view.id),
                place: &self.layout.own_mounts(),
                cgroups_path: &given.cgroups_path,
                apparmor: given.apparmor.as_deref(),
                knows_rro: given.knows_rro,
                runtime: &view.runtime,
                donors,
                network_namespace: given.namespace.as_deref(),
                naming: naming.as_ref(),
            })
        })
    }

    /// Gives `work` what a container's tree is made with and of.
    ///
    /// # Errors
    /// What `work` says; an image whose layers are not known.
    pub fn with_tree<T>(
        &self,
        view: &ContainerView,
        work: impl FnOnce(&bundles::Maker<'_>, &bundles::TreeOrder<'_>) -> Result<T>,
    ) -> Result<T> {
        let layers = self.images.layers(&view.image_id)?;
        let maker = bundles::Maker {
            images: self.images.store(),
            volumes: &self.volumes,
            host: &self.facts,
            init_binary: self.init_binary.as_deref(),
            cdi_dirs: &self.cdi_dirs,
        };
        let etc = self.etc_of(view);
        let tree = bundles::TreeOrder {
            id: &view.id,
            spec: &self.in_force(view),
            layers: &layers,
            etc: &etc,
            first_run: matches!(view.state, ContainerState::Created { .. }),
        };
        work(&maker, &tree)
    }

    /// The configured runtime a container was made for.
    ///
    /// # Errors
    /// When it is configured no more.
    pub(crate) fn runtime_of(&self, view: &ContainerView) -> Result<RuntimeName> {
        self.runtimes.named(&view.runtime)
    }
}

fn daemon_fault(error: Error) -> StartError {
    StartError {
        exit_code: EXIT_CODE_DAEMON,
        error,
    }
}

/// A failpoint on the way of a start.
async fn pass(point: Point) -> Result<(), StartError> {
    let passed = failpoint::reach(point).await;
    passed.map_err(|e| daemon_fault(e.into()))
}

fn given_up_error(view: &ContainerView) -> StartError {
    daemon_fault(Error::conflict(format!(
        "start of container {} was given up: it was to be stopped or removed",
        view.id
    )))
}
