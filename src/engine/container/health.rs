//! Health checks of one container: when they are due, and what their results do.
//!
//! A check is a task beside the container's job, so neither waits for the other; its result comes
//! back here. What a result means is `rules::health`'s, running one is `execs`'. Without a check
//! that is due this costs a timer.

use std::sync::Arc;
use std::time::Duration;

use execs::Target;
use failpoint::Point;
use model::{Action, Health, HealthResult, HealthStatus, Timestamp};
use rules::health;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::container::actor::{Actor, AfterExit};
use crate::container::{ContainerView, StopContainer};

/// The checks of one container.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// When the next one is due; `None` while there are to be none.
    pub(crate) due: Option<Instant>,
    /// The one that runs. Let go of, it ends by itself.
    pub(crate) running: Option<JoinHandle<HealthResult>>,
}

impl Actor {
    /// A run has begun: nothing is known of its health yet.
    pub(crate) async fn begin_checks(&mut self, run_started_at: Timestamp) {
        let view = self.view();
        if view.spec.health_check.is_some() {
            let begun = health::beginning(view.health.as_deref(), run_started_at);
            self.set_health(begun, None).await;
        }
        self.resume_checks();
    }

    /// A run was found that goes on, and what was known of its health, if it was of this run.
    pub(crate) async fn take_back_checks(&mut self) {
        let view = self.view();
        let Some(running) = view.state.running() else {
            return;
        };
        let known = view.health.as_ref().map(|health| health.run_started_at);
        if known == Some(running.started_at) {
            self.resume_checks();
        } else {
            self.begin_checks(running.started_at).await;
        }
    }

    /// Checks go on, unless the container is paused or has none.
    pub(crate) fn resume_checks(&mut self) {
        let view = self.view();
        let runs = view.state.running().is_some_and(|running| !running.paused);
        let pause = runs.then(|| self.next_check_in(&view)).flatten();
        self.checks.due = pause.and_then(|pause| Instant::now().checked_add(pause));
    }

    /// No more checks; the result of one that runs is nobody's.
    pub(crate) fn end_checks(&mut self) {
        self.checks = Checks::default();
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
        let status = after.status;
        let changed = status != before.status;
        let action = changed.then(|| Action::HealthStatus(status.as_str()));
        self.set_health(after, action).await;
        self.resume_checks();
        if changed && status == HealthStatus::Unhealthy {
            tracing::warn!("it is unhealthy");
            if health::restarts_when_unhealthy(&view.spec.labels) {
                self.restart_unhealthy().await;
            }
        }
    }

    /// As a client's restart; nobody waits for its answer.
    async fn restart_unhealthy(&mut self) {
        let nobody = tokio::sync::oneshot::channel().0;
        self.stop(StopContainer::default(), AfterExit::Restart(nobody))
            .await;
    }

    /// Writes what is known, tells of it, and publishes it whether it could be written or not.
    async fn set_health(&mut self, health: Health, action: Option<Action>) {
        let events = action.map(|action| self.event(&action));
        let ledger = self.engine.ledger.telling(events.into_iter().collect());
        drop(failpoint::reach(Point::HealthSeen).await);
        if let Err(e) = ledger.put_health(self.handle.id(), &health).await {
            tracing::warn!(error = %e, "its health was not written");
        }
        drop(failpoint::reach(Point::HealthWritten).await);
        let status = health.status;
        let mut view = (*self.view()).clone();
        view.health = Some(Arc::new(health));
        self.handle.publish(view);
        self.handle.advance(|l| l.health = Some(status));
    }
}

impl crate::Inner {
    /// Where a further process of a container runs.
    ///
    /// # Errors
    /// A runtime that is configured no more.
    pub(crate) fn target(&self, view: &ContainerView) -> model::Result<Target> {
        Ok(Target {
            spec: view.spec.clone(),
            rootfs: view.paths.merged.clone(),
            runtime: self.runtime_of(view)?,
        })
    }
}
