//! Saving images: which ones a name means, and the archive on its way to the client.

use std::sync::Arc;

use images::ToSave;
use model::{Action, Error, ImageRecord, Reference, Result};
use transfer::Download;

use crate::Catalog;

impl Catalog {
    /// The images that `names` mean, as one archive. A name without a tag means all tags of its
    /// repository; only names that were asked for are in the archive (moby `tarexport`, `parseNames`).
    ///
    /// What is removed meanwhile is still sent: it is held until the archive ends.
    ///
    /// # Errors
    /// `No such image: x`, `reference does not exist`; a layer whose archive an older daemon did not keep.
    pub async fn save(&self, names: &[String]) -> Result<Download> {
        let gate = self.gate().await;
        let mut wanted: Vec<ToSave> = Vec::new();
        for name in names {
            for (record, reference) in self.meant(name)? {
                let at = wanted.iter().position(|w| w.record.id == record.id);
                let at = at.unwrap_or_else(|| {
                    wanted.push(ToSave {
                        record,
                        references: Vec::new(),
                    });
                    wanted.len() - 1
                });
                let names = &mut wanted[at].references;
                names.extend(reference.filter(|name| !names.contains(name)));
            }
        }
        let store = self.store().clone();
        let leases: Vec<_> = wanted.iter().map(|w| store.hold(&w.record)).collect();
        drop(gate);
        let told = wanted.iter().map(|image| {
            let record = &image.record;
            self.event(record, record.id.as_str(), &Action::Save)
        });
        let told = told.collect();
        let archive = self.inner.downloads.begin(move |out| {
            let saved = store.save(&wanted, out);
            drop(leases);
            saved
        });
        let archive = archive.await?;
        self.inner.tools.ledger.tell_soon(told).await?;
        Ok(archive)
    }

    /// The images a name means, and the names they are then saved under.
    fn meant(&self, name: &str) -> Result<Vec<(Arc<ImageRecord>, Option<Reference>)>> {
        let is_name_only =
            !name.contains('@') && !name.rsplit('/').next().unwrap_or_default().contains(':');
        let Ok(reference) = name.parse::<Reference>() else {
            return Ok(vec![(self.find(name)?.record, None)]);
        };
        if is_name_only {
            let mut found = Vec::new();
            for (record, names) in self.inner.index.all() {
                let same = names
                    .into_iter()
                    .filter(|n| n.domain() == reference.domain() && n.path() == reference.path());
                let tagged = same.map(|n| (record.clone(), n.digest().is_none().then_some(n)));
                found.extend(tagged);
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let image = self.find(name);
        let named = self.inner.index.named(&reference);
        match image {
            Ok(image) => {
                let is_named = named.is_some_and(|id| id == image.record.id);
                let tagged = is_named && reference.digest().is_none();
                Ok(vec![(image.record, tagged.then_some(reference))])
            }
            // What is neither a repository nor an id is told as it was written.
            Err(_) if is_name_only => Err(Error::not_found(format!("No such image: {name}"))),
            Err(e) if name.starts_with("sha256:") => Err(e),
            Err(_) => Err(Error::not_found("reference does not exist")),
        }
    }
}
