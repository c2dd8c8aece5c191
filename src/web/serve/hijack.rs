//! Taking a connection's socket away from HTTP: attach and exec start.
//!
//! A handler asks for [`Hijack`] among its arguments and answers with [`Hijack::respond`]. The
//! client then gets Docker's head (moby `daemon/server/router/container`): with an `Upgrade`
//! header in the request
//!
//! ```text
//! HTTP/1.1 101 UPGRADED
//! Content-Type: application/vnd.docker.multiplexed-stream
//! Connection: Upgrade
//! Upgrade: tcp
//! ```
//!
//! and without one `HTTP/1.1 200 OK` with a raw-stream content type whatever the stream is; after
//! the empty line both directions are raw bytes. The session starts when the client has read the
//! head, or after [`limits::HIJACK_HEAD_DRAIN`]: docker-py loses output that arrives in one read
//! with the head (docker-py #425, #3332).
//!
//! The body of the request must be read before the answer; what is left of it would be taken
//! for stream bytes.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use hyper::ext::ReasonPhrase;
use model::{Error, limits};
use socket::{HangUp, Peer, Stream};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument as _;

use super::intercept::REASON;
use super::request::ConnectionInfo;
use crate::error::ApiError;

/// Content type of every head that has no `Upgrade`, and of terminals.
pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Content type of an upgraded stream with stdcopy frames, from API 1.42 on.
pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// The right to take the connection of this request over; an axum extractor.
#[derive(Debug)]
pub struct Hijack {
    upgrade: bool,
    extra: String,
    own: String,
}

impl<S: Sync> FromRequestParts<S> for Hijack {
    type Rejection = ApiError;

    /// Fails only where no connection stands behind the request (a router called directly).
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if parts.extensions.get::<ConnectionInfo>().is_none() {
            return Err(Error::system("this connection cannot be hijacked").into());
        }
        Ok(Self {
            upgrade: parts.headers.contains_key(header::UPGRADE),
            extra: String::new(),
            own: String::new(),
        })
    }
}

impl Hijack {
    /// A further line of the 101 head, after Docker's own three (exec start has some, attach has
    /// none; the 200 head never has).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let clean: String = value.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(self.extra, "{name}: {clean}\r\n");
        self
    }

    /// A line of either head that is not Docker's.
    #[must_use]
    pub fn own_header(mut self, name: &'static str, value: u64) -> Self {
        let _ = write!(self.own, "{name}: {value}\r\n");
        self
    }

    /// Answers with the hijack's head and runs `session` on the socket. `content_type` is that of
    /// an upgraded stream: [`MULTIPLEXED_STREAM`] or [`RAW_STREAM`].
    ///
    /// When `session` returns the connection is closed. It is dropped when the daemon ends, so
    /// changes belong into tasks of the engine. A client that closes without a word is seen as
    /// the end of input, and by [`HijackedIo::hang_up`]: a session that waits for output must
    /// wait for that too, or it outlives its client.
    pub fn respond<F, Fut>(self, content_type: &'static str, session: F) -> Response
    where
        F: FnOnce(HijackedIo) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let own = self.own;
        let (status, head) = if self.upgrade {
            let extra = self.extra;
            (
                StatusCode::SWITCHING_PROTOCOLS,
                format!(
                    "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{extra}{own}\r\n"
                ),
            )
        } else {
            (
                StatusCode::OK,
                format!("HTTP/1.1 200 OK\r\nContent-Type: {RAW_STREAM}\r\n{own}\r\n"),
            )
        };
        leave(Takeover {
            status,
            head,
            session: Some(Box::new(|io| Box::pin(session(io)))),
            span: tracing::Span::current(),
        })
    }

    /// Attach's form of an error before the stream (moby `postContainersAttach`): a head that
    /// says raw-stream, the message as text, and the end.
    pub fn refuse(self, error: &Error) -> Response {
        let status = crate::error::status(error.kind());
        let reason = status.canonical_reason().unwrap_or("");
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {RAW_STREAM}\r\n\r\n{error}\r\n",
            status.as_u16()
        );
        leave(Takeover {
            status,
            head,
            session: None,
            span: tracing::Span::current(),
        })
    }
}

/// The right to make a WebSocket of this connection; an axum extractor.
#[derive(Debug)]
pub struct WebSocketHijack {
    accept: String,
}

impl<S: Sync> FromRequestParts<S> for WebSocketHijack {
    type Rejection = ApiError;

    /// 400 for what is no handshake of RFC 6455, section 4.2.1.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Hijack::from_request_parts(parts, state).await?;
        let says = |name: header::HeaderName, word: &str| {
            let values = parts.headers.get_all(name).into_iter();
            let texts = values.filter_map(|value| value.to_str().ok());
            texts
                .flat_map(|text| text.split(','))
                .any(|w| w.trim().eq_ignore_ascii_case(word))
        };
        let key = parts.headers.get(header::SEC_WEBSOCKET_KEY);
        let asks = says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade");
        match key {
            Some(_) if !says(header::SEC_WEBSOCKET_VERSION, "13") => {
                Err(Error::invalid("missing or bad WebSocket Version").into())
            }
            Some(key) if asks => Ok(Self {
                accept: derive_accept_key(key.as_bytes()),
            }),
            _ => Err(Error::invalid("not websocket protocol").into()),
        }
    }
}

impl WebSocketHijack {
    /// As [`Hijack::respond`], with the head of a WebSocket.
    pub fn respond<F, Fut>(self, session: F) -> Response
    where
        F: FnOnce(HijackedIo) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        leave(Takeover {
            status: StatusCode::SWITCHING_PROTOCOLS,
            head: format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                self.accept
            ),
            session: Some(Box::new(|io| Box::pin(session(io)))),
            span: tracing::Span::current(),
        })
    }
}

/// A taken socket: two halves for two tasks, and a watch.
#[derive(Debug)]
pub struct HijackedIo {
    /// What the client sends, from the first byte after its request. End of file is its
    /// half-close, or its death.
    pub reader: HijackedReader,
    /// To the client. `shutdown` is a half-close; dropping it is one too.
    pub writer: OwnedWriteHalf,
    /// Tells when the client is gone altogether.
    pub hang_up: HangUp,
    /// Who the client is.
    pub peer: Peer,
}

/// The reading half: first the bytes that came along with the request, then the socket.
#[derive(Debug)]
pub struct HijackedReader {
    early: Bytes,
    rest: OwnedReadHalf,
}

impl HijackedReader {
    /// Takes no more from the client, so that it reads the end of its output and no reset.
    pub async fn close(mut self) {
        socket::end_input(&mut self.rest).await;
    }
}

impl AsyncRead for HijackedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.rest).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..n]);
        self.early.advance(n);
        Poll::Ready(Ok(()))
    }
}

type Session =
    Box<dyn FnOnce(HijackedIo) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static>;

/// What a handler left for its connection to do once hyper has let go of the socket.
pub(super) struct Takeover {
    status: StatusCode,
    head: String,
    session: Option<Session>,
    span: tracing::Span,
}

impl Takeover {
    /// The status that the client will read.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Writes the head, waits until the client has it, runs the session. Returns the stream when
    /// there was no session, for a decent end.
    ///
    /// # Errors
    /// When the client went away meanwhile.
    pub(super) async fn run(self, mut stream: Stream, early: Bytes) -> io::Result<Option<Stream>> {
        let Self {
            head,
            session,
            span,
            ..
        } = self;
        stream.write_all(head.as_bytes()).await?;
        let Some(session) = session else {
            return Ok(Some(stream));
        };
        stream.drained(limits::HIJACK_HEAD_DRAIN).await;
        let (hang_up, peer) = (stream.hang_up()?, stream.peer());
        let (rest, writer) = stream.into_split();
        let io = HijackedIo {
            reader: HijackedReader { early, rest },
            writer,
            hang_up,
            peer,
        };
        let running = async move { session(io).await }.instrument(span.clone());
        if AssertUnwindSafe(running).catch_unwind().await.is_err() {
            tracing::error!(parent: &span, "the session of a hijacked connection panicked");
        }
        Ok(None)
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// How a takeover travels: extensions must be `Clone`, a session is not.
#[derive(Debug, Clone)]
struct Left(Arc<Mutex<Option<Takeover>>>);

/// The response that hyper sees: a 101, after which it gives the socket back.
fn leave(takeover: Takeover) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let extensions = response.extensions_mut();
    extensions.insert(ReasonPhrase::from_static(REASON));
    extensions.insert(Left(Arc::new(Mutex::new(Some(takeover)))));
    response
}

/// What a handler left in its response, if it did.
pub(super) fn take(response: &mut Response) -> Option<Takeover> {
    let Left(left) = response.extensions_mut().remove::<Left>()?;
    left.lock().unwrap_or_else(PoisonError::into_inner).take()
}
