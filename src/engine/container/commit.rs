//! A container's changes as a new image.

use std::collections::BTreeMap;

use catalog::{CommitImage, Committed};
use model::{Action, Digest, Result};

use crate::Engine;

impl Engine {
    /// Makes an image of a container; its id. It stands still meanwhile if `pause` says so and it runs.
    ///
    /// # Errors
    /// 404; 409 for one that is dead or being removed; as [`catalog::Catalog::commit`].
    pub async fn commit(&self, name: &str, request: CommitImage, pause: bool) -> Result<Digest> {
        let handle = self.shared.registry.find(name)?;
        let shared = self.shared.clone();
        crate::to_the_end(async move {
            let turn = shared.images.commit_turn(&handle.view().id).await?;
            let view = handle.view();
            let of = Committed {
                image: view.image_id.clone(),
                spec: view.spec.clone(),
                changed: view.paths.tree.changed.clone(),
                turn,
            };
            let named = request.check(&of, &view.id, &view.state)?;
            let event = shared.container_event(&view, &Action::Commit);
            let event = event.with("comment", request.comment.as_str());
            // One that cannot be paused, or is, is committed as it is (moby `CreateImageFromContainer`).
            let commit = shared.images.commit(of, request);
            let runs = view.state.running().is_some_and(|running| !running.paused);
            let ask = (handle.pause(), handle.unpause());
            let made = match pause && runs {
                true => shared.images.standing_still(&view.id, ask, commit).await,
                false => commit.await,
            };
            let event = event.with("imageID", made.clone()?.as_str());
            shared.tell(event.with("imageRef", named)).await;
            made
        })
        .await
    }

    /// Lets those go on that a killed daemon let stand still.
    /// Nobody waits for a runtime that does not answer.
    pub(crate) async fn finish_commits(&self, meta: &BTreeMap<String, String>) {
        for (mark, id) in catalog::stood_still(meta) {
            let asked = match self.shared.registry.find(id) {
                Ok(handle) => handle.unpause().await,
                Err(e) => Err(e),
            };
            // Refused by one that goes on already, or has ended.
            if catalog::may_forget(&asked) {
                self.shared.images.goes_on(mark).await;
            }
        }
    }
}
