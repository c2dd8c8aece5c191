//! One process under a conmon of its own, watched to its end: a container's first process, or an
//! exec's.
//!
//! Four witnesses, by speed: the pidfd of the process, the exit file, the end of the sync pipe,
//! the pidfd of conmon. The end of an attach connection is none: it comes before the exit file.
//! conmon's end without an exit file is told ([`TaskEvent::MonitorLost`]) and the process goes on;
//! its code then comes from the kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Error, ExitReason, ExitStatus, ProcessRef, Readiness, Result, Signal, Timestamp};
use sys::dir_watch::Watch;
use sys::pidfd::PidFd;
use sys::seqpacket::Pipe;
use tokio::time::Instant;

use crate::ctl::Ctl;
use crate::exit::{ExitFile, ExitReport, ask_kernel, kept_by_kernel, weigh};
use crate::notify::NotifySocket;

/// What a watched process tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// conmon is gone while the process lives: no log, no attach any more. Told once.
    MonitorLost,
    /// What it says by sd_notify has changed to this; told at most once a second.
    Notified(Readiness),
    /// The process has ended. The last event.
    Exited(ExitReport),
}

/// What is watched, and where its conmon writes.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// `container ID` or `exec ID`, for messages.
    pub(crate) what: String,
    /// conmon's bundle: attach, ctl.
    pub(crate) bundle: PathBuf,
    /// conmon's exit file.
    pub(crate) exit_file: PathBuf,
    /// Where conmon tells of the out-of-memory killer, besides the bundle.
    pub(crate) persist: Option<PathBuf>,
    /// How long conmon's exit file is waited for.
    pub(crate) patience: Duration,
}

/// A process and its witnesses.
#[derive(Debug)]
pub(crate) struct Watched {
    subject: Subject,
    ctl: Ctl,
    init: PidFd,
    monitor: Option<Monitor>,
    monitor_process: Option<ProcessRef>,
    exits: Option<Watch>,
    notify: Option<NotifySocket>,
    /// conmon's end was seen and is still to be told.
    lost: bool,
    /// An exit file was found while the process ran: it proves nothing.
    distrust_file: bool,
    ended_at: Option<Instant>,
    report: Option<ExitReport>,
}

/// What a [`Watched`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) subject: Subject,
    /// conmon ignores large sizes of terminals.
    pub(crate) resize_limit: bool,
    pub(crate) init: PidFd,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) exits: Option<Watch>,
    pub(crate) notify: Option<NotifySocket>,
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

impl Watched {
    pub(crate) fn new(parts: Parts) -> Self {
        let process = |m: &Monitor| m.process.as_ref().map(PidFd::process);
        let subject = parts.subject;
        let fifo = subject.bundle.join("ctl");
        Self {
            ctl: Ctl::new(subject.what.clone(), fifo, parts.resize_limit),
            subject,
            init: parts.init,
            monitor_process: parts.monitor.as_ref().and_then(process),
            monitor: parts.monitor,
            exits: parts.exits,
            notify: parts.notify,
            lost: parts.lost,
            distrust_file: false,
            ended_at: None,
            report: None,
        }
    }

    pub(crate) fn bundle(&self) -> &Path {
        &self.subject.bundle
    }

    pub(crate) fn process(&self) -> ProcessRef {
        self.init.process()
    }

    pub(crate) fn monitor(&self) -> Option<ProcessRef> {
        self.monitor_process
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.init.has_exited().unwrap_or(false)
    }

    pub(crate) fn attach_socket(&self) -> PathBuf {
        self.subject.bundle.join("attach")
    }

    /// Resolves when conmon is gone, or was all the time; after `patience` in any case.
    pub(crate) async fn monitor_gone(&self, patience: Duration) {
        if let Some(monitor) = &self.monitor {
            let _ = tokio::time::timeout(patience, monitor.gone()).await;
        }
    }

    /// Sends a signal to the first process, through its pidfd: at once and never to a stranger.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.init
            .signal(signal)
            .map_err(|e| match e.raw_os_error() {
                // ESRCH
                Some(3) => Error::conflict(format!("{} is not running", self.subject.what)),
                _ => Error::system(format!(
                    "cannot send {signal} to {}: {e}",
                    self.subject.what
                )),
            })
    }

    /// The way to its conmon.
    ///
    /// # Errors
    /// Conflict when the process has ended: conmon reads its fifo a little longer.
    pub(crate) fn ctl(&self) -> Result<Ctl> {
        if self.has_ended() {
            let what = &self.subject.what;
            return Err(Error::conflict(format!("{what} is not running")));
        }
        Ok(self.ctl.clone())
    }

    /// The next event; after [`TaskEvent::Exited`] that one again. Cancel-safe, and the engine
    /// is meant to drop it often, in a `select!`.
    pub(crate) async fn next_event(&mut self) -> TaskEvent {
        loop {
            if let Some(report) = &self.report {
                // Its last word comes before its end.
                let last = self.notify.take().and_then(NotifySocket::last_word);
                return match last {
                    Some(readiness) => TaskEvent::Notified(readiness),
                    None => TaskEvent::Exited(report.clone()),
                };
            }
            if self.look().await {
                continue;
            }
            if std::mem::take(&mut self.lost) {
                return TaskEvent::MonitorLost;
            }
            if let Some(readiness) = self.wait().await {
                return TaskEvent::Notified(readiness);
            }
        }
    }

    /// Looks at everything there is to see; true when the end was found. Only the last step, of
    /// a container that has ended, waits, and a cancelled one is looked for again.
    async fn look(&mut self) -> bool {
        let ended = self.init.has_exited().unwrap_or(false);
        let file = match ExitFile::read(&self.subject.exit_file) {
            Ok(file) => file,
            Err(e) => {
                tracing::warn!(of = self.subject.what, error = %e, "the exit file cannot be read");
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
            let status = weigh(
                &file.status,
                !self.distrust_file,
                kept_by_kernel(&self.init),
            );
            self.report = Some(self.report(status, file.written_at));
            return true;
        }
        let ended_at = *self.ended_at.get_or_insert_with(Instant::now);
        if self.monitor.is_some() && ended_at.elapsed() < self.subject.patience {
            return false;
        }
        let status = ask_kernel(&self.init).await.map_or(
            ExitStatus::Unknown(ExitReason::MonitorDied),
            ExitStatus::from_wait_status,
        );
        if let Some(monitor) = self.monitor.take() {
            tracing::warn!(
                of = self.subject.what,
                "conmon wrote no exit file and is killed"
            );
            monitor.kill();
        }
        self.report = Some(self.report(status, Timestamp::now()));
        true
    }

    /// Waits until there may be something new to see, or something was said.
    async fn wait(&mut self) -> Option<Readiness> {
        let ended = self.ended_at;
        let patience = self.subject.patience;
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
        let said = async {
            match &mut self.notify {
                Some(notify) => notify.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            readiness = said => return Some(readiness),
            () = init => {}
            () = file => {}
            () = monitor => {
                self.monitor = None;
                self.monitor_process = None;
                // Told only if the container outlived it: the next look decides.
                self.lost = true;
            }
        }
        None
    }

    fn report(&self, status: ExitStatus, finished_at: Timestamp) -> ExitReport {
        ExitReport {
            status,
            finished_at,
            oom_killed: saw_oom(self.subject.persist.as_deref(), &self.subject.bundle),
        }
    }
}

/// conmon leaves an empty file `oom` in its persist dir and in its working directory.
pub(crate) fn saw_oom(persist: Option<&Path>, bundle: &Path) -> bool {
    let dirs = persist.into_iter().chain([bundle]);
    dirs.into_iter().any(|dir| dir.join("oom").exists())
}
