//! Pushing: what a registry does not have of an image is sent there, the manifest last.
//!
//! A layer that came compressed goes as it came, and with it the manifest it came with, so that the
//! image has the same digest there. One that is kept as a plain tar is compressed on the way; what
//! that gave is remembered, so that the next push only has to ask for it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use images::manifest::{self, Manifest};
use model::{
    Action, Blob, Context as _, Digest, Error, ImageRecord, Kind, Layer, Reference, Result, limits,
};
use registry::{Credentials, Target};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::job::Steps;
use crate::{Catalog, Job, Progress};

/// How much is handed over at once, and how many of these may wait.
const PIECE_BYTES: usize = 128 << 10;
const PIECES_WAITING_MAX: usize = 4;
/// How often a layer is sent when the line drops, and the pause before.
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Repositories that are asked for a layer in place of sending it (moby's
/// `maxRepositoryMountAttempts`).
const MOUNTS_MAX: usize = 3;
/// Under how many of its names, the first of them.
const MOUNTED_BLOBS_MAX: usize = 2;
/// Progress is told after so many bytes.
const STEP_BYTES: u64 = 512 << 10;

/// An image that is to be pushed.
#[derive(Debug, Clone)]
pub struct PushImage {
    /// Its name.
    pub reference: Reference,
    /// Every tag of that repository in place of the one.
    pub all_tags: bool,
    /// Who asks.
    pub credentials: Credentials,
}

impl Catalog {
    /// Pushes an image under its name; the steps are those of Docker's `push`.
    ///
    /// # Errors
    /// A name with a digest. What the registry says is a step of the job.
    pub async fn push(&self, request: PushImage) -> Result<Job> {
        if request.reference.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference"));
        }
        let (steps, job) = Steps::new(false);
        let catalog = self.clone();
        tokio::spawn(async move {
            let pushed = tokio::select! {
                pushed = catalog.push_all(&request, &steps) => pushed,
                () = steps.client_left() => Ok(()),
            };
            steps.end(pushed);
        });
        Ok(job)
    }

    async fn push_all(&self, request: &PushImage, steps: &Steps) -> Result<()> {
        let reference = &request.reference;
        let repository = format!("{}/{}", reference.domain(), reference.path());
        let told = format!("The push refers to repository [{repository}]");
        steps.send(Progress::Status(told)).await;
        let names = self.inner.index.of_repository(reference);
        if names.is_empty() {
            return Err(Error::not_found(format!(
                "An image does not exist locally with the tag: {}",
                reference.familiar_name()
            )));
        }
        let wanted: Vec<Reference> = match request.all_tags {
            true => names.into_iter().filter(|n| n.digest().is_none()).collect(),
            false => names.into_iter().filter(|n| n == reference).collect(),
        };
        if wanted.is_empty() {
            return Err(Error::not_found(match request.all_tags {
                true => format!("no tags to push for {}", reference.familiar_name()),
                false => format!("tag does not exist: {}", reference.familiar()),
            }));
        }
        let registries = &self.inner.tools.registries;
        let target = registries
            .target(reference, request.credentials.clone())
            .await?;
        for name in &wanted {
            self.push_one(&target, name, steps).await?;
        }
        Ok(())
    }

    async fn push_one(&self, target: &Target, name: &Reference, steps: &Steps) -> Result<()> {
        let record = self.find(&name.to_string())?.record;
        let _held = self.store().hold(&record);
        // Held too late, it may be going.
        let record =
            self.inner.index.record(&record.id).ok_or_else(|| {
                Error::not_found(format!("tag does not exist: {}", name.familiar()))
            })?;
        let mut seen = BTreeSet::new();
        let mut distinct: Vec<&Layer> = record.layers.iter().collect();
        distinct.retain(|layer| seen.insert(&layer.diff_id));
        for layer in distinct.iter().rev() {
            steps
                .send(Progress::doing(layer.diff_id.short(), "Preparing"))
                .await;
        }
        let uploads: Vec<_> = distinct
            .iter()
            .rev()
            .map(|layer| self.push_layer(target, name, layer, steps))
            .collect();
        let sent: Vec<(Digest, Blob)> = stream::iter(uploads)
            .buffer_unordered(limits::LAYER_UPLOADS_MAX)
            .try_collect()
            .await?;
        let blob_of = |layer: &Layer| {
            let found = sent.iter().find(|(diff_id, _)| *diff_id == layer.diff_id);
            found.map(|(_, blob)| blob.clone())
        };
        let layers: Vec<Blob> = record.layers.iter().filter_map(blob_of).collect();
        let (digest, size_bytes) = self.push_manifest(target, name, &record, &layers).await?;
        let tag = name.tag().unwrap_or_default().to_owned();
        let told = format!("{tag}: digest: {digest} size: {size_bytes}");
        steps.send(Progress::Status(told)).await;
        let (catalog, by_digest) = (self.clone(), name.with_digest(digest.clone()));
        let (name, record) = (name.clone(), record.clone());
        sys::task::to_the_end(async move { catalog.pushed(&name, by_digest, &record).await })
            .await?;
        let pushed = Progress::Pushed {
            tag,
            digest,
            size_bytes,
        };
        steps.send(pushed).await;
        Ok(())
    }

    /// One layer, in whichever way it gets there: its diff_id, and what it is called there.
    async fn push_layer(
        &self,
        target: &Target,
        name: &Reference,
        layer: &Layer,
        steps: &Steps,
    ) -> Result<(Digest, Blob)> {
        let blob = self.bring_layer(target, name, layer, steps).await?;
        Ok((layer.diff_id.clone(), blob))
    }

    async fn bring_layer(
        &self,
        target: &Target,
        name: &Reference,
        layer: &Layer,
        steps: &Steps,
    ) -> Result<Blob> {
        let (store, asked) = (self.store().clone(), layer.clone());
        let known = sys::task::blocking(move || store.known_blobs(&asked)).await?;
        // Where these questions are not answered, the layer is sent.
        for blob in &known {
            if target.has(&blob.digest).await.unwrap_or(false) {
                steps
                    .send(Progress::doing(
                        layer.diff_id.short(),
                        "Layer already exists",
                    ))
                    .await;
                return Ok(blob.clone());
            }
        }
        for blob in known.iter().take(MOUNTED_BLOBS_MAX) {
            for from in self.neighbours(name, layer) {
                if target.mount(&blob.digest, &from).await.unwrap_or(false) {
                    let told = format!("Mounted from {from}");
                    steps
                        .send(Progress::doing(layer.diff_id.short(), told))
                        .await;
                    return Ok(blob.clone());
                }
            }
        }
        let mut attempt = 1;
        loop {
            match self.send_layer(target, layer, steps).await {
                Ok(blob) => {
                    steps
                        .send(Progress::doing(layer.diff_id.short(), "Pushed"))
                        .await;
                    return Ok(blob);
                }
                Err(e) if attempt == ATTEMPTS_MAX || e.kind() != Kind::Unavailable => {
                    return Err(e);
                }
                Err(e) => tracing::debug!(layer = %layer.diff_id, error = %e, "sent again"),
            }
            let pause = PAUSE * attempt;
            steps
                .send(Progress::retrying(layer.diff_id.short(), pause))
                .await;
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn send_layer(&self, target: &Target, layer: &Layer, steps: &Steps) -> Result<Blob> {
        // Each holds a thread.
        let turn = self.inner.upload_turns.acquire().await;
        let _turn = turn.map_err(|e| Error::system(format!("uploads are closed: {e}")))?;
        let upload = target.begin().await?;
        let (store, layer, told) = (self.store().clone(), layer.clone(), steps.clone());
        let shown = layer.clone();
        let progress = move |current, total| {
            told.offer(Progress::Step {
                id: shown.diff_id.short().to_owned(),
                status: "Pushing".to_owned(),
                current,
                total,
            });
        };
        let (looked, came) = (store.clone(), layer.blob.clone());
        let look = move || Ok(came.filter(|blob| looked.has_blob(&blob.digest)));
        let as_it_came = sys::task::blocking(look).await?;
        let diff_id = layer.diff_id.clone();
        let media_type = as_it_came.as_ref().map(|blob| blob.media_type.clone());
        let blob = send(upload, media_type, move |out| match as_it_came {
            Some(blob) => {
                let file = store.blob(&blob.digest)?;
                let total = file.size_bytes();
                copy(file, total, out, progress)
            }
            None => {
                let tar = store.layer_tar(&layer)?;
                let total = tar.size_bytes();
                let mut gzip = GzEncoder::new(out, Compression::default());
                copy(tar, total, &mut gzip, progress)?;
                gzip.finish().map(drop).map_err(archive::writing)
            }
        })
        .await?;
        let (store, learnt) = (self.store().clone(), blob.clone());
        sys::task::blocking(move || store.remember_blob(&diff_id, &learnt)).await?;
        Ok(blob)
    }

    /// Repositories of the same registry that the layer may be in.
    fn neighbours(&self, name: &Reference, layer: &Layer) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (record, names) in self.inner.index.all() {
            if record.layers.iter().any(|l| l.diff_id == layer.diff_id) {
                let near = |n: &&Reference| n.domain() == name.domain() && n.path() != name.path();
                found.extend(names.iter().filter(near).map(|n| n.path().to_owned()));
            }
        }
        found.into_iter().take(MOUNTS_MAX).collect()
    }

    /// The configuration, and what names it and the layers; the digest and size of that.
    async fn push_manifest(
        &self,
        target: &Target,
        name: &Reference,
        record: &ImageRecord,
        layers: &[Blob],
    ) -> Result<(Digest, u64)> {
        let (store, id) = (self.store().clone(), record.id.clone());
        let config = sys::task::blocking(move || store.config_blob(&id)).await?;
        if !target.has(&record.id).await? {
            let upload = target.begin().await?;
            let bytes = config.clone();
            let media_type = Some(String::new());
            let write = move |out: &mut dyn Write| out.write_all(&bytes).map_err(archive::writing);
            send(upload, media_type, write).await?;
        }
        let bytes = match self.manifest_it_came_with(record, layers).await {
            Some(bytes) => bytes,
            None => manifest::write(&record.id, config.len() as u64, layers)?,
        };
        let media_type = manifest::media_type(&bytes)?;
        let tag = name.tag().unwrap_or_default();
        target.put_manifest(tag, &media_type, &bytes).await?;
        let digest = Digest::from_sha256(Sha256::digest(&bytes).into());
        Ok((digest, bytes.len() as u64))
    }

    /// The manifest an image came with, if it is of the blobs that were sent.
    async fn manifest_it_came_with(&self, record: &ImageRecord, sent: &[Blob]) -> Option<Vec<u8>> {
        let digest = record.manifest.clone()?;
        let store = self.store().clone();
        let bytes = sys::task::blocking(move || store.read_blob(&digest))
            .await
            .ok()?;
        let Manifest::Image { config, layers } = manifest::parse(&bytes, "").ok()? else {
            return None;
        };
        let is_of = config.digest().ok()? == record.id
            && layers.len() == sent.len()
            && layers
                .iter()
                .zip(sent)
                .all(|(l, s)| l.digest == s.digest.as_str());
        is_of.then_some(bytes)
    }

    async fn pushed(
        &self,
        name: &Reference,
        by_digest: Reference,
        record: &ImageRecord,
    ) -> Result<()> {
        let _gate = self.gate().await;
        let event = self.named_event(record, name, &Action::Push);
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        // It may have been removed while it was sent.
        if self.inner.index.record(&record.id).is_none() {
            return Ok(());
        }
        let (inner, id, given) = (self.inner.clone(), record.id.clone(), by_digest.clone());
        let ledger = ledger.applying(move || inner.index.tag(given.clone(), &id));
        ledger.tag(&by_digest, &record.id).await
    }
}

/// Copies all of `from`, telling how far it is.
fn copy(
    mut from: impl Read,
    total: u64,
    out: &mut dyn Write,
    progress: impl Fn(u64, u64),
) -> Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut read_bytes, mut told) = (0, 0);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(archive::reading(e)).context("layer"),
        };
        out.write_all(&buffer[..n]).map_err(archive::writing)?;
        read_bytes += n as u64;
        if read_bytes - told >= STEP_BYTES || read_bytes == total {
            told = read_bytes;
            progress(read_bytes, total);
        }
    }
}

/// Sends what `write` writes, as a blob; what it is called. `media_type` is what it is, a layer
/// that is compressed here where nothing is said.
async fn send(
    mut upload: registry::Upload,
    media_type: Option<String>,
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> Result<Blob> {
    let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    let writing = tokio::spawn(sys::task::blocking(move || {
        let mut out = Pieces {
            sender,
            filling: Vec::with_capacity(PIECE_BYTES),
            hash: Sha256::new(),
            bytes: 0,
        };
        match write(&mut out).and_then(|()| out.flush().map_err(archive::writing)) {
            Ok(()) => Ok((out.hash, out.bytes)),
            Err(e) => {
                // So that what was sent is not taken for all.
                drop(out.sender.blocking_send(Err(archive::carried(e.clone()))));
                Err(e)
            }
        }
    }));
    let sent = upload.send(received(pieces)).await;
    let written = writing.await;
    let written =
        written.map_err(|e| Error::system(format!("reading a layer ended early: {e}")))?;
    let sent = match (sent, written) {
        (Ok(()), Ok((hash, bytes))) => Ok((hash, bytes)),
        // The one who stopped first says why: a pipe that broke is the other's doing.
        (Err(sent), Ok(_)) => Err(sent),
        (Err(sent), Err(written)) if written.kind() == Kind::Cancelled => Err(sent),
        (_, Err(written)) => Err(written),
    };
    let (hash, size_bytes) = match sent {
        Ok(sent) => sent,
        Err(e) => {
            upload.cancel().await;
            return Err(e);
        }
    };
    let blob = Blob {
        digest: Digest::from_sha256(hash.finalize().into()),
        size_bytes,
        media_type: media_type.unwrap_or_else(|| manifest::DOCKER_LAYER.to_owned()),
    };
    upload.commit(&blob).await?;
    Ok(blob)
}

fn received(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(pieces, |mut pieces| async move {
        Some((pieces.recv().await?, pieces))
    })
}

/// What is written, in pieces for the line, hashed on the way.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    filling: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Pieces {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.filling.len();
        let taken = &content[..content.len().min(room)];
        self.filling.extend_from_slice(taken);
        if self.filling.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() {
            return Ok(());
        }
        self.hash.update(&self.filling);
        self.bytes += self.filling.len() as u64;
        let full = std::mem::replace(&mut self.filling, Vec::with_capacity(PIECE_BYTES));
        let sent = self.sender.blocking_send(Ok(full.into()));
        sent.map_err(|_| {
            let stopped = "it cannot be sent any further";
            archive::carried(Error::new(Kind::Cancelled, stopped))
        })
    }
}
