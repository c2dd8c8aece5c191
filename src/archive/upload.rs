//! Archives as they come from a client: few at once, and none that stands still for ever.
//!
//! Whoever reads one holds a thread of the pool that all blocking work shares, so clients that
//! open uploads and send nothing could stop everything else.

use std::io::{self, BufReader};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::{Error, Result, limits};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::io::SyncIoBridge;

/// How much is asked of a client at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The archives that are being read; clones share the count.
#[derive(Debug, Clone)]
pub struct Uploads {
    turns: Arc<Semaphore>,
    turns_max: usize,
}

/// An archive whose turn it is.
pub struct Upload {
    archive: BufReader<SyncIoBridge<Box<dyn AsyncRead + Send + Unpin>>>,
    _turn: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

impl io::Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buf)
    }
}

impl Default for Uploads {
    fn default() -> Self {
        Self::with_turns(limits::UPLOADS_MAX)
    }
}

impl Uploads {
    /// With so many at once.
    pub fn with_turns(turns_max: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns_max)),
            turns_max,
        }
    }

    /// Whether one is being read.
    pub fn is_busy(&self) -> bool {
        self.turns.available_permits() < self.turns_max
    }

    /// What `archive` brings, to be read on a thread that may block, when it is its turn. The turn
    /// ends with it.
    ///
    /// # Errors
    /// None while the daemon lives.
    pub async fn open<R>(&self, archive: R) -> Result<Upload>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|e| Error::system(format!("uploads are closed: {e}")))?;
        let archive: Box<dyn AsyncRead + Send + Unpin> =
            Box::new(Patient::new(archive, limits::UPLOAD_IDLE_TIMEOUT));
        Ok(Upload {
            archive: BufReader::with_capacity(BUFFER_BYTES, SyncIoBridge::new(archive)),
            _turn: turn,
        })
    }

    /// Runs `work` on what `archive` brings, on a blocking thread, when it is its turn.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn read<R, T>(
        &self,
        archive: R,
        work: impl FnOnce(&mut dyn io::Read) -> Result<T> + Send + 'static,
    ) -> Result<T>
    where
        R: AsyncRead + Send + Unpin + 'static,
        T: Send + 'static,
    {
        // The turn ends with the work: the thread is what is short.
        let mut upload = self.open(archive).await?;
        sys::task::blocking(move || work(&mut upload)).await
    }
}

/// A reader that fails when nothing came for a while.
struct Patient<R> {
    inner: R,
    patience: Duration,
    /// Runs while nothing comes.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<R> Patient<R> {
    fn new(inner: R, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            waiting: None,
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Patient<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buf) {
            this.waiting = None;
            return Poll::Ready(read);
        }
        let patience = this.patience;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing came for {} s", patience.as_secs()),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn silence_ends_an_upload_but_slowness_does_not() {
        let (mut client, upload) = tokio::io::duplex(64);
        let mut upload = Patient::new(upload, Duration::from_millis(200));
        let sender = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                client.write_all(b"x").await.unwrap();
            }
        };
        let mut six = [0; 6];
        let (read, ()) = tokio::join!(upload.read_exact(&mut six), sender);
        read.unwrap();
        let silence = upload.read(&mut six).await.unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }
}
