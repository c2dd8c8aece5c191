//! The stream as hyper sees it: everything passes, except the one response head that stands for
//! a hijack.
//!
//! hyper gives a socket back only after a response of status 101. Docker's own head is another:
//! `200 OK` without an `Upgrade` header, or a 404 in raw form, and in a fixed order of lines. So
//! a hijacking handler's response reaches hyper as a 101 with a reason phrase of ours; this
//! wrapper keeps that head from the wire, and `hijack` writes Docker's own. Bytes of earlier
//! responses that hyper still holds (pipelining) pass unharmed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket::Stream;

/// The reason phrase of the 101 that is not to be sent.
pub(super) const REASON: &[u8] = b"MOORED-HIJACK";
/// What follows the HTTP version in that head.
const STATUS: &[u8] = b" 101 MOORED-HIJACK\r\n";
/// Length of `HTTP/1.1`, in front of [`STATUS`].
const VERSION_BYTES: usize = 8;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Intercept {
    io: TokioIo<Stream>,
    armed: Arc<AtomicBool>,
    swallowing: bool,
}

impl Intercept {
    /// Passes everything until `armed` is set; from then on it looks for the head to swallow.
    pub(super) fn new(stream: Stream, armed: Arc<AtomicBool>) -> Self {
        Self {
            io: TokioIo::new(stream),
            armed,
            swallowing: false,
        }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> Stream {
        self.io.into_inner()
    }
}

/// How many bytes of `buf` stand before the head that is not to be sent; all when it is not there.
fn bytes_before_head(buf: &[u8]) -> usize {
    buf.windows(STATUS.len())
        .position(|w| w == STATUS)
        .map_or(buf.len(), |at| at.saturating_sub(VERSION_BYTES))
}

impl Write for Intercept {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.swallowing && self.armed.load(Ordering::Acquire) {
            match bytes_before_head(buf) {
                0 => self.swallowing = true,
                n => return Pin::new(&mut self.io).poll_write(cx, &buf[..n]),
            }
        }
        if self.swallowing {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.armed.load(Ordering::Acquire) {
            return Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|b| !b.is_empty());
        self.poll_write(cx, first.map_or(&[][..], |b| &**b))
    }
}

impl Read for Intercept {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_found_after_what_must_still_be_sent() {
        let head = b"HTTP/1.1 101 MOORED-HIJACK\r\nDate: x\r\n\r\n";
        assert_eq!(bytes_before_head(head), 0);
        let mut both = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        let earlier = both.len();
        both.extend_from_slice(head);
        assert_eq!(bytes_before_head(&both), earlier);
        assert_eq!(bytes_before_head(b"HTTP/1.1 101 UPGRADED\r\n\r\n"), 25);
        assert_eq!(bytes_before_head(b""), 0);
    }
}
