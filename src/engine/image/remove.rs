//! Removing images: names first, then the record, then the bytes nobody names any more.

use std::sync::Arc;

use model::{Action, Digest, Error, Reference, Result};

use crate::image::{ImageView, RemovedReference};
use crate::{Engine, Inner};

impl Engine {
    /// Removes a name, or an image with all its names (moby `ImageDelete`).
    ///
    /// An image that a stopped container was made from loses only its names, even when forced:
    /// its record stays, as an unnamed image, so that the container can still start; it goes when
    /// it is removed by its id, after the container.
    ///
    /// # Errors
    /// `No such image: x`; 409 when a container uses it and `force` is not set or cannot help.
    pub async fn remove_image(
        &self,
        reference: &str,
        force: bool,
        _noprune: bool,
    ) -> Result<Vec<RemovedReference>> {
        let (engine, reference) = (self.clone(), reference.to_owned());
        crate::to_the_end(async move { engine.remove_named(&reference, force).await }).await
    }

    async fn remove_named(&self, reference: &str, force: bool) -> Result<Vec<RemovedReference>> {
        let removed = self.remove_records(reference, force).await?;
        if removed
            .iter()
            .any(|r| matches!(r, RemovedReference::Deleted(_)))
        {
            // The bytes, however many, without the gate: no record names them any more.
            self.inner.sweep_images().await?;
        }
        Ok(removed)
    }

    async fn remove_records(&self, reference: &str, force: bool) -> Result<Vec<RemovedReference>> {
        let _gate = self.inner.images.gate_all().await;
        let image = self.image(reference)?;
        let named = reference
            .parse::<Reference>()
            .ok()
            .filter(|name| self.inner.images.index.named(name).as_ref() == Some(&image.record.id));
        let mut removed = Vec::new();
        match named {
            Some(name) if image.references.len() > 1 => {
                self.untag(&image, &name, &mut removed).await?;
                return Ok(removed);
            }
            // Docker quotes what the client wrote.
            Some(_) => self.check_unused(&image, reference, force)?,
            None if image.references.len() > 1 && !force => {
                return Err(Error::conflict(format!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in \
                     multiple repositories",
                    image.record.id.short()
                )));
            }
            None => self.check_unused(&image, "", force)?,
        }
        for name in &image.references {
            self.untag(&image, name, &mut removed).await?;
        }
        if image.containers == 0 {
            self.delete(&image.record.id, &mut removed).await?;
        }
        Ok(removed)
    }

    async fn untag(
        &self,
        image: &ImageView,
        name: &Reference,
        removed: &mut Vec<RemovedReference>,
    ) -> Result<()> {
        let record = &image.record;
        let event = self
            .inner
            .image_event(record, record.id.as_str(), &Action::Untag);
        self.inner.ledger.telling(vec![event]).untag(name).await?;
        self.inner.images.index.untag(name);
        removed.push(RemovedReference::Untagged(name.familiar()));
        Ok(())
    }

    async fn delete(&self, id: &Digest, removed: &mut Vec<RemovedReference>) -> Result<()> {
        let record = self.inner.images.index.record(id);
        let event = self
            .inner
            .bare_image_event(id, id.as_str(), &Action::Delete);
        let ledger = self.inner.ledger.telling(vec![event]);
        ledger.delete_image(id).await?;
        self.inner.images.index.remove(id);
        removed.push(RemovedReference::Deleted(id.clone()));
        for layer in record.iter().flat_map(|r| r.layers.iter().rev()) {
            let still_used = self
                .inner
                .images
                .index
                .all()
                .iter()
                .any(|(other, _)| other.layers.iter().any(|l| l.chain_id == layer.chain_id));
            if !still_used {
                removed.push(RemovedReference::Deleted(layer.chain_id.clone()));
            }
        }
        Ok(())
    }

    /// Docker's conflicts: a running container always, a stopped one unless forced.
    fn check_unused(&self, image: &ImageView, name: &str, force: bool) -> Result<()> {
        let users = self.inner.registry.all();
        let users = users
            .iter()
            .map(|h| h.view())
            .filter(|v| v.image_id == image.record.id);
        for user in users {
            let running = user.state.is_up();
            let (container, id) = (user.id.short(), image.record.id.short());
            if !name.is_empty() && !force {
                return Err(Error::conflict(format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - \
                     container {container} is using its referenced image {id}"
                )));
            }
            if name.is_empty() && running {
                return Err(Error::conflict(format!(
                    "conflict: unable to delete {id} (cannot be forced) - image is being used by \
                     running container {container}"
                )));
            }
            if name.is_empty() && !force {
                return Err(Error::conflict(format!(
                    "conflict: unable to delete {id} (must be forced) - image is being used by \
                     stopped container {container}"
                )));
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Sweeps what no record names.
    pub(crate) async fn sweep_images(self: &Arc<Self>) -> Result<()> {
        if self.keep_unknown_trees {
            tracing::warn!("an image's row is damaged: nothing is swept, for it may be its");
            return Ok(());
        }
        let inner = self.clone();
        let swept = crate::blocking(move || {
            let live = || {
                Ok(inner
                    .images
                    .index
                    .all()
                    .iter()
                    .map(|(r, _)| (**r).clone())
                    .collect())
            };
            inner.images.store.sweep(live)
        })
        .await?;
        tracing::debug!(?swept, "swept the image store");
        Ok(())
    }
}
