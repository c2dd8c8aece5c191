//! The size of a container's terminal.

use model::Result;
use rules::Operation;
use runtime::{Ctl, Task};

use crate::actor::{Actor, answer};
use crate::check;
use crate::handle::Reply;

impl Actor {
    /// Changes it beside what else is to do: conmon may take its time.
    pub(crate) fn resize(&self, height: u16, width: u16, reply: Reply<()>) {
        match self.ctl_for_resize() {
            Ok(Some(ctl)) => {
                let (engine, view) = (self.engine.clone(), self.view());
                tokio::spawn(async move {
                    let resized = ctl.resize(height, width).await;
                    if resized.is_ok() {
                        engine.tell_resize(&view, height, width).await;
                    }
                    answer(reply, resized);
                });
            }
            Ok(None) => answer(reply, Ok(())),
            Err(e) => answer(reply, Err(e)),
        }
    }

    fn ctl_for_resize(&self) -> Result<Option<Ctl>> {
        check(&self.view(), Operation::Resize)?;
        self.task.as_ref().map(Task::ctl).transpose()
    }
}
