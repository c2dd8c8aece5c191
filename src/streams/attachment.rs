//! One client's attachment: output from a log, a hub or one after the other, in the form that
//! the client reads; and its input, with the keys that detach.

use bytes::Bytes;
use model::Result;

use crate::detach::Detector;
use crate::hub::{AfterEof, StdinWriter, Subscription};
use crate::logs::LogReader;
use crate::stdcopy::{StreamId, Unframer, frame};

/// An attached client: two halves for two tasks.
#[derive(Debug)]
pub struct Attachment {
    /// The container has a terminal: output is raw, not framed.
    pub tty: bool,
    /// What the container writes. Dropping it ends the attachment.
    pub output: AttachOutput,
    /// What the client writes; `None` when stdin was not asked for or is not open.
    pub input: Option<AttachInput>,
    /// The number of the output's first byte, for one who attaches at an offset.
    pub begins_at: Option<u64>,
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
pub enum Form {
    /// Nothing.
    AsItIs,
    /// Take the frames off.
    Plain(Unframer),
    /// Put a terminal's output into frames.
    Framed,
}

impl Form {
    /// From the output of a hub with or without a terminal to what the client reads.
    pub fn of(tty: bool, raw: bool) -> Self {
        match (tty, raw) {
            (true, true) | (false, false) => Self::AsItIs,
            (false, true) => Self::Plain(Unframer::default()),
            (true, false) => Self::Framed,
        }
    }
}

impl AttachOutput {
    /// All of `replay`, then what comes.
    pub fn new(replay: Option<LogReader>, live: Option<Subscription>, form: Form) -> Self {
        Self { replay, live, form }
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
pub struct AttachInput {
    writer: StdinWriter,
    detector: Option<Detector>,
    on_detach: Option<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for AttachInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("AttachInput");
        shown.field("writer", &self.writer).finish_non_exhaustive()
    }
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
    /// What is written goes to `writer`, until `detector` finds the keys.
    pub fn new(writer: StdinWriter, detector: Option<Detector>) -> Self {
        Self {
            writer,
            detector,
            on_detach: None,
        }
    }

    /// The same, with something to be done when the keys came.
    #[must_use]
    pub fn on_detach(mut self, act: impl FnOnce() + Send + 'static) -> Self {
        self.on_detach = Some(Box::new(act));
        self
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
            if let Some(act) = self.on_detach.take() {
                act();
            }
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
