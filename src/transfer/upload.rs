//! Archives as they come from a client: few at once, and none that stands still for ever.
//!
//! Whoever reads one holds a thread of the pool that all blocking work shares, so clients that
//! open uploads and send nothing could stop everything else. A task of its own brings what comes to
//! that thread, some chunks ahead of it: the client sends and the kernel receives while the thread
//! works, and it is not woken for each of the little pieces that a connection brings.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use model::{Error, Result, limits};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::io::poll_read_buf;

/// How much is handed over at most at once, and how many of these may wait.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_WAITING_MAX: usize = 8;

/// The archives that are being read; clones share the count.
#[derive(Debug, Clone)]
pub struct Uploads {
    turns: Arc<Semaphore>,
    patience: Duration,
    turns_max: usize,
}

/// An archive whose turn it is.
#[derive(Debug)]
pub struct Upload {
    /// What came before it was its turn.
    first: Option<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
    rest: mpsc::Receiver<io::Result<Bytes>>,
    _turn: OwnedSemaphorePermit,
}

/// An archive of which something came, or which ended.
#[derive(Debug)]
pub struct Begun {
    first: Option<io::Result<Bytes>>,
    rest: mpsc::Receiver<io::Result<Bytes>>,
    /// Says that it is its turn: until then nothing more is read, however many wait.
    go: oneshot::Sender<()>,
    turns: Arc<Semaphore>,
}

impl Begun {
    /// The archive, when it is its turn.
    ///
    /// # Errors
    /// None while the daemon lives.
    pub async fn turn(self) -> Result<Upload> {
        let turn = self.turns.acquire_owned().await;
        let turn = turn.map_err(|e| Error::system(format!("uploads are closed: {e}")))?;
        // One who brings nothing more has ended.
        let _ = self.go.send(());
        Ok(Upload {
            first: self.first,
            current: Bytes::new(),
            ended: false,
            rest: self.rest,
            _turn: turn,
        })
    }
}

impl io::Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !buf.is_empty() && !self.ended {
            let first = self.first.take();
            let chunk = first.or_else(|| self.rest.blocking_recv());
            // Whoever brings it says that it ended; gone without a word he was cut off.
            let cut = || io::Error::other("the upload was cut off");
            self.current = chunk.ok_or_else(cut)??;
            self.ended = self.current.is_empty();
        }
        let n = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
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
            patience: limits::UPLOAD_IDLE_TIMEOUT,
        }
    }

    /// Whether one is being read.
    pub fn is_busy(&self) -> bool {
        self.turns.available_permits() < self.turns_max
    }

    /// What `archive` brings, to be read on a thread that may block, when it is its turn. The turn
    /// ends with it, and begins when something came: a client whose archive is another one's answer must
    /// not keep that from coming.
    ///
    /// # Errors
    /// None while the daemon lives.
    pub async fn open<R>(&self, archive: R) -> Result<Upload>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        self.begun(archive).await.turn().await
    }

    /// Waits until something of `archive` came. Its turn is still to be waited for.
    pub async fn begun<R>(&self, archive: R) -> Begun
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (chunks, mut rest) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (go, told) = oneshot::channel();
        tokio::spawn(bring(archive, chunks, told, self.patience));
        Begun {
            first: rest.recv().await,
            rest,
            go,
            turns: self.turns.clone(),
        }
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

/// Brings an archive to its reader until either ends. A client who sends nothing for a while ends it,
/// one who is slow does not.
async fn bring(
    mut archive: impl AsyncRead + Unpin,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    turn: oneshot::Receiver<()>,
    patience: Duration,
) {
    let mut turn = Some(turn);
    // What has not been asked for is not read: nobody may want it any more.
    while let Ok(room) = chunks.reserve().await {
        let came = tokio::select! {
            came = tokio::time::timeout(patience, next(&mut archive)) => came,
            // It gave up, and the client is heard out by others.
            () = chunks.closed() => return,
        };
        match came {
            Ok((chunk, end)) => {
                if !chunk.is_empty() {
                    room.send(Ok(chunk));
                }
                match end {
                    None => {
                        if let Some(turn) = turn.take()
                            && turn.await.is_err()
                        {
                            return;
                        }
                    }
                    // An empty one is the end.
                    Some(Ok(())) => return drop(chunks.send(Ok(Bytes::new())).await),
                    // There may be no room for it; the thread will come for more.
                    Some(Err(e)) => return drop(chunks.send(Err(e)).await),
                }
            }
            Err(_) => {
                let silence = format!("nothing came for {} s", patience.as_secs());
                return room.send(Err(io::Error::new(io::ErrorKind::TimedOut, silence)));
            }
        }
    }
}

/// What there is, up to a whole chunk, as soon as there is something; and the end, when it came. A
/// source that failed is not asked again: it may then say that it ended.
async fn next(archive: &mut (impl AsyncRead + Unpin)) -> (Bytes, Option<io::Result<()>>) {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    let end = poll_fn(|cx| {
        while chunk.len() < CHUNK_BYTES {
            match poll_read_buf(Pin::new(&mut *archive), cx, &mut chunk) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Ok(()))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Some(Err(e))),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(None)
    });
    let end = end.await;
    (chunk.freeze(), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    fn impatient() -> Uploads {
        Uploads {
            patience: Duration::from_millis(200),
            ..Uploads::default()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn silence_ends_an_upload_but_slowness_does_not() {
        let (mut client, upload) = tokio::io::duplex(64);
        let reader = tokio::spawn(async move {
            let all = |upload: &mut dyn io::Read| {
                let mut six = [0; 6];
                upload.read_exact(&mut six).unwrap();
                Ok(upload.read(&mut six).unwrap_err())
            };
            impatient().read(upload, all).await.unwrap()
        });
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.write_all(b"x").await.unwrap();
        }
        let silence = reader.await.unwrap();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_byte_comes_whatever_the_pieces_and_the_end_is_one() {
        let (mut client, upload) = tokio::io::duplex(10_000);
        let sent: Vec<u8> = (0..=250).cycle().take(3 * CHUNK_BYTES + 7).collect();
        let expected = sent.clone();
        let read = tokio::spawn(async move {
            let all = |upload: &mut dyn io::Read| {
                let mut got = Vec::new();
                upload.read_to_end(&mut got).unwrap();
                assert_eq!(upload.read(&mut [0]).unwrap(), 0, "it has ended");
                Ok(got)
            };
            Uploads::default().read(upload, all).await.unwrap()
        });
        client.write_all(&sent).await.unwrap();
        drop(client);
        assert!(read.await.unwrap() == expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_gives_up_lets_go_of_the_client() {
        let (mut client, upload) = tokio::io::duplex(64);
        let uploads = Uploads::default();
        client.write_all(b"x").await.unwrap();
        let upload = uploads.open(upload).await.unwrap();
        assert!(uploads.is_busy());
        drop(upload);
        assert!(!uploads.is_busy());
        // The other end is gone, though it waited for more.
        while client.write_all(&[0; 64]).await.is_ok() {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_sent_nothing_yet_is_in_nobodys_way() {
        let uploads = Uploads::with_turns(1);
        let (_silent, archive) = tokio::io::duplex(64);
        let (silent, opened) = (uploads.clone(), archive);
        let waiting = tokio::spawn(async move { silent.open(opened).await.map(drop) });
        let (mut client, archive) = tokio::io::duplex(64);
        client.write_all(b"x").await.unwrap();
        drop(client);
        let all = |upload: &mut dyn io::Read| Ok(io::read_to_string(upload).unwrap());
        assert_eq!(uploads.read(archive, all).await.unwrap(), "x");
        assert!(!waiting.is_finished());
        waiting.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_one_who_waits_for_his_turn_no_more_than_the_beginning_is_read() {
        let uploads = Uploads::with_turns(1);
        let (mut client, archive) = tokio::io::duplex(1024);
        let begun = async {
            client.write_all(b"x").await.unwrap();
            uploads.begun(archive).await
        };
        let begun = begun.await;
        let more = vec![b'y'; 2 * CHUNK_BYTES];
        let sent = tokio::time::timeout(Duration::from_millis(200), client.write_all(&more));
        assert!(sent.await.is_err(), "it was read before its turn");
        let mut upload = begun.turn().await.unwrap();
        drop(client);
        let read = tokio::task::spawn_blocking(move || io::read_to_string(&mut upload));
        let read = read.await.unwrap().unwrap();
        assert!(
            read.starts_with("xy") && read.len() < CHUNK_BYTES,
            "{}",
            read.len()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broken_line_is_an_error_behind_what_came() {
        struct Broken(u8);
        impl AsyncRead for Broken {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.0 += 1;
                match self.0 {
                    1 => buf.put_slice(b"some"),
                    2 => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    // As a stream that failed: it has ended.
                    _ => {}
                }
                Poll::Ready(Ok(()))
            }
        }
        let all = |upload: &mut dyn io::Read| {
            let mut got = Vec::new();
            let end = upload.read_to_end(&mut got).unwrap_err();
            Ok((got, end.kind()))
        };
        let read = Uploads::default().read(Broken(0), all).await.unwrap();
        assert_eq!(read, (b"some".to_vec(), io::ErrorKind::ConnectionReset));
    }
}
