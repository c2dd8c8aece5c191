//! Images: load, import, list, inspect, tag, remove.
//!
//! The bytes and trees are the images room's, the records and names the ledger's. A record is
//! written after its bytes are whole, and removed before they go: at no point does a name lead
//! to something half there. Bytes without a record are garbage and swept.

mod import;
mod index;
mod load;
mod remove;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use model::{Action, Digest, Filters, ImageRecord, Reference, Result};

use crate::Engine;
pub(crate) use index::ImageIndex;
use rules::ReferencePattern as Pattern;

/// The filters a list of images takes.
const KEYS: &[&str] = &[
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

/// An immutable picture of one image.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// What the ledger knows.
    pub record: Arc<ImageRecord>,
    /// Its names, sorted.
    pub references: Vec<Reference>,
    /// How many containers use it.
    pub containers: usize,
}

/// An import of a root file system as an image.
#[derive(Debug, Clone, Default)]
pub struct ImportImage {
    /// The name to give it.
    pub reference: Option<Reference>,
    /// The comment of its one history entry.
    pub message: String,
    /// Dockerfile instructions to apply to its configuration (`CMD`, `ENV`, ...).
    pub changes: Vec<String>,
}

/// What a removal did, in Docker's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedReference {
    /// A name is gone.
    Untagged(String),
    /// An image or layer is gone.
    Deleted(Digest),
}

impl Engine {
    /// The images that `filters` select, newest first. `all` changes nothing: there are no
    /// intermediate images here.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list_images(&self, filters: &Filters, _all: bool) -> Result<Vec<ImageView>> {
        filters.check_keys(KEYS)?;
        let dangling = filters.flag("dangling")?;
        let created = |key: &str| -> Result<Option<model::Timestamp>> {
            let named = filters.values(key).next();
            Ok(named
                .map(|name| self.image(name))
                .transpose()?
                .and_then(|i| i.record.config.created))
        };
        let (before, since) = (created("before")?, created("since")?);
        let patterns = filters.values("reference").map(Pattern::parse);
        let patterns = patterns.collect::<Result<Vec<_>>>()?;
        let until = self.until(filters)?;
        let mut selected: Vec<ImageView> = self
            .inner
            .images
            .index
            .all()
            .into_iter()
            .map(|(record, references)| self.image_view(record, references))
            .filter(|i| dangling.is_none_or(|wanted| wanted == i.references.is_empty()))
            .filter(|i| filters.match_labels(&i.record.config.labels))
            .filter_map(|i| named_by(i, &patterns))
            .filter(|i| before.is_none_or(|t| i.record.config.created.is_some_and(|c| c < t)))
            .filter(|i| since.is_none_or(|t| i.record.config.created.is_some_and(|c| c > t)))
            .filter(|i| until.is_none_or(|t| i.record.config.created.is_none_or(|c| c < t)))
            .collect();
        selected.sort_by_key(|i| std::cmp::Reverse(i.record.config.created));
        Ok(selected)
    }

    /// By reference, id or id prefix.
    ///
    /// # Errors
    /// `No such image: x`.
    pub fn image(&self, reference: &str) -> Result<ImageView> {
        let (record, references) = self.inner.images.index.find(reference)?;
        Ok(self.image_view(record, references))
    }

    /// The directories of an image's layers, the topmost first.
    pub fn image_trees(&self, image: &ImageView) -> Vec<PathBuf> {
        self.inner.images.store.trees(&image.record.layers)
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// `No such image: x`; a name that no image may have.
    pub async fn tag_image(&self, reference: &str, target: Reference) -> Result<()> {
        target.check_assignable()?;
        let (engine, reference) = (self.clone(), reference.to_owned());
        crate::to_the_end(async move {
            let _gate = engine.inner.images.gate().await;
            let image = engine.image(&reference)?;
            let event = engine
                .inner
                .image_event(&image.record, &target.familiar(), &Action::Tag);
            let ledger = engine.inner.ledger.telling(vec![event]);
            ledger.tag(&target, &image.record.id).await?;
            engine.inner.images.index.tag(target, &image.record.id);
            Ok(())
        })
        .await
    }

    fn image_view(&self, record: Arc<ImageRecord>, references: Vec<Reference>) -> ImageView {
        let users = self.inner.registry.all();
        let containers = users
            .iter()
            .filter(|h| h.view().image_id == record.id)
            .count();
        ImageView {
            record,
            references,
            containers,
        }
    }
}

/// The image with the names that one of `patterns` fits, for Docker lists no others then; `None`
/// when there are none.
fn named_by(mut image: ImageView, patterns: &[Pattern]) -> Option<ImageView> {
    if patterns.is_empty() {
        return Some(image);
    }
    image
        .references
        .retain(|r| patterns.iter().any(|p| p.fits(r)));
    (!image.references.is_empty()).then_some(image)
}
