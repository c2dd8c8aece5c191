//! Long work that reports progress the way Docker's clients show it.

use std::sync::Arc;
use std::time::Duration;

use images::LoadStep;
use model::{Digest, Error, Result};
use tokio::sync::mpsc;

/// Steps that may wait for a slow client. Progress beyond that is dropped, results never are.
pub(crate) const STEPS_MAX: usize = 256;

/// A step of a long job, one line of Docker's JSON message stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Text for the user: the `stream` field.
    Text(String),
    /// Progress of one item: `id`, `status`, `progressDetail`.
    Step {
        /// What it is about: a short layer id.
        id: String,
        /// What is being done: `Loading layer`.
        status: String,
        /// Bytes done; zero, like `total`, where nothing is counted.
        current: u64,
        /// Bytes in all; zero when not known.
        total: u64,
    },
    /// A status line without an item: the `status` field alone.
    Status(String),
    /// A status line of something that has no progress: `id` and `status`.
    Note {
        /// What it is about: a tag.
        id: String,
        /// What is to be said.
        status: String,
    },
    /// What a push has come to, for programs: the `aux` field.
    Pushed {
        /// The tag.
        tag: String,
        /// Of the manifest.
        digest: Digest,
        /// Bytes of the manifest.
        size_bytes: u64,
    },
}

impl Progress {
    /// What is being done with something, where nothing is counted.
    pub(crate) fn doing(id: &str, status: impl Into<String>) -> Self {
        Self::Step {
            id: id.to_owned(),
            status: status.into(),
            current: 0,
            total: 0,
        }
    }

    /// That it is tried again after a pause.
    pub(crate) fn retrying(id: &str, pause: Duration) -> Self {
        let seconds = pause.as_secs_f32().ceil();
        let s = if seconds > 1.0 { "s" } else { "" };
        Self::doing(id, format!("Retrying in {seconds} second{s}"))
    }
}

/// A job under way: a task of its own that goes on when this is dropped.
#[derive(Debug)]
pub struct Job {
    pub(crate) steps: mpsc::Receiver<Result<Progress>>,
}

impl Job {
    /// The next step; an error ends the job; `None` is success.
    pub async fn next(&mut self) -> Option<Result<Progress>> {
        self.steps.recv().await
    }
}

/// The job's end of the channel.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    sender: Arc<mpsc::Sender<Result<Progress>>>,
    quiet: bool,
}

impl Steps {
    pub(crate) fn new(sender: mpsc::Sender<Result<Progress>>, quiet: bool) -> Self {
        Self {
            sender: Arc::new(sender),
            quiet,
        }
    }

    /// Reports a result. A client that left is no reason to stop.
    pub(crate) async fn send(&self, step: Progress) {
        drop(self.sender.send(Ok(step)).await);
    }

    /// Reports the failure that ended the job.
    pub(crate) async fn fail(&self, error: Error) {
        drop(self.sender.send(Err(error)).await);
    }

    /// Returns when nobody listens any more.
    pub(crate) async fn client_left(&self) {
        self.sender.closed().await;
    }

    /// Reports something that is soon no longer true; never waits for the client.
    pub(crate) fn offer(&self, step: Progress) {
        drop(self.sender.try_send(Ok(step)));
    }

    /// Reports how far a layer is, from a blocking thread; never waits for the client.
    pub(crate) fn layer(&self, step: LoadStep) {
        if self.quiet {
            return;
        }
        let LoadStep::Layer {
            name,
            read_bytes,
            total_bytes,
        } = step;
        let progress = Progress::Step {
            id: name,
            status: "Loading layer".to_owned(),
            current: read_bytes,
            total: total_bytes,
        };
        self.offer(progress);
    }
}
