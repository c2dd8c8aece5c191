//! Images. What they are and what is done with them is `catalog`'s.

use std::path::PathBuf;
use std::sync::Arc;

use catalog::{ImageUser, ImageView, ImportImage, RemovedReference};
use model::{Filters, Reference, Result};
use tokio::io::AsyncRead;

use crate::container::Registry;
use crate::{Engine, Job};

impl Engine {
    /// The images that `filters` select, newest first. `all` changes nothing: there are no
    /// intermediate images here.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list_images(&self, filters: &Filters, _all: bool) -> Result<Vec<ImageView>> {
        let until = self.until(filters)?;
        self.inner.images.list(filters, until)
    }

    /// By reference, id or id prefix.
    ///
    /// # Errors
    /// `No such image: x`.
    pub fn image(&self, reference: &str) -> Result<ImageView> {
        self.inner.images.find(reference)
    }

    /// The directories of an image's layers, the topmost first.
    pub fn image_trees(&self, image: &ImageView) -> Vec<PathBuf> {
        self.inner.images.trees(image)
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// `No such image: x`; a name that no image may have.
    pub async fn tag_image(&self, reference: &str, target: Reference) -> Result<()> {
        self.inner.images.tag(reference, target).await
    }

    /// Loads the images of an archive; see [`catalog::Catalog::load`].
    ///
    /// # Errors
    /// None here; a bad archive is the job's first or a later step.
    pub async fn load_images(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        quiet: bool,
    ) -> Result<Job> {
        self.inner.images.load(archive, quiet).await
    }

    /// Makes an image from a tar; see [`catalog::Catalog::import`].
    ///
    /// # Errors
    /// Those; a bad tar is the job's first or a later step.
    pub async fn import_image(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        request: ImportImage,
    ) -> Result<Job> {
        self.inner.images.import(tar, request).await
    }

    /// Removes a name, or an image; see [`catalog::Catalog::remove`].
    ///
    /// # Errors
    /// Those.
    pub async fn remove_image(
        &self,
        reference: &str,
        force: bool,
    ) -> Result<Vec<RemovedReference>> {
        self.inner.images.remove(reference, force).await
    }
}

/// The containers, as far as images go.
pub(crate) fn users(registry: &Arc<Registry>) -> Arc<dyn Fn() -> Vec<ImageUser> + Send + Sync> {
    let registry = registry.clone();
    Arc::new(move || {
        let views = registry.all().into_iter().map(|handle| handle.view());
        let users = views.map(|view| ImageUser {
            container: view.id.clone(),
            image: view.image_id.clone(),
            is_up: view.state.is_up(),
        });
        users.collect()
    })
}
