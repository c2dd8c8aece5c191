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
        let table = select(&String::from_utf8_lossy(&finished.stdout), &pids)?;
        let event = self.inner.container_event(&view, &Action::Top);
        self.inner.tell(event).await;
        Ok(table)
    }
}

/// Keeps the rows of `ps` output whose PID is one of `pids`.
fn select(output: &str, pids: &BTreeSet<u32>) -> Result<ProcessTable> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|t| t == "PID")
        .ok_or_else(|| Error::system("Couldn't find PID field in ps output"))?;
    let processes = lines
        .filter_map(|line| {
            let row = fields(line, titles.len());
            let pid: u32 = row.get(column)?.parse().ok()?;
            pids.contains(&pid).then_some(row)
        })
        .collect();
    Ok(ProcessTable { titles, processes })
}

/// Splits a row into `columns` fields; the last one keeps its blanks, being the command line.
fn fields(line: &str, columns: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut row = Vec::with_capacity(columns);
    while row.len() + 1 < columns && !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        row.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        row.push(rest.trim_end().to_owned());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_pid_and_the_command_keeps_its_blanks() {
        let output = "UID  PID  PPID CMD\nroot 12 1 sleep  60\nroot 13 1 sh -c x\n";
        let table = select(output, &BTreeSet::from([12])).unwrap();
        assert_eq!(table.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(table.processes, [["root", "12", "1", "sleep  60"]]);
    }

    #[test]
    fn output_without_pids_is_refused() {
        let e = select("CMD\nsleep\n", &BTreeSet::new()).unwrap_err();
        assert_eq!(e.message(), "Couldn't find PID field in ps output");
    }
}
