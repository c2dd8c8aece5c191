//! Archives as they go to a client: made by a thread that blocks, few at once, and none that waits for
//! ever on one who does not read.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use model::{Error, Result, limits};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// How much is handed over at once, and how many of these may wait.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_WAITING_MAX: usize = 4;

/// The archives that are being sent; clones share the count.
#[derive(Debug, Clone)]
pub struct Downloads {
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Downloads {
    fn default() -> Self {
        Self::with_turns(limits::DOWNLOADS_MAX)
    }
}

impl Downloads {
    /// With so many at once.
    pub fn with_turns(turns: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            patience: limits::DOWNLOAD_IDLE_TIMEOUT,
        }
    }
}

/// What a client is being sent. One that fails in the middle ends with the error, so that the client
/// does not take what it has for all there is.
#[derive(Debug)]
pub struct Download {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes>>,
    /// All of it was handed over.
    whole: Arc<AtomicBool>,
}

impl Downloads {
    /// Begins to send what `work` writes, when it is its turn.
    ///
    /// # Errors
    /// What `work` says before there is anything to send.
    pub async fn begin(
        &self,
        work: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
    ) -> Result<Download> {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|e| Error::system(format!("downloads are closed: {e}")))?;
        let (sender, rest) = mpsc::channel(CHUNKS_WAITING_MAX);
        let patience = self.patience;
        let whole: Arc<AtomicBool> = Arc::default();
        let told = whole.clone();
        let request = tracing::Span::current();
        tokio::task::spawn_blocking(move || {
            let _of = request.enter();
            let mut chunks = Chunks {
                filling: BytesMut::with_capacity(CHUNK_BYTES),
                sender,
                patience,
            };
            let done = work(&mut chunks).and_then(|()| chunks.flush().map_err(archive::writing));
            match done {
                Ok(()) => told.store(true, Ordering::Release),
                // Where there is no room for it, the end without a word is told of as well.
                // Clients of Docker's leave when they have seen the end of the tar.
                Err(e) if chunks.sender.is_closed() => {
                    tracing::debug!(error = %e, "a client left before the end of an archive");
                }
                Err(e) => {
                    tracing::warn!(error = %e, "an archive was not sent to its end");
                    drop(chunks.sender.try_send(Err(e)));
                }
            }
            drop(turn);
        });
        let mut download = Download {
            first: None,
            rest,
            whole,
        };
        download.first = poll_fn(|cx| Pin::new(&mut download).poll_next(cx))
            .await
            .transpose()?;
        Ok(download)
    }
}

impl Stream for Download {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => match ready!(self.rest.poll_recv(cx)) {
                None if !self.whole.swap(true, Ordering::AcqRel) => {
                    Poll::Ready(Some(Err(Error::system("the archive was cut off"))))
                }
                // It says what cut it off.
                Some(Err(e)) => {
                    self.whole.store(true, Ordering::Release);
                    Poll::Ready(Some(Err(e)))
                }
                next => Poll::Ready(next),
            },
        }
    }
}

struct Chunks {
    filling: BytesMut,
    sender: mpsc::Sender<Result<Bytes>>,
    patience: Duration,
}

impl Chunks {
    fn send(&self, chunk: Result<Bytes>) -> io::Result<()> {
        let sent = self.sender.send_timeout(chunk, self.patience);
        // Of the pool of threads that block: it may wait here.
        let sent = Handle::current().block_on(sent);
        sent.map_err(|e| match e {
            mpsc::error::SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
            mpsc::error::SendTimeoutError::Timeout(_) => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing was read for {} s", self.patience.as_secs()),
            ),
        })
    }
}

impl Write for Chunks {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.filling.len();
        let taken = &content[..content.len().min(room)];
        self.filling.extend_from_slice(taken);
        if self.filling.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.filling, BytesMut::with_capacity(CHUNK_BYTES));
        self.send(Ok(full.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(download: &mut Download) -> Option<Result<Bytes>> {
        poll_fn(|cx| Pin::new(&mut *download).poll_next(cx)).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_of_it_comes_and_a_failure_in_the_middle_shows() {
        let downloads = Downloads::default();
        let sent: Vec<u8> = (0..=255).cycle().take(3 * CHUNK_BYTES + 5).collect();
        for fails in [false, true] {
            let content = sent.clone();
            let work = move |out: &mut dyn Write| {
                out.write_all(&content).map_err(archive::writing)?;
                match fails {
                    true => Err(Error::system("the disk is gone")),
                    false => Ok(()),
                }
            };
            let mut download = downloads.begin(work).await.unwrap();
            let mut got = Vec::new();
            let end = loop {
                match next(&mut download).await {
                    Some(Ok(chunk)) => got.extend_from_slice(&chunk),
                    end => break end,
                }
            };
            match fails {
                true => assert_eq!(end.unwrap().unwrap_err().message(), "the disk is gone"),
                false => assert!(end.is_none() && got == sent),
            }
        }
        let refused = downloads.begin(|_| Err(Error::conflict("not now"))).await;
        assert_eq!(refused.unwrap_err().message(), "not now");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_who_does_not_read_and_one_who_left_hold_no_thread() {
        let downloads = Downloads {
            turns: Arc::new(Semaphore::new(1)),
            patience: Duration::from_millis(50),
        };
        let (told, mut ended) = mpsc::channel(2);
        let flood = || {
            let told = told.clone();
            move |out: &mut dyn Write| {
                let e = loop {
                    if let Err(e) = out.write_all(&[0; CHUNK_BYTES]) {
                        break e;
                    }
                };
                told.blocking_send(e.kind()).unwrap();
                Err(archive::writing(e))
            }
        };
        let mut deaf = downloads.begin(flood()).await.unwrap();
        assert_eq!(ended.recv().await, Some(io::ErrorKind::TimedOut));
        // One that reads on gets what waited, and not an end as if that were all.
        let mut waited = 0;
        let end = loop {
            match next(&mut deaf).await {
                Some(Ok(_)) => waited += 1,
                end => break end,
            }
        };
        assert_eq!(waited, 1 + CHUNKS_WAITING_MAX);
        // In the thread's words, where there was room for them by then.
        end.unwrap().unwrap_err();
        assert!(next(&mut deaf).await.is_none());
        let panics = downloads.begin(|_| panic!("a defect")).await;
        assert_eq!(panics.unwrap_err().message(), "the archive was cut off");
        drop(downloads.begin(flood()).await.unwrap());
        assert_eq!(ended.recv().await, Some(io::ErrorKind::BrokenPipe));
        drop(downloads.turns.acquire().await.unwrap());
    }
}
