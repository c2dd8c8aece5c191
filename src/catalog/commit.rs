//! Making an image of a container's changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archive::Changed;
use failpoint::Point;
use images::Partials;
use model::image::HistoryEntry;
use model::{
    ContainerId, ContainerSpec, ContainerState, Digest, Error, ImageConfig, ImageRecord, Kind,
    Reference, Result,
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
    /// What it has changed.
    pub changed: Changed,
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

/// Begins the ledger's keys of containers that stand still for a commit.
const STANDS_STILL: &str = "stands-still:";

/// The containers that a killed daemon let stand still, from the ledger's facts, each with its mark.
pub fn stood_still(meta: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    meta.keys().filter_map(|mark| {
        let (id, _) = mark.strip_prefix(STANDS_STILL)?.split_once('/')?;
        Some((mark.as_str(), id))
    })
}

/// Whether a container that was asked to go on does, or will never: it ended, or went on already.
pub fn may_forget(asked: &Result<()>) -> bool {
    asked
        .as_ref()
        .err()
        .is_none_or(|e| e.kind() == Kind::Conflict || e.kind() == Kind::NotFound)
}

impl Catalog {
    /// Does `work` while a container stands still, if it can be made to. It is marked before, so that the
    /// next daemon lets it go on if this one cannot.
    ///
    /// # Errors
    /// What the ledger says; what `work` says.
    pub async fn standing_still<T>(
        &self,
        id: &ContainerId,
        (pause, go_on): (
            impl Future<Output = Result<()>>,
            impl Future<Output = Result<()>>,
        ),
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // Several may commit it at once, and one of them holds it up.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{STANDS_STILL}{id}/{n}");
        self.inner.tools.ledger.mark(&mark).await?;
        let stands = pause.await.is_ok();
        if !stands {
            // It stands still for somebody else, say, who wants it so.
            self.goes_on(&mark).await;
        }
        let done = work.await;
        // One that could not be made to go on keeps its mark, for the next daemon.
        if stands && may_forget(&go_on.await) {
            self.goes_on(&mark).await;
        }
        done
    }

    /// A container goes on, or has ended: its mark is taken away.
    pub async fn goes_on(&self, mark: &str) {
        if let Err(e) = self.inner.tools.ledger.unmark(mark).await {
            tracing::warn!(mark, error = %e, "a mark of a commit is left in the ledger");
        }
    }

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
            changes: of.changed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_other_facts() {
        let keys = [
            "boot_id",
            "stands-still:abc/0",
            "stands-still:",
            "stands-still:x",
        ];
        let meta = keys.map(|key| (key.to_owned(), String::new())).into();
        let found: Vec<_> = stood_still(&meta).collect();
        assert_eq!(found, [("stands-still:abc/0", "abc")]);
    }
}
