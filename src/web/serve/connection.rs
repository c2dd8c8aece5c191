//! One connection, from its first byte to its last: hyper's part, the peer's going away, the
//! shutdown, and what a hijack does with the socket.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use socket::{HangUp, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::intercept::Intercept;
use super::request::{ConnectionInfo, Handover, Requests};
use super::{Context, Options};

/// How long a connection goes on after its client is gone. What the client had sent before it
/// left is still begun (a change then goes on in the engine); what waits for it ends.
const HANG_UP_GRACE: Duration = Duration::from_millis(50);
/// How long the server waits for the client to close first after the last answer. Closing with
/// unread request bytes in the queue would reset the connection under a client that is still
/// writing a body it need not have sent.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes read at once while lingering.
const LINGER_READ_BYTES: usize = 16 << 10;

type Connection = http1::Connection<Intercept, Requests>;

/// How hyper's part ended.
enum Ended {
    /// By itself: the client closed, the last answer was sent, or a hijack took it.
    Done,
    /// Cut: the client is gone, or the daemon ends and an answer was not finished in time.
    Cut,
}

/// Serves one connection. Ends soon after `context.shutdown`.
pub(super) async fn run(stream: Stream, number: u64, app: Router, context: Arc<Context>) {
    let hang_up = match stream.hang_up() {
        Ok(hang_up) => hang_up,
        Err(e) => {
            tracing::warn!(connection = number, error = %e, "cannot watch a connection");
            return;
        }
    };
    let handover = Arc::new(Handover::default());
    let requests = Requests {
        app,
        info: ConnectionInfo {
            connection: number,
            peer: stream.peer(),
        },
        passed: stream.passed(),
        handover: Arc::clone(&handover),
        count: AtomicU64::new(0),
    };
    let io = Intercept::new(stream, Arc::clone(&handover.armed));
    let mut connection = builder(&context.options).serve_connection(io, requests);
    let Ended::Done = drive(&mut connection, &hang_up, &context).await else {
        return;
    };
    drop(hang_up);
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    let rest = async {
        let to_close = match handover.take() {
            None => Some(stream),
            Some(takeover) => match takeover.run(stream, parts.read_buf).await {
                Ok(stream) => stream,
                Err(e) => {
                    tracing::debug!(connection = number, error = %e, "hijack: the client left");
                    None
                }
            },
        };
        if let Some(stream) = to_close {
            linger(stream).await;
        }
    };
    tokio::select! {
        biased;
        () = rest => {}
        () = context.shutdown.cancelled() => {}
    }
}

fn builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.head_bytes_max)
        .max_header_size(options.head_bytes_max)
        // Docker writes `Api-Version`, `Content-Type`; some clients compare.
        .title_case_headers(true);
    builder
}

/// Lets hyper serve until the connection is over.
async fn drive(connection: &mut Connection, hang_up: &HangUp, context: &Context) -> Ended {
    let grace = tokio::select! {
        // hyper first: it may have an answer ready, or a request that came with the hang-up.
        biased;
        result = poll(connection) => return ended(&result),
        () = hang_up.wait() => HANG_UP_GRACE,
        () = context.shutdown.cancelled() => {
            begin_shutdown(connection);
            context.options.finish_timeout
        }
    };
    match tokio::time::timeout(grace, poll(connection)).await {
        Ok(result) => ended(&result),
        Err(_) => Ended::Cut,
    }
}

/// An idle connection ends at once, another after the answer it is at.
fn begin_shutdown(connection: &mut Connection) {
    Pin::new(connection).graceful_shutdown();
}

async fn poll(connection: &mut Connection) -> hyper::Result<()> {
    std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await
}

/// An error is the client's affair: a malformed head (answered by hyper), a head that came too
/// slowly, a write to one that is gone. The socket is closed the same way.
fn ended(result: &hyper::Result<()>) -> Ended {
    if let Err(e) = result {
        tracing::debug!(error = %e, "a connection ended badly");
    }
    Ended::Done
}

/// Says that nothing more will come, and reads what the client still sends until it closes.
async fn linger(mut stream: Stream) {
    let discard = async {
        stream.shutdown().await?;
        let mut scrap = vec![0; LINGER_READ_BYTES];
        while stream.read(&mut scrap).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whether it closed, failed or took too long: the socket is closed now.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
