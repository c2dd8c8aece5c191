//! One request: its span in the log, its connection's facts as an extension, a panic turned into
//! an answer, a hijack noted.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use model::Error;
use socket::{Passed, Peer};
use tower::Service as _;
use tracing::Instrument as _;

use super::hijack::{self, Takeover};
use crate::error::ApiError;

/// What a handler may know of its connection; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Counts the connections of this daemon's life.
    pub connection: u64,
    /// Who is at the other end.
    pub peer: Peer,
}

/// What the requests of one connection leave behind for it.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// A hijack's head will follow; [`super::intercept`] must not send it.
    pub(super) armed: Arc<AtomicBool>,
    takeover: Mutex<Option<Takeover>>,
}

impl Handover {
    /// The hijack that the last request asked for.
    pub(super) fn take(&self) -> Option<Takeover> {
        self.takeover
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn arm(&self, takeover: Takeover) {
        *self.takeover.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
        self.armed.store(true, Ordering::Release);
    }
}

/// The service hyper drives for one connection.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) app: Router,
    pub(super) info: ConnectionInfo,
    pub(super) passed: Passed,
    pub(super) handover: Arc<Handover>,
    pub(super) count: AtomicU64,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.info);
        request.extensions_mut().insert(self.passed.clone());
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let span = tracing::info_span!(
            "request",
            id = %format_args!("{}.{number}", self.info.connection),
            method = %request.method(),
            // The query is left out: build arguments and tokens travel there.
            path = request.uri().path(),
            pid = self.info.peer.pid,
            uid = self.info.peer.uid,
            gid = self.info.peer.gid,
        );
        let answered = answer(self.app.clone(), request, Arc::clone(&self.handover));
        let passed = self.passed.clone();
        let answered = async move {
            let answer = answered.await;
            // What came with this request is not the next one's.
            drop(passed.take());
            answer
        };
        Box::pin(answered.instrument(span))
    }
}

async fn answer(
    mut app: Router,
    request: Request,
    handover: Arc<Handover>,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let reads_only = matches!(*request.method(), Method::GET | Method::HEAD);
    let called = async { app.call(request).await };
    let mut response = match AssertUnwindSafe(called).catch_unwind().await {
        Ok(Ok(response)) => response,
        Err(panic) => after_panic(&*panic),
    };
    let status = response.status();
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Some(takeover) = hijack::take(&mut response) {
        tracing::info!(status = takeover.status().as_u16(), took_us, "hijacked");
        handover.arm(takeover);
    } else if reads_only && !status.is_server_error() {
        tracing::debug!(status = status.as_u16(), took_us, "answered");
    } else {
        tracing::info!(status = status.as_u16(), took_us, "answered");
    }
    Ok(response)
}

/// The words of the panic go to the log, not to the client.
fn after_panic(panic: &(dyn Any + Send)) -> Response {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = words, "a handler panicked");
    let mut response = ApiError(Error::system(
        "internal error: the daemon's log has the details",
    ))
    .into_response();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
