//! The loop against raw clients on a real socket, with a router of a few routes.

mod hijack;
mod plain;
mod shutdown;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use socket::{Access, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::hijack::{Hijack, HijackedIo, MULTIPLEXED_STREAM};
use super::{ConnectionInfo, Options, serve};

/// Anything that takes longer has hung.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running loop on a socket of its own.
struct Server {
    path: PathBuf,
    shutdown: CancellationToken,
    ended: Option<JoinHandle<()>>,
    /// How many long polls run.
    polls: watch::Receiver<usize>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&path, Access::default()).unwrap();
        let shutdown = CancellationToken::new();
        let (count, polls) = watch::channel(0);
        let listeners = vec![listener];
        let serving = serve(
            listeners,
            router(Arc::new(count)),
            options,
            shutdown.clone(),
        );
        Self {
            path,
            shutdown,
            ended: Some(tokio::spawn(serving)),
            polls,
            _dir: dir,
        }
    }

    async fn connect(&self) -> Client {
        Client(UnixStream::connect(&self.path).await.unwrap())
    }

    /// Waits until `n` long polls run.
    async fn polls(&mut self, n: usize) {
        let reached = self.polls.wait_for(|running| *running == n);
        in_time(reached).await.unwrap();
    }

    /// Ends the loop and tells how long that took.
    async fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.shutdown.cancel();
        in_time(self.ended.take().unwrap()).await.unwrap();
        began.elapsed()
    }
}

async fn in_time<F: Future>(f: F) -> F::Output {
    tokio::time::timeout(DEADLINE, f).await.expect("it hangs")
}

/// A raw client: what it sends and reads are bytes.
struct Client(UnixStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        in_time(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    async fn half_close(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Everything up to and including `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(end.as_bytes()) {
            let byte = in_time(self.0.read_u8()).await;
            let so_far = String::from_utf8_lossy(&got);
            got.push(byte.unwrap_or_else(|e| panic!("{e} after {so_far:?}")));
        }
        String::from_utf8(got).unwrap()
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn rest(&mut self) -> String {
        let mut got = String::new();
        in_time(self.0.read_to_string(&mut got)).await.unwrap();
        got
    }

    /// Sends a GET and reads its short answer, on a connection that stays open.
    async fn ping(&mut self) {
        self.send("GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Length: 2\r\n"), "{head}");
        assert_eq!(self.until("OK").await, "OK");
    }
}

fn router(polls: Arc<watch::Sender<usize>>) -> Router {
    let endless = Arc::clone(&polls);
    Router::new()
        .route("/_ping", get(async || "OK"))
        .route(
            "/panic",
            get(async || -> &'static str { panic!("on purpose") }),
        )
        .route("/who", get(who))
        .route("/body", post(async |body: Bytes| body.len().to_string()))
        .route("/slow", get(slow))
        .route("/wait", get(async move || wait(&polls).await))
        .route("/events", get(async move || events(&endless)))
        .route("/echo", post(echo))
        .route("/gone", post(gone))
        .route("/refuse", post(refuse))
        .route("/extra", post(extra))
}

async fn who(info: axum::Extension<ConnectionInfo>) -> String {
    format!("{:?} {}", info.peer.pid, info.peer.uid)
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(100)).await;
    "slow"
}

/// Counts itself as long as it lives.
struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn new(polls: &Arc<watch::Sender<usize>>) -> Self {
        polls.send_modify(|n| *n += 1);
        Self(Arc::clone(polls))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// A handler that never answers.
async fn wait(polls: &Arc<watch::Sender<usize>>) -> &'static str {
    let _running = Running::new(polls);
    std::future::pending().await
}

/// A body that says one thing and then never ends.
fn events(polls: &Arc<watch::Sender<usize>>) -> Body {
    let start = (Running::new(polls), false);
    Body::from_stream(futures_util::stream::unfold(
        start,
        async |(running, said)| {
            if said {
                std::future::pending::<()>().await;
            }
            let event = Bytes::from_static(b"event\n");
            Some((Ok::<_, std::io::Error>(event), (running, true)))
        },
    ))
}

/// Sends back what comes; says "eof" after the client's half-close.
async fn echo(hijack: Hijack, body: Bytes) -> axum::response::Response {
    hijack.respond(MULTIPLEXED_STREAM, async move |mut io: HijackedIo| {
        let mut buf = vec![0; 16 << 10];
        if !body.is_empty() {
            io.writer.write_all(&body).await.unwrap();
        }
        loop {
            match io.reader.read(&mut buf).await {
                Ok(0) => break,
                Ok(n) => {
                    if io.writer.write_all(&buf[..n]).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
        let _ = io.writer.write_all(b"eof").await;
    })
}

/// Ends only with its client.
async fn gone(hijack: Hijack) -> axum::response::Response {
    hijack.respond(MULTIPLEXED_STREAM, async |io: HijackedIo| {
        io.hang_up.wait().await;
    })
}

async fn refuse(hijack: Hijack) -> axum::response::Response {
    hijack.refuse(&model::Error::not_found("No such container: nosuch"))
}

async fn extra(hijack: Hijack) -> axum::response::Response {
    hijack
        .header("Api-Version", "1.45")
        .header("Ostype", "linux")
        .respond(MULTIPLEXED_STREAM, async |_io| {})
}
