//! Importing a root file system as an image of one layer.

use images::Partials;
use model::{Error, ImageConfig, Platform, Result};
use tokio::io::AsyncRead;

use crate::job::Steps;
use crate::load::Came;
use crate::{Catalog, ImportImage, Job, Progress};

impl Catalog {
    /// Makes an image of one layer from a tar; ends with a status line, its id.
    ///
    /// # Errors
    /// A name that no image may have; a change that is no Dockerfile instruction an import takes (400). A bad tar is the job's
    /// first or a later step.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        request: ImportImage,
    ) -> Result<Job> {
        let platform = request.platform.clone();
        let platform = platform.unwrap_or_else(|| Platform::host(None));
        if platform.os != "linux" {
            return Err(Error::invalid(format!(
                "image operating system {:?} cannot be used on this platform",
                platform.os
            )));
        }
        let mut config = ImageConfig {
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            ..ImageConfig::default()
        };
        if let Some(reference) = &request.reference {
            reference.check_assignable()?;
        }
        rules::image_change::apply(&mut config, &request.changes)?;
        let (steps, job) = Steps::new(false);
        let catalog = self.clone();
        tokio::spawn(async move {
            let imported = catalog.import_one(tar, config, request, &steps).await;
            if imported.is_err() {
                catalog.sweep_soon(Partials::Old);
            }
            steps.end(imported);
        });
        Ok(job)
    }

    async fn import_one(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        config: ImageConfig,
        request: ImportImage,
        steps: &Steps,
    ) -> Result<()> {
        let store = self.store().clone();
        let (comment, created) = (request.message, (self.inner.tools.now)());
        let mut image = self
            .uploads()
            .read(tar, move |tar| store.import(tar, config, &comment, created))
            .await?;
        image.references.extend(request.reference);
        let id = self.keep(image, Came::Import).await?.id;
        steps.send(Progress::Status(id.to_string())).await;
        Ok(())
    }
}
