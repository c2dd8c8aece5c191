//! Blobs and manifests to a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use model::{Blob, Digest, Error, Reference, Result};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::watch;

use crate::auth::{Credentials, Scope};
use crate::client::{Client, Clients};
use crate::failure::{Failure, Failures};
use crate::hosts::Server;

/// Where an image goes.
#[derive(Debug, Clone)]
pub struct Target {
    client: Client,
    repository: String,
    scope: Scope,
}

/// A blob on its way to the server, under no name yet.
#[derive(Debug)]
pub struct Upload {
    target: Target,
    location: Url,
}

impl Target {
    /// The first of `servers` that answers.
    pub(crate) async fn open(
        clients: &Arc<Clients>,
        servers: Vec<Server>,
        reference: &Reference,
        credentials: Credentials,
    ) -> Result<Self> {
        let mut failures = Failures::default();
        for server in &servers {
            match Client::connect(clients, server, &credentials).await {
                Ok(client) => {
                    let repository = reference.path().to_owned();
                    return Ok(Self {
                        client,
                        scope: Scope::push(&repository, &[]),
                        repository,
                    });
                }
                Err(failure) => failures.add(failure),
            }
        }
        Err(failures.most_telling().of_push())
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// What the server says, other than that it has none.
    pub async fn has(&self, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("blobs/{digest}"));
        let asked = self
            .client
            .ask(Method::HEAD, &url, &self.scope, |request| request);
        match asked.await {
            Ok(_) => Ok(true),
            Err(Failure::Refused(refusal)) if refusal.status == StatusCode::NOT_FOUND => Ok(false),
            Err(failure) => Err(failure.of_push()),
        }
    }

    /// Takes a blob of another repository of this server; `false` where that cannot be had, which
    /// is no failure.
    ///
    /// # Errors
    /// The line broke.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut()
            .append_pair("mount", digest.as_str())
            .append_pair("from", from);
        let scope = Scope::push(&self.repository, &[from.to_owned()]);
        let asked = self.client.ask(Method::POST, &url, &scope, no_body);
        match asked.await {
            Ok(answer) if answer.status() == StatusCode::CREATED => Ok(true),
            // An upload was begun in its place, which nobody wants.
            Ok(answer) => {
                if let Ok(location) = self.location(&answer) {
                    self.cancel(&location).await;
                }
                Ok(false)
            }
            Err(Failure::Refused(_)) => Ok(false),
            Err(failure) => Err(failure.of_push()),
        }
    }

    /// Begins to send a blob.
    ///
    /// # Errors
    /// What the server says.
    pub async fn begin(&self) -> Result<Upload> {
        let url = self.url("blobs/uploads/");
        let asked = self.client.ask(Method::POST, &url, &self.scope, no_body);
        let answer = asked.await.map_err(Failure::of_push)?;
        Ok(Upload {
            location: self.location(&answer)?,
            target: self.clone(),
        })
    }

    /// Stores a manifest under `tag`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn put_manifest(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let url = self.url(&format!("manifests/{tag}"));
        let bytes = Bytes::copy_from_slice(bytes);
        let build = |request: reqwest::RequestBuilder| {
            request.header(CONTENT_TYPE, media_type).body(bytes.clone())
        };
        let asked = self.client.ask(Method::PUT, &url, &self.scope, build);
        asked.await.map(drop).map_err(Failure::of_push)
    }

    fn url(&self, rest: &str) -> Url {
        self.client.url(&format!("{}/{rest}", self.repository))
    }

    fn location(&self, answer: &Response) -> Result<Url> {
        let location = answer.headers().get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let location = location.and_then(|text| answer.url().join(text).ok());
        let url = location.ok_or_else(|| {
            Error::system("the registry does not say where the upload goes (Location)")
        })?;
        if self.client.http().is_secure() && url.scheme() != "https" {
            return Err(Error::system(
                "the registry wants an upload to go over an open line",
            ));
        }
        Ok(url)
    }

    async fn cancel(&self, location: &Url) {
        let asked = self
            .client
            .ask(Method::DELETE, location, &self.scope, |request| request);
        drop(asked.await);
    }
}

fn no_body(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header(CONTENT_LENGTH, 0)
}

impl Upload {
    /// Sends all that `content` brings, as one piece.
    ///
    /// # Errors
    /// What the server says; what `content` says.
    pub async fn send<S>(&mut self, content: S) -> Result<()>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let target = &self.target;
        let url = &self.location;
        let taken = Taken::default();
        let told = taken.clone();
        let content = content.inspect(move |_| told.now());
        let request = target.client.http().client().patch(url.clone());
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap_stream(content));
        let answer = self.finish(Method::PATCH, url, request, &taken).await?;
        // One that says nothing goes on where it was.
        if answer.headers().contains_key(LOCATION) {
            self.location = target.location(&answer)?;
        }
        Ok(())
    }

    /// Gives what was sent its name: the server compares.
    ///
    /// # Errors
    /// What the server says.
    pub async fn commit(self, blob: &Blob) -> Result<()> {
        let mut url = self.location.clone();
        url.query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let request = no_body(self.target.client.http().client().put(url.clone()));
        let taken = Taken::default();
        let answer = self.finish(Method::PUT, &url, request, &taken);
        answer.await.map(drop)
    }

    /// Takes back what was sent.
    pub async fn cancel(self) {
        self.target.cancel(&self.location).await;
    }

    /// A request that cannot be made twice, and whose answer may take its time: the server reads what
    /// it was sent once more.
    async fn finish(
        &self,
        method: Method,
        url: &Url,
        mut request: reqwest::RequestBuilder,
        taken: &Taken,
    ) -> Result<Response> {
        let client = &self.target.client;
        if client.owns(url) {
            let value = client.authorization(&self.target.scope).await;
            if let Some(value) = value.map_err(Failure::of_push)? {
                request = request.header(AUTHORIZATION, value);
            }
        }
        let patience = client.http().pace().answer;
        let answer = tokio::select! {
            sent = request.send() => sent.map_err(|e| Failure::line(&method, url, &e)),
            () = taken.nothing_for(patience) => Err(Failure::silence(&method, url, patience)),
        };
        let answer = answer.map_err(Failure::of_push)?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(client.http().refusal(&method, url, answer).await.of_push()),
        }
    }
}

/// When a server took something of what it is sent.
#[derive(Debug, Clone)]
struct Taken(Arc<watch::Sender<()>>);

impl Default for Taken {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Taken {
    fn now(&self) {
        self.0.send_replace(());
    }

    /// Returns when it took nothing for that long.
    async fn nothing_for(&self, patience: Duration) {
        let mut seen = self.0.subscribe();
        while let Ok(Ok(())) = tokio::time::timeout(patience, seen.changed()).await {}
    }
}
