//! Reads and drops what a handler left of a request's body.
//!
//! A handler may answer before it has seen the whole body: it refuses the request, or it reads
//! an archive to its end mark and the client still sends padding. Closing on unread bytes resets
//! the connection, and the client loses the answer (Docker has that bug with archives). So the
//! rest of every body is read, up to a limit, by a task of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// How much is read and dropped: tar pads to 10 KiB, some writers to a mebibyte, and a small
/// build context is refused while it is sent.
const REST_BYTES_MAX: usize = 16 << 20;

/// Makes the rest of the request's body be drained when the handler drops it.
///
/// Not where the client waits for `100 Continue`: it has sent nothing yet, and reading would ask
/// it to.
pub fn rest_of(request: Request) -> Request {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| {
        Body::new(Draining {
            body,
            is_finished: false,
        })
    })
}

struct Draining {
    body: Body,
    is_finished: bool,
}

impl HttpBody for Draining {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.is_finished = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if self.is_finished || self.body.is_end_stream() {
            return;
        }
        // Without a runtime the connection is gone too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(drain(std::mem::take(&mut self.body)));
        }
    }
}

async fn drain(mut body: Body) {
    let mut dropped_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped_bytes += frame.data_ref().map_or(0, Bytes::len);
        if dropped_bytes > REST_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::mpsc;

    use super::*;

    /// A request whose body comes chunk by chunk from the sender.
    fn request(expects_continue: bool) -> (Request, mpsc::Sender<Bytes>) {
        let (send, mut receive) = mpsc::channel::<Bytes>(1);
        let chunks = futures_util::stream::poll_fn(move |cx| receive.poll_recv(cx));
        let chunks = futures_util::StreamExt::map(chunks, Ok::<_, Infallible>);
        let mut request = Request::new(Body::from_stream(chunks));
        if expects_continue {
            let value = "100-continue".parse().unwrap();
            request.headers_mut().insert(header::EXPECT, value);
        }
        (rest_of(request), send)
    }

    #[tokio::test]
    async fn what_the_handler_left_is_read() {
        let (request, send) = request(false);
        send.send(Bytes::from_static(b"archive")).await.unwrap();
        let mut body = request.into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "archive");
        drop(body);
        // Each send returns only when the one before was taken.
        for _ in 0..16 {
            send.send(Bytes::from_static(&[0; 512])).await.unwrap();
        }
    }

    #[tokio::test]
    async fn but_not_without_end() {
        let (request, send) = request(false);
        drop(request);
        let mebibyte = Bytes::from(vec![0; 1 << 20]);
        let mut sent_bytes = 0;
        while send.send(mebibyte.clone()).await.is_ok() {
            sent_bytes += mebibyte.len();
        }
        assert!(sent_bytes > REST_BYTES_MAX);
        assert!(sent_bytes < 2 * REST_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_is_not_asked() {
        let (request, send) = request(true);
        drop(request);
        assert!(send.is_closed());
    }
}
