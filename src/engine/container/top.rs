//! `top`: the host's `ps`, cut down to one container's processes (moby `daemon/top_unix.go`).
//!
//! `ps` runs on the host, never inside the container: nothing from a rootfs is run.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Action, Error, Result, limits};
use rules::Operation;
use sys::spawn::Program;

use crate::Engine;
use crate::container::{ProcessTable, check};

/// How long `ps` may take.
const PS_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// A container's processes as `ps` shows them on the host; `ps_args` are for `ps`, `-ef`
    /// where empty.
    ///
    /// # Errors
    /// 404; 409 when it does not run; arguments that `ps` refuses or that hide the PID column.
    pub async fn top_container(&self, reference: &str, ps_args: &str) -> Result<ProcessTable> {
        let view = self.container(reference)?;
        check(&view, Operation::Top)?;
        let Some(running) = view.state.running() else {
            return Err(Error::conflict(format!(
                "container {} is not running",
                view.id
            )));
        };
        let pids = self.inner.runtimes.processes(running.init.pid)?;
        let pids: BTreeSet<u32> = pids.into_iter().map(model::Pid::get).collect();
        let args = if ps_args.trim().is_empty() {
            "-ef"
        } else {
            ps_args
        };
        let ps = sys::host::find_program("ps").ok_or_else(|| {
            Error::system("ps was not found on this host: install the package procps")
        })?;
        let run = async |chosen: Option<String>| {
            let program = Program::new(&ps)
                .args(args.split_whitespace())
                .args(chosen)
                .output_max(limits::PS_OUTPUT_BYTES_MAX);
            program.run(PS_TIMEOUT).await
        };
        // Only ours, where `ps` and its arguments allow it (moby asks the same way).
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut finished = run(Some(format!("-q{}", list.join(",")))).await?;
        if !finished.status.success() {
            finished = run(None).await?;
        }
        if !finished.status.success() {
            return Err(Error::invalid(format!(
                "error running ps: {}",
                finished.message()
            )));
        }
        if finished.cut {
            return Err(Error::system(format!(
                "ps printed more than {} bytes: choose fewer columns",
                limits::PS_OUTPUT_BYTES_MAX
            )));
        }
        let output = String::from_utf8_lossy(&finished.stdout);
        let (titles, processes) = rules::select_processes(&output, &pids)?;
        let table = ProcessTable { titles, processes };
        let event = self.inner.container_event(&view, &Action::Top);
        self.inner.tell(event).await;
        Ok(table)
    }
}
