//! The end of a container's process: record it, tell everybody, then clean up.

use failpoint::Point;
use model::{Action, ContainerState, Exited, Intent, Readiness, Running, WaitOutcome};
use runtime::{ExitReport, TaskEvent};

use crate::actor::{Actor, AfterExit, Done, answer};
use crate::handle::{Found, Message};
use crate::wait::Lifecycle;
use crate::{Change, RemoveContainer};
use crate::{ContainerView, Shared};

impl Actor {
    /// Takes in what the container's conmon and init did.
    pub(crate) async fn observe(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::MonitorLost => self.lose_monitor().await,
            TaskEvent::Notified(readiness) => self.hear(readiness).await,
            TaskEvent::Exited(report) => self.exit(report).await,
        }
    }

    /// Takes in what the container says by sd_notify. Only whether it is ready is written.
    async fn hear(&mut self, readiness: Readiness) {
        let view = self.view();
        let Some(running) = view.state.running() else {
            return;
        };
        let was_ready = running.readiness.as_ref().is_some_and(|r| r.ready);
        let ready = readiness.ready;
        let state = ContainerState::Running(Running {
            readiness: Some(readiness),
            ..running.clone()
        });
        if was_ready == ready {
            self.handle.publish(self.view_in(state));
            return;
        }
        let events = match ready {
            true => vec![self.event(&Action::Ready)],
            false => vec![],
        };
        // A failed write was logged, and is tried again.
        drop(self.set_state(state, None, events).await);
    }

    /// conmon is gone while init lives: no more output or log, and the kernel alone can tell the
    /// exit code. The container goes on.
    async fn lose_monitor(&mut self) {
        tracing::warn!("conmon died: the container runs on without log and streams");
        self.handle.streams.finish().await;
        if let ContainerState::Running(running) = &self.view().state {
            let state = ContainerState::Running(Running {
                monitor: None,
                ..running.clone()
            });
            // A failed write was logged; recovery finds conmon gone by itself.
            drop(self.set_state(state, None, vec![]).await);
        }
    }

    async fn exit(&mut self, report: ExitReport) {
        drop(failpoint::reach(Point::ExitSeen).await);
        let view = self.view();
        let mut exited = Shared::ended(&report, &view);
        exited.by_checkpoint = self.ends_by_checkpoint();
        exited.by_request = self.ends_by_request || exited.by_checkpoint;
        if !self.is_busy() {
            self.checkpoint = None;
        }
        let (policy, restarts) = (&view.spec.restart_policy, view.restart_count);
        let (state, restart_count) = rules::after_exit(policy, restarts, exited, self.delay);
        self.restart_count = restart_count;
        let restarting = self
            .after_exit
            .iter()
            .any(|a| matches!(a, AfterExit::Restart(_)));
        let removing = view.spec.auto_remove && !restarting;
        let intent = match (restarting, removing) {
            (true, _) => Some(Intent::Restarting),
            (false, true) => Some(Intent::Removing { volumes: true }),
            (false, false) => None,
        };
        // Nobody is to find it any more.
        self.engine.networks.leave(&view.id);
        self.engine.links.forget(&view.id);
        self.engine.follow_links();
        self.stopping = None;
        self.thaw_due = false;
        self.task = None;
        self.updating.ended.cancel();
        self.end_checks();
        let mut events = self.engine.exit_events(&view, &state);
        if self.after_exit.iter().any(AfterExit::is_stop) {
            events.push(self.event(&Action::Stop));
        }
        self.follow_policy(&state);
        let runs_on = state.is_up();
        let recorded = self.set_state(state, intent, events).await.is_ok();
        drop(failpoint::reach(Point::ExitWritten).await);
        tracing::info!(status = ?report.status, oom_killed = report.oom_killed, "exited");
        self.handle
            .advance(|l| record_code(l, report.status.code(), runs_on));
        self.answer_stops();
        if removing {
            self.after_exit.push(auto_removal());
        }
        if removing && recorded {
            // The removal takes everything away; cleaning up first would do it twice.
            self.carry_on_after_exit();
        } else {
            self.cleanup_due = Some(recorded);
        }
    }

    /// Takes in what recovery found out about a container that was lost.
    pub(crate) async fn take_up(&mut self, found: Found) {
        if !matches!(self.view().state, ContainerState::Lost { .. }) {
            return;
        }
        let Found {
            state,
            task,
            events,
            restart_count,
            again,
            by_request,
        } = found;
        self.restart_count = restart_count;
        self.ends_by_request = by_request;
        let auto_remove = self.view().spec.auto_remove && task.is_none();
        let intent = auto_remove.then_some(Intent::Removing { volumes: true });
        let exited = state.exited().map(|e| e.status.code());
        let recorded = self.set_state(state, intent, events).await.is_ok();
        match task {
            Some(task) => {
                self.handle.streams.resume(&task.attach_socket());
                let watcher = self.engine.runtimes.watcher();
                self.handle.streams.keep_log(&task, watcher);
                self.engine.watch_log_space();
                self.task = Some(*task);
                self.begin_next(Message::TakeUpUpdate);
                self.handle.advance(|l| l.running = true);
            }
            None => {
                if let Some(status_code) = exited {
                    self.cleanup_due = Some(recorded);
                    let runs_on = self.view().state.is_up();
                    self.handle
                        .advance(|l| record_code(l, status_code, runs_on));
                }
                if auto_remove {
                    self.after_exit.push(auto_removal());
                    self.carry_on_after_exit();
                }
            }
        }
        self.resume_policy(again);
        self.take_back_checks().await;
    }

    /// Those who only stopped it need not wait for the clean-up.
    fn answer_stops(&mut self) {
        for waiting in std::mem::take(&mut self.after_exit) {
            match waiting {
                AfterExit::Answer(reply) => answer(reply, Ok(Change::Done)),
                AfterExit::Killed(reply) => answer(reply, Ok(())),
                other => self.after_exit.push(other),
            }
        }
    }

    /// Begins to take away what the run left on the host.
    pub(crate) fn begin_cleanup(&mut self, recorded: bool) {
        let (engine, handle, view) = (self.engine.clone(), self.handle.clone(), self.view());
        self.begin(async move {
            handle.streams.finish().await;
            // A failure was logged; removal, or the next daemon, tries again.
            drop(engine.clean_up_run(&view, recorded).await);
            Done::Cleanup
        });
    }

    /// What was waiting for the exit goes on now: removals before restarts.
    pub(crate) fn carry_on_after_exit(&mut self) {
        let (mut restarts, mut removals) = (Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut self.after_exit) {
            match waiting {
                AfterExit::Answer(reply) => answer(reply, Ok(Change::Done)),
                AfterExit::Killed(reply) => answer(reply, Ok(())),
                AfterExit::Restart(reply) => restarts.push(reply),
                AfterExit::Remove(request, reply) => {
                    removals.push(Message::Remove(request, reply));
                }
            }
        }
        if !restarts.is_empty() {
            self.begin_next(Message::StartAgain(restarts));
        }
        for removal in removals {
            self.begin_next(removal);
        }
    }
}

/// The removal that `--rm` asked for; nobody waits for its answer.
pub(crate) fn auto_removal() -> AfterExit {
    let request = RemoveContainer {
        force: false,
        volumes: true,
    };
    AfterExit::Remove(request, tokio::sync::oneshot::channel().0)
}

impl Shared {
    /// How a run ended.
    pub(crate) fn ended(report: &ExitReport, view: &ContainerView) -> Exited {
        let running = view.state.running();
        let lost_monitor = running.is_some_and(|r| r.monitor.is_none());
        let error = match report.status.reason() {
            Some(reason) => reason.to_owned(),
            None if lost_monitor => {
                "conmon died while the container ran: its log is incomplete".to_owned()
            }
            None => String::new(),
        };
        Exited {
            status: report.status.clone(),
            started_at: running.map_or(report.finished_at, |r| r.started_at),
            finished_at: report.finished_at,
            // conmon looks at the cgroup of the process, which may be the daemon's.
            oom_killed: report.oom_killed && !view.spec.no_cgroups,
            error,
            by_request: false,
            by_checkpoint: false,
        }
    }
}

/// Publishes an exit to those who wait.
fn record_code(lifecycle: &mut Lifecycle, status_code: i64, runs_on: bool) {
    lifecycle.running = runs_on;
    lifecycle.health = None;
    lifecycle.exits += 1;
    lifecycle.last = Some(WaitOutcome {
        status_code,
        error: None,
    });
}
