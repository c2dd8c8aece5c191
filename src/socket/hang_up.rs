//! Telling a peer that is gone from one that has only finished writing.
//!
//! Half-close is part of Docker's protocol (`docker run -i` shuts its writing side at the end of
//! stdin and goes on reading), so end-of-file on read says nothing about the reader. The kernel
//! knows: a full close is `EPOLLHUP`, a half-close only `EPOLLRDHUP`. This watch must never read,
//! write or touch the readiness of the stream it watches.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A watch on one stream; it stays valid when the stream itself is dropped or handed on.
#[derive(Debug)]
pub struct HangUp {
    watched: AsyncFd<OwnedFd>,
}

impl HangUp {
    /// Watches a duplicate of `socket`, so that the stream's own registration is left alone.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new(socket: impl AsFd) -> io::Result<Self> {
        // Only PRIORITY is asked for: unix sockets never report it, while EPOLLHUP is reported
        // unasked. READABLE would wake this watch for every byte, and ask for EPOLLRDHUP too.
        let watched = register(socket, Interest::PRIORITY)?;
        Ok(Self { watched })
    }

    /// Waits until both directions are closed: the peer closed its socket or died. May be called
    /// again, and answers at once from then on. Never returns while the peer lives, even when it
    /// has shut its writing side.
    pub async fn wait(&self) {
        loop {
            match self.watched.ready(Interest::PRIORITY).await {
                Ok(mut guard) if guard.ready().is_read_closed() => {
                    guard.retain_ready();
                    return;
                }
                Ok(mut guard) => guard.clear_ready_matching(Ready::PRIORITY),
                // The runtime is shutting down: nobody is left to be told otherwise.
                Err(_) => return,
            }
        }
    }
}

/// A registration of its own on the same socket.
pub(crate) fn register(socket: impl AsFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = socket.as_fd().try_clone_to_owned()?;
    // SAFETY: the AsyncFd owns the descriptor, which nobody else can close or replace, and
    // OwnedFd always reports the same number.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
