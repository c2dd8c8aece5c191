//! Attaching a client to a container's streams.
//!
//! The hub of `streams` does the work; here it is chosen what the container's stdin is, whether
//! the log comes first, and which keys detach.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use model::{Error, LogFaults, LogLimits, Result, limits};
use rules::Operation;
use runtime::Task;
use streams::detach::{DEFAULT_KEYS, Detector};
use streams::{
    AttachInput, AttachOutput, Attachment, Form, Hub, HubOptions, LogFiles, LogReader,
    PayloadOptions, Rotation, SpillOptions, StdinPolicy, Subscription, Want,
};
use sys::dir_watch::Watcher;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::container::handle::Handle;
use crate::container::{ContainerView, check_as};

/// What an attach wants.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// Send to stdin; ignored where the container has none open.
    pub stdin: bool,
    /// Receive stdout.
    pub stdout: bool,
    /// Receive stderr.
    pub stderr: bool,
    /// Stay for what comes.
    pub stream: bool,
    /// First replay the log.
    pub logs: bool,
    /// Both streams as one, not framed (moby's `MuxStreams: false`).
    pub plain: bool,
    /// The bytes that detach; `None` is Docker's ctrl-p ctrl-q, empty is off. Only with a tty.
    pub detach_keys: Option<Vec<u8>>,
}

/// A container's streams: its hub, told once what its stdin is, and the word for those who
/// follow its log that a run is over.
#[derive(Debug)]
pub(crate) struct ContainerStreams {
    hub: Hub,
    stdin: StdinPolicy,
    /// Of the present run, or the last one; cancelled while there is none.
    run_over: Mutex<CancellationToken>,
    /// `None` where nothing is kept.
    log: Option<LogFiles>,
    log_limits: Option<LogLimits>,
    log_faults: Mutex<LogFaults>,
}

impl ContainerStreams {
    fn of(view: &ContainerView, spill: &SpillOptions) -> Self {
        let spec = &view.spec;
        let stdin = match (spec.open_stdin, spec.stdin_once, spec.tty) {
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
            log: view.paths.log.clone().map(LogFiles::new),
            // Checked when the container was made.
            log_limits: spec.log.limits().unwrap_or_default(),
            log_faults: Mutex::default(),
        }
    }

    /// What conmon must be told about stdin.
    pub(crate) fn stdin(&self) -> runtime::Stdin {
        match self.stdin {
            StdinPolicy::None => runtime::Stdin::Closed,
            StdinPolicy::Once => runtime::Stdin::Once,
            StdinPolicy::Keep => runtime::Stdin::Open,
        }
    }

    /// conmon listens, the process does not run yet.
    pub(crate) fn connect(&self, attach_socket: &Path) -> Result<()> {
        self.begin_run();
        self.hub.connect(attach_socket)
    }

    /// The container was found running.
    pub(crate) fn resume(&self, attach_socket: &Path) {
        self.begin_run();
        self.hub.resume(attach_socket);
    }

    /// Keeps the log of this run within its limits, as long as it lasts.
    pub(crate) fn keep_log(&self, task: &Task, watcher: Option<&Watcher>) {
        let (Some(files), Some(limits), Ok(ctl)) = (&self.log, self.log_limits, task.ctl()) else {
            return;
        };
        let Some(watcher) = watcher else {
            return tracing::error!("the log is not rotated: no inotify instance is left");
        };
        let rotation = Rotation::new(files.clone(), limits, watcher.clone());
        let reopen = move || {
            let ctl = ctl.clone();
            async move { ctl.reopen_log().await }
        };
        tokio::spawn(rotation.run(self.run_over(), reopen));
    }

    /// What is known to be missing from its log.
    pub(crate) fn log_faults(&self) -> LogFaults {
        self.note_log_faults(|faults| *faults)
    }

    /// Takes more of that in.
    pub(crate) fn note_log_faults<T>(&self, note: impl FnOnce(&mut LogFaults) -> T) -> T {
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
    pub(crate) fn log(&self) -> Result<&LogFiles> {
        self.log.as_ref().ok_or_else(|| {
            Error::not_implemented("configured logging driver does not support reading")
        })
    }

    /// The container has ended and conmon has written its last line: followers of the log end
    /// there, clients get what is left, then their end.
    pub(crate) async fn finish(&self) {
        self.run_over().cancel();
        self.hub.finished().await;
    }

    /// Cancelled when the present run is over; at once when there is none.
    pub(crate) fn run_over(&self) -> CancellationToken {
        self.run_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn begin_run(&self) {
        let mut over = self.run_over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = CancellationToken::new();
    }
}

impl Engine {
    /// Attaches to a container in any state but paused, dead or being removed. Attached before
    /// the start, a client misses nothing.
    ///
    /// # Errors
    /// 404; 409 by state; too many clients.
    pub async fn attach_container(
        &self,
        reference: &str,
        request: AttachRequest,
    ) -> Result<Attachment> {
        let handle = self.inner.registry.find(reference)?;
        let view = handle.view();
        check_as(&view, reference, Operation::Attach)?;
        let hub = &handle.streams.hub;
        let want = Want {
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let (replay, live) = match (request.logs, request.stream) {
            (true, stream) => self.replay(&handle, want, stream).await?,
            (false, true) => (None, Some(hub.subscribe(want)?)),
            (false, false) => (None, None),
        };
        let form = Form::of(view.spec.tty, view.spec.tty || request.plain);
        let writer = if request.stdin && request.stream {
            hub.stdin()
        } else {
            None
        };
        let keys = request.detach_keys.unwrap_or_else(|| DEFAULT_KEYS.to_vec());
        let detector = view.spec.tty.then(|| Detector::new(&keys));
        Ok(Attachment {
            tty: view.spec.tty,
            output: AttachOutput::new(replay, live, form),
            input: writer.map(|writer| AttachInput::new(writer, detector)),
            begins_at: None,
        })
    }

    /// The log from its beginning, as an attach with `logs=1` shows it first. While the container
    /// runs, what comes is taken from the log, too: so no byte is missed or comes twice between
    /// the two.
    async fn replay(
        &self,
        handle: &Handle,
        want: Want,
        stream: bool,
    ) -> Result<(Option<LogReader>, Option<Subscription>)> {
        let streams = &handle.streams;
        let runs = !streams.run_over().is_cancelled();
        let nothing = Want {
            stdout: false,
            stderr: false,
        };
        let live = match (stream, runs) {
            (false, _) => None,
            // The hub is connected for those who are there for stdin alone.
            (true, true) => Some(streams.hub.subscribe(nothing)?),
            // Of a container that does not run, the next run.
            (true, false) => Some(streams.hub.subscribe(want)?),
        };
        let follow = match stream && runs {
            true => Some(self.follow(streams)?),
            false => None,
        };
        let log = LogReader::open_payload(PayloadOptions {
            files: streams.log()?.clone(),
            want,
            framed: !handle.view().spec.tty,
            since: 0,
            follow,
        });
        let (log, _) = log.await?;
        Ok((Some(log), live))
    }

    pub(crate) fn container_streams(&self, view: &ContainerView) -> ContainerStreams {
        ContainerStreams::of(view, &self.inner.spill)
    }
}
