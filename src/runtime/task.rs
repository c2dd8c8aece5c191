//! One created container, watched to its end.
//!
//! Four witnesses, by speed: the pidfd of its first process, the exit file, the end of the sync
//! pipe, the pidfd of conmon. The end of an attach connection is none: it comes before the exit
//! file. conmon's end without an exit file is told ([`TaskEvent::MonitorLost`]) and the container
//! goes on; its code then comes from the kernel.

use std::io;
use std::path::{Path, PathBuf};

use model::{ContainerId, Error, ExitReason, ExitStatus, ProcessRef, Result, Signal, Timestamp};
use sys::dir_watch::Watch;
use sys::pidfd::PidFd;
use sys::seqpacket::Pipe;
use tokio::time::Instant;

use crate::exit::{ExitFile, ExitReport, ask_kernel, weigh};
use crate::{RuntimeName, Runtimes};

/// Largest size of a terminal that conmon 2.2 takes.
const RESIZE_MAX: u16 = 1000;

/// What [`Task::next_event`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// conmon is gone while the container lives: no log, no attach any more. Told once.
    MonitorLost,
    /// The container's first process has ended. The last event.
    Exited(ExitReport),
}

/// A created or running container.
#[derive(Debug)]
pub struct Task {
    runtimes: Runtimes,
    id: ContainerId,
    runtime: RuntimeName,
    bundle: PathBuf,
    resize_limit: bool,
    init: PidFd,
    monitor: Option<Monitor>,
    monitor_process: Option<ProcessRef>,
    exits: Option<Watch>,
    /// conmon's end was seen and is still to be told.
    lost: bool,
    /// An exit file was found while the process ran: it proves nothing.
    distrust_file: bool,
    ended_at: Option<Instant>,
    report: Option<ExitReport>,
}

/// What a [`Task`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) id: ContainerId,
    pub(crate) runtime: RuntimeName,
    pub(crate) bundle: PathBuf,
    /// conmon ignores sizes above [`RESIZE_MAX`].
    pub(crate) resize_limit: bool,
    pub(crate) init: PidFd,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) exits: Option<Watch>,
    /// conmon is gone and nobody was told.
    pub(crate) lost: bool,
}

/// A living conmon.
#[derive(Debug)]
pub(crate) struct Monitor {
    process: Option<PidFd>,
    /// Only while the daemon that created the container lives.
    sync: Option<Pipe>,
}

impl Monitor {
    pub(crate) fn new(process: Option<PidFd>, sync: Option<Pipe>) -> Self {
        Self { process, sync }
    }

    /// Resolves when conmon is gone; its exit file, if it wrote one, is there then. Cancel-safe.
    pub(crate) async fn gone(&self) {
        let pipe = async {
            match &self.sync {
                Some(sync) => sync.closed().await,
                None => std::future::pending().await,
            }
        };
        let process = async {
            match &self.process {
                Some(process) => drop(process.exited().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pipe => {}
            () = process => {}
        }
    }

    /// Kills it, with its group: it hangs.
    pub(crate) fn kill(&self) {
        if let Some(process) = &self.process {
            // Its end is all that is wanted; gone already is fine.
            let _ = process.signal_group(Signal::KILL);
        }
    }
}

impl Task {
    pub(crate) fn new(runtimes: &Runtimes, parts: Parts) -> Self {
        let process = |m: &Monitor| m.process.as_ref().map(PidFd::process);
        Self {
            runtimes: runtimes.clone(),
            id: parts.id,
            runtime: parts.runtime,
            bundle: parts.bundle,
            resize_limit: parts.resize_limit,
            init: parts.init,
            monitor_process: parts.monitor.as_ref().and_then(process),
            monitor: parts.monitor,
            exits: parts.exits,
            lost: parts.lost,
            distrust_file: false,
            ended_at: None,
            report: None,
        }
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its OCI runtime.
    pub fn runtime(&self) -> &RuntimeName {
        &self.runtime
    }

    /// Its bundle.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Its first process: what the ledger stores.
    pub fn init(&self) -> ProcessRef {
        self.init.process()
    }

    /// Its conmon: what the ledger stores. `None` once that is gone.
    pub fn monitor(&self) -> Option<ProcessRef> {
        self.monitor_process
    }

    /// Whether its first process has ended, be it told as an event already or not.
    pub fn has_ended(&self) -> bool {
        self.init.has_exited().unwrap_or(false)
    }

    /// conmon's attach socket. The path may be longer than a socket address takes: connect
    /// through `sys::attach_socket`.
    pub fn attach_socket(&self) -> PathBuf {
        self.bundle.join("attach")
    }

    /// Starts the container's command.
    ///
    /// # Errors
    /// As [`Runtimes::start`].
    pub async fn start(&self) -> Result<(), crate::StartError> {
        self.runtimes
            .start(&self.id, &self.runtime, &self.bundle)
            .await
    }

    /// Sends a signal to the first process, through its pidfd: at once and never to a stranger.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.init
            .signal(signal)
            .map_err(|e| match e.raw_os_error() {
                // ESRCH
                Some(3) => Error::conflict(format!("container {} is not running", self.id)),
                _ => Error::system(format!(
                    "cannot send {signal} to container {}: {e}",
                    self.id
                )),
            })
    }

    /// Sends a signal to all its processes, where the container has no pid namespace of its own
    /// and the others would outlive the first (the seed's `--all`, without a process for it).
    ///
    /// # Errors
    /// As [`Task::signal`]. The others are signalled as far as they are found; what a fork hides
    /// meanwhile is killed with the cgroup when the container is deleted.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        let init = self.init.process().pid;
        let cgroups = &self.runtimes.inner.cgroups;
        let others = cgroups.signal_others(init, signal);
        let sent = self.signal(signal);
        if let Err(e) = others {
            tracing::warn!(container = %self.id, error = %e, "some processes got no signal");
        }
        sent
    }

    /// Sets the size of the container's terminal, before or after the start.
    ///
    /// # Errors
    /// Conflict when the container has ended or its conmon is gone.
    pub fn resize(&self, height: u16, width: u16) -> Result<()> {
        let not_running = || Error::conflict(format!("container {} is not running", self.id));
        // conmon reads its fifo a little longer than the container lives.
        if self.init.has_exited().unwrap_or(false) {
            return Err(not_running());
        }
        let most = if self.resize_limit {
            RESIZE_MAX
        } else {
            u16::MAX
        };
        let (height, width) = (height.min(most), width.min(most));
        let message = format!("1 {height} {width}\n");
        let ctl = self.bundle.join("ctl");
        sys::fifo::write_message(&ctl, message.as_bytes()).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => not_running(),
            _ => Error::system(format!("cannot resize container {}: {e}", self.id)),
        })
    }

    /// The next event; after [`TaskEvent::Exited`] that one again. Cancel-safe, and the engine
    /// is meant to drop it often, in a `select!`.
    pub async fn next_event(&mut self) -> TaskEvent {
        loop {
            if let Some(report) = &self.report {
                return TaskEvent::Exited(report.clone());
            }
            if self.look().await {
                continue;
            }
            if std::mem::take(&mut self.lost) {
                return TaskEvent::MonitorLost;
            }
            self.wait().await;
        }
    }

    /// Looks at everything there is to see; true when the end was found. Only the last step, of
    /// a container that has ended, waits, and a cancelled one is looked for again.
    async fn look(&mut self) -> bool {
        let ended = self.init.has_exited().unwrap_or(false);
        let file = match ExitFile::read(&self.runtimes.inner.layout.exit_file(&self.id)) {
            Ok(file) => file,
            Err(e) => {
                tracing::warn!(container = %self.id, error = %e, "the exit file cannot be read");
                None
            }
        };
        if !ended {
            // It may have ended, and its file been written, since it was looked at.
            self.distrust_file |= file.is_some() && !self.has_ended();
            return false;
        }
        // A file that proves nothing is no reason to be quicker than a living conmon.
        let believed = !self.distrust_file || self.monitor.is_none();
        if let Some(file) = file.filter(|_| believed) {
            let status = weigh(&file.status, !self.distrust_file, self.init.wait_status());
            self.report = Some(self.report(status, file.written_at));
            return true;
        }
        let ended_at = *self.ended_at.get_or_insert_with(Instant::now);
        if self.monitor.is_some()
            && ended_at.elapsed() < self.runtimes.inner.config.exit_file_timeout
        {
            return false;
        }
        let status = ask_kernel(&self.init).await.map_or(
            ExitStatus::Unknown(ExitReason::MonitorDied),
            ExitStatus::from_wait_status,
        );
        if let Some(monitor) = self.monitor.take() {
            tracing::warn!(container = %self.id, "conmon wrote no exit file and is killed");
            monitor.kill();
        }
        self.report = Some(self.report(status, Timestamp::now()));
        true
    }

    /// Waits until there may be something new to see.
    async fn wait(&mut self) {
        let ended = self.ended_at;
        let patience = self.runtimes.inner.config.exit_file_timeout;
        let init = async {
            match ended {
                None => drop(self.init.exited().await),
                Some(at) => tokio::time::sleep_until(at + patience).await,
            }
        };
        let file = async {
            match &mut self.exits {
                Some(exits) => drop(exits.next().await),
                None => std::future::pending().await,
            }
        };
        let monitor = async {
            match &self.monitor {
                Some(monitor) => monitor.gone().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = init => {}
            () = file => {}
            () = monitor => {
                self.monitor = None;
                self.monitor_process = None;
                // Told only if the container outlived it: the next look decides.
                self.lost = true;
            }
        }
    }

    fn report(&self, status: ExitStatus, finished_at: Timestamp) -> ExitReport {
        let persist = self.runtimes.inner.layout.persist(&self.id);
        ExitReport {
            status,
            finished_at,
            oom_killed: saw_oom(&persist, &self.bundle),
        }
    }
}

/// conmon leaves an empty file `oom` in its persist dir and in its working directory.
pub(crate) fn saw_oom(persist: &Path, bundle: &Path) -> bool {
    [persist, bundle].iter().any(|dir| dir.join("oom").exists())
}
