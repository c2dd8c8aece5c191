//! Importing a root file system as an image of one layer.

use images::Partials;
use model::{Action, Error, ImageConfig, Platform, Result};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::job::{STEPS_MAX, Steps};
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
        for change in &request.changes {
            rules::image_change::apply(&mut config, change)?;
        }
        let (sender, steps) = mpsc::channel(STEPS_MAX);
        let catalog = self.clone();
        tokio::spawn(async move {
            let steps = Steps::new(sender, false);
            if let Err(e) = catalog.import_one(tar, config, request, &steps).await {
                catalog.sweep_soon(Partials::Old);
                steps.fail(e).await;
            }
        });
        Ok(Job { steps })
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
        let (id, _) = self.keep(image, Action::Import).await?;
        steps.send(Progress::Status(id.to_string())).await;
        Ok(())
    }
}
