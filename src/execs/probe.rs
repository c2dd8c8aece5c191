//! Health checks: a command that is run to its end, and what it printed.
//!
//! A probe is a session like any other, so it is told of and seen as one; it is forgotten when it
//! is over. Starting one is what costs, so few are started at once; one whose start hangs gives
//! its place to others after a while.

use std::time::Duration;

use bytes::Bytes;
use model::{ContainerId, ExecSpec, Signal, limits};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::{Execs, StartExec, Target};

/// Starts of probes at once.
const STARTS_MAX: usize = 4;
/// How long one that hangs keeps its place among them.
const PLACE_KEPT: Duration = Duration::from_secs(1);
/// How long a start may take (moby); it does not count as the command's own time.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What is kept of the output (moby `maxOutputLen`).
const OUTPUT_BYTES_MAX: usize = 4096;

/// The places of those that are being started.
#[derive(Debug)]
pub(crate) struct Places(Semaphore);

impl Default for Places {
    fn default() -> Self {
        Self(Semaphore::new(STARTS_MAX))
    }
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The command's exit code; -1 when it could not be run or took too long.
    pub exit_code: i64,
    /// What it printed, or why it has no code.
    pub output: String,
}

impl Probed {
    fn failed(output: String) -> Self {
        Self {
            exit_code: -1,
            output,
        }
    }
}

impl Execs {
    /// Runs a command in a container; it is killed when it takes longer than `patience`.
    pub async fn probe(
        &self,
        container: ContainerId,
        target: Target,
        args: Vec<String>,
        patience: Duration,
    ) -> Probed {
        let spec = ExecSpec {
            args,
            user: target.spec.user.clone(),
            stdout: true,
            stderr: true,
            is_probe: true,
            ..ExecSpec::default()
        };
        let id = match self.create(container.clone(), spec).await {
            Ok(id) => id,
            Err(e) => return Probed::failed(e.to_string()),
        };
        let id = id.as_str();
        // Waiting for its turn is not its fault.
        let place = self.inner.places.0.acquire().await.ok();
        let started = timeout(START_TIMEOUT, self.start_in_turn(id, target, place)).await;
        let probed = match started {
            Ok(Ok(Some(mut attachment))) => {
                let mut output = Output::default();
                let to_the_end = async {
                    while let Some(Ok(piece)) = attachment.output.next().await {
                        output.push(&piece);
                    }
                    self.wait(id).ok()?.await.into()
                };
                match timeout(patience, to_the_end).await {
                    Ok(Some(ended)) => Probed {
                        exit_code: ended.status_code,
                        output: output.text(),
                    },
                    Ok(None) => Probed::failed("the check was removed while it ran".to_owned()),
                    Err(_) => Probed::failed(too_long(patience, &output)),
                }
            }
            Ok(Ok(None)) => Probed::failed("the check was started without its output".to_owned()),
            Ok(Err(e)) => Probed::failed(e.to_string()),
            Err(_) => Probed::failed(format!(
                "timed out starting health check for container {container}"
            )),
        };
        self.end_probe(id).await;
        probed
    }

    async fn start_in_turn(
        &self,
        id: &str,
        target: Target,
        place: Option<SemaphorePermit<'_>>,
    ) -> model::Result<Option<streams::Attachment>> {
        let request = StartExec {
            // Both streams as one.
            tty: true,
            ..StartExec::default()
        };
        let mut start = std::pin::pin!(self.start(id, target, request));
        match timeout(PLACE_KEPT, &mut start).await {
            Ok(started) => started,
            Err(_) => {
                drop(place);
                start.await
            }
        }
    }

    /// Nothing is left of it, whatever state it is in. Those who ask for the result need not wait
    /// for a process that does not end.
    async fn end_probe(&self, id: &str) {
        // One that has ended is not there to be killed.
        drop(timeout(limits::KILL_TIMEOUT, self.kill(id, Signal::KILL)).await);
        if let Ok(ended) = self.wait(id) {
            drop(timeout(limits::KILL_TIMEOUT, ended).await);
        }
        let (execs, id) = (self.clone(), id.to_owned());
        let removal = async move { execs.remove(&id, true).await };
        match timeout(limits::KILL_TIMEOUT, tokio::spawn(removal)).await {
            Ok(Ok(Err(e))) if e.kind() != model::Kind::NotFound => {
                tracing::warn!(error = %e, "a health check is left to end by itself");
            }
            _ => {}
        }
    }
}

/// In moby's words.
fn too_long(patience: Duration, output: &Output) -> String {
    let shown = model::moment::show_duration(patience);
    match output.text() {
        text if text.is_empty() => format!("Health check exceeded timeout ({shown})"),
        text => format!("Health check exceeded timeout ({shown}): {text}"),
    }
}

/// The beginning of what a check prints.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Output {
    fn push(&mut self, piece: &Bytes) {
        let room = OUTPUT_BYTES_MAX - self.bytes.len();
        self.is_cut |= piece.len() > room;
        self.bytes
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.is_cut {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_and_says_so() {
        let mut output = Output::default();
        output.push(&Bytes::from(vec![b'x'; OUTPUT_BYTES_MAX]));
        assert_eq!(output.text().len(), OUTPUT_BYTES_MAX);
        output.push(&Bytes::from_static(b"y"));
        assert!(output.text().ends_with("xx..."));
    }

    #[test]
    fn a_check_that_takes_too_long_is_told_in_mobys_words() {
        let mut output = Output::default();
        let patience = Duration::from_millis(1500);
        assert_eq!(
            too_long(patience, &output),
            "Health check exceeded timeout (1.5s)"
        );
        output.push(&Bytes::from_static(b"waiting"));
        let words = "Health check exceeded timeout (1.5s): waiting";
        assert_eq!(too_long(patience, &output), words);
    }
}
