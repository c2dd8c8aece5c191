//! Attaching a client to a container's streams.
//!
//! The hub of `streams` does the work; here it is chosen what the container's stdin is, whether
//! the log comes first, and which keys detach.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use model::{ContainerSpec, Result, limits};
use rules::Operation;
use streams::detach::{DEFAULT_KEYS, Detector};
use streams::hub::AfterEof;
use streams::stdcopy::{StreamId, Unframer, frame};
use streams::{
    Hub, HubOptions, LogReader, SpillOptions, StdinPolicy, StdinWriter, Subscription, Want,
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

/// An attached client: two halves for two tasks.
#[derive(Debug)]
pub struct Attachment {
    /// The container has a terminal: output is raw, not framed.
    pub tty: bool,
    /// What the container writes. Dropping it ends the attachment.
    pub output: AttachOutput,
    /// What the client writes; `None` when stdin was not asked for or is not open.
    pub input: Option<AttachInput>,
}

/// Output of an attachment: what the log has, then what comes.
#[derive(Debug)]
pub struct AttachOutput {
    replay: Option<LogReader>,
    live: Option<Subscription>,
    form: Form,
}

/// What has to be done to the output of a hub for this client.
#[derive(Debug)]
pub(crate) enum Form {
    /// Nothing.
    AsItIs,
    /// Take the frames off.
    Plain(Unframer),
    /// Put a terminal's output into frames.
    Framed,
}

impl Form {
    /// From the output of a hub with or without a terminal to what the client reads.
    pub(crate) fn of(tty: bool, raw: bool) -> Self {
        match (tty, raw) {
            (true, true) | (false, false) => Self::AsItIs,
            (false, true) => Self::Plain(Unframer::default()),
            (true, false) => Self::Framed,
        }
    }
}

impl AttachOutput {
    /// Only what comes.
    pub(crate) fn live(live: Subscription, form: Form) -> Self {
        Self {
            replay: None,
            live: Some(live),
            form,
        }
    }

    /// The next bytes, ready for the wire: stdcopy frames, or raw with a tty or where that was
    /// asked for. `None` at the end; an error when this client was too slow and lost its place.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            if let Form::Plain(unframer) = &mut self.form
                && let Some(payload) = unframer.next_payload()
            {
                return Some(Ok(payload));
            }
            match (self.next_piece().await?, &mut self.form) {
                (Ok(piece), Form::Plain(unframer)) => unframer.feed(piece),
                (Ok(piece), Form::Framed) => return Some(Ok(frame(StreamId::Stdout, &piece))),
                (piece, _) => return Some(piece),
            }
        }
    }

    async fn next_piece(&mut self) -> Option<Result<Bytes>> {
        if let Some(log) = &mut self.replay {
            match log.next().await {
                Some(batch) => return Some(batch),
                None => self.replay = None,
            }
        }
        self.live.as_mut()?.next().await
    }
}

/// Input of an attachment. Dropping it is the client leaving.
#[derive(Debug)]
pub struct AttachInput {
    writer: StdinWriter,
    detector: Option<Detector>,
}

/// Why an input takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputEnd {
    /// The detach keys came: end this attachment, leave the container.
    Detached,
    /// The container's stdin is closed or the container is gone.
    Closed,
}

impl AttachInput {
    pub(crate) fn new(writer: StdinWriter, detector: Option<Detector>) -> Self {
        Self { writer, detector }
    }

    /// Passes bytes on; waits while the container does not read.
    ///
    /// # Errors
    /// [`InputEnd`] when this input takes no more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), InputEnd> {
        let (pass, detached) = match &mut self.detector {
            Some(detector) => {
                let fed = detector.feed(&bytes);
                (fed.pass.into(), fed.detached)
            }
            None => (bytes, false),
        };
        self.writer
            .write(pass)
            .await
            .map_err(|_| InputEnd::Closed)?;
        if detached {
            Err(InputEnd::Detached)
        } else {
            Ok(())
        }
    }

    /// The client will send no more (half-close). Returns true when output goes on (Docker's
    /// rule: StdinOnce without a tty closes the container's stdin), false when this attachment
    /// ends here.
    pub fn finish(self) -> bool {
        self.writer.finish() == AfterEof::OutputGoesOn
    }
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
        let input = writer.map(|writer| AttachInput {
            writer,
            detector: view.spec.tty.then(|| Detector::new(&keys)),
        });
        Ok(Attachment {
            tty: view.spec.tty,
            output: AttachOutput {
                replay,
                live,
                form: Form::of(view.spec.tty, view.spec.tty || request.plain),
            },
            input,
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
