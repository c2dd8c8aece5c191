//! Manifests and blobs, from whichever server has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Digest, Reference, Result, limits};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::again::Again;
use crate::auth::{Credentials, Scope};
use crate::blob::BlobStream;
use crate::client::{Client, Clients, Pace};
use crate::failure::{Failure, Failures};
use crate::hosts::Server;

/// What we understand, by preference; schema 1 so that it is refused with its reason.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, application/json;q=0.1";

/// Where an image can be had.
#[derive(Debug, Clone)]
pub struct Source {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clients: Arc<Clients>,
    servers: Vec<Server>,
    reference: Reference,
    credentials: Credentials,
    /// The one of `servers` that had the manifest.
    settled: AtomicUsize,
    /// Those of `servers` that were spoken to.
    spoken_to: Mutex<Vec<Option<Client>>>,
}

/// Which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What a tag points at now.
    Tag(String),
    /// One that is known.
    Digest(Digest),
}

impl Wanted {
    fn text(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// A manifest or an index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the server says it is; empty where it says nothing.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
}

impl Source {
    pub(crate) fn new(
        clients: Arc<Clients>,
        servers: Vec<Server>,
        reference: &Reference,
        credentials: Credentials,
    ) -> Self {
        let spoken_to = Mutex::new(vec![None; servers.len()]);
        Self {
            shared: Arc::new(Shared {
                clients,
                servers,
                reference: reference.clone(),
                credentials,
                settled: AtomicUsize::new(0),
                spoken_to,
            }),
        }
    }

    /// A manifest or index, from the first server that has it. One that is asked for by its digest is
    /// what that says.
    ///
    /// # Errors
    /// Not found, and Docker's words for why; System: no server can be reached, or what came is not
    /// what was asked for.
    pub async fn manifest(&self, wanted: &Wanted) -> Result<Fetched> {
        let found = self.first_of(|at| self.manifest_of(at, wanted));
        let (at, fetched) = found.await?;
        self.shared.settled.store(at, Ordering::Relaxed);
        Ok(fetched)
    }

    /// What the first server has that has it, and its number. All of them are asked again where one of
    /// them may be busy, or its line has dropped.
    async fn first_of<T, F>(&self, ask: impl Fn(usize) -> F) -> Result<(usize, T)>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut again = Again::new(self.pace());
        loop {
            let mut failures = Failures::default();
            let mut passes = None;
            for at in 0..self.servers() {
                let failure = match ask(at).await {
                    Ok(had) => return Ok((at, had)),
                    Err(failure) => failure,
                };
                tracing::debug!(server = %self.shared.servers[at].base, ?failure, "it has none");
                passes = failure.passes_there().or(passes);
                failures.add(failure);
            }
            if !again.after(passes).await {
                return Err(failures.most_telling().of_pull(self.reference()));
            }
        }
    }

    async fn manifest_of(&self, at: usize, wanted: &Wanted) -> Result<Fetched, Failure> {
        let client = self.client(at).await?;
        let path = format!("{}/manifests/{}", self.repository(), wanted.text());
        let url = client.url(&path);
        let response = client
            .ask(Method::GET, &url, &self.scope(), |r| {
                r.header(ACCEPT, ACCEPTED)
            })
            .await?;
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_owned();
        let most = usize::try_from(limits::MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
        let bytes = client
            .http()
            .read_bounded(&Method::GET, &url, response, most)
            .await?;
        let digest = Digest::from_sha256(Sha256::digest(&bytes).into());
        if let Wanted::Digest(asked) = wanted
            && *asked != digest
        {
            return Err(Failure::wrong(format!(
                "manifest verification failed for digest {asked}"
            )));
        }
        Ok(Fetched {
            bytes,
            media_type,
            digest,
        })
    }

    /// The tags of the repository.
    ///
    /// # Errors
    /// What the registry says; more than anybody can want.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let (_, tags) = self.first_of(|at| self.tags_of(at)).await?;
        Ok(tags)
    }

    /// Page after page (distribution spec, "Listing Tags").
    async fn tags_of(&self, at: usize) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let client = self.client(at).await?;
        let first = client.url(&format!("{}/tags/list", self.repository()));
        let (mut tags, mut page) = (Vec::new(), Some(first));
        while let Some(url) = page {
            let response = client
                .ask(Method::GET, &url, &self.scope(), |request| request)
                .await?;
            let link = response.headers().get(LINK).and_then(|v| v.to_str().ok());
            page = link.and_then(next_page).and_then(|l| url.join(l).ok());
            page = page.filter(|next| client.owns(next) && *next != url);
            let most = usize::try_from(limits::MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
            let bytes = client
                .http()
                .read_bounded(&Method::GET, &url, response, most)
                .await?;
            let read: Page = serde_json::from_slice(&bytes).map_err(|e| {
                Failure::with(&Method::GET, &url, &format!("this is no list of tags: {e}"))
            })?;
            let more = read.tags.unwrap_or_default();
            if more.is_empty() {
                break;
            }
            tags.extend(more);
            if tags.len() > limits::TAGS_MAX {
                return Err(Failure::wrong(format!(
                    "more than {} tags in one repository",
                    limits::TAGS_MAX
                )));
            }
        }
        Ok(tags)
    }

    /// A blob of `size_bytes`, from its byte number `from` on. It is over when all of them came; the
    /// line may drop meanwhile. Whether they are the ones that `digest` speaks of is for the reader
    /// to find.
    pub fn blob(&self, digest: &Digest, size_bytes: u64, from: u64) -> BlobStream {
        BlobStream::new(self.clone(), digest.clone(), size_bytes, from)
    }

    /// The server number `at`, spoken to.
    pub(crate) async fn client(&self, at: usize) -> Result<Client, Failure> {
        let shared = &self.shared;
        let mut spoken_to = shared.spoken_to.lock().await;
        if let Some(client) = &spoken_to[at] {
            return Ok(client.clone());
        }
        let server = &shared.servers[at];
        let is_same = |(other, client): (&Server, &Option<Client>)| {
            client.is_some()
                && other.base.scheme() == "https"
                && other.base.host_str() == server.base.host_str()
        };
        // The other half of a registry that may have no TLS, and has.
        let mut others = shared.servers.iter().zip(&*spoken_to).take(at);
        if server.base.scheme() == "http" && others.any(is_same) {
            return Err(Failure::NotAsked);
        }
        let client = Client::connect(&shared.clients, server, &shared.credentials).await?;
        spoken_to[at] = Some(client.clone());
        Ok(client)
    }

    /// The server to begin with.
    pub(crate) fn settled(&self) -> usize {
        self.shared.settled.load(Ordering::Relaxed)
    }

    pub(crate) fn pace(&self) -> Pace {
        self.shared.clients.pace()
    }

    pub(crate) fn servers(&self) -> usize {
        self.shared.servers.len()
    }

    /// The registry of the image's name.
    pub fn domain(&self) -> &str {
        self.shared.reference.domain()
    }

    pub(crate) fn repository(&self) -> &str {
        self.shared.reference.path()
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.shared.reference
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::pull(self.repository())
    }
}

/// `<URL>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(url)
}
