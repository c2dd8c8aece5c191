//! Taking the containers back when the daemon starts: kernel first, then files, then the ledger.
//!
//! `rules` makes the plan for each; here its questions are asked and its answers carried out, for
//! many containers at once. Nothing is wiped to clean up: a container whose recovery fails is
//! shown dead with the reason, and nobody else is touched.

use std::sync::Arc;

use model::{
    ContainerId, ContainerSpec, ContainerState, Context, Digest, ExitReason, ExitStatus, Exited,
    Intent, Result, Running, Timestamp,
};
use rules::{Recovery, plan_recovery};
use runtime::{AdoptTask, Adopted, Task};
use state::{ContainerRow, Damaged, Table};

use crate::container::actor::Actor;
use crate::container::handle::Handle;
use crate::container::{ContainerView, auto_removal, exited_state, row};
use crate::{Engine, Inner};

/// What was found out about a container.
enum Found {
    /// What the row says is so.
    AsWritten,
    /// It is so now, and the row must say it; a run that is over is to be cleaned up.
    Now(ContainerState, Option<Box<Task>>),
    /// It cannot be found out: shown dead, and asked again by the next daemon.
    Unknown(String),
    /// It is gone.
    Removed,
}

impl Engine {
    /// Brings one row back to life.
    pub(crate) async fn recover(self, mut row: ContainerRow, same_boot: bool) {
        let layers = match self.inner.images.record(&row.image_id) {
            Some(record) => record.layers.clone(),
            None => Vec::new(),
        };
        let view = row::view(&self.inner, &row, &layers);
        let plan = plan_recovery(&row.state, row.intent, same_boot);
        if plan != Recovery::Keep {
            tracing::info!(id = row.id.short(), ?plan, "recovering");
        }
        let mut task = None;
        match self.find_out(&view, plan).await {
            Found::AsWritten => {}
            Found::Now(state, found) => {
                self.write_found(&row, &view, &state).await;
                (row.state, task) = (state, found);
            }
            Found::Unknown(reason) => {
                tracing::error!(id = row.id.short(), reason, "recovery failed");
                row.state = ContainerState::Dead { reason };
            }
            Found::Removed => {
                self.inner.registry.release(&row.name, &row.id);
                return;
            }
        }
        self.revive(&row, &layers, task);
    }

    /// Carries the plan out, up to what must be written.
    async fn find_out(&self, view: &ContainerView, plan: Recovery) -> Found {
        let inner = &self.inner;
        let found = match plan {
            Recovery::Keep => {
                self.finish_cleanup(view).await;
                return Found::AsWritten;
            }
            Recovery::Adopt { init, monitor } => self.adopt(view, Some(init), monitor).await,
            Recovery::EndedWithHost => Ok((ended_with_host(&view.state, (inner.host.now)()), None)),
            Recovery::ResolveStart => self.resolve_start(view).await,
            Recovery::UndoStart => {
                inner.undo_start(view).await;
                Ok((view.state.clone(), None))
            }
            Recovery::FinishRemoval { volumes } => {
                return match inner.remove_container_files(view, volumes).await {
                    Ok(()) => Found::Removed,
                    Err(e) => Found::Unknown(e.to_string()),
                };
            }
        };
        match found {
            Ok((state, task)) => Found::Now(state, task),
            Err(e) => Found::Unknown(e.to_string()),
        }
    }

    /// A daemon that was killed between the record of an exit and the end of its clean-up has
    /// left the rest to us.
    async fn finish_cleanup(&self, view: &ContainerView) {
        let ended = !matches!(view.state, ContainerState::Dead { .. });
        if ended && self.inner.runtimes.has_run_files(&view.id) {
            tracing::info!(id = view.id.short(), "cleaning up after an ended run");
            // A failure was logged; the files that are left tell the next daemon.
            drop(self.inner.clean_up_run(view, true).await);
        }
    }

    /// Writes what is not in the ledger yet, then cleans up after a run that is over: the exit
    /// file goes only when the row is written.
    async fn write_found(&self, row: &ContainerRow, view: &ContainerView, state: &ContainerState) {
        let removing = row.spec.auto_remove && state.running().is_none();
        let intent = removing.then_some(Intent::Removing { volumes: true });
        let mut written = true;
        if *state != row.state || row.intent != intent {
            let update = self
                .inner
                .ledger
                .update_container_state(&row.id, state, intent)
                .await;
            if let Err(e) = &update {
                tracing::error!(id = row.id.short(), error = %e, "the ledger was not written");
            }
            written = update.is_ok();
        }
        if state.exited().is_some() && !removing {
            drop(self.inner.clean_up_run(view, written).await);
        }
    }

    /// The row's handle and task.
    fn revive(&self, row: &ContainerRow, layers: &[model::Layer], task: Option<Box<Task>>) {
        let view = row::view(&self.inner, row, layers);
        let streams = self.container_streams(&view);
        if let Some(task) = &task {
            streams.resume(&task.attach_socket());
        }
        let (handle, inbox) = Handle::new(view, row::lifecycle(row), streams);
        self.inner.registry.insert(handle.clone());
        let mut actor = Actor::new(self.inner.clone(), handle, inbox);
        let at_rest = matches!(
            row.state,
            ContainerState::Created { .. } | ContainerState::Exited(_)
        );
        if row.spec.auto_remove && at_rest {
            // Whoever would have removed it is gone (moby `restore`).
            actor.after_exit.push(auto_removal());
            actor.carry_on_after_exit();
        }
        actor.task = task.map(|task| *task);
        tokio::spawn(actor.run());
    }

    /// Looks for a container's process: takes it back, or records how it ended.
    async fn adopt(
        &self,
        view: &ContainerView,
        init: Option<model::ProcessRef>,
        monitor: Option<model::ProcessRef>,
    ) -> Result<(ContainerState, Option<Box<Task>>)> {
        let runtime = self.inner.runtime_of(view)?;
        let bundle = self.inner.layout.bundle(&view.id);
        let request = AdoptTask {
            id: view.id.clone(),
            runtime,
            init,
            monitor,
            bundle,
        };
        match self.inner.runtimes.adopt(request).await? {
            Adopted::Running(task) => {
                let before = view.state.running();
                let paused = self.inner.runtimes.is_paused(task.init().pid);
                let paused = paused.unwrap_or_else(|e| {
                    tracing::warn!(id = view.id.short(), error = %e, "taken for what it was");
                    before.map(|r| r.paused)
                });
                let running = Running {
                    init: task.init(),
                    monitor: task.monitor(),
                    started_at: before.map_or_else(|| (self.inner.host.now)(), |r| r.started_at),
                    paused: paused.unwrap_or(false),
                };
                Ok((ContainerState::Running(running), Some(task)))
            }
            Adopted::Exited(report) => {
                let before = view.state.running();
                let started_at = before.map_or(report.finished_at, |r| r.started_at);
                Ok((exited_state(&report, started_at, before), None))
            }
        }
    }

    /// A start was cut short on this boot. What runs is taken back, what ended is recorded, what
    /// was only created is undone.
    async fn resolve_start(
        &self,
        view: &ContainerView,
    ) -> Result<(ContainerState, Option<Box<Task>>)> {
        let runtime = self.inner.runtime_of(view)?;
        let runtimes = &self.inner.runtimes;
        let known = runtimes.state(&view.id, &runtime).await?;
        match known.as_ref().map(|k| (k.status.as_str(), k.pid)) {
            Some(("running" | "paused", Some(pid))) => {
                let init = sys::proc::process_ref(pid).context("look at the first process")?;
                match init {
                    Some(init) => {
                        let monitor = runtimes.find_monitor(&view.id);
                        self.adopt(view, Some(init), monitor).await
                    }
                    None => self.resolve_ended(view).await,
                }
            }
            Some(("stopped", _)) => self.resolve_ended(view).await,
            _ => {
                self.inner.undo_start(view).await;
                Ok((view.state.clone(), None))
            }
        }
    }

    /// It was started, and has ended since.
    async fn resolve_ended(
        &self,
        view: &ContainerView,
    ) -> Result<(ContainerState, Option<Box<Task>>)> {
        let monitor = self.inner.runtimes.find_monitor(&view.id);
        self.adopt(view, None, monitor).await
    }
}

/// What ran when the host went down: over, and nobody saw how.
fn ended_with_host(state: &ContainerState, now: Timestamp) -> ContainerState {
    let status = ExitStatus::Unknown(ExitReason::HostRestarted);
    let error = status.reason().unwrap_or_default().to_owned();
    let started_at = state.running().map_or(now, |r| r.started_at);
    ContainerState::Exited(Exited {
        status,
        started_at,
        finished_at: now,
        oom_killed: false,
        error,
    })
}

impl Engine {
    /// A row that cannot be read costs its container everything but its id and its name: it is
    /// shown dead with the reason, and can be removed.
    pub(crate) fn show_damaged(&self, damaged: &Damaged) {
        if damaged.table != Table::Containers {
            return;
        }
        let Ok(id) = damaged.key.parse::<ContainerId>() else {
            return;
        };
        let made_up = || format!("damaged_{}", id.short()).parse().ok();
        let Some(name) = damaged.name.clone().or_else(made_up) else {
            return;
        };
        if let Err(e) = self.inner.registry.reserve(&name, &id) {
            tracing::error!(id = id.short(), error = %e, "a damaged row has another's name");
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
            state: ContainerState::Dead { reason },
            intent: None,
            restart_count: 0,
        };
        self.revive(&row, &[], None);
    }
}

impl Inner {
    /// Names are reserved for all rows before any is recovered, so that nothing created meanwhile
    /// can take one.
    pub(crate) fn reserve_names(self: &Arc<Self>, rows: &[ContainerRow]) {
        for row in rows {
            if let Err(e) = self.registry.reserve(&row.name, &row.id) {
                tracing::error!(id = row.id.short(), error = %e, "two rows have one name");
            }
        }
    }
}
