//! Attaching a client to a container's streams.
//!
//! The hub of `streams` does the work; here it is chosen what the container's stdin is, whether
//! the log comes first, and which keys detach.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use model::{ContainerSpec, Result, limits};
use rules::Operation;
use streams::detach::{DEFAULT_KEYS, Detector};
use streams::{
    AttachInput, AttachOutput, Attachment, Form, Hub, HubOptions, LogReader, SpillOptions,
    StdinPolicy, Want,
};
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::container::{ContainerView, check_as};
use crate::logs::LogRequest;

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
}

impl ContainerStreams {
    fn of(spec: &ContainerSpec, spill: &SpillOptions) -> Self {
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
        };
        let over = CancellationToken::new();
        over.cancel();
        Self {
            hub: Hub::new(options),
            stdin,
            run_over: Mutex::new(over),
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
        // The live part first: what is written while the log is read is not lost between them.
        let live = if request.stream {
            Some(hub.subscribe(want)?)
        } else {
            None
        };
        let replay = if request.logs {
            Some(self.replay(&view, &request).await?)
        } else {
            None
        };
        let writer = if request.stdin && request.stream {
            hub.stdin()
        } else {
            None
        };
        let keys = request.detach_keys.unwrap_or_else(|| DEFAULT_KEYS.to_vec());
        let detector = view.spec.tty.then(|| Detector::new(&keys));
        let form = Form::of(view.spec.tty, view.spec.tty || request.plain);
        Ok(Attachment {
            tty: view.spec.tty,
            output: AttachOutput::new(replay, live, form),
            input: writer.map(|writer| AttachInput::new(writer, detector)),
        })
    }

    /// The log from its beginning, as an attach with `logs=1` shows it first.
    async fn replay(&self, view: &ContainerView, request: &AttachRequest) -> Result<LogReader> {
        let log = LogRequest {
            stdout: request.stdout,
            stderr: request.stderr,
            ..LogRequest::default()
        };
        self.open_log(view, log, None).await
    }

    pub(crate) fn container_streams(&self, view: &ContainerView) -> ContainerStreams {
        ContainerStreams::of(&view.spec, &self.inner.spill)
    }
}
