//! One attached client: what it wants, what waits for it, and how it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::{Error, Kind, Result};
use tokio::sync::Notify;

use super::ring::Ring;
use super::{Run, Shared};
use crate::stdcopy::StreamId;

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Standard output, and all of a terminal.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// A client's place in the hub. Dropping it leaves.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    client: Arc<Client>,
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        Self { shared, client }
    }

    /// The next bytes, ready for the wire: whole stdcopy frames, one for each write as conmon
    /// delivered it, or raw with a terminal. `None` when the container has ended and everything
    /// was taken. Cancel safe.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], once and as the last item, when this client let more wait than its
    /// ring holds. What waited is dropped with it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            if let Some(item) = self.client.take() {
                return item;
            }
            self.client.arrived.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state
            .clients
            .retain(|client| !Arc::ptr_eq(client, &self.client));
        if let (true, Run::Connected(connection)) = (state.clients.is_empty(), &state.run) {
            connection.look.notify_one();
        }
    }
}

/// The hub's side of a subscription.
#[derive(Debug)]
pub(super) struct Client {
    want: Want,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug)]
struct Waiting {
    ring: Ring,
    bytes_max: usize,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// After what waits.
    Finished,
    /// The error is still to be told.
    Overflowed,
}

impl Client {
    pub(super) fn new(want: Want, ring_bytes: usize) -> Self {
        Self {
            want,
            waiting: Mutex::new(Waiting {
                ring: Ring::new(ring_bytes),
                bytes_max: ring_bytes,
                end: End::NotYet,
            }),
            arrived: Notify::new(),
        }
    }

    /// Adds one write of the container. False when the client has overflowed and must go.
    pub(super) fn push(&self, stream: StreamId, payload: &[u8], framed: bool) -> bool {
        let wanted = match stream {
            StreamId::Stdout => self.want.stdout,
            StreamId::Stderr => self.want.stderr,
            StreamId::Stdin => false,
        };
        if !wanted {
            return true;
        }
        let mut waiting = self.lock();
        let taken = waiting.ring.push(stream, payload, framed).is_ok();
        if !taken {
            waiting.ring.clear();
            waiting.end = End::Overflowed;
        }
        drop(waiting);
        self.arrived.notify_one();
        taken
    }

    pub(super) fn finish(&self) {
        self.lock().end = End::Finished;
        self.arrived.notify_one();
    }

    /// What `next` returns, if it need not wait.
    fn take(&self) -> Option<Option<Result<Bytes>>> {
        let mut waiting = self.lock();
        if let Some(bytes) = waiting.ring.pop() {
            return Some(Some(Ok(bytes)));
        }
        match waiting.end {
            End::NotYet => None,
            End::Finished => Some(None),
            End::Overflowed => {
                waiting.end = End::Finished;
                Some(Some(Err(Error::new(
                    Kind::Unavailable,
                    format!(
                        "this client reads too slowly: more than {} bytes of output waited for it",
                        waiting.bytes_max
                    ),
                ))))
            }
        }
    }

    /// No code panics while holding the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
