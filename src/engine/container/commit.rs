//! A container's changes as a new image.

use catalog::{CommitImage, Committed};
use model::{Action, Digest, Result};

use crate::Engine;
use crate::container::handle::Message;

impl Engine {
    /// Makes an image of a container; its id. It stands still meanwhile if `pause` says so and it runs.
    ///
    /// # Errors
    /// 404; 409 for one that is dead or being removed; as [`catalog::Catalog::commit`].
    pub async fn commit(&self, name: &str, request: CommitImage, pause: bool) -> Result<Digest> {
        let handle = self.inner.registry.find(name)?;
        let inner = self.inner.clone();
        crate::to_the_end(async move {
            let turn = inner.images.commit_turn(&handle.view().id).await?;
            let view = handle.view();
            let of = Committed {
                image: view.image_id.clone(),
                spec: view.spec.clone(),
                upper: view.paths.upper.clone(),
                turn,
            };
            let named = request.check(&of, &view.id, &view.state)?;
            let event = inner.container_event(&view, &Action::Commit);
            let event = event.with("comment", request.comment.as_str());
            // One that cannot be paused, or is, is committed as it is (moby `CreateImageFromContainer`).
            let paused = pause && handle.ask(Message::Pause).await.is_ok();
            let made = inner.images.commit(of, request).await;
            if paused {
                drop(handle.ask(Message::Unpause).await);
            }
            let event = event.with("imageID", made.clone()?.as_str());
            inner.tell(event.with("imageRef", named)).await;
            made
        })
        .await
    }
}
