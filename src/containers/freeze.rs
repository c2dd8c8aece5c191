//! Freezing and thawing: a call of the runtime, one after the other with the container's other
//! work.

use failpoint::Point;
use model::{Action, ContainerState, Result};
use rules::Operation;

use crate::actor::{Actor, Done, answer};
use crate::check;
use crate::handle::Reply;

impl Actor {
    /// Freezing and thawing: a call of the runtime.
    pub(crate) async fn begin_freeze(&mut self, paused: bool, reply: Reply<()>) {
        self.notice_freeze().await;
        self.freeze(paused, reply);
        if !self.is_busy() {
            // It is frozen, which nobody knew, and to be ended.
            self.thaw_when_due(false).await;
        }
    }

    fn freeze(&mut self, paused: bool, reply: Reply<()>) {
        let operation = if paused {
            Operation::Pause
        } else {
            Operation::Unpause
        };
        if let Err(e) = check(&self.view(), operation) {
            answer(reply, Err(e));
            return;
        }
        let (engine, view) = (self.engine.clone(), self.view());
        self.begin(async move {
            let result = async {
                failpoint::reach(Point::FreezeBegun).await?;
                let runtime = engine.runtime_of(&view)?;
                match paused {
                    true => engine.runtimes.pause(&view.id, &runtime).await?,
                    false => engine.runtimes.resume(&view.id, &runtime).await?,
                }
                Ok(failpoint::reach(Point::FreezeDone).await?)
            }
            .await;
            Done::Freeze {
                paused,
                result,
                reply,
            }
        });
    }

    /// Thaws without being asked to.
    pub(crate) fn begin_thaw(&mut self) {
        self.freeze(false, tokio::sync::oneshot::channel().0);
    }

    /// Somebody else may have frozen or thawed it since: the kernel knows. Not while a call is under
    /// way that does so.
    pub(crate) async fn notice_freeze(&mut self) {
        let view = self.view();
        let (false, Some(running), Some(task)) = (self.is_busy(), view.state.running(), &self.task)
        else {
            return;
        };
        if view.spec.no_cgroups {
            return;
        }
        if let Ok(Some(frozen)) = self.engine.runtimes.is_paused(task.init().pid)
            && frozen != running.paused
        {
            tracing::info!(frozen, "somebody else has frozen or thawed it");
            drop(self.conclude_freeze(frozen, Ok(())).await);
        }
    }

    /// Takes in what a freeze or thaw did. Where it failed, the kernel says which of the two
    /// holds: a call that was killed at its deadline may have done its work.
    pub(crate) async fn conclude_freeze(&mut self, paused: bool, result: Result<()>) -> Result<()> {
        let mut now = paused;
        if let Err(e) = &result {
            tracing::warn!(error = %e, paused, "not frozen or thawed");
            let init = self.task.as_ref().map(|task| task.init().pid);
            let found = init.map(|pid| self.engine.runtimes.is_paused(pid));
            now = match found {
                Some(Ok(Some(frozen))) => frozen,
                _ => !paused,
            };
        }
        if let ContainerState::Running(running) = &self.view().state
            && running.paused != now
        {
            let state = ContainerState::Running(model::Running {
                paused: now,
                ..running.clone()
            });
            let action = match now {
                true => Action::Pause,
                false => Action::Unpause,
            };
            let event = self.event(&action);
            let written = self.set_state(state, None, vec![event]).await;
            drop(failpoint::reach(Point::FreezeWritten).await);
            match now {
                true => self.end_checks(),
                false => self.resume_checks(),
            }
            written?;
        }
        result
    }

    /// Whoever wanted it ended while a job was under way has signalled what is frozen, perhaps. Only
    /// what may have frozen it, or kept it so, is followed by a thaw: one that failed is not.
    pub(crate) async fn thaw_when_due(&mut self, was_thaw: bool) {
        let is_due = std::mem::take(&mut self.thaw_due) || self.stopping.is_some();
        if was_thaw || !is_due || self.task.is_none() {
            return;
        }
        self.notice_freeze().await;
        if !self.is_busy() && self.view().state.running().is_some_and(|r| r.paused) {
            self.begin_thaw();
        }
    }
}
