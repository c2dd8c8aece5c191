//! Exec sessions: a further process in a running container, under a conmon of its own.
//!
//! ```text
//!  prepare: dirs, process.json (0600) -> pipes -> conmon -> start byte -> {"data": 0} on the
//!           attach pipe: its socket listens, nothing runs                      [`PreparedExec`]
//!  start:   second start byte -> {"data": pid} -> pidfds -> process.json gone  [`ExecTask`]
//!  exit:    as a container's
//! ```
//!
//! Attached before the command runs, a client loses nothing of it. The container's own spec is
//! not looked at: what is to run comes as a whole OCI process object.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{
    ContainerId, Context, Error, ExecId, ExitReason, ExitStatus, ProcessRef, Result, Signal,
    Timestamp,
};
use sys::pidfd::PidFd;
use sys::spawn::Descriptors;
use tokio::time::Instant;

use crate::cleanup::{KILLED_CONMON_GRACE, conmon_by};
use crate::conmon::{Features, Stdin};
use crate::ctl::Ctl;
use crate::exit::{ExitFile, ExitReport};
use crate::layout::{remove_dir, remove_file};
use crate::watched::{Monitor, Parts, Subject, TaskEvent, Watched};
use crate::{RuntimeName, Runtimes};

/// How long conmon may take to be gone after its process has ended. It writes nothing that
/// matters any more, but its directory is removed under it.
const CONMON_END_PATIENCE: Duration = Duration::from_secs(2);

/// How often the pid file of a start that is under way is looked for, after a restart.
const PID_FILE_PAUSE: Duration = Duration::from_millis(20);

/// A process to be run in a running container.
#[derive(Debug, Clone)]
pub struct CreateExec {
    /// The session's id; must not be in use.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// Its OCI runtime.
    pub runtime: RuntimeName,
    /// The OCI process object. It may hold secrets: it is in a file of root's while the runtime
    /// reads it, and nowhere else.
    pub process_json: Vec<u8>,
    /// A log of its own; its directory must be there. `None` keeps nothing.
    pub log_path: Option<PathBuf>,
    /// A terminal. The process object's `terminal` must say the same.
    pub tty: bool,
    /// What becomes of stdin.
    pub stdin: Stdin,
    /// Its container has no cgroup of its own.
    pub no_cgroups: bool,
    /// Whose the pipes of its output are to be; see [`crate::CreateTask`].
    pub output_owner: Option<(u32, u32)>,
    /// What it has open besides its streams, from 3 up.
    pub descriptors: Descriptors,
}

/// A running exec.
#[derive(Debug)]
pub struct ExecTask {
    watched: Watched,
}

impl ExecTask {
    pub(crate) fn new(watched: Watched) -> Self {
        Self { watched }
    }

    /// Its process.
    pub fn process(&self) -> ProcessRef {
        self.watched.process()
    }

    /// Its conmon; `None` once that is gone.
    pub fn monitor(&self) -> Option<ProcessRef> {
        self.watched.monitor()
    }

    /// conmon's attach socket.
    pub fn attach_socket(&self) -> PathBuf {
        self.watched.attach_socket()
    }

    /// Sends a signal, through the pidfd: at once and never to a stranger.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.watched.signal(signal)
    }

    /// The way to its conmon, for whoever wants its terminal resized or its log rotated.
    ///
    /// # Errors
    /// Conflict when it has ended.
    pub fn ctl(&self) -> Result<Ctl> {
        self.watched.ctl()
    }

    /// The next event; after [`TaskEvent::Exited`] that one again. Cancel-safe.
    pub async fn next_event(&mut self) -> TaskEvent {
        self.watched.next_event().await
    }

    /// Waits a moment for conmon to be gone, after the end of the process.
    pub async fn monitor_gone(&self) {
        self.watched.monitor_gone(CONMON_END_PATIENCE).await;
    }
}

/// A session as the ledger remembers it.
#[derive(Debug, Clone)]
pub struct AdoptExec {
    /// Its id.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// Its process; `None` for one whose start nobody saw the end of.
    pub process: Option<ProcessRef>,
    /// Its conmon, when it was known.
    pub monitor: Option<ProcessRef>,
}

/// What became of a session.
#[derive(Debug)]
pub enum AdoptedExec {
    /// It lives.
    Running(Box<ExecTask>),
    /// It has ended.
    Exited(ExitReport),
}

impl Runtimes {
    /// Finds a session of before again.
    ///
    /// # Errors
    /// System, when the kernel or the exit file cannot be asked.
    pub async fn adopt_exec(&self, request: AdoptExec) -> Result<AdoptedExec> {
        let subject = self.exec_subject(&request.id, &request.container);
        let exits = self.watch_exec_exit(&request.id, &request.container);
        let monitor = match request.monitor {
            Some(process) => PidFd::open_exact(process).context("cannot open conmon's process")?,
            None => self.find_exec_conmon(&request.id),
        };
        let process = match (request.process, &monitor) {
            (Some(process), _) => PidFd::open_exact(process).context("cannot open the process")?,
            (None, Some(conmon)) => match self.awaited_process(&request.id, conmon).await? {
                None => self.orphan(&request.id, &request.container)?,
                found => found,
            },
            (None, None) => self.orphan(&request.id, &request.container)?,
        };
        let lost = monitor.is_none();
        if let Some(init) = process {
            self.remove_process_file(&request.id);
            let features = self.features().await;
            let parts = Parts {
                subject,
                resize_limit: features
                    .unwrap_or_else(|_| Features::of_version(""))
                    .resize_limit,
                init,
                monitor: monitor.map(|process| Monitor::new(Some(process), None)),
                exits,

                notify: None,
                lost,
            };
            let task = ExecTask::new(Watched::new(parts));
            return Ok(AdoptedExec::Running(Box::new(task)));
        }
        if let Some(conmon) = monitor {
            // It is about to write the exit file, or it waits for a start that will not come.
            let ended = tokio::time::timeout(self.inner.config.exit_file_timeout, conmon.exited());
            if ended.await.is_err() {
                self.kill_exec(&request.id, &conmon).await;
            }
        }
        let path = &subject.exit_file;
        let file = ExitFile::read(path).context(format_args!("cannot read {}", path.display()))?;
        let (status, finished_at) = match file {
            Some(file) => (file.status, file.written_at),
            None => (ExitStatus::Unknown(ExitReason::Vanished), Timestamp::now()),
        };
        Ok(AdoptedExec::Exited(ExitReport {
            status,
            finished_at,
            oom_killed: false,
        }))
    }

    /// The process of a start whose end nobody saw. conmon took the end of its daemon for the
    /// word to go on, so the pid file comes, or conmon ends; as late as any start may be.
    async fn awaited_process(&self, id: &ExecId, conmon: &PidFd) -> Result<Option<PidFd>> {
        let give_up = Instant::now() + self.inner.config.create_timeout;
        loop {
            let found = self.reported_process(id, conmon)?;
            if found.is_some() || Instant::now() > give_up {
                return Ok(found);
            }
            if tokio::time::timeout(PID_FILE_PAUSE, conmon.exited())
                .await
                .is_ok()
            {
                return Ok(None);
            }
        }
    }

    /// The process in the pid file, when its parent is conmon.
    fn reported_process(&self, id: &ExecId, conmon: &PidFd) -> Result<Option<PidFd>> {
        let files = self.inner.layout.exec(id);
        let Ok(pid) = crate::cleanup::read_pid_file(&files.pidfile) else {
            return Ok(None);
        };
        let found = PidFd::open(pid).context("cannot open the process")?;
        let parent = sys::proc::stat(pid).context("cannot look at the process")?;
        let is_its = parent.is_some_and(|s| s.parent == conmon.process().pid.get());
        Ok(found.filter(|_| is_its))
    }

    /// The process of a start whose conmon ended when it could not report to a daemon that was
    /// gone. Nobody's child any more, so it counts when it is in the container's cgroup and was
    /// there before its pid was written down: who got the pid again came later.
    fn orphan(&self, id: &ExecId, container: &ContainerId) -> Result<Option<PidFd>> {
        let pidfile = self.inner.layout.exec(id).pidfile;
        let Ok(pid) = crate::cleanup::read_pid_file(&pidfile) else {
            return Ok(None);
        };
        let read = "cannot look at the process";
        let written = std::fs::metadata(&pidfile)
            .and_then(|file| file.modified())
            .context(read)?;
        let Some(process) = PidFd::open(pid).context(read)? else {
            return Ok(None);
        };
        let cgroups = sys::proc::cgroups(pid).context(read)?.unwrap_or_default();
        let is_inside = cgroups
            .iter()
            .any(|c| c.path.to_string_lossy().contains(container.as_str()));
        let age = sys::proc::age(process.process().start_ticks) + PID_FILE_PAUSE;
        let was_there = written.elapsed().is_ok_and(|since| age >= since);
        Ok(Some(process).filter(|_| is_inside && was_there))
    }

    /// Takes away what a session has on the host: its process and its conmon, if they still live,
    /// and its files.
    pub async fn discard_exec(&self, id: &ExecId) {
        if let Some(conmon) = self.find_exec_conmon(id) {
            self.kill_exec(id, &conmon).await;
        }
        let (this, id) = (self.clone(), id.clone());
        let removal = tokio::task::spawn_blocking(move || this.remove_exec_files(&id));
        if let Err(e) = removal.await {
            tracing::error!(error = %e, "an exec's files were not removed");
        }
    }

    /// Kills a session's process, if conmon has one, and conmon. The process first: without its
    /// conmon nobody can tell whose it is.
    async fn kill_exec(&self, id: &ExecId, conmon: &PidFd) {
        match self.reported_process(id, conmon) {
            Ok(Some(process)) => drop(process.signal(Signal::KILL)),
            Ok(None) => {}
            Err(e) => tracing::warn!(exec = %id, error = %e, "its process may live on"),
        }
        if conmon.signal_group(Signal::KILL).is_ok() {
            let _ = tokio::time::timeout(KILLED_CONMON_GRACE, conmon.exited()).await;
        }
    }

    /// The process object has secrets in it, and has been read.
    pub(crate) fn remove_process_file(&self, id: &ExecId) {
        let path = Self::exec_process_file(&self.inner.layout.exec(id).dir);
        if let Err(e) = remove_file(&path) {
            tracing::warn!(exec = %id, error = %e, "process.json is still there");
        }
    }

    /// Removes the files of a session whose conmon is gone. Blocks.
    pub fn remove_exec_files(&self, id: &ExecId) {
        let layout = &self.inner.layout;
        let socket = layout.sockets().join(id.as_str());
        if let Err(e) = remove_file(&socket) {
            tracing::warn!(path = %socket.display(), error = %e, "cannot be removed");
        }
        for dir in [layout.exec(id).dir, layout.exec_exit_dir(id)] {
            if let Err(e) = remove_dir(&dir) {
                tracing::warn!(path = %dir.display(), error = %e, "cannot be removed");
            }
        }
    }

    /// The sessions that have files here. Blocks.
    pub fn exec_files(&self) -> BTreeSet<ExecId> {
        let layout = &self.inner.layout;
        let dirs = [layout.execs(), layout.exits().join("execs")];
        let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok());
        let id = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        entries.flatten().flatten().filter_map(id).collect()
    }

    pub(crate) fn exec_subject(&self, id: &ExecId, container: &ContainerId) -> Subject {
        Subject {
            what: format!("exec {id}"),
            bundle: self.inner.layout.exec(id).dir,
            exit_file: self.inner.layout.exec_exit_dir(id).join(container.as_str()),
            persist: None,
            patience: self.inner.config.exit_file_timeout,
        }
    }

    pub(crate) fn find_exec_conmon(&self, id: &ExecId) -> Option<PidFd> {
        conmon_by(&self.inner.layout.exec(id).conmon_pidfile, id.as_str())
    }

    /// The OCI process object's file.
    pub(crate) fn exec_process_file(dir: &Path) -> PathBuf {
        dir.join("process.json")
    }
}

/// A session that cannot be started, for a reason of the host's.
pub(crate) fn host_fault(error: &Error) -> Error {
    Error::new(
        error.kind(),
        format!("OCI runtime exec failed: {}", error.message()),
    )
}
