//! Freezing and thawing: a call of the runtime, one after the other with the container's other
//! work.

use model::{ContainerState, Result};
use rules::Operation;

use crate::container::actor::{Actor, Done, answer};
use crate::container::check;
use crate::container::handle::Reply;

impl Actor {
    /// Freezing and thawing: a call of the runtime.
    pub(crate) fn begin_freeze(&mut self, paused: bool, reply: Reply<()>) {
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
            let result = match engine.runtime_of(&view) {
                Ok(runtime) if paused => engine.runtimes.pause(&view.id, &runtime).await,
                Ok(runtime) => engine.runtimes.resume(&view.id, &runtime).await,
                Err(e) => Err(e),
            };
            Done::Freeze {
                paused,
                result,
                reply,
            }
        });
    }

    /// Thaws without being asked to. While a job is under way nothing is done: if that is a
    /// pause, its end sees that the container is to stop.
    pub(crate) fn begin_thaw(&mut self) {
        if !self.is_busy() {
            self.begin_freeze(false, tokio::sync::oneshot::channel().0);
        }
    }

    pub(crate) async fn conclude_freeze(&mut self, paused: bool, result: Result<()>) -> Result<()> {
        if let Err(e) = &result {
            tracing::warn!(error = %e, paused, "not frozen or thawed");
        }
        result?;
        if let ContainerState::Running(running) = &self.view().state {
            let state = ContainerState::Running(model::Running {
                paused,
                ..running.clone()
            });
            self.set_state(state, None).await?;
        }
        if paused && self.stopping.is_some() {
            self.begin_thaw();
        }
        Ok(())
    }
}
