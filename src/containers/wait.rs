//! Waiting for a container: the exit status as a value that outlives the container.
//!
//! Every container publishes its [`Lifecycle`] to a watch channel. A [`Waiter`] holds a receiver
//! from the moment it was armed, so neither an exit before the response head is out nor a removal
//! right after the exit can be missed, and the value stays readable when the row is gone.

use tokio::sync::watch;

use model::{HealthStatus, WaitOutcome};

use crate::WaitCondition;

/// What waiters need to know, published by the container's task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// Whether its process lives.
    pub(crate) running: bool,
    /// What the checks of the present run have found.
    pub(crate) health: Option<HealthStatus>,
    /// How many exits there have been in this daemon's life.
    pub(crate) exits: u64,
    /// The last exit, or the last failed start; `None` when it never ran.
    pub(crate) last: Option<WaitOutcome>,
    /// It is gone.
    pub(crate) removed: bool,
    /// A removal that failed, for those who wait for one.
    pub(crate) removal_error: Option<String>,
}

impl Lifecycle {
    /// A container that never ran answers 0, as Docker's does.
    fn outcome(&self) -> WaitOutcome {
        self.last.clone().unwrap_or(WaitOutcome {
            status_code: 0,
            error: None,
        })
    }
}

/// An armed wait: whatever happens after it was made is seen.
#[derive(Debug)]
pub struct Waiter {
    lifecycle: watch::Receiver<Lifecycle>,
    condition: WaitCondition,
    /// Exits seen when the wait was armed.
    exits_before: u64,
}

impl Waiter {
    pub(crate) fn new(lifecycle: watch::Receiver<Lifecycle>, condition: WaitCondition) -> Self {
        let exits_before = lifecycle.borrow().exits;
        Self {
            lifecycle,
            condition,
            exits_before,
        }
    }

    /// Resolves when the condition holds.
    pub async fn finished(mut self) -> WaitOutcome {
        let (condition, before) = (self.condition, self.exits_before);
        let holds = |l: &Lifecycle| match condition {
            WaitCondition::NotRunning => !l.running || l.exits > before || l.removed,
            WaitCondition::NextExit => l.exits > before || l.removed,
            WaitCondition::Removed => l.removed || l.removal_error.is_some(),
            WaitCondition::Healthy => {
                // One that has ended is not waited for; one that never ran may be started.
                let is_over = !l.running && l.last.is_some();
                l.health == Some(HealthStatus::Healthy) || l.exits > before || l.removed || is_over
            }
        };
        match self.lifecycle.wait_for(holds).await {
            Ok(lifecycle) if condition == WaitCondition::Healthy => became_healthy(&lifecycle),
            Ok(lifecycle) => {
                let mut outcome = lifecycle.outcome();
                if condition == WaitCondition::Removed && !lifecycle.removed {
                    outcome.error.clone_from(&lifecycle.removal_error);
                }
                outcome
            }
            Err(_) => WaitOutcome {
                status_code: -1,
                error: Some("the daemon is shutting down".to_owned()),
            },
        }
    }
}

/// A wait for health that is over: well, or ended before it was.
fn became_healthy(lifecycle: &Lifecycle) -> WaitOutcome {
    if lifecycle.health == Some(HealthStatus::Healthy) {
        return WaitOutcome {
            status_code: 0,
            error: None,
        };
    }
    WaitOutcome {
        error: Some("the container ended before it was healthy".to_owned()),
        ..lifecycle.outcome()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i64, exits: u64) -> Lifecycle {
        let last = Some(WaitOutcome {
            status_code: code,
            error: None,
        });
        Lifecycle {
            exits,
            last,
            ..Lifecycle::default()
        }
    }

    #[tokio::test]
    async fn an_exit_between_arming_and_asking_is_seen() {
        let (sender, receiver) = watch::channel(Lifecycle {
            running: true,
            ..Lifecycle::default()
        });
        let next = Waiter::new(receiver.clone(), WaitCondition::NextExit);
        let removed = Waiter::new(receiver, WaitCondition::Removed);
        sender.send_replace(exited(7, 1));
        assert_eq!(next.finished().await.status_code, 7);
        sender.send_replace(Lifecycle {
            removed: true,
            ..exited(7, 1)
        });
        drop(sender);
        assert_eq!(removed.finished().await.status_code, 7);
    }

    #[tokio::test]
    async fn what_never_ran_is_not_running_with_code_zero() {
        let (_sender, receiver) = watch::channel(Lifecycle::default());
        let outcome = Waiter::new(receiver, WaitCondition::NotRunning)
            .finished()
            .await;
        assert_eq!(
            outcome,
            WaitOutcome {
                status_code: 0,
                error: None
            }
        );
    }

    #[tokio::test]
    async fn a_failed_removal_is_told() {
        let failed = Lifecycle {
            removal_error: Some("busy".into()),
            ..exited(0, 1)
        };
        let (_sender, receiver) = watch::channel(failed);
        let outcome = Waiter::new(receiver, WaitCondition::Removed)
            .finished()
            .await;
        assert_eq!(outcome.error.as_deref(), Some("busy"));
    }
}
