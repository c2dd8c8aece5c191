//! Clients' input on its way to the container, and who may end it.
//!
//! Input has back-pressure and output has not: a writer waits while the container does not read,
//! and nobody else does. Only this file closes the container's stdin.

use std::sync::Arc;

use bytes::Bytes;
use model::limits;

use super::{Connection, Run, Shared, StdinPolicy};

/// The container's stdin takes no more: it was closed, or the container is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinClosed;

/// What an attachment does when its client sends no more (moby `daemon/stream.CopyStreams`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterEof {
    /// The container got the EOF; its output goes on.
    OutputGoesOn,
    /// The container's stdin stays open for the next client; this attachment ends.
    AttachEnds,
}

/// One client's way to the container's stdin. Several may write at once; each packet of at most
/// [`limits::STDIN_PACKET_BYTES_MAX`] arrives whole. Dropping it is the client leaving, which
/// ends the container's stdin where [`StdinPolicy::Once`] says so.
#[derive(Debug)]
pub struct StdinWriter {
    shared: Arc<Shared>,
    epoch: u64,
}

impl StdinWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let epoch = shared.lock().epoch;
        Self { shared, epoch }
    }

    /// Passes bytes on. Waits for the container's start, and while conmon takes no more. When
    /// cancelled, some of the packets may have gone.
    ///
    /// # Errors
    /// [`StdinClosed`] when the run this writer belongs to takes no more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StdinClosed> {
        for packet in bytes.chunks(limits::STDIN_PACKET_BYTES_MAX) {
            let connection = self.connection().await?;
            tokio::select! {
                biased;
                sent = connection.writer.send(packet) => sent.map_err(|_| StdinClosed)?,
                () = connection.gone.cancelled() => return Err(StdinClosed),
            }
        }
        Ok(())
    }

    /// The client will send no more. Closes the container's stdin when it is the kind that
    /// closes, and tells what becomes of the attachment.
    pub fn finish(self) -> AfterEof {
        if self.shared.stdin_can_end() {
            // Dropping closes it.
            AfterEof::OutputGoesOn
        } else {
            AfterEof::AttachEnds
        }
    }

    /// The connection, as soon as there is one.
    async fn connection(&self) -> Result<Arc<Connection>, StdinClosed> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            {
                let state = self.shared.lock();
                if state.epoch != self.epoch || state.stdin_ended {
                    return Err(StdinClosed);
                }
                match &state.run {
                    Run::Connected(connection) => return Ok(Arc::clone(connection)),
                    Run::Gone => return Err(StdinClosed),
                    Run::Waiting | Run::Listening(_) => {}
                }
            }
            changed.await;
        }
    }
}

impl Drop for StdinWriter {
    fn drop(&mut self) {
        if self.shared.stdin_can_end() {
            self.shared.end_stdin(self.epoch);
        }
    }
}

impl Shared {
    /// Docker's rule: StdinOnce and no terminal. A terminal's EOF is a key (VEOF), not a close.
    fn stdin_can_end(&self) -> bool {
        self.options.stdin == StdinPolicy::Once && !self.options.tty
    }

    /// Ends the stdin of run `epoch`: now, or when it connects.
    fn end_stdin(&self, epoch: u64) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        state.stdin_ended = true;
        if let Run::Connected(connection) = &state.run
            && let Err(e) = connection.writer.shutdown()
        {
            tracing::warn!(error = %e, socket = %connection.path.display(), "cannot close the container's stdin");
        }
        drop(state);
        self.changed.notify_waiters();
    }
}
