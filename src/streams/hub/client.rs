//! One attached client: what it wants, what waits for it, and how it ends.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::{Error, Kind, Result};
use sys::spill_file::SpillFile;
use tokio::sync::Notify;

use super::backlog::{Backlog, Popped, Pushed, ReadJob, SpillOptions};
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

impl Want {
    /// Whether output on `stream` is wanted.
    pub fn takes(self, stream: StreamId) -> bool {
        match stream {
            StreamId::Stdout => self.stdout,
            StreamId::Stderr => self.stderr,
            StreamId::Stdin => false,
        }
    }
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

    /// The hub's side of it.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The next bytes, ready for the wire: whole stdcopy frames, one for each write as conmon
    /// delivered it (what waited in a file may be cut anywhere), or raw with a terminal. `None`
    /// when the container has ended and everything was taken. Cancel safe.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], once and as the last item, when this client let more wait than
    /// memory and file hold, or the file cannot be had. What waited is dropped with it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.client.take() {
                Take::Item(item) => return item,
                Take::Wait => self.client.arrived.notified().await,
                Take::Read(job) => {
                    let read = tokio::task::spawn_blocking(move || (job.run(), job)).await;
                    match read {
                        Ok((Ok(bytes), job)) => {
                            self.client.lock().backlog.end_read(&job);
                            return Some(Ok(bytes));
                        }
                        Ok((Err(e), _)) => self.client.lose(&e),
                        Err(e) => self.client.lose(&e.into()),
                    }
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        close(self.client.lock().backlog.clear());
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
    backlog: Backlog,
    end: End,
}

#[derive(Debug)]
enum End {
    NotYet,
    /// After what waits.
    Finished,
    /// The error is still to be told.
    Lost(Error),
}

/// What a client can take now.
enum Take {
    Item(Option<Result<Bytes>>),
    Read(ReadJob),
    Wait,
}

/// What became of one write of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It waits, or was not wanted.
    Yes,
    /// It waits, and [`Client::write_out`] is due.
    WriteOut,
    /// The client is too slow and must go.
    No,
}

impl Client {
    pub(super) fn new(want: Want, memory_bytes: usize, spill: Option<SpillOptions>) -> Self {
        Self {
            want,
            waiting: Mutex::new(Waiting {
                backlog: Backlog::new(memory_bytes, spill),
                end: End::NotYet,
            }),
            arrived: Notify::new(),
        }
    }

    /// Adds one write of the container.
    pub(super) fn push(&self, stream: StreamId, payload: &[u8], framed: bool) -> Kept {
        if !self.want.takes(stream) {
            return Kept::Yes;
        }
        let mut waiting = self.lock();
        if matches!(waiting.end, End::Lost(_)) {
            return Kept::No;
        }
        let kept = match waiting.backlog.push(stream, payload, framed) {
            Ok(Pushed::Kept) => Kept::Yes,
            Ok(Pushed::Write) => Kept::WriteOut,
            Err(_) => {
                // What waits is still its own: it gets that, and then the error.
                let (memory, disk) = waiting.backlog.bytes_max();
                waiting.end = too_slow(&format!(
                    "more waited for it than {memory} bytes in memory and {disk} on disk"
                ));
                Kept::No
            }
        };
        drop(waiting);
        self.arrived.notify_one();
        kept
    }

    /// Moves what is in memory to the file. Waits for the disk, as conmon does for its log; never
    /// for the client.
    pub(super) async fn write_out(&self) {
        let Some(job) = self.lock().backlog.begin_write() else {
            return;
        };
        match tokio::task::spawn_blocking(move || job.run()).await {
            Ok(Ok(file)) => self.lock().backlog.end_write(file),
            Ok(Err(e)) => self.lose(&e),
            Err(e) => self.lose(&e.into()),
        }
        self.arrived.notify_one();
    }

    pub(super) fn finish(&self) {
        let mut waiting = self.lock();
        if matches!(waiting.end, End::NotYet) {
            waiting.end = End::Finished;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The file cannot be written or read.
    fn lose(&self, e: &io::Error) {
        tracing::warn!(error = %e, "an attach client's output cannot be kept for it");
        self.lock()
            .lose(&format!("what waited for it could not be kept: {e}"));
        self.arrived.notify_one();
    }

    /// What `next` returns, if it need not wait.
    fn take(&self) -> Take {
        let mut waiting = self.lock();
        match waiting.backlog.pop() {
            Popped::Bytes(bytes) => return Take::Item(Some(Ok(bytes))),
            Popped::Read(job) => return Take::Read(job),
            Popped::Nothing => {}
        }
        match std::mem::replace(&mut waiting.end, End::Finished) {
            End::NotYet => {
                waiting.end = End::NotYet;
                Take::Wait
            }
            // A write under way brings more.
            end if waiting.backlog.is_writing() => {
                waiting.end = end;
                Take::Wait
            }
            End::Finished => Take::Item(None),
            End::Lost(error) => Take::Item(Some(Err(error))),
        }
    }

    /// No code panics while holding the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn lose(&mut self, why: &str) {
        close(self.backlog.clear());
        self.end = too_slow(why);
    }
}

fn too_slow(why: &str) -> End {
    let message = format!("this client reads too slowly: {why}");
    End::Lost(Error::new(Kind::Unavailable, message))
}

/// Closes a file where that may take its time.
fn close(file: Option<Arc<SpillFile>>) {
    if file.is_some() {
        drop(tokio::task::spawn_blocking(move || drop(file)));
    }
}
