//! Restart policies: what follows an exit, the pause before the next start, and who may call it
//! off. The decisions are `rules::restart`'s.

use std::time::Duration;

use failpoint::Point;
use model::{Action, ContainerState, Event, Exited, Intent, RestartPolicy};
use rules::Operation;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actor::Actor;
use crate::check;

/// How long after a start that the ledger did not take it is tried again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a container is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartCause {
    /// A client wants it to run.
    Start,
    /// A client wants it to run anew.
    Restart,
    /// Its restart policy, after an exit or with the daemon.
    Policy,
}

impl StartCause {
    /// What is written before the first effect.
    pub(crate) fn intent(self) -> Intent {
        match self {
            Self::Restart => Intent::Restarting,
            Self::Start | Self::Policy => Intent::Starting,
        }
    }
}

/// A start that is to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartDue {
    pub(crate) at: Instant,
    pub(crate) cause: StartCause,
}

/// Resolves at a time, but not before all containers are taken back; never, without a time.
pub(crate) async fn due(recovered: CancellationToken, at: Option<Instant>) {
    match at {
        Some(at) => {
            recovered.cancelled().await;
            tokio::time::sleep_until(at).await;
        }
        None => std::future::pending().await,
    }
}

impl Actor {
    /// A container that was taken back, and its policy.
    pub(crate) fn resume_policy(&mut self, restart_asked_for: bool) {
        let view = self.view();
        self.delay = rules::delay_of(&view.state);
        let with_daemon = rules::starts_with_daemon(&view.spec.restart_policy, &view.state);
        if let Some(delay) = self.delay {
            self.start_later(delay, StartCause::Policy);
        } else if restart_asked_for && view.state.running().is_none() {
            self.start_later(Duration::ZERO, StartCause::Restart);
        } else if with_daemon {
            self.start_later(Duration::ZERO, StartCause::Policy);
        }
    }

    /// After an exit: the start, when one is to come.
    pub(crate) fn follow_policy(&mut self, state: &ContainerState) {
        if let Some(delay) = rules::delay_of(state) {
            tracing::info!(?delay, "its restart policy starts it again");
            self.delay = Some(delay);
            self.start_later(delay, StartCause::Policy);
        }
    }

    fn start_later(&mut self, delay: Duration, cause: StartCause) {
        let at = Instant::now() + delay;
        self.start_due = Some(StartDue { at, cause });
    }

    /// The start that was due.
    pub(crate) async fn begin_due_start(&mut self) {
        let Some(due) = self.start_due.take() else {
            return;
        };
        self.begin_start(vec![], due.cause).await;
        // The ledger did not take the promise: it may later.
        if !self.is_busy() && self.may_start() {
            self.start_later(START_AGAIN_AFTER, due.cause);
        }
    }

    fn may_start(&self) -> bool {
        self.task.is_none() && check(&self.view(), Operation::Restart).is_ok()
    }

    /// A client wants the container ended: no policy starts it again. Where there is one that is
    /// in the ledger before the signal is sent, for a daemon that comes after this one.
    pub(crate) async fn end_by_request(&mut self) {
        let view = self.view();
        let is_known = std::mem::replace(&mut self.ends_by_request, true);
        if !is_known && self.wants_end(&view.state) {
            self.write_wish().await;
            drop(failpoint::reach(Point::StopPromised).await);
        }
    }

    /// Writes the state as it is, with what follows from who wants its end now. Not written is no
    /// harm, and was logged.
    pub(crate) async fn write_wish(&mut self) {
        let state = self.view().state.clone();
        drop(self.set_state(state, None, vec![]).await);
    }

    /// Whether a container in `state` is to be ended and a policy must know that.
    pub(crate) fn wants_end(&self, state: &ContainerState) -> bool {
        let has_policy = self.view().spec.restart_policy != RestartPolicy::No;
        (self.ends_by_request || self.ends_by_checkpoint())
            && has_policy
            && state.running().is_some()
    }

    /// Calls off a start that is to come. False when none is.
    pub(crate) async fn call_off_start(&mut self, action: Option<&Action>) -> bool {
        let ContainerState::Restarting(restarting) = &self.view().state else {
            return false;
        };
        let last = Exited {
            by_request: true,
            ..restarting.last.clone()
        };
        let events = action.map(|action| self.event(action)).into_iter();
        let events = events.collect();
        self.rest(last, events).await;
        true
    }

    /// It stays as its last run left it: no start is to come.
    pub(crate) async fn rest(&mut self, last: Exited, events: Vec<Event>) {
        self.start_due = None;
        self.delay = None;
        let state = ContainerState::Exited(last);
        drop(self.set_state(state, None, events).await);
        self.handle.advance(|l| l.running = false);
    }
}
