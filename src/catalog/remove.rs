//! Removing images: names first, then the record, then the bytes nobody names any more.

use failpoint::Point;
use model::{Action, Digest, Error, Reference, Result};

use crate::{Catalog, ImageView, RemovedReference};

impl Catalog {
    /// Removes a name, or an image with all its names (moby `ImageDelete`).
    ///
    /// An image that a stopped container was made from loses only its names, even when forced:
    /// its record stays, as an unnamed image, so that the container can still start; it goes when
    /// it is removed by its id, after the container.
    ///
    /// # Errors
    /// `No such image: x`; 409 when a container uses it and `force` is not set or cannot help.
    pub async fn remove(&self, reference: &str, force: bool) -> Result<Vec<RemovedReference>> {
        let (catalog, reference) = (self.clone(), reference.to_owned());
        sys::task::to_the_end(async move { catalog.remove_named(&reference, force).await }).await
    }

    async fn remove_named(&self, reference: &str, force: bool) -> Result<Vec<RemovedReference>> {
        let removed = self.remove_records(reference, force).await?;
        if removed
            .iter()
            .any(|r| matches!(r, RemovedReference::Deleted(_)))
        {
            // The bytes, however many, without the gate: no record names them any more.
            self.sweep().await?;
            drop(failpoint::reach(Point::ImageSwept).await);
        }
        Ok(removed)
    }

    async fn remove_records(&self, reference: &str, force: bool) -> Result<Vec<RemovedReference>> {
        let _gate = self.gate_all().await;
        let image = self.find(reference)?;
        let named = reference
            .parse::<Reference>()
            .ok()
            .filter(|name| self.inner.index.named(name).as_ref() == Some(&image.record.id));
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
        let event = self.event(record, record.id.as_str(), &Action::Untag);
        let (inner, gone) = (self.inner.clone(), name.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || inner.index.untag(&gone));
        ledger.untag(name).await?;
        failpoint::reach(Point::ImageUntagged).await?;
        removed.push(RemovedReference::Untagged(name.familiar()));
        Ok(())
    }

    async fn delete(&self, id: &Digest, removed: &mut Vec<RemovedReference>) -> Result<()> {
        let record = self.inner.index.record(id);
        let event = self.bare_event(id, id.as_str(), &Action::Delete);
        let (inner, gone) = (self.inner.clone(), id.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || inner.index.remove(&gone));
        ledger.delete_image(id).await?;
        failpoint::reach(Point::ImageForgotten).await?;
        removed.push(RemovedReference::Deleted(id.clone()));
        for layer in record.iter().flat_map(|r| r.layers.iter().rev()) {
            let still_used = self
                .inner
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
        let users = (self.inner.tools.users)().into_iter();
        for user in users.filter(|user| user.image == image.record.id) {
            let running = user.is_up;
            let (container, id) = (user.container.short(), image.record.id.short());
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

impl Catalog {
    /// Sweeps what no record names.
    ///
    /// # Errors
    /// What the host says; what could not go is left for the next time.
    pub async fn sweep(&self) -> Result<()> {
        if self.inner.tools.keep_unknown_trees {
            tracing::warn!("an image's row is damaged: nothing is swept, for it may be its");
            return Ok(());
        }
        let catalog = self.clone();
        let swept = sys::task::blocking(move || {
            let all = || catalog.inner.index.all();
            let live = || Ok(all().iter().map(|(record, _)| (**record).clone()).collect());
            catalog.store().sweep(live)
        })
        .await?;
        tracing::debug!(?swept, "swept the image store");
        Ok(())
    }
}
