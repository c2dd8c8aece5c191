//! Long work that reports progress the way Docker's clients show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use images::LoadStep;
use model::{Digest, Error, Result, limits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Steps that may wait for a slow client. Progress beyond that is dropped, results never are.
const STEPS_MAX: usize = 256;

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
    /// A place for the failure that ends the job, whether or not the client reads.
    last: Arc<Mutex<Option<mpsc::OwnedPermit<Result<Progress>>>>>,
    /// The client took nothing for so long that he is given up.
    given_up: CancellationToken,
    patience: Duration,
    quiet: bool,
}

impl Steps {
    /// The two ends of a job. `quiet` leaves the progress of layers out.
    pub(crate) fn new(quiet: bool) -> (Self, Job) {
        Self::with(quiet, limits::DOWNLOAD_IDLE_TIMEOUT)
    }

    fn with(quiet: bool, patience: Duration) -> (Self, Job) {
        let (sender, steps) = mpsc::channel(STEPS_MAX + 1);
        let last = sender.clone().try_reserve_owned().ok();
        let own = Self {
            sender: Arc::new(sender),
            last: Arc::new(Mutex::new(last)),
            given_up: CancellationToken::new(),
            patience,
            quiet,
        };
        (own, Job { steps })
    }

    /// Reports a result. A client that left is no reason to stop, and one that reads nothing is waited for
    /// only so long.
    pub(crate) async fn send(&self, step: Progress) {
        if self.given_up.is_cancelled() {
            return;
        }
        let sent = tokio::time::timeout(self.patience, self.sender.send(Ok(step)));
        if sent.await.is_err() {
            tracing::info!("a client takes nothing of what it asked for, and is given up");
            self.given_up.cancel();
        }
    }

    /// Ends the job: with its failure, or with the client's when he did not hear all of it.
    pub(crate) fn end(&self, ended: Result<()>) {
        let given_up = self.given_up.is_cancelled();
        let unheard = || {
            let waited = self.patience.as_secs();
            Error::system(format!("nothing of this was read for {waited} s"))
        };
        let failure = ended.err().or_else(|| given_up.then(unheard));
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(error), Some(last)) = (failure, last) {
            last.send(Err(error));
        }
    }

    /// Returns when nobody listens any more.
    pub(crate) async fn client_left(&self) {
        tokio::select! {
            () = self.sender.closed() => {}
            () = self.given_up.cancelled() => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up_and_told() {
        let (steps, mut job) = Steps::with(false, Duration::from_millis(50));
        for n in 0..STEPS_MAX {
            steps.send(Progress::Status(n.to_string())).await;
        }
        assert!(!steps.given_up.is_cancelled());
        steps
            .send(Progress::Status("one too many".to_owned()))
            .await;
        steps.client_left().await;
        // At once.
        steps.send(Progress::Status("more".to_owned())).await;
        steps.end(Ok(()));
        drop(steps);
        for n in 0..STEPS_MAX {
            let step = job.next().await.unwrap().unwrap();
            assert_eq!(step, Progress::Status(n.to_string()));
        }
        let end = job.next().await.unwrap().unwrap_err();
        assert!(end.message().starts_with("nothing of this was read"));
        assert!(job.next().await.is_none());
    }

    #[tokio::test]
    async fn a_failure_finds_a_place_and_a_success_has_none() {
        for ended in [Ok(()), Err(Error::system("x"))] {
            let (steps, mut job) = Steps::new(false);
            for _ in 0..STEPS_MAX + 10 {
                steps.offer(Progress::Status("progress".to_owned()));
            }
            steps.end(ended.clone());
            drop(steps);
            for _ in 0..STEPS_MAX {
                job.next().await.unwrap().unwrap();
            }
            let last = job.next().await;
            assert_eq!(
                last.map(|e| e.unwrap_err().message().to_owned()),
                ended.err().map(|_| "x".to_owned())
            );
        }
    }
}
