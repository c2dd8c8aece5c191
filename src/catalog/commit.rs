//! Making an image of a container's changes.

use std::path::PathBuf;
use std::sync::Arc;

use model::image::HistoryEntry;
use model::{
    Action, ContainerId, ContainerSpec, ContainerState, Digest, Error, ImageConfig, Reference,
    Result,
};

use crate::Catalog;

/// What a client asks of a commit.
#[derive(Debug, Clone, Default)]
pub struct CommitImage {
    /// The name to give it.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// The comment of its last step.
    pub comment: String,
    /// What it is to start with; `None` is what the container did.
    pub config: Option<ImageConfig>,
    /// Dockerfile instructions to apply to that.
    pub changes: Vec<String>,
}

/// The container that is committed.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The image it was made from.
    pub image: Digest,
    /// How it was made.
    pub spec: Arc<ContainerSpec>,
    /// The directory of its changes.
    pub upper: PathBuf,
}

impl CommitImage {
    /// Refuses what could not be done later, before a container is held up for it; the name that it will
    /// have, as users type it.
    ///
    /// # Errors
    /// A container that ends (409); a name that no image may have; a bad change.
    pub fn check(
        &self,
        of: &Committed,
        container: &ContainerId,
        state: &ContainerState,
    ) -> Result<String> {
        let why = match state {
            ContainerState::Dead { .. } => Some("Dead"),
            ContainerState::Removing => Some("being removed"),
            _ => None,
        };
        if let Some(why) = why {
            let told = format!("You cannot commit container {container} which is {why}");
            return Err(Error::conflict(told));
        }
        if let Some(reference) = &self.reference {
            reference.check_assignable()?;
        }
        let image = ImageConfig::default();
        rules::image_commit::config(&of.spec, &image, self.config.clone(), &self.changes)?;
        let named = self.reference.as_ref().map(Reference::familiar);
        Ok(named.unwrap_or_default())
    }
}

impl Catalog {
    /// Makes an image of what a container has changed; its id.
    ///
    /// # Errors
    /// Bad changes; a tree that somebody changes so that it cannot be packed (409); what the host says.
    pub async fn commit(&self, of: Committed, request: CommitImage) -> Result<Digest> {
        let base = self
            .record(&of.image)
            .ok_or_else(|| Error::not_found(format!("No such image: {}", of.image)))?;
        let config =
            rules::image_commit::config(&of.spec, &base.config, request.config, &request.changes)?;
        let wanted = images::Commit {
            base,
            changes: of.upper,
            config,
            step: HistoryEntry {
                created: Some((self.inner.tools.now)()),
                created_by: of.spec.cmd.clone().unwrap_or_default().join(" "),
                comment: request.comment,
                author: request.author,
                ..HistoryEntry::default()
            },
        };
        let made = self.commit_one(wanted, request.reference).await;
        if made.is_err() {
            self.sweep_failed().await;
        }
        made
    }

    async fn commit_one(
        &self,
        wanted: images::Commit,
        reference: Option<Reference>,
    ) -> Result<Digest> {
        let store = self.store().clone();
        let mut image = sys::task::blocking(move || store.commit(wanted)).await?;
        image.references.extend(reference);
        let (id, _) = self.keep(image, Action::Create).await?;
        Ok(id)
    }
}
