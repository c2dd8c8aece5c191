//! Loading archives: the bytes are applied while they arrive, the rows are written when whole.

use failpoint::Point;
use images::{LoadedImage, Partials};
use model::{Action, Digest, Error, Event, ImageRecord, Reference, Result};
use tokio::io::AsyncRead;

use crate::job::Steps;
use crate::{Catalog, Job, Progress};

impl Catalog {
    /// Loads every image of a docker-archive or OCI layout; the steps end with one
    /// `Loaded image: name` text for each. `quiet` leaves the progress of layers out.
    ///
    /// # Errors
    /// None here; a bad archive is the job's first or a later step.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        quiet: bool,
    ) -> Result<Job> {
        let (steps, job) = Steps::new(quiet);
        let catalog = self.clone();
        tokio::spawn(async move {
            let loaded = catalog.load_all(archive, &steps).await;
            if loaded.is_err() {
                catalog.sweep_soon(Partials::Old);
            }
            steps.end(loaded);
        });
        Ok(job)
    }

    async fn load_all(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        steps: &Steps,
    ) -> Result<()> {
        let store = self.store().clone();
        let progress = steps.clone();
        let loaded = self
            .uploads()
            .read(archive, move |archive| {
                store.load(archive, &mut |step| progress.layer(step))
            })
            .await?;
        if loaded.is_empty() {
            return Err(Error::invalid("the archive holds no image"));
        }
        // Written before a client is told of anything: he may not read.
        let mut told = Vec::new();
        let mut ids = Vec::new();
        let mut is_named = false;
        let mut failed = Ok(());
        for image in loaded {
            let kept = match self.keep(image, Came::Load).await {
                Ok(kept) => kept,
                Err(e) => {
                    failed = Err(e);
                    break;
                }
            };
            is_named = !kept.names.is_empty();
            for Named { name, before } in kept.names {
                let name = name.familiar();
                // Docker's words, though the old one may have other names.
                told.extend(before.map(|old| {
                    format!(
                        "The image {name} already exists, renaming the old one with ID {old} to \
                         empty string"
                    )
                }));
                told.push(format!("Loaded image: {name}"));
            }
            ids.push(format!("Loaded image ID: {}", kept.id));
        }
        // As Docker does, by their ids, too, when the last one has no name (moby `tarexport`).
        let ids = ids.into_iter().filter(|_| !is_named);
        for line in told.into_iter().chain(ids) {
            steps.send(Progress::Text(format!("{line}\n"))).await;
        }
        failed
    }

    /// Writes an image's record and names, and tells how it came; its lease keeps its bytes until
    /// then.
    pub(super) async fn keep(&self, image: LoadedImage, how: Came) -> Result<Kept> {
        let LoadedImage {
            mut record,
            mut references,
            lease,
        } = image;
        references
            .iter_mut()
            .for_each(|name| *name = name.lookup_key());
        let _gate = self.gate().await;
        let _writing = self.inner.writing.lock().await;
        // Docker calls only that a tag which somebody gave here.
        if matches!(how, Came::Import | Came::Commit) && !references.is_empty() {
            record.tagged_at = Some((self.inner.tools.now)());
        }
        if let Some(known) = self.record(&record.id) {
            remember(&mut record, &known);
        }
        let events = self.kept_events(&record, &references, how);
        let names = references.iter().map(|name| {
            let before = self.inner.index.named(name);
            Named {
                name: name.clone(),
                before: before.filter(|before| *before != record.id),
            }
        });
        let kept = Kept {
            names: names.collect(),
            id: record.id.clone(),
        };
        let (inner, known, names) = (self.inner.clone(), record.clone(), references.clone());
        let ledger = self.inner.tools.ledger.telling(events);
        let ledger = ledger.applying(move || inner.index.insert(known.clone(), &names));
        failpoint::reach(Point::ImageApplied).await?;
        ledger.put_image(&record, references).await?;
        drop(failpoint::reach(Point::ImageWritten).await);
        drop(lease);
        Ok(kept)
    }

    /// What Docker tells of an image that came: the names of an import and of a commit, not those of an
    /// archive.
    fn kept_events(&self, record: &ImageRecord, names: &[Reference], how: Came) -> Vec<Event> {
        let event = |name: &str, action: Action| self.event(record, name, &action);
        let tags = names
            .iter()
            .map(|name| event(&name.familiar(), Action::Tag));
        let own = |action| event(record.id.as_str(), action);
        match how {
            Came::Load => vec![own(Action::Load)],
            Came::Pull(told) => told.into_iter().collect(),
            Came::Import => tags.chain([own(Action::Import)]).collect(),
            Came::Commit => [own(Action::Create)].into_iter().chain(tags).collect(),
        }
    }
}

/// How an image came.
#[derive(Debug)]
pub(super) enum Came {
    /// In an archive.
    Load,
    /// As a root file system.
    Import,
    /// From a container.
    Commit,
    /// From a registry, and what is told of that.
    Pull(Option<Event>),
}

/// An image that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: Digest,
    /// The names it was given.
    pub(super) names: Vec<Named>,
}

/// A name that an image was given.
#[derive(Debug)]
pub(super) struct Named {
    name: Reference,
    /// The other image that had it.
    before: Option<Digest>,
}

/// The same image once more: what was known of it stays, where what came says nothing.
fn remember(record: &mut ImageRecord, known: &ImageRecord) {
    record.parent = record.parent.take().or_else(|| known.parent.clone());
    record.tagged_at = record.tagged_at.or(known.tagged_at);
    if record.manifest.is_none() && known.manifest.is_some() {
        // With the blobs that it names.
        record.manifest.clone_from(&known.manifest);
        record.layers.clone_from(&known.layers);
    }
}
