//! Taking a container up again after a restart of the daemon.
//!
//! The kernel is asked first (pid and start time), then the exit file. Watch first, then look:
//! what happens in between is seen by one of the two.

use std::path::PathBuf;

use model::{
    ContainerId, Context, Error, ExitReason, ExitStatus, ProcessRef, Readiness, Result, Timestamp,
};
use sys::dir_watch::Watch;
use sys::pidfd::PidFd;

use crate::conmon::Features;
use crate::conmon::launch::notify_socket;
use crate::exit::{ExitFile, ExitReport};
use crate::watched::{Monitor, Parts, Watched, saw_oom};
use crate::{RuntimeName, Runtimes, Task};

/// A container as the ledger remembers it.
#[derive(Debug, Clone)]
pub struct AdoptTask {
    /// Its id.
    pub id: ContainerId,
    /// Its OCI runtime.
    pub runtime: RuntimeName,
    /// Its first process; `None` when that is known to be gone.
    pub init: Option<ProcessRef>,
    /// Its conmon; `None` when that was known to be gone.
    pub monitor: Option<ProcessRef>,
    /// Its bundle.
    pub bundle: PathBuf,
    /// What it has said by sd_notify, if it speaks it.
    pub readiness: Option<Readiness>,
}

/// What became of it.
#[derive(Debug)]
pub enum Adopted {
    /// It lives. When its conmon does not, the first event says so.
    Running(Box<Task>),
    /// It has ended.
    Exited(ExitReport),
}

impl Runtimes {
    /// Finds a container of before again. The boot is the caller's to check: after a reboot
    /// nothing is to be adopted.
    ///
    /// # Errors
    /// System, when the kernel or the exit file cannot be asked; nothing is decided then.
    pub async fn adopt(&self, request: AdoptTask) -> Result<Adopted> {
        let mut exits = self.watch_exit(&request.id);
        let open = "cannot open the container's first process";
        let init = match request.init {
            Some(process) => PidFd::open_exact(process).context(open)?,
            None => None,
        };
        let monitor = match request.monitor {
            Some(process) => PidFd::open_exact(process).context("cannot open conmon's process")?,
            None => None,
        };
        let lost = request.monitor.is_some() && monitor.is_none();
        let monitor = monitor.map(|process| Monitor::new(Some(process), None));
        let Some(init) = init else {
            let ended = self.ended(&request, monitor, exits.as_mut()).await;
            return ended.map(Adopted::Exited);
        };
        // A conmon that is not installed any more cannot be asked; the container lives on.
        let features = self.features().await;
        let features = features.unwrap_or_else(|_| Features::of_version(""));
        // That it is not heard any more is no reason to lose it.
        let notify = request.readiness.and_then(|said| {
            let bound = notify_socket(&request.bundle, said);
            bound
                .inspect_err(|e| {
                    tracing::warn!(container = %request.id, error = %e, "its sd_notify is not heard");
                })
                .ok()
        });
        let parts = Parts {
            subject: self.subject(&request.id, &request.bundle),
            resize_limit: features.resize_limit,
            init,
            monitor,
            exits,
            notify,
            lost,
        };
        let watched = Watched::new(parts);
        let task = Task::new(self, request.id, request.runtime, watched);
        Ok(Adopted::Running(Box::new(task)))
    }

    /// The report on a process that is gone. Its conmon, while that lives, is about to write the
    /// exit file: it has collected the process and drains the last output.
    async fn ended(
        &self,
        request: &AdoptTask,
        monitor: Option<Monitor>,
        mut exits: Option<&mut Watch>,
    ) -> Result<ExitReport> {
        let layout = &self.inner.layout;
        let path = layout.exit_file(&request.id);
        let read = || ExitFile::read(&path).context(format_args!("cannot read {}", path.display()));
        let mut file = read()?;
        if let (None, Some(monitor)) = (&file, monitor) {
            let looked = async {
                // A wake-up may be for less than the file: look again until it is there.
                loop {
                    if let Some(file) = read()? {
                        return Ok::<_, Error>(file);
                    }
                    match exits.as_mut() {
                        Some(exits) => drop(exits.next().await),
                        None => std::future::pending().await,
                    }
                }
            };
            tokio::select! {
                found = looked => file = Some(found?),
                () = monitor.gone() => file = read()?,
                () = tokio::time::sleep(self.inner.config.exit_file_timeout) => {
                    tracing::warn!(container = %request.id, "conmon wrote no exit file and is killed");
                    monitor.kill();
                    file = read()?;
                }
            }
        }
        let (status, finished_at) = match file {
            Some(file) => (file.status, file.written_at),
            None => (ExitStatus::Unknown(ExitReason::Vanished), Timestamp::now()),
        };
        Ok(ExitReport {
            status,
            finished_at,
            oom_killed: saw_oom(Some(&layout.persist(&request.id)), &request.bundle),
        })
    }
}
