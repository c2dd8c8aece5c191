//! Taking the containers back when the daemon starts: kernel first, then files, then the ledger.
//!
//! `rules` makes the plan for each; here its questions are asked and its answers carried out, for
//! many containers at once. Nothing is wiped to clean up: a container whose recovery fails is
//! shown lost with the reason, it is asked again in the background, and nobody else is touched.

use std::sync::Arc;
use std::time::Duration;

use failpoint::Point;
use model::{
    ContainerId, ContainerSpec, ContainerState, Context, Digest, Error, Event, ExitReason,
    ExitStatus, Exited, Intent, Readiness, Result, Running, Timestamp,
};
use rules::{Recovery, plan_recovery};
use runtime::{AdoptTask, Adopted, Task};
use state::{ContainerRow, Damaged, Table};
use tokio::task::JoinHandle;

use crate::Shared;
use crate::actor::{Actor, Done};
use crate::handle::{Found, Handle, Message};
use crate::record::Unwritten;
use crate::{ContainerView, auto_removal, row};

/// What a plan came to.
enum Outcome {
    /// What the row says is so.
    AsWritten,
    /// It is so now, and the row must say it; a run that is over is to be cleaned up.
    Now(Found),
    /// It cannot be found out: shown lost, and asked again.
    Unknown(String),
    /// It is being removed, or it could not be.
    Removing(JoinHandle<Done>),
    /// It is gone.
    Removed,
}

/// How long the start of the daemon waits for the end of a removal that was cut short. Most take
/// less; a large one goes on beside the rest.
const REMOVAL_PATIENCE: Duration = Duration::from_millis(200);
/// When a lost container is asked about again. What failed may have been a lack of descriptors,
/// or a runtime that was being replaced.
const ASK_AGAIN_AFTER_S: [u64; 6] = [1, 4, 15, 60, 240, 900];

impl Shared {
    /// Brings one row back to life. Waits for the kernel and the runtime where they must be
    /// asked, never for a clean-up.
    pub async fn recover(self: Arc<Self>, mut row: ContainerRow, same_boot: bool) {
        let layers = self.images.layers(&row.image_id).unwrap_or_default();
        self.resume_networks(&mut row, same_boot).await;
        let view = row::view(&self, &row, &layers);
        let plan = plan_recovery(&row.state, row.intent, same_boot);
        if plan != Recovery::Keep {
            tracing::info!(id = row.id.short(), ?plan, "recovering");
        }
        match self.find_out(&view, plan).await {
            Outcome::AsWritten => {
                // A daemon that was killed between the record of an exit and the end of its
                // clean-up has left the rest to us.
                let ended = !matches!(row.state, ContainerState::Dead { .. });
                let left = self.runtimes.has_run_files(&row.id) || row.attachment.is_some();
                let left = ended && left;
                // One that was killed while somebody looked at its files has left it mounted.
                self.unmount(&view).await;
                let mut actor = self.revive(&row, &layers, None);
                actor.cleanup_due = left.then_some(true);
                actor.resume_policy(false);
                self.start_task(actor, &row);
            }
            Outcome::Now(Found {
                state,
                task,
                events,
                restart_count,
                again,
                by_request,
            }) => {
                row.restart_count = restart_count;
                drop(failpoint::reach(Point::RecoverFound).await);
                let is_at_rest = state.running().is_none();
                let intent = match (row.spec.auto_remove && is_at_rest, again && is_at_rest) {
                    (true, _) => Some(Intent::Removing { volumes: true }),
                    (false, true) => Some(Intent::Restarting),
                    (false, false) => None,
                };
                let written = self.write_found(&row, &state, intent, events.clone()).await;
                drop(failpoint::reach(Point::RecoverWritten).await);
                row.state = state;
                let over = row.state.exited().is_some();
                let mut actor = self.revive(&row, &layers, task);
                actor.unwritten = (!written).then(|| Unwritten::new(intent, events));
                actor.cleanup_due = over.then_some(written);
                actor.ends_by_request = by_request;
                actor.resume_policy(again);
                if actor.task.is_some() {
                    actor.mend_networks();
                    actor.begin_next(Message::TakeBack);
                }
                self.start_task(actor, &row);
            }
            Outcome::Unknown(reason) => {
                tracing::error!(id = row.id.short(), reason, "recovery failed");
                row.state = ContainerState::Lost { reason };
                let actor = self.revive(&row, &layers, None);
                self.ask_again(actor.handle.clone(), view, plan);
                self.start_task(actor, &row);
            }
            Outcome::Removing(job) => {
                row.state = ContainerState::Removing;
                let mut actor = self.revive(&row, &layers, None);
                actor.take_over(job);
                self.start_task(actor, &row);
            }
            Outcome::Removed => self.registry.release(&row.name, &row.id),
        }
    }

    /// Carries the plan out, up to what must be written.
    async fn find_out(self: &Arc<Self>, view: &ContainerView, plan: Recovery) -> Outcome {
        let inner = self;
        let found = match plan {
            Recovery::Keep => return Outcome::AsWritten,
            Recovery::Adopt {
                init,
                monitor,
                by_request,
            } => {
                let found = self.adopt(view, Some(init), monitor).await;
                found.map(|found| Found {
                    by_request,
                    ..found
                })
            }
            Recovery::EndedWithHost { by_request } => Ok(Found {
                by_request,
                ..ended_with_host(&view.state, (inner.host.now)())
            }),
            Recovery::ResolveStart { again } => self.resolve_start(view, again).await,
            Recovery::UndoStart { again } => Ok(self.take_back_start(view, again).await),
            Recovery::FinishRemoval { volumes } => return self.finish_removal(view, volumes).await,
        };
        match found {
            Ok(mut found) => {
                found.events = inner.found_events(view, &found.state);
                follow_policy(view, &mut found);
                Outcome::Now(found)
            }
            Err(e) => Outcome::Unknown(e.to_string()),
        }
    }

    async fn finish_removal(self: &Arc<Self>, view: &ContainerView, volumes: bool) -> Outcome {
        let (inner, view) = (self.clone(), view.clone());
        let mut job = tokio::spawn(async move {
            let result = inner.remove_container_files(&view, volumes).await;
            Done::Remove {
                result,
                intent: Intent::Removing { volumes },
                replies: Vec::new(),
            }
        });
        match tokio::time::timeout(REMOVAL_PATIENCE, &mut job).await {
            Ok(Ok(Done::Remove { result: Ok(()), .. })) => Outcome::Removed,
            // The container's task takes in what it came to.
            Ok(Ok(done)) => Outcome::Removing(tokio::spawn(async move { done })),
            Ok(Err(e)) => Outcome::Unknown(format!("its removal ended early: {e}")),
            Err(_) => Outcome::Removing(job),
        }
    }

    /// Writes what is not in the ledger yet. False when it could not be: the exit file must stay.
    async fn write_found(
        &self,
        row: &ContainerRow,
        state: &ContainerState,
        intent: Option<Intent>,
        events: Vec<Event>,
    ) -> bool {
        if *state == row.state && row.intent == intent {
            return true;
        }
        let ledger = self.ledger.telling(events);
        let update = ledger.update_container_state(&row.id, state, intent, row.restart_count);
        let update = update.await;
        update
            .inspect_err(|e| {
                tracing::error!(id = row.id.short(), error = %e, "the ledger was not written");
            })
            .is_ok()
    }

    /// The row's handle and its task, which does not run yet.
    fn revive(
        self: &Arc<Self>,
        row: &ContainerRow,
        layers: &[model::Layer],
        task: Option<Box<Task>>,
    ) -> Actor {
        let newcomer = self.newcomer(row, layers);
        let handle = newcomer.handle().clone();
        if let Some(task) = &task {
            handle.streams.resume(&task.attach_socket());
            handle.streams.keep_log(task, self.runtimes.watcher());
            self.watch_log_space();
        }
        self.registry.insert(handle);
        let mut actor = newcomer.actor();
        actor.task = task.map(|task| *task);
        actor
    }

    fn start_task(&self, mut actor: Actor, row: &ContainerRow) {
        let at_rest = matches!(
            row.state,
            ContainerState::Created { .. } | ContainerState::Exited(_)
        );
        if row.spec.auto_remove && at_rest {
            // Whoever would have removed it is gone (moby `restore`).
            actor.after_exit.push(auto_removal());
            actor.carry_on_after_exit();
        }
        let is_known = at_rest
            || matches!(
                row.state,
                ContainerState::Running(_) | ContainerState::Restarting(_)
            );
        if row.spec.pending_update.is_some() && is_known {
            actor.begin_next(Message::TakeUpUpdate);
        }
        tokio::spawn(actor.run());
    }

    /// Goes on asking about a lost container, in the background.
    fn ask_again(self: &Arc<Self>, handle: Arc<Handle>, view: ContainerView, plan: Recovery) {
        let engine = self.clone();
        tokio::spawn(async move {
            for pause_s in ASK_AGAIN_AFTER_S {
                tokio::time::sleep(Duration::from_secs(pause_s)).await;
                if !matches!(handle.view().state, ContainerState::Lost { .. }) {
                    return;
                }
                match engine.find_out(&view, plan).await {
                    Outcome::Now(found) => {
                        tracing::info!(id = view.id.short(), "found again");
                        return handle.tell(found).await;
                    }
                    Outcome::Unknown(reason) => {
                        tracing::warn!(id = view.id.short(), reason, "still not found out");
                    }
                    // Not plans that end lost.
                    Outcome::AsWritten | Outcome::Removing(_) | Outcome::Removed => return,
                }
            }
        });
    }

    /// Looks for a container's process: takes it back, or records how it ended.
    async fn adopt(
        &self,
        view: &ContainerView,
        init: Option<model::ProcessRef>,
        monitor: Option<model::ProcessRef>,
    ) -> Result<Found> {
        let runtime = self.runtime_of(view)?;
        let bundle = self.layout.bundle(&view.id);
        let readiness = match view.state.running() {
            Some(running) => running.readiness.clone(),
            None => view.spec.notifies.then(Readiness::default),
        };
        let request = AdoptTask {
            id: view.id.clone(),
            runtime,
            init,
            monitor,
            bundle,
            readiness: readiness.clone(),
        };
        match self.runtimes.adopt(request).await? {
            Adopted::Running(task) => {
                let before = view.state.running();
                let paused = self.runtimes.is_paused(task.init().pid);
                let paused = paused.unwrap_or_else(|e| {
                    tracing::warn!(id = view.id.short(), error = %e, "taken for what it was");
                    before.map(|r| r.paused)
                });
                let running = Running {
                    init: task.init(),
                    monitor: task.monitor(),
                    started_at: before.map_or_else(|| (self.host.now)(), |r| r.started_at),
                    paused: paused.unwrap_or(false),
                    readiness,
                    last_finished_at: match (before, view.state.exited()) {
                        (Some(before), _) => before.last_finished_at,
                        (None, last) => last.map(|last| last.finished_at),
                    },
                };
                Ok(Found {
                    task: Some(task),
                    ..at_rest(ContainerState::Running(running))
                })
            }
            Adopted::Exited(report) => {
                let exited = Self::ended(&report, view);
                Ok(at_rest(ContainerState::Exited(exited)))
            }
        }
    }

    /// A start was cut short on this boot. What runs is taken back, what ended is recorded, what
    /// was only created is undone.
    async fn resolve_start(&self, view: &ContainerView, again: bool) -> Result<Found> {
        let runtime = self.runtime_of(view)?;
        let runtimes = &self.runtimes;
        let known = runtimes.state(&view.id, &runtime).await?;
        match known.as_ref().map(|k| (k.status.as_str(), k.pid)) {
            Some(("running" | "paused", Some(pid))) => {
                let init = sys::proc::process_ref(pid).context("look at the first process")?;
                match init {
                    Some(init) => {
                        let monitor = runtimes.find_monitor(&view.id);
                        self.adopt(view, Some(init), monitor).await
                    }
                    None => self.resolve_ended(view, again).await,
                }
            }
            Some(("stopped", _)) => self.resolve_ended(view, again).await,
            None | Some(("creating" | "created", _)) => Ok(self.take_back_start(view, again).await),
            // What is called so may run.
            Some((status, _)) => Err(Error::system(format!(
                "{runtime} says that it is {status:?}, which is not known here"
            ))),
        }
    }

    /// Nothing of it runs: it was started and has ended since, which conmon tells then, or its
    /// creation was cut short, which to the runtime looks the same.
    async fn resolve_ended(&self, view: &ContainerView, again: bool) -> Result<Found> {
        let monitor = self.runtimes.find_monitor(&view.id);
        let found = self.adopt(view, None, monitor).await?;
        let is_told = |exited: &Exited| matches!(exited.status, ExitStatus::Known(_));
        if found.state.exited().is_some_and(is_told) {
            return Ok(found);
        }
        Ok(self.take_back_start(view, again).await)
    }

    /// `again`: it was for a client's restart, which is to be finished.
    async fn take_back_start(&self, view: &ContainerView, again: bool) -> Found {
        self.undo_start(view, again).await;
        Found {
            again,
            ..at_rest(view.state.clone())
        }
    }
}

/// What ran when the host went down: over, and nobody saw how.
fn ended_with_host(state: &ContainerState, now: Timestamp) -> Found {
    let status = ExitStatus::Unknown(ExitReason::HostRestarted);
    let error = status.reason().unwrap_or_default().to_owned();
    let started_at = state.running().map_or(now, |r| r.started_at);
    at_rest(ContainerState::Exited(Exited {
        status,
        started_at,
        finished_at: now,
        oom_killed: false,
        error,
        by_request: false,
        by_checkpoint: false,
    }))
}

/// An end that is news may be followed by another start.
fn follow_policy(view: &ContainerView, found: &mut Found) {
    found.restart_count = view.restart_count;
    if let ContainerState::Exited(last) = &found.state
        && view.state.exited() != Some(last)
    {
        let last = Exited {
            by_request: found.by_request,
            ..last.clone()
        };
        let delay = rules::delay_of(&view.state);
        let (policy, restarts) = (&view.spec.restart_policy, view.restart_count);
        (found.state, found.restart_count) = rules::after_exit(policy, restarts, last, delay);
    }
}

/// A state without a process.
fn at_rest(state: ContainerState) -> Found {
    Found {
        state,
        task: None,
        events: Vec::new(),
        restart_count: 0,
        again: false,
        by_request: false,
    }
}

impl Shared {
    /// A row that cannot be read costs its container everything but its id and its name: it is
    /// shown lost with the reason, and can be removed by force.
    pub fn show_damaged(self: &Arc<Self>, damaged: &Damaged) {
        if damaged.table != Table::Containers {
            return;
        }
        let Ok(id) = damaged.key.parse::<ContainerId>() else {
            return;
        };
        let name = damaged.name.as_ref().and_then(|name| name.parse().ok());
        let made_up = || format!("damaged_{}", id.short()).parse().ok();
        let Some(name) = name.or_else(made_up) else {
            return;
        };
        if let Err(e) = self.registry.reserve(&name, &id) {
            tracing::error!(id = id.short(), error = %e, "a damaged row has another's name");
            self.registry.keep_out(id);
            return;
        }
        let reason = format!(
            "the ledger's row of this container is damaged: {}",
            damaged.reason
        );
        let row = ContainerRow {
            id,
            name,
            created_at: Timestamp::UNIX_EPOCH,
            image_id: Digest::from_sha256([0; 32]),
            image_name: String::new(),
            runtime: String::new(),
            spec: ContainerSpec::default(),
            echo: b"{}".to_vec(),
            // Its process may run: it takes force to remove it.
            state: ContainerState::Lost { reason },
            intent: None,
            restart_count: 0,
            attachment: None,
            health: None,
        };
        let actor = self.revive(&row, &[], None);
        self.start_task(actor, &row);
    }

    /// Shows a container whose recovery came to no end.
    pub fn show_lost(self: &Arc<Self>, row: &ContainerRow, reason: String) {
        tracing::error!(id = row.id.short(), reason, "a defect: recovery failed");
        if !self.registry.has_id(row.id.as_str()) {
            let row = ContainerRow {
                state: ContainerState::Lost { reason },
                ..row.clone()
            };
            let actor = self.revive(&row, &[], None);
            self.start_task(actor, &row);
        }
    }
}

impl Shared {
    /// Names are reserved for all rows before any is recovered, so that nothing created meanwhile
    /// can take one.
    pub fn reserve_names(self: &Arc<Self>, rows: &[ContainerRow]) {
        for row in rows {
            if let Err(e) = self.registry.reserve(&row.name, &row.id) {
                tracing::error!(id = row.id.short(), error = %e, "two rows have one name");
            }
        }
    }
}
