//! One server: connections, redirects, credentials, and what it answers in vain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{Context as _, Error, Result, limits};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Identity, Method, RequestBuilder, Response, StatusCode, Url};
use rustls::crypto::CryptoProvider;

use crate::auth::{self, Challenge, Credentials, Scope, Tokens};
use crate::failure::Failure;
use crate::hosts::Server;
use crate::trust;

const USER_AGENT: &str = concat!("moored/", env!("CARGO_PKG_VERSION"));
/// Longest error that is read.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Servers whose connections are kept.
const SERVERS_MAX: usize = 64;
/// Connections to one server that are kept while nobody uses them, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 4;
const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(30);

/// How long anybody waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// For the head of an answer, or for more of its body.
    pub(crate) silence: Duration,
    /// For a server to take more of what it is sent, and to say what became of it.
    pub(crate) answer: Duration,
    /// Before the first further attempt; each pause is twice the one before.
    pub(crate) first_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            silence: limits::REGISTRY_SILENCE_MAX,
            answer: limits::REGISTRY_ANSWER_TIMEOUT,
            first_pause: Duration::from_millis(500),
        }
    }
}

/// Connections and tokens, of all servers.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: Mutex<HashMap<Server, Http>>,
    tokens: Tokens,
    pace: Pace,
}

/// How one server is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    is_secure: bool,
    pace: Pace,
}

impl Http {
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Nobody on the way can listen.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Sends a request without a body, or with a small one, and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, Failure> {
        // What is stored is looked at first, and a server may take its time for that.
        let patience = match *method {
            Method::PUT => self.pace.answer,
            _ => self.pace.silence,
        };
        match tokio::time::timeout(patience, request.send()).await {
            Ok(answer) => answer.map_err(|e| Failure::line(method, url, &e)),
            Err(_) => Err(Failure::silence(method, url, patience)),
        }
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) async fn next_piece(
        &self,
        method: &Method,
        url: &Url,
        response: &mut Response,
    ) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(self.pace.silence, response.chunk()).await {
            Ok(piece) => piece.map_err(|e| Failure::line(method, url, &e)),
            Err(_) => Err(Failure::silence(method, url, self.pace.silence)),
        }
    }

    /// A whole body, which must not be longer than that.
    pub(crate) async fn read_bounded(
        &self,
        method: &Method,
        url: &Url,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = self.next_piece(method, url, &mut response).await? {
            if body.len() + piece.len() > bytes_max {
                let reason = format!("the answer has more than {bytes_max} bytes");
                return Err(Failure::with(method, url, &reason));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// What an answer that is no success says.
    pub(crate) async fn refusal(&self, method: &Method, url: &Url, response: Response) -> Failure {
        let (status, headers) = (response.status(), response.headers().clone());
        // The answer to HEAD has no body; a body that does not come says nothing.
        let body = self
            .read_bounded(method, url, response, ERROR_BYTES_MAX)
            .await;
        Failure::refused(status, &headers, &body.unwrap_or_default())
    }
}

impl Clients {
    #[cfg(test)]
    pub(crate) fn with_pace(pace: Pace) -> Self {
        Self {
            pace,
            ..Self::default()
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Connections to `server`.
    async fn http(&self, server: &Server) -> Result<Http> {
        if let Some(known) = self.known().get(server) {
            return Ok(known.clone());
        }
        // The host's certificates are read, which takes a while.
        let wanted = server.clone();
        let made = tokio::task::spawn_blocking(move || make(&wanted)).await;
        let client = made.map_err(|e| Error::system(format!("TLS ended early: {e}")))??;
        let http = Http {
            client,
            is_secure: server.base.scheme() == "https" && !server.tls.unchecked,
            pace: self.pace,
        };
        let mut known = self.known();
        if known.len() >= SERVERS_MAX {
            known.clear();
        }
        known.insert(server.clone(), http.clone());
        Ok(http)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Server, Http>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// rustls takes its cryptography from whoever was installed first in the process.
fn provider() -> Arc<CryptoProvider> {
    static INSTALLED: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let provider = rustls::crypto::ring::default_provider();
        // Another one that is there will do as well.
        drop(provider.clone().install_default());
        Arc::new(provider)
    });
    installed.clone()
}

fn make(server: &Server) -> Result<reqwest::Client> {
    let provider = provider();
    let tls = &server.tls;
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(limits::REGISTRY_CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_CONNECTION_KEPT)
        .tcp_user_timeout(limits::REGISTRY_ANSWER_TIMEOUT)
        .referer(false)
        .redirect(redirects(server.base.scheme() == "https" && !tls.unchecked))
        // A line without TLS needs none of the host's certificates, which may not be there.
        .tls_danger_accept_invalid_certs(tls.unchecked || server.base.scheme() == "http");
    if !tls.authorities.is_empty() && !tls.unchecked {
        let config = trust::config(tls, provider);
        let config = config.context(format_args!("registry {}", server.base))?;
        builder = builder.tls_backend_preconfigured(config);
    } else if let Some(pem) = &tls.identity {
        let identity = Identity::from_pem(pem);
        builder = builder.identity(identity.map_err(|e| unusable("client certificate", &e))?);
    }
    builder
        .build()
        .map_err(|e| unusable("TLS configuration", &e))
        .context(format_args!("registry {}", server.base))
}

fn unusable(what: &str, e: &reqwest::Error) -> Error {
    use std::error::Error as _;
    let why = e.source().map(ToString::to_string);
    let mut why = why.unwrap_or_else(|| e.to_string());
    if why.contains("CA certificates") {
        why.push_str("; install the package ca-certificates");
    }
    Error::system(format!("its {what} cannot be used: {why}"))
}

/// Followed, a few, and not from a closed line to an open one. reqwest takes credentials along to the
/// same host alone (CVE-2020-15157).
fn redirects(is_secure: bool) -> Policy {
    Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error(format!("stopped after {REDIRECTS_MAX} redirects"));
        }
        if is_secure && attempt.url().scheme() != "https" {
            return attempt.error("redirected from a TLS line to an open one");
        }
        attempt.follow()
    })
}

/// A server that answered, and somebody who asks it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    clients: Arc<Clients>,
    http: Http,
    server: Arc<Server>,
    credentials: Credentials,
    /// Some servers tell only when they are asked for something.
    challenge: Arc<Mutex<Option<Challenge>>>,
}

impl Client {
    /// Asks `server` whether it speaks the protocol, and what it wants of those who ask
    /// (distribution spec, "end-1").
    pub(crate) async fn connect(
        clients: &Arc<Clients>,
        server: &Server,
        credentials: &Credentials,
    ) -> Result<Self, Failure> {
        let http = clients.http(server).await.map_err(Failure::Wrong)?;
        let client = Self {
            clients: clients.clone(),
            http,
            server: Arc::new(server.clone()),
            credentials: match server.is_origin {
                true => credentials.clone(),
                false => Credentials::Anonymous,
            },
            challenge: Arc::default(),
        };
        let url = client.url("");
        let request = client.http.client.get(url.clone());
        let answer = client.http.send(&Method::GET, &url, request).await;
        let response = answer.map_err(|failure| match server.tls.unchecked {
            // It may well have no TLS, and is asked without next.
            true => failure.for_good(),
            false => failure,
        })?;
        if response.status() == StatusCode::UNAUTHORIZED {
            client.learn(response.headers());
        } else if response.status() != StatusCode::NOT_FOUND && !response.status().is_success() {
            let refusal = client.http.refusal(&Method::GET, &url, response).await;
            // Others refuse the question and answer all that follow.
            if refusal.passes().is_some() {
                return Err(refusal);
            }
        }
        Ok(client)
    }

    /// `rest` below `/v2/`.
    pub(crate) fn url(&self, rest: &str) -> Url {
        let mut url = self.server.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/v2/{rest}"));
        url
    }

    /// What the server wants of those who ask, as far as it said so.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        let known = self.challenge.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, headers: &HeaderMap) -> bool {
        let found = auth::challenge(headers);
        let is_new = found.is_some();
        let known = self.challenge.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = found;
        is_new
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Whether `url` is of this server: what is not gets no credentials.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.server.base.origin()
    }

    /// The value of `Authorization` for `scope`.
    pub(crate) async fn authorization(
        &self,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, Failure> {
        let Some(challenge) = self.challenge() else {
            return Ok(None);
        };
        let tokens = &self.clients.tokens;
        let text = tokens.authorization(&self.http, &challenge, scope, &self.credentials);
        let Some(text) = text.await? else {
            return Ok(None);
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Failure::wrong("the credentials have characters that no request can hold")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Sends what `build` makes, with credentials for `scope`, and once more with fresh ones where
    /// they are taken for no good. The answer is a success, or an answer to a question for less
    /// than all (206).
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &Url,
        scope: &Scope,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut again = true;
        loop {
            let mut request = build(self.http.client.request(method.clone(), url.clone()));
            let authorization = match self.owns(url) {
                true => self.authorization(scope).await?,
                false => None,
            };
            let is_known = authorization.is_some();
            if let Some(value) = authorization {
                request = request.header(AUTHORIZATION, value);
            }
            let response = self.http.send(&method, url, request).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            if response.status() == StatusCode::UNAUTHORIZED && self.owns(url) {
                let known = self.challenge();
                if !is_known && known == Some(Challenge::Basic) {
                    return Err(Failure::with(&method, url, "no basic auth credentials"));
                }
                if std::mem::take(&mut again) {
                    match known {
                        Some(challenge @ Challenge::Bearer { .. }) => {
                            let tokens = &self.clients.tokens;
                            tokens.forget(&challenge, scope, &self.credentials);
                            continue;
                        }
                        None if self.learn(response.headers()) => continue,
                        _ => {}
                    }
                }
            }
            return Err(self.http.refusal(&method, url, response).await);
        }
    }
}
