//! `top`: what the host's `ps` says, cut down to one container's processes.

use std::collections::BTreeSet;

use model::{Action, Error, Result};
use rules::Operation;

use crate::Engine;
use crate::container::{ProcessTable, check};

impl Engine {
    /// A container's processes as `ps` shows them on the host; `ps_args` are for `ps`, `-ef`
    /// where empty.
    ///
    /// # Errors
    /// 404; 409 when it does not run; arguments that `ps` refuses or that hide the PID column.
    pub async fn top_container(&self, reference: &str, ps_args: &str) -> Result<ProcessTable> {
        rules::check_ps_args(ps_args)?;
        let view = self.container(reference)?;
        check(&view, Operation::Top)?;
        let gone = || Error::conflict(format!("container {} is not running", view.id));
        let running = view.state.running().ok_or_else(gone)?;
        let (runtimes, init) = (&self.shared.runtimes, running.init.pid);
        let pids = runtimes.processes(init, view.spec.no_cgroups)?;
        let pids: BTreeSet<u32> = pids.into_iter().map(model::Pid::get).collect();
        let output = survey::ps(&pids, ps_args).await?;
        let (titles, processes) = rules::select_processes(&output, &pids)?;
        let event = self.shared.container_event(&view, &Action::Top);
        self.shared.tell(event).await;
        Ok(ProcessTable { titles, processes })
    }
}
