//! A blob as it comes, over every drop of the line.
//!
//! A line that ends early, a server that is busy and one that stands still are nothing to tell
//! a user who waits: the rest is asked for (RFC 9110, 14.2), after a pause, and where a server does
//! not know how to begin in the middle its beginning is read and thrown away. Only attempts that
//! bring nothing are counted.

use std::time::Duration;

use bytes::Bytes;
use model::{Digest, Error, Result};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::next_piece;
use crate::failure::Failure;
use crate::source::{Source, more_telling};

/// Attempts in a row that bring nothing.
const ATTEMPTS_MAX: u32 = 5;
/// The pause before the first further attempt; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest.
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
    attempts: u32,
    failure: Option<Failure>,
    pause: Option<Duration>,
}

#[derive(Debug)]
struct Open {
    url: Url,
    response: Response,
    /// What is read and thrown away first.
    skip: u64,
}

impl BlobStream {
    pub(crate) fn new(source: Source, digest: Digest, size_bytes: u64, from: u64) -> Self {
        Self {
            source,
            digest,
            size_bytes,
            at: from,
            open: None,
            server: 0,
            attempts: 0,
            failure: None,
            pause: None,
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
                    self.attempts = 0;
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

    /// What is to be done after a failure: another server at once, the same again after a pause, or
    /// nothing.
    fn after(&mut self, failure: Failure) -> Result<Option<Duration>> {
        let passes = failure.passes();
        tracing::debug!(blob = %self.digest, at = self.at, ?failure, "a download stopped");
        let failure = more_telling(self.failure.take(), failure);
        // What one server does not have or will not give, the next one may.
        if passes.is_none() && self.server + 1 < self.source.servers() {
            self.server += 1;
            self.failure = Some(failure);
            return Ok(None);
        }
        self.attempts += 1;
        let Some(wanted) = passes.filter(|_| self.attempts < ATTEMPTS_MAX) else {
            return Err(failure.of_pull(self.source.reference()));
        };
        self.failure = Some(failure);
        // The next one that is tried is the first again: mirrors come back.
        self.server = (self.server + 1) % self.source.servers();
        let doubled = FIRST_PAUSE * 2_u32.pow(self.attempts - 1);
        Ok(Some(wanted.unwrap_or(doubled).min(PAUSE_MAX)))
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
            let piece = next_piece(&Method::GET, &open.url, &mut open.response).await?;
            let Some(mut piece) = piece else {
                if self.at == self.size_bytes {
                    self.open = None;
                    return Ok(None);
                }
                return Err(Failure::Line {
                    message: format!("Get \"{}\": unexpected EOF", open.url.path()),
                    passing: true,
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
        let response = client
            .ask(Method::GET, &url, &self.source.scope(), build)
            .await?;
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
