//! A blob as it comes, over every drop of the line.
//!
//! A line that ends early, a server that is busy and one that stands still are nothing to tell
//! a user who waits: the rest is asked for (RFC 9110, 14.2), after a pause, and where a server does
//! not know how to begin in the middle its beginning is read and thrown away. Only attempts that
//! bring nothing are counted. A server that brought something is the one that goes on.

use std::time::Duration;

use bytes::Bytes;
use model::{Digest, Error, Result};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::Http;
use crate::failure::{Failure, Failures};
use crate::source::Source;

/// How often all servers are asked, one after the other, before they are given up.
const ROUNDS_MAX: u32 = 5;
/// The longest pause before a further attempt.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What a blob brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobEvent {
    /// The next bytes.
    Bytes(Bytes),
    /// The line dropped; it is tried again after that.
    Pause(Duration),
}

/// A blob on its way.
#[derive(Debug)]
pub struct BlobStream {
    source: Source,
    digest: Digest,
    size_bytes: u64,
    at: u64,
    open: Option<Open>,
    /// The server that is asked.
    server: usize,
    /// Whether that brought something since it failed last.
    brings: bool,
    round: Round,
    /// Rounds in a row that brought nothing.
    rounds: u32,
    pause: Option<Duration>,
}

/// Each server asked once.
#[derive(Debug, Default)]
struct Round {
    /// Servers that failed.
    failed: usize,
    failures: Failures,
    /// One of them may pass, and then the server wants to be left alone for that long.
    passes: Option<Option<Duration>>,
}

#[derive(Debug)]
struct Open {
    http: Http,
    url: Url,
    response: Response,
    /// What is read and thrown away first.
    skip: u64,
}

impl Open {
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let read = self
            .http
            .next_piece(&Method::GET, &self.url, &mut self.response);
        read.await
    }
}

impl BlobStream {
    pub(crate) fn new(source: Source, digest: Digest, size_bytes: u64, from: u64) -> Self {
        Self {
            digest,
            size_bytes,
            at: from,
            open: None,
            server: source.settled(),
            brings: false,
            round: Round::default(),
            rounds: 0,
            pause: None,
            source,
        }
    }

    /// The next thing; `None` when all of it came.
    ///
    /// # Errors
    /// System: nobody has it, the line drops again and again, or the server has more than the
    /// manifest says.
    pub async fn next(&mut self) -> Result<Option<BlobEvent>> {
        loop {
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            if self.at == self.size_bytes && self.open.is_none() {
                return Ok(None);
            }
            let failure = match self.step().await {
                Ok(Some(bytes)) => {
                    self.brings = true;
                    return Ok(Some(BlobEvent::Bytes(bytes)));
                }
                Ok(None) => return Ok(None),
                Err(failure) => failure,
            };
            self.open = None;
            if let Some(pause) = self.after(failure)? {
                self.pause = Some(pause);
                return Ok(Some(BlobEvent::Pause(pause)));
            }
        }
    }

    /// What is to be done after a failure: another server at once, all of them again after a pause, or
    /// nothing.
    fn after(&mut self, failure: Failure) -> Result<Option<Duration>> {
        tracing::debug!(blob = %self.digest, at = self.at, ?failure, "a download stopped");
        let round = &mut self.round;
        if std::mem::take(&mut self.brings) {
            // It will be the one to go on.
            self.rounds = 0;
            *round = Round::default();
            round.failed = self.source.servers() - 1;
        } else {
            self.server = (self.server + 1) % self.source.servers();
        }
        round.failed += 1;
        round.passes = failure.passes().or(round.passes);
        round.failures.add(failure);
        if round.failed < self.source.servers() {
            return Ok(None);
        }
        let Round {
            failures, passes, ..
        } = std::mem::take(round);
        self.rounds += 1;
        let Some(wanted) = passes.filter(|_| self.rounds < ROUNDS_MAX) else {
            return Err(failures.most_telling().of_pull(self.source.reference()));
        };
        let doubled = self.source.pace().first_pause * 2_u32.pow(self.rounds - 1);
        Ok(Some(wanted.unwrap_or_else(|| doubled.min(PAUSE_MAX))))
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Failure> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.begin().await?;
                self.open.insert(open)
            }
        };
        loop {
            let piece = open.next_piece().await?;
            let Some(mut piece) = piece else {
                if self.at == self.size_bytes {
                    self.open = None;
                    return Ok(None);
                }
                return Err(Failure::Line {
                    message: format!("Get \"{}\": unexpected EOF", open.url.path()),
                    passing: true,
                    reached: true,
                });
            };
            let skipped = open.skip.min(piece.len() as u64);
            open.skip -= skipped;
            // What is skipped is shorter than the piece.
            drop(piece.split_to(usize::try_from(skipped).unwrap_or(piece.len())));
            if piece.is_empty() {
                continue;
            }
            self.at += piece.len() as u64;
            if self.at > self.size_bytes {
                return Err(Failure::Wrong(Error::system(format!(
                    "blob {} has more than the {} bytes that the manifest says",
                    self.digest, self.size_bytes
                ))));
            }
            return Ok(Some(piece));
        }
    }

    async fn begin(&self) -> Result<Open, Failure> {
        let client = self.source.client(self.server).await?;
        let path = format!("{}/blobs/{}", self.source.repository(), self.digest);
        let url = client.url(&path);
        let from = self.at;
        let build = |request: reqwest::RequestBuilder| match from {
            0 => request,
            _ => request.header(RANGE, format!("bytes={from}-")),
        };
        let scope = self.source.scope();
        let asked = client.ask(Method::GET, &url, &scope, build).await;
        let response = match asked {
            // Some servers know no ranges and say so.
            Err(Failure::Refused(refusal)) if from > 0 && refusal.status.is_client_error() => {
                client
                    .ask(Method::GET, &url, &scope, |request| request)
                    .await?
            }
            other => other?,
        };
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&response) == Some(from) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(Failure::wrong(format!(
                    "the registry answered with another part of blob {} than was asked for",
                    self.digest
                )));
            }
            _ => from,
        };
        Ok(Open {
            http: client.http().clone(),
            url,
            response,
            skip,
        })
    }
}

/// The first byte of `bytes FIRST-LAST/SIZE`.
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}
