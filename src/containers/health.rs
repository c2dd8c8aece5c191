//! Health checks of one container: when they are due, and what their results do.
//!
//! A check is a task beside the container's job, so neither waits for the other; its result comes
//! back here. What a result means is `rules::health`'s, running one is `execs`'. Without a check
//! that is due this costs a timer.

use std::sync::Arc;
use std::time::Duration;

use execs::Target;
use failpoint::Point;
use model::{Action, Event, Health, HealthResult, HealthStatus, Timestamp};
use rules::health;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::actor::{Actor, AfterExit};
use crate::{ContainerView, StopContainer};

/// The checks of one container.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// When the next one is due; `None` while there are to be none.
    pub(crate) due: Option<Instant>,
    /// The one that runs. Let go of, it ends by itself.
    pub(crate) running: Option<JoinHandle<HealthResult>>,
    /// What could not be told of what was found.
    untold: Vec<Event>,
}

impl Actor {
    /// What is known of the health of a run that begins.
    pub(crate) fn beginning_health(&self, run_started_at: Timestamp) -> Option<Arc<Health>> {
        let view = self.view();
        view.spec.health_check.as_ref()?;
        let begun = health::beginning(view.health.as_deref(), run_started_at);
        Some(Arc::new(begun))
    }

    /// A run has begun, and the picture says so.
    pub(crate) async fn begin_checks(&mut self) {
        if let Some(begun) = self.view().health.as_deref() {
            self.set_health(begun.clone(), None).await;
        }
        self.resume_checks();
    }

    /// A run was found that goes on, and what was known of its health, if it was of this run.
    pub(crate) async fn take_back_checks(&mut self) {
        let view = self.view();
        let Some(running) = view.state.running() else {
            return;
        };
        let known = view.health.as_deref();
        match known.filter(|health| health.run_started_at == running.started_at) {
            Some(health) => {
                let is_ill = health.status == HealthStatus::Unhealthy;
                self.resume_checks();
                // The daemon that saw it may have died on it.
                if is_ill && !running.paused {
                    self.restart_unhealthy().await;
                }
            }
            None => {
                if let Some(begun) = self.beginning_health(running.started_at) {
                    self.set_health((*begun).clone(), None).await;
                }
                self.resume_checks();
            }
        }
    }

    /// Checks go on, unless the container is paused, is being dumped, or has none.
    pub(crate) fn resume_checks(&mut self) {
        if self.checkpoint.is_some() {
            return;
        }
        let view = self.view();
        let runs = view.state.running().is_some_and(|running| !running.paused);
        let pause = runs.then(|| self.next_check_in(&view)).flatten();
        self.checks.due = pause.and_then(|pause| Instant::now().checked_add(pause));
    }

    /// No more checks; the result of one that runs is nobody's. To clients it is unhealthy then,
    /// and nothing tells of that (moby `CloseMonitorChannel`).
    pub(crate) fn end_checks(&mut self) {
        self.checks.due = None;
        self.checks.running = None;
        let view = self.view();
        if let Some(health) = view.health.as_deref() {
            self.handle.publish(ContainerView {
                health: Some(Arc::new(Health {
                    status: HealthStatus::Unhealthy,
                    ..health.clone()
                })),
                ..(*view).clone()
            });
        }
    }

    fn next_check_in(&self, view: &ContainerView) -> Option<Duration> {
        let check = view.spec.health_check.as_ref()?;
        let health = view.health.as_deref()?;
        let now = (self.engine.host.now)();
        Some(health::next_check_in(check, health, now))
    }

    /// The check that is due.
    pub(crate) fn begin_check(&mut self) {
        self.checks.due = None;
        let view = self.view();
        let Some(check) = &view.spec.health_check else {
            return;
        };
        let (command, patience) = (
            health::command(check, &view.spec.health_shell),
            check.timeout(),
        );
        let engine = self.engine.clone();
        self.checks.running = Some(tokio::spawn(async move {
            let started_at = (engine.host.now)();
            let probed = match engine.target(&view) {
                Ok(target) => {
                    let id = view.id.clone();
                    engine.execs.probe(id, target, command, patience).await
                }
                Err(e) => execs::Probed {
                    exit_code: -1,
                    output: e.to_string(),
                },
            };
            HealthResult {
                started_at,
                ended_at: (engine.host.now)(),
                exit_code: probed.exit_code,
                output: probed.output,
            }
        }));
    }

    /// Takes a result in; none when the check panicked, which was logged.
    pub(crate) async fn conclude_check(&mut self, result: Option<HealthResult>) {
        self.checks.running = None;
        let view = self.view();
        let known = (&view.spec.health_check, view.health.as_deref());
        let ((Some(check), Some(before)), Some(result)) = (known, result) else {
            self.resume_checks();
            return;
        };
        tracing::debug!(exit_code = result.exit_code, "its health was checked");
        let after = health::take_in(check, before, result);
        let (status, streak) = (after.status, after.failing_streak);
        let changed = status != before.status;
        let action = changed.then(|| Action::HealthStatus(status.as_str()));
        self.set_health(after, action).await;
        self.resume_checks();
        if streak == check.retries() {
            tracing::warn!("it is unhealthy");
            self.restart_unhealthy().await;
        }
    }

    /// As a client's restart, where the container asks for that; nobody waits for its answer. One
    /// that a client is ending now is let be.
    async fn restart_unhealthy(&mut self) {
        let asks = health::restarts_when_unhealthy(&self.view().spec.labels);
        if !asks || self.ends_by_request || self.stopping.is_some() {
            return;
        }
        let nobody = tokio::sync::oneshot::channel().0;
        self.stop(StopContainer::default(), AfterExit::Restart(nobody))
            .await;
    }

    /// Writes what is known, tells of it, and publishes it whether it could be written or not.
    async fn set_health(&mut self, health: Health, action: Option<Action>) {
        let mut events = std::mem::take(&mut self.checks.untold);
        events.extend(action.map(|action| self.event(&action)));
        let status = health.status;
        let view = ContainerView {
            health: Some(Arc::new(health.clone())),
            ..(*self.view()).clone()
        };
        let (handle, published) = (self.handle.clone(), view.clone());
        let ledger = self.engine.ledger.telling(events.clone());
        let ledger = ledger.applying(move || handle.publish(published.clone()));
        drop(failpoint::reach(Point::HealthSeen).await);
        if let Err(e) = ledger.put_health(self.handle.id(), &health).await {
            tracing::warn!(error = %e, "its health was not written");
            self.checks.untold = events;
        }
        drop(failpoint::reach(Point::HealthWritten).await);
        self.handle.publish(view);
        self.handle.advance(|l| l.health = Some(status));
    }
}

impl crate::Shared {
    /// Where a further process of a container runs.
    ///
    /// # Errors
    /// A runtime that is configured no more.
    pub fn target(&self, view: &ContainerView) -> model::Result<Target> {
        Ok(Target {
            spec: self.in_force(view),
            rootfs: view.paths.tree.merged.clone(),
            runtime: self.runtime_of(view)?,
        })
    }
}
