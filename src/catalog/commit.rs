//! Making an image of a container's changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archive::Changed;
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
    /// What it has changed.
    pub changed: Changed,
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
        let done = work.await;
        if stands {
            drop(go_on.await);
        }
        self.goes_on(&mark).await;
        done
    }

    /// A container goes on, or has ended: its mark is taken away.
    pub async fn goes_on(&self, mark: &str) {
        if let Err(e) = self.inner.tools.ledger.unmark(mark).await {
            tracing::warn!(mark, error = %e, "a mark of a commit is left in the ledger");
        }
    }

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
