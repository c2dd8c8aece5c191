//! Pulling: from a registry to a record. What is here already is not fetched, and what is fetched is
//! shared with whoever else pulls it.
//!
//! A client that leaves ends its pull (as in Docker), until all layers are here: the record is
//! written to its end.

use std::time::Duration;

use images::manifest::{self, Descriptor, Manifest};
use images::{Described, LoadedImage, Partials, WantedLayer};
use model::{Action, Context as _, Digest, Error, Kind, Platform, Reference, Result, limits};
use registry::{BlobEvent, Credentials, Fetched, Source, Wanted};
use sha2::{Digest as _, Sha256};

use crate::job::Steps;
use crate::load::Came;
use crate::transfers::Stage;
use crate::{Catalog, Job, Progress};

/// Indexes within indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// How often the progress of one layer is told (moby's limit).
const STEP_INTERVAL: Duration = Duration::from_millis(100);

/// An image that is to be pulled.
#[derive(Debug, Clone)]
pub struct PullImage {
    /// Its name, with a tag or a digest.
    pub reference: Reference,
    /// Every tag of its repository in place of the one.
    pub all_tags: bool,
    /// Another platform than this host's.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Credentials,
}

/// The image that a manifest was found to be of.
struct Chosen {
    /// Of the image.
    manifest: Fetched,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Catalog {
    /// Pulls an image; the steps are those of Docker's `pull`.
    ///
    /// # Errors
    /// None here; what the registry says is the job's first or a later step.
    pub async fn pull(&self, request: PullImage) -> Result<Job> {
        let (steps, job) = Steps::new(false);
        let catalog = self.clone();
        tokio::spawn(async move {
            let pulled = tokio::select! {
                pulled = catalog.pull_all(&request, &steps) => pulled,
                () = steps.client_left() => {
                    catalog.sweep_later();
                    Ok(())
                }
            };
            match pulled.as_ref().map_err(Error::kind) {
                Ok(()) => {}
                // It will be wrong again, or the disk needs the room.
                Err(Kind::InvalidParameter) => catalog.sweep_soon(Partials::Old),
                Err(_) if catalog.store().is_nearly_full() => catalog.sweep_soon(Partials::Old),
                // What came is for whoever tries again.
                Err(_) => catalog.sweep_later(),
            }
            steps.end(pulled);
        });
        Ok(job)
    }

    async fn pull_all(&self, request: &PullImage, steps: &Steps) -> Result<()> {
        let reference = &request.reference;
        let registries = &self.inner.tools.registries;
        let source = registries
            .source(reference, request.credentials.clone())
            .await?;
        let references = match request.all_tags {
            false => vec![reference.clone()],
            true => {
                let tags = source.tags().await?;
                let tags = tags.iter().map(|tag| reference.with_tag(tag));
                tags.collect::<Result<_>>()?
            }
        };
        let mut is_new = false;
        for reference in &references {
            is_new |= self.pull_one(&source, reference, request, steps).await?;
        }
        let familiar = match request.all_tags {
            true => reference.familiar_name(),
            false => reference.familiar(),
        };
        if request.all_tags {
            let ledger = &self.inner.tools.ledger;
            ledger
                .tell_soon(vec![self.repository_event(reference)])
                .await?;
        }
        let what = match is_new {
            true => format!("Status: Downloaded newer image for {familiar}"),
            false => format!("Status: Image is up to date for {familiar}"),
        };
        steps.send(Progress::Status(what)).await;
        Ok(())
    }

    /// One tag or digest; whether that changed what the name stands for.
    async fn pull_one(
        &self,
        source: &Source,
        reference: &Reference,
        request: &PullImage,
        steps: &Steps,
    ) -> Result<bool> {
        let wanted = wanted(reference);
        let fetched = source.manifest(&wanted).await?;
        let digest = fetched.digest.clone();
        let id = match &wanted {
            Wanted::Tag(tag) => tag.clone(),
            Wanted::Digest(digest) => reference.with_digest(digest.clone()).to_string(),
        };
        let from = format!("Pulling from {}", reference.path());
        steps.send(Progress::Note { id, status: from }).await;
        let chosen = choose(source, fetched, request.platform.as_ref()).await?;
        let loaded = match self.is_here(&chosen.config.digest()?).await? {
            Some(loaded) => loaded,
            None => {
                let image = self.described(source, chosen).await?;
                self.fetch(source, image, steps).await?
            }
        };
        let told = format!("Digest: {digest}");
        steps.send(Progress::Status(told)).await;
        let mut names = vec![reference.lookup_key(), reference.with_digest(digest)];
        names.dedup();
        self.pulled(loaded, names, request).await
    }

    /// An image that is here with all its bytes, held: Docker asks for no more than its id.
    async fn is_here(&self, id: &Digest) -> Result<Option<LoadedImage>> {
        let Some(record) = self.record(id) else {
            return Ok(None);
        };
        let lease = self.store().hold(&record);
        // Held too late, it may be going.
        let Some(record) = self.record(id) else {
            return Ok(None);
        };
        let store = self.store().clone();
        let look = move || {
            let loaded = LoadedImage {
                record: (*record).clone(),
                references: Vec::new(),
                lease,
            };
            Ok(store.is_whole(&record).then_some(loaded))
        };
        sys::task::blocking(look).await
    }

    /// Keeps what a pull has come to, unless it is known; whether that changed what the name stands for.
    async fn pulled(
        &self,
        mut loaded: LoadedImage,
        names: Vec<Reference>,
        request: &PullImage,
    ) -> Result<bool> {
        let index = &self.inner.index;
        let is_of = |name: &Reference| index.named(name).as_ref() == Some(&loaded.record.id);
        let is_new = !names.first().is_some_and(is_of);
        let is_known = index.record(&loaded.record.id).is_some() && names.iter().all(is_of);
        let asked = &request.reference;
        // Docker tells of the one that was asked for.
        let event = self.named_event(&loaded.record, asked, &Action::Pull);
        let event = (!request.all_tags).then_some(event);
        if is_known {
            let ledger = &self.inner.tools.ledger;
            ledger.tell_soon(event.into_iter().collect()).await?;
            return Ok(is_new);
        }
        loaded.references = names;
        let catalog = self.clone();
        let keep = async move { catalog.keep(loaded, Came::Pull(event)).await };
        sys::task::to_the_end(keep).await?;
        Ok(is_new)
    }

    /// The configuration of a chosen image, and what it says with its manifest.
    async fn described(&self, source: &Source, chosen: Chosen) -> Result<Described> {
        let digest = chosen.config.digest()?;
        let config = match self.config_here(&digest).await {
            Some(config) => config,
            None => small_blob(source, &digest, chosen.config.size).await?,
        };
        let blobs = chosen.layers.iter().map(Descriptor::blob);
        let blobs = blobs.collect::<Result<Vec<_>>>()?;
        Described::new(chosen.manifest.bytes, config, blobs).context(format_args!("image {digest}"))
    }

    async fn config_here(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.inner.index.record(digest)?;
        let (store, digest) = (self.store().clone(), digest.clone());
        sys::task::blocking(move || store.config_blob(&digest))
            .await
            .ok()
    }

    /// Fetches the layers that are not here, and puts the image together.
    async fn fetch(&self, source: &Source, image: Described, steps: &Steps) -> Result<LoadedImage> {
        let store = self.store();
        store.check_mountable(&image)?;
        let mut leases = Vec::with_capacity(image.layers.len());
        let mut coming = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let is_known = self.record(&image.id()).is_some();
        for wanted in &image.layers {
            let mut lease = store.hold_layer(wanted);
            let first = seen.insert(wanted.diff_id.clone());
            let (has, asked) = (store.clone(), wanted.clone());
            let look = move || Ok((has.has_layer(&asked, &mut lease)?, lease));
            let (is_here, lease) = sys::task::blocking(look).await?;
            leases.push(lease);
            let id = wanted.blob.digest.short();
            match is_here || !first {
                // Nothing is said of the layers of an image that is here.
                true if is_known => {}
                true => steps.send(Progress::doing(id, "Already exists")).await,
                false => {
                    steps.send(Progress::doing(id, "Pulling fs layer")).await;
                    coming.push(wanted.clone());
                }
            }
        }
        let transfers: Vec<_> = coming
            .iter()
            .map(|wanted| self.inner.transfers.join(store, source, wanted))
            .collect();
        let followed = coming.iter().zip(&transfers);
        let followed = followed.map(|(wanted, transfer)| follow(wanted, transfer.stage(), steps));
        futures_util::future::try_join_all(followed).await?;
        let store = store.clone();
        sys::task::blocking(move || store.pulled(image, leases)).await
    }
}

/// What a name asks a registry for.
pub(crate) fn wanted(reference: &Reference) -> Wanted {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Wanted::Digest(digest.clone()),
        (None, tag) => Wanted::Tag(tag.unwrap_or("latest").to_owned()),
    }
}

/// The image of a manifest, or the one of an index that runs here.
async fn choose(source: &Source, first: Fetched, platform: Option<&Platform>) -> Result<Chosen> {
    let mut fetched = first;
    for _ in 0..=INDEX_DEPTH_MAX {
        let read = manifest::parse_sent(&fetched.bytes, &fetched.media_type)
            .context(format_args!("manifest {}", fetched.digest))?;
        let entries = match read {
            Manifest::Image { config, layers } => {
                return Ok(Chosen {
                    manifest: fetched,
                    config,
                    layers,
                });
            }
            Manifest::Index(entries) => entries,
        };
        let host = Platform::host(sys::host::amd64_level());
        let wanted = platform.unwrap_or(&host);
        let chosen = manifest::choose(&entries, wanted).ok_or_else(|| {
            let wanted = platform.map_or_else(
                || format!("linux/{}", host.architecture),
                ToString::to_string,
            );
            Error::not_found(format!(
                "no matching manifest for {wanted} in the manifest list entries"
            ))
        })?;
        fetched = source.manifest(&Wanted::Digest(chosen.digest()?)).await?;
        fetched.media_type.clone_from(&chosen.media_type);
    }
    Err(Error::invalid(format!(
        "more than {INDEX_DEPTH_MAX} indexes within one another"
    )))
}

/// A configuration, verified.
pub(crate) async fn small_blob(source: &Source, digest: &Digest, size: u64) -> Result<Vec<u8>> {
    if size > limits::MANIFEST_BYTES_MAX {
        return Err(Error::invalid(format!(
            "image configuration {digest} of {size} bytes, the most allowed are {}",
            limits::MANIFEST_BYTES_MAX
        )));
    }
    let mut stream = source.blob(digest, size, 0);
    let mut bytes = Vec::new();
    while let Some(event) = stream.next().await? {
        if let BlobEvent::Bytes(piece) = event {
            bytes.extend_from_slice(&piece);
        }
    }
    if Digest::from_sha256(Sha256::digest(&bytes).into()) != *digest {
        return Err(Error::system(format!(
            "image config verification failed for digest {digest}"
        )));
    }
    Ok(bytes)
}

/// Tells how a layer is coming, until it is here.
async fn follow(
    wanted: &WantedLayer,
    mut stage: tokio::sync::watch::Receiver<Stage>,
    steps: &Steps,
) -> Result<()> {
    let id = wanted.blob.digest.short();
    let total = wanted.blob.size_bytes;
    let sized = |status: &str, current: u64| Progress::Step {
        id: id.to_owned(),
        status: status.to_owned(),
        current,
        total,
    };
    let mut is_down = false;
    loop {
        let now = stage.borrow_and_update().clone();
        match now {
            Stage::Waiting => steps.send(Progress::doing(id, "Waiting")).await,
            Stage::Downloading(current) => {
                steps.offer(sized("Downloading", current));
                tokio::time::sleep(STEP_INTERVAL).await;
            }
            Stage::Pausing(pause) => steps.send(Progress::retrying(id, pause)).await,
            Stage::Downloaded => {
                is_down = true;
                told_down(steps, id).await;
                steps.offer(sized("Extracting", total));
            }
            Stage::Ended(ended) => {
                ended.map_err(not_cancelled)?;
                if !is_down {
                    told_down(steps, id).await;
                }
                steps.send(Progress::doing(id, "Pull complete")).await;
                return Ok(());
            }
        }
        if stage.changed().await.is_err() {
            return Err(Error::system("a download ended early"));
        }
    }
}

async fn told_down(steps: &Steps, id: &str) {
    for status in ["Verifying Checksum", "Download complete"] {
        steps.send(Progress::doing(id, status)).await;
    }
}

/// Somebody waits for it, whatever the transfer thought.
fn not_cancelled(e: Error) -> Error {
    match e.kind() {
        Kind::Cancelled => Error::system("the download was given up by another pull; try again"),
        _ => e,
    }
}
