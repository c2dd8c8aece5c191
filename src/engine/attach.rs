//! Attaching a client to a container's streams.
//!
//! The hub of `streams` does the work; here it is chosen whether the log comes first, and which
//! keys detach.

use model::{Action, Result};
use rules::Operation;
use streams::detach::{DEFAULT_KEYS, Detector};
use streams::{AttachInput, AttachOutput, Attachment, Form, Want};

use crate::Engine;
use crate::container::check_as;

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
        let handle = self.shared.registry.find(reference)?;
        let view = handle.view();
        check_as(&view, reference, Operation::Attach)?;
        let hub = &handle.streams.hub;
        let want = Want {
            stdout: request.stdout,
            stderr: request.stderr,
        };
        // Who asks for no stream is there for nothing, and gets the end at once (moby `CopyStreams`).
        let stream = request.stream && (request.stdin || request.stdout || request.stderr);
        let (replay, live) = match (request.logs, stream) {
            (true, stream) => {
                let watcher = self.shared.runtimes.watcher();
                let streams = &handle.streams;
                streams.replay(want, stream, view.spec.tty, watcher).await?
            }
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
        let input = writer.map(|writer| {
            let (shared, view) = (self.shared.clone(), view.clone());
            AttachInput::new(writer, detector).on_detach(move || {
                drop(tokio::spawn(async move {
                    let event = shared.container_event(&view, &Action::Detach);
                    shared.tell(event).await;
                }));
            })
        });
        let event = self.shared.container_event(&view, &Action::Attach);
        self.shared.tell(event).await;
        Ok(Attachment {
            tty: view.spec.tty,
            output: AttachOutput::new(replay, live, form),
            input,
            begins_at: None,
        })
    }
}
