//! Loading archives: the bytes are applied while they arrive, the rows are written when whole.

use failpoint::Point;
use images::{LoadedImage, Partials};
use model::{Action, Digest, Error, ImageRecord, Reference, Result};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::job::{STEPS_MAX, Steps};
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
        let (sender, steps) = mpsc::channel(STEPS_MAX);
        let catalog = self.clone();
        tokio::spawn(async move {
            let steps = Steps::new(sender, quiet);
            if let Err(e) = catalog.load_all(archive, &steps).await {
                catalog.sweep_soon(Partials::Old);
                steps.fail(e).await;
            }
        });
        Ok(Job { steps })
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
        for image in loaded {
            let (id, references) = self.keep(image, Action::Load).await?;
            for reference in &references {
                let told = format!("Loaded image: {}\n", reference.familiar());
                steps.send(Progress::Text(told)).await;
            }
            if references.is_empty() {
                steps
                    .send(Progress::Text(format!("Loaded image ID: {id}\n")))
                    .await;
            }
        }
        Ok(())
    }

    /// Writes an image's record and names, and tells how it came; its lease keeps its bytes until
    /// then.
    pub(super) async fn keep(
        &self,
        image: LoadedImage,
        how: Action,
    ) -> Result<(Digest, Vec<Reference>)> {
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
        if !references.is_empty() {
            record.tagged_at = Some((self.inner.tools.now)());
        }
        if let Some(known) = self.record(&record.id) {
            remember(&mut record, &known);
        }
        let event = |name: &str, action| self.event(&record, name, action);
        let mut events = Vec::new();
        // As Docker does: the names of an import are told, and of a commit; those of an archive are not.
        let names = references.iter().map(Reference::familiar);
        let tags: Vec<_> = names.map(|name| event(&name, &Action::Tag)).collect();
        let own = event(record.id.as_str(), &how);
        match how {
            Action::Import => events.extend(tags.into_iter().chain([own])),
            // Told by the name that was asked for.
            Action::Pull => events.extend(
                references
                    .first()
                    .map(|asked| self.named_event(&record, asked, &how)),
            ),
            Action::Create => events.extend([own].into_iter().chain(tags)),
            _ => events.push(own),
        }
        let (inner, kept, names) = (self.inner.clone(), record.clone(), references.clone());
        let ledger = self.inner.tools.ledger.telling(events);
        let ledger = ledger.applying(move || inner.index.insert(kept.clone(), &names));
        failpoint::reach(Point::ImageApplied).await?;
        ledger.put_image(&record, references.clone()).await?;
        drop(failpoint::reach(Point::ImageWritten).await);
        drop(lease);
        Ok((record.id, references))
    }
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
