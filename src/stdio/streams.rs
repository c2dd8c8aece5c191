//! A container's streams: what its stdin is, its hub, and its log with its limits and faults.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::{
    ContainerId, ContainerSpec, Error, LogDriver, LogFaults, LogLimits, Result, Timestamp, limits,
};
use runtime::Task;
use streams::{
    FollowHandle, Hub, HubOptions, JournalLog, LogFiles, LogReader, LogSource, PayloadOptions,
    Rotation, SpillOptions, StdinPolicy, Subscription, Want, Word,
};
use sys::dir_watch::Watcher;
use tokio_util::sync::CancellationToken;

/// A container's streams: its hub, told once what its stdin is, and the word for those who
/// follow its log that a run is over.
#[derive(Debug)]
pub struct ContainerStreams {
    /// What it writes, for all who are attached.
    pub hub: Hub,
    stdin: StdinPolicy,
    /// Of the present run, or the last one; cancelled while there is none.
    run_over: Mutex<CancellationToken>,
    /// `None` where nothing is kept.
    log: Option<LogFiles>,
    /// Where it is kept there.
    journal: Option<JournalLog>,
    log_limits: Option<LogLimits>,
    log_faults: Mutex<LogFaults>,
}

impl ContainerStreams {
    /// Of the container that is `spec`, whose log is kept at `log` where it has files.
    pub fn of(
        id: &ContainerId,
        spec: &ContainerSpec,
        log: Option<PathBuf>,
        spill: &SpillOptions,
    ) -> Self {
        let stdin = match (spec.open_stdin, spec.stdin_once, spec.tty) {
            // The runtimes give the input to the container's user.
            (false, _, false) if spec.id_maps.is_some() => StdinPolicy::Ended,
            (false, _, _) => StdinPolicy::None,
            (true, true, false) => StdinPolicy::Once,
            (true, _, _) => StdinPolicy::Keep,
        };
        let options = HubOptions {
            tty: spec.tty,
            stdin,
            ring_bytes: limits::CLIENT_RING_BYTES,
            spill: Some(spill.clone()),
            history: None,
        };
        let over = CancellationToken::new();
        over.cancel();
        Self {
            hub: Hub::new(options),
            stdin,
            run_over: Mutex::new(over),
            log: log.map(LogFiles::new),
            journal: (spec.log.driver == LogDriver::Journald).then(|| JournalLog::new(id.as_str())),
            // Checked when the container was made.
            log_limits: spec.log.limits().unwrap_or_default(),
            log_faults: Mutex::default(),
        }
    }

    /// What conmon must be told about stdin.
    pub fn stdin(&self) -> runtime::Stdin {
        match self.stdin {
            StdinPolicy::None => runtime::Stdin::Closed,
            StdinPolicy::Once | StdinPolicy::Ended => runtime::Stdin::Once,
            StdinPolicy::Keep => runtime::Stdin::Open,
        }
    }

    /// conmon listens, the process does not run yet.
    pub fn connect(&self, attach_socket: &Path) -> Result<()> {
        self.begin_run();
        self.hub.connect(attach_socket)
    }

    /// The container was found running.
    pub fn resume(&self, attach_socket: &Path) {
        self.begin_run();
        self.hub.resume(attach_socket);
    }

    /// Marks where the next run begins in the log, when the last one left a line without its end.
    pub async fn begin_log_run(&self) {
        let Some(files) = self.log.clone() else {
            return;
        };
        let begun = tokio::task::spawn_blocking(move || (files.begin_run(), files));
        if let Ok((Err(e), files)) = begun.await {
            let log = files.path().display();
            tracing::warn!(%log, error = %e, "the runs of the container may share a line");
        }
    }

    /// Keeps the log of this run within its limits, as long as it lasts.
    pub fn keep_log(&self, task: &Task, watcher: Option<&Watcher>) {
        let (Some(files), Some(limits), Ok(ctl)) = (&self.log, self.log_limits, task.ctl()) else {
            return;
        };
        let conmon = move |word| match word {
            Word::IsIdle => ctl.is_idle(),
            Word::Reopen => ctl.reopen_log(),
        };
        Rotation::begin(files.clone(), limits, watcher, self.run_over(), conmon);
    }

    /// Ends all changes to the log's files: they are to be removed.
    pub async fn close_log(&self) {
        if let Some(files) = self.log.clone() {
            drop(tokio::task::spawn_blocking(move || files.close()).await);
        }
    }

    /// What is known to be missing from its log.
    pub fn log_faults(&self) -> LogFaults {
        self.note_log_faults(|faults| *faults)
    }

    /// Its file system is full now; whether that is new.
    pub fn note_full_disk(&self, now: Timestamp) -> bool {
        self.note_log_faults(|faults| {
            let first = faults.full.is_none();
            let (since, _) = faults.full.unwrap_or((now, now));
            faults.full = Some((since, now));
            first
        })
    }

    /// Takes more of that in.
    pub fn note_log_faults<T>(&self, note: impl FnOnce(&mut LogFaults) -> T) -> T {
        note(
            &mut self
                .log_faults
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Its log.
    ///
    /// # Errors
    /// 501 where nothing is kept.
    pub fn log(&self) -> Result<&LogFiles> {
        self.log.as_ref().ok_or_else(|| {
            Error::not_implemented("configured logging driver does not support reading")
        })
    }

    /// The container has ended and conmon has written its last line: followers of the log end
    /// there, clients get what is left, then their end.
    pub async fn finish(&self) {
        self.run_over().cancel();
        self.hub.finished().await;
    }

    /// Where lines of its log are.
    ///
    /// # Errors
    /// 501 where nothing is kept.
    pub(crate) fn log_source(&self) -> Result<LogSource> {
        Ok(match &self.journal {
            Some(log) => LogSource::Journal(log.clone()),
            None => LogSource::Files(self.log()?.clone()),
        })
    }

    /// Cancelled when the present run is over; at once when there is none.
    pub fn run_over(&self) -> CancellationToken {
        self.run_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// For who follows the log to the end of the present run.
    pub(crate) fn follow(&self, watcher: Option<&Watcher>) -> FollowHandle {
        FollowHandle {
            watcher: watcher.cloned(),
            ended: self.run_over(),
        }
    }

    /// The log from its beginning, as an attach with `logs=1` shows it first. While the container
    /// runs, what comes is taken from the log, too: so no byte is missed or comes twice between
    /// the two.
    ///
    /// # Errors
    /// A driver that keeps nothing (501); too many clients; what the host says.
    pub async fn replay(
        &self,
        want: Want,
        stream: bool,
        tty: bool,
        watcher: Option<&Watcher>,
    ) -> Result<(Option<LogReader>, Option<Subscription>)> {
        if let Some(log) = self.journal.clone() {
            // What it holds back until a line is whole, and what it drops, the hub has: a line that
            // comes between the two can come twice.
            let live = stream.then(|| self.hub.subscribe(want)).transpose()?;
            let reader = LogReader::open_journal_payload(log, want, !tty);
            return Ok((Some(reader?), live));
        }
        let runs = !self.run_over().is_cancelled();
        let nothing = Want {
            stdout: false,
            stderr: false,
        };
        let live = match (stream, runs) {
            (false, _) => None,
            // The hub is connected for those who are there for stdin alone.
            (true, true) => Some(self.hub.subscribe(nothing)?),
            // Of a container that does not run, the next run.
            (true, false) => Some(self.hub.subscribe(want)?),
        };
        let follow = (stream && runs).then(|| self.follow(watcher));
        let log = LogReader::open_payload(PayloadOptions {
            files: self.log()?.clone(),
            want,
            framed: !tty,
            since: 0,
            follow,
        });
        let (log, _) = log.await?;
        Ok((Some(log), live))
    }

    fn begin_run(&self) {
        let mut over = self.run_over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = CancellationToken::new();
    }
}
