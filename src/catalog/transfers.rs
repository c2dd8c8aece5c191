//! Layers on their way in: each once, however many pulls want it, a few at a time.
//!
//! A transfer goes on for as long as somebody waits for it. When the last one leaves it ends, and
//! what came stays for the next.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use images::{Images, WantedLayer};
use model::{Digest, Error, Kind, Result, limits};
use registry::{BlobEvent, Source};
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Pieces that wait to be applied.
const PIECES_WAITING_MAX: usize = 8;

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Others are before it.
    Waiting,
    /// So many bytes of it came.
    Downloading(u64),
    /// The line dropped; it is tried again after that.
    Pausing(Duration),
    /// All of it came.
    Downloaded,
    /// It is here, or will not be.
    Ended(Result<()>),
}

/// Somebody's part in a transfer.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stage: watch::Receiver<Stage>,
    _ends_with_us: DropGuard,
}

impl Transfer {
    /// How far it is, now and on each change.
    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.shared.stage.clone()
    }
}

/// The transfers there are.
#[derive(Debug)]
pub(crate) struct Transfers {
    /// By where it comes from, too: nobody waits for another one's registry.
    running: Mutex<HashMap<(String, WantedLayer), Weak<Shared>>>,
    /// Held by whoever writes what came of a blob; one that was left may still be at it.
    writers: Mutex<HashMap<Digest, Weak<Writer>>>,
    turns: Arc<Semaphore>,
}

impl Default for Transfers {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            writers: Mutex::default(),
            turns: Arc::new(Semaphore::new(limits::LAYER_DOWNLOADS_MAX)),
        }
    }
}

impl Transfers {
    /// Joins the transfer of a layer, or begins it from `source`. The layer must be held.
    pub(crate) fn join(&self, store: &Images, source: &Source, wanted: &WantedLayer) -> Transfer {
        let mut running = lock(&self.running);
        running.retain(|_, shared| shared.strong_count() > 0);
        let ended = |shared: &Arc<Shared>| matches!(*shared.stage.borrow(), Stage::Ended(Err(_)));
        let key = (source.domain().to_owned(), wanted.clone());
        let known = running.get(&key).and_then(Weak::upgrade);
        if let Some(shared) = known.filter(|shared| !ended(shared)) {
            return Transfer { shared };
        }
        let (stage, followed) = watch::channel(Stage::Waiting);
        let left = CancellationToken::new();
        let work = Work {
            store: store.clone(),
            source: source.clone(),
            wanted: wanted.clone(),
            writer: self.writer(&wanted.blob.digest),
            turns: self.turns.clone(),
            stage,
        };
        let cancelled = left.clone();
        tokio::spawn(async move {
            let ended = work.run(cancelled).await;
            work.stage.send_replace(Stage::Ended(ended));
        });
        let shared = Arc::new(Shared {
            stage: followed,
            _ends_with_us: left.drop_guard(),
        });
        running.insert(key, Arc::downgrade(&shared));
        Transfer { shared }
    }

    fn writer(&self, blob: &Digest) -> Arc<Writer> {
        let mut writers = lock(&self.writers);
        writers.retain(|_, writer| writer.strong_count() > 0);
        if let Some(writer) = writers.get(blob).and_then(Weak::upgrade) {
            return writer;
        }
        let writer = Arc::<Writer>::default();
        writers.insert(blob.clone(), Arc::downgrade(&writer));
        writer
    }
}

/// Who writes the beginning of a blob that is kept over a dropped line.
#[derive(Debug, Default)]
struct Writer {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The registry whose turn it is, or was.
    domain: Mutex<String>,
}

impl Writer {
    /// The turn to write it; `None` when another registry's transfer is at it, which may stand still: what
    /// comes goes elsewhere then, and is not kept if the line drops for good.
    async fn take(&self, domain: &str) -> Option<OwnedMutexGuard<()>> {
        let turn = match self.turn.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) if *lock(&self.domain) != domain => return None,
            Err(_) => self.turn.clone().lock_owned().await,
        };
        domain.clone_into(&mut lock(&self.domain));
        Some(turn)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What it holds is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transfer's own task.
struct Work {
    store: Images,
    source: Source,
    wanted: WantedLayer,
    writer: Arc<Writer>,
    turns: Arc<Semaphore>,
    stage: watch::Sender<Stage>,
}

impl Work {
    async fn run(&self, left: CancellationToken) -> Result<()> {
        let mut held = self.store.hold_layer(&self.wanted);
        // Not given up by one who left before his thread did.
        let writer = tokio::select! {
            writer = self.writer.take(self.source.domain()) => writer,
            () = left.cancelled() => return Err(nobody_waits()),
        };
        let turn = tokio::select! {
            turn = self.turns.acquire() => turn,
            () = left.cancelled() => return Err(nobody_waits()),
        };
        let _turn = turn.map_err(|e| Error::system(format!("transfers are closed: {e}")))?;
        let (store, wanted) = (self.store.clone(), self.wanted.clone());
        let apart = writer.is_none();
        let before = move || match (store.has_layer(&wanted, &mut held)?, apart) {
            (true, _) => Ok((None, held)),
            (false, true) => Ok((Some(0), held)),
            (false, false) => Ok((Some(store.partial_bytes(&wanted)?), held)),
        };
        let (from, _held) = sys::task::blocking(before).await?;
        let Some(from) = from else {
            return Ok(());
        };
        match self.fetch(from, apart, &left).await {
            // What was there may have been damaged, or another server's. Once more, from the beginning.
            Err(e) if from > 0 && e.kind() == Kind::InvalidParameter => {
                self.fetch(0, apart, &left).await
            }
            ended => ended,
        }
    }

    /// Applies what is here of the layer, `from` bytes, and what comes; `apart` from who is at it.
    async fn fetch(&self, from: u64, apart: bool, left: &CancellationToken) -> Result<()> {
        let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
        let (store, wanted) = (self.store.clone(), self.wanted.clone());
        let applying = tokio::spawn(sys::task::blocking(move || {
            let mut rest = Rest {
                pieces,
                current: Bytes::new(),
                left: wanted.blob.size_bytes - from,
            };
            match apart {
                true => store.pull_layer_apart(&wanted, &mut rest),
                false => store.pull_layer(&wanted, from, &mut rest),
            }
        }));
        self.feed(from, &sender, left).await;
        drop(sender);
        let applied = applying.await;
        applied.map_err(|e| Error::system(format!("applying a layer ended early: {e}")))?
    }

    /// Hands over what comes, until all of it came or nobody wants it.
    async fn feed(
        &self,
        from: u64,
        sender: &mpsc::Sender<Result<Bytes>>,
        left: &CancellationToken,
    ) {
        let blob = &self.wanted.blob;
        let mut stream = self.source.blob(&blob.digest, blob.size_bytes, from);
        let mut came = from;
        self.stage.send_replace(Stage::Downloading(came));
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = left.cancelled() => Err(nobody_waits()),
                // Whoever applies it ended, with an error of his own or before the line did.
                () = sender.closed() => return,
            };
            let piece = match event {
                Ok(Some(BlobEvent::Bytes(piece))) => Ok(piece),
                Ok(Some(BlobEvent::Pause(pause))) => {
                    self.stage.send_replace(Stage::Pausing(pause));
                    continue;
                }
                Ok(None) => {
                    self.stage.send_replace(Stage::Downloaded);
                    return;
                }
                Err(e) => Err(e),
            };
            came += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            let is_over = piece.is_err();
            if sender.send(piece).await.is_err() || is_over {
                return;
            }
            self.stage.send_replace(Stage::Downloading(came));
        }
    }
}

fn nobody_waits() -> Error {
    Error::new(Kind::Cancelled, "nobody waits for the layer any more")
}

/// What comes, for a thread that may block.
struct Rest {
    pieces: mpsc::Receiver<Result<Bytes>>,
    current: Bytes,
    /// Bytes that are to come.
    left: u64,
}

impl io::Read for Rest {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.left == 0 {
                return Ok(0);
            }
            self.current = match self.pieces.blocking_recv() {
                Some(Ok(piece)) => piece,
                Some(Err(e)) => return Err(archive::carried(e)),
                None => return Err(archive::carried(Error::system("the download was cut off"))),
            };
            self.left = self.left.saturating_sub(self.current.len() as u64);
        }
        let n = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}
