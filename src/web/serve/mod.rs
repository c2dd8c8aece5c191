//! The accept loop: serves a service on unix sockets, and gives a connection's socket to a
//! handler that hijacks it.
//!
//! It is our own, on hyper's http1 connection, because Docker's protocol needs what no ready-made
//! server gives: half-close, a raw stream with and without `Upgrade` ([`hijack`]), handlers that
//! end with their client, a head time-out, and an end within a second with streams open. Nothing
//! here knows a route; the service is whatever `api` built.
//!
//! ```text
//! serve: accept ── a task per connection ─ connection ── a future per request ─ request
//!                                              │                                  │ 101 + session
//!                                              └── intercept (hyper's 101 is not sent) ── hijack
//! ```

mod connection;
pub mod hijack;
mod intercept;
mod request;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use model::limits;
use socket::Listener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use hijack::{Hijack, HijackedIo};
pub use request::ConnectionInfo;

/// How long to wait before the next accept when the kernel refuses one (out of descriptors or
/// memory). The connection stays in the listen queue; ending ones free what it needs.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What the loop allows. The default is [`model::limits`]; tests use shorter times.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a client may take to send a request head; idle connections close after it too.
    pub head_timeout: Duration,
    /// Largest request head.
    pub head_bytes_max: usize,
    /// Connections served at once; further ones wait in the listen queue.
    pub connections_max: usize,
    /// After the shutdown began: how long requests under way may take to answer. Streams that
    /// are open then are cut.
    pub finish_timeout: Duration,
    /// After the shutdown began: how long the whole end may take.
    pub shutdown_timeout: Duration,
    /// Where the loop tells who was there.
    pub activity: Arc<Activity>,
}

/// Whether clients are there: connections, whatever comes over them.
#[derive(Debug, Default)]
pub struct Activity {
    open: TaskTracker,
    accepted: AtomicU64,
}

impl Activity {
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Connections of other processes so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head_timeout: limits::REQUEST_HEAD_TIMEOUT,
            head_bytes_max: limits::REQUEST_HEAD_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            finish_timeout: limits::SHUTDOWN_TIMEOUT / 3,
            shutdown_timeout: limits::SHUTDOWN_TIMEOUT,
            activity: Arc::default(),
        }
    }
}

/// Serves `app` on `listeners` until `shutdown`. Then it stops accepting, removes the sockets that are
/// ours, closes idle connections at once and the others within
/// [`Options::shutdown_timeout`]. A panic of a handler is answered with 500 and ends no other
/// request.
pub async fn serve(
    listeners: Vec<Listener>,
    app: Router,
    options: Options,
    shutdown: CancellationToken,
) {
    let shutdown_timeout = options.shutdown_timeout;
    let activity = options.activity.clone();
    let connections = &activity.open;
    // A socket whose next client has not come keeps a place: the others have the full number all the same.
    let waiting = listeners.len().saturating_sub(1);
    let places = Places {
        free: Arc::new(Semaphore::new(options.connections_max + waiting)),
        numbers: AtomicU64::new(1),
    };
    let context = Arc::new(Context { options, shutdown });
    let accepting = listeners
        .iter()
        .map(|listener| accept_all(listener, &app, &context, &places, connections));
    futures_util::future::join_all(accepting).await;
    drop(listeners);
    connections.close();
    let all_ended = tokio::time::timeout(shutdown_timeout, connections.wait());
    if all_ended.await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections were still open at the end"
        );
    }
}

/// What all connections share.
#[derive(Debug)]
struct Context {
    options: Options,
    shutdown: CancellationToken,
}

/// The connections that there may be, whichever socket they come by.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// Of the next connection.
    numbers: AtomicU64,
}

async fn accept_all(
    listener: &Listener,
    app: &Router,
    context: &Arc<Context>,
    places: &Places,
    connections: &TaskTracker,
) {
    // The daemon asks itself whether it answers.
    let own_pid = i32::try_from(std::process::id()).ok();
    loop {
        let next = async {
            let slot = free_slot(&places.free).await;
            (slot, accept(listener).await)
        };
        let (slot, stream) = tokio::select! {
            biased;
            () = context.shutdown.cancelled() => return,
            next = next => next,
        };
        if stream.peer().pid != own_pid {
            let accepted = &context.options.activity.accepted;
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        let number = places.numbers.fetch_add(1, Ordering::Relaxed);
        let served = connection::run(stream, number, app.clone(), Arc::clone(context));
        connections.spawn(async move {
            // The panics of handlers are answered in `request`; this one is a defect of ours, or
            // of a response body, and ends its own connection only.
            if AssertUnwindSafe(served).catch_unwind().await.is_err() {
                tracing::error!(connection = number, "a connection's task panicked");
            }
            drop(slot);
        });
    }
}

/// Waits until fewer than the allowed number of connections are open.
async fn free_slot(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    if slots.available_permits() == 0 {
        tracing::warn!("as many connections as allowed are open: the next ones wait");
    }
    Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

async fn accept(listener: &Listener) -> socket::Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
