//! Making an image of a container's changes.

use std::path::PathBuf;
use std::sync::Arc;

use failpoint::Point;
use images::Partials;
use model::image::HistoryEntry;
use model::{
    ContainerId, ContainerSpec, ContainerState, Digest, Error, ImageConfig, ImageRecord, Reference,
    Result,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::Catalog;
use crate::load::Came;

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
#[derive(Debug)]
pub struct Committed {
    /// The image it was made from.
    pub image: Digest,
    /// How it was made.
    pub spec: Arc<ContainerSpec>,
    /// The directory of its changes.
    pub upper: PathBuf,
    /// Keeps that.
    pub turn: CommitTurn,
}

/// A commit whose turn it is, of a container whose changes stay until it ends. To be had before the
/// container is looked at: what was removed by then is refused by [`CommitImage::check`].
#[derive(Debug)]
pub struct CommitTurn {
    changes: images::HeldChanges,
    _turn: OwnedSemaphorePermit,
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
    /// Waits until a container may be committed.
    ///
    /// # Errors
    /// None while the daemon lives.
    pub async fn commit_turn(&self, container: &ContainerId) -> Result<CommitTurn> {
        let turn = self.inner.commit_turns.clone().acquire_owned().await;
        let closed = |e| Error::system(format!("commits are closed: {e}"));
        Ok(CommitTurn {
            changes: self.store().hold_changes(container.as_str()),
            _turn: turn.map_err(closed)?,
        })
    }

    /// Makes an image of what a container has changed; its id.
    ///
    /// # Errors
    /// Bad changes; a tree that somebody changes so that it cannot be packed (409); what the host says.
    pub async fn commit(&self, of: Committed, request: CommitImage) -> Result<Digest> {
        let (base, held) = self.hold_base(&of.image).await?;
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
        failpoint::reach(Point::CommitBegun).await?;
        let (store, turn) = (self.store().clone(), of.turn);
        let pack = move || {
            let made = store.commit(wanted);
            drop((turn.changes, held));
            made
        };
        let packed = sys::task::blocking(pack).await;
        let mut image = packed.inspect_err(|_| self.sweep_soon(Partials::Old))?;
        image.references.extend(request.reference);
        let kept = self.keep(image, Came::Commit).await;
        Ok(kept.inspect_err(|_| self.sweep_soon(Partials::Old))?.id)
    }

    /// What a container was made from, held, so that it stays though its last name and the container go.
    async fn hold_base(&self, id: &Digest) -> Result<(Arc<ImageRecord>, images::Lease)> {
        let _gate = self.gate().await;
        let base = self.record(id);
        let base = base.ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
        let lease = self.store().hold(&base);
        Ok((base, lease))
    }
}
