//! Pruning: every image that nothing needs and the filters select (moby `daemon/images/image_prune.go`).

use std::collections::HashMap;

use images::Partials;
use model::{Action, Digest, Error, Event, EventKind, Filters, Kind, Result};

use crate::{Catalog, ImageView, RemoveImage, RemovedReference, image_view, is_dangling};

/// The filters a prune takes.
const KEYS: &[&str] = &["dangling", "label", "label!", "until"];

/// What a prune of images did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedImages {
    /// What is gone, in Docker's order.
    pub removed: Vec<RemovedReference>,
    /// The sizes of the layers among it.
    pub space_reclaimed_bytes: u64,
}

impl Catalog {
    /// Removes the images without a tag, or with `dangling=false` all that no container uses, as far as
    /// `filters` select them. One that somebody needs meanwhile is left alone.
    ///
    /// # Errors
    /// Bad filters.
    pub async fn prune(&self, filters: Filters) -> Result<PrunedImages> {
        let catalog = self.clone();
        sys::task::to_the_end(async move { catalog.prune_all(&filters).await }).await
    }

    async fn prune_all(&self, filters: &Filters) -> Result<PrunedImages> {
        let running = |_| Error::conflict("a prune operation is already running");
        let _only = self.inner.pruning.try_lock().map_err(running)?;
        filters.check_keys(KEYS)?;
        let dangling_only = filters.flag("dangling")?.unwrap_or(true);
        let now = (self.inner.tools.now)();
        let until = filters.until(now, sys::host::local_offset(now))?;
        let all = self.inner.index.all();
        let layers = all.iter().flat_map(|(record, _)| &record.layers);
        let sizes: HashMap<Digest, u64> = layers
            .map(|layer| (layer.chain_id.clone(), layer.size_bytes))
            .collect();
        let users = self.users();
        let mut pruned = PrunedImages::default();
        for (record, references) in all {
            let image = image_view(record, references, &users);
            let record = &image.record;
            let is_old = |limit| {
                record
                    .config
                    .created
                    .is_some_and(|created| created <= limit)
            };
            let selected = until.is_none_or(is_old)
                && filters.match_labels(&record.config.labels)
                && self.is_prunable(&image, dangling_only);
            if selected {
                self.prune_one(&image, &mut pruned.removed).await?;
            }
        }
        for gone in &pruned.removed {
            if let RemovedReference::Deleted(digest) = gone {
                pruned.space_reclaimed_bytes += sizes.get(digest).copied().unwrap_or_default();
            }
        }
        // Also what pulls and loads that failed have left.
        self.sweep(Partials::All).await;
        let now = (self.inner.tools.now)();
        let event = Event::new(now, EventKind::Image, &Action::Prune, "");
        let event = event.with("reclaimed", pruned.space_reclaimed_bytes.to_string());
        self.inner.tools.ledger.tell_soon(vec![event]).await?;
        Ok(pruned)
    }

    /// No step of another image, no tag that should stay, no container. Docker asks for the containers only
    /// when it is at an image's last name, and takes the others from one that is in use.
    fn is_prunable(&self, image: &ImageView, dangling_only: bool) -> bool {
        let is_step = self.inner.index.has_children(&image.record.id);
        image.containers == 0
            && match dangling_only {
                true => is_dangling(image) && !is_step,
                false => !is_step || !image.references.is_empty(),
            }
    }

    /// An image with all its names; one that cannot go does not keep the others.
    async fn prune_one(
        &self,
        image: &ImageView,
        removed: &mut Vec<RemovedReference>,
    ) -> Result<()> {
        let how = RemoveImage {
            force: false,
            parents: true,
        };
        let names = image.references.iter().map(ToString::to_string);
        let mut names: Vec<String> = names.collect();
        if names.is_empty() {
            names.push(image.record.id.to_string());
        }
        for name in names {
            match self
                .remove_records(&name, how, Some(&image.record.id))
                .await
            {
                Ok(gone) => removed.extend(gone),
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Conflict) => {}
                Err(e) => tracing::warn!(image = name, error = %e, "not pruned"),
            }
        }
        Ok(())
    }
}
