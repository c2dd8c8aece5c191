//! Images: load, import, list, inspect, tag, remove.
//!
//! The bytes and trees are the images room's, the records and names the ledger's. A record is
//! written after its bytes are whole, and removed before they go: at no point does a name lead
//! to something half there. Bytes without a record are garbage and swept.

mod import;
mod index;
mod load;
mod remove;

use std::sync::Arc;

use model::{Digest, Filters, ImageRecord, Reference, Result};

use crate::Engine;
pub(crate) use index::ImageIndex;

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
        let until = self.until(filters)?;
        let mut selected: Vec<ImageView> = self
            .inner
            .images
            .all()
            .into_iter()
            .map(|(record, references)| self.image_view(record, references))
            .filter(|i| dangling.is_none_or(|wanted| wanted == i.references.is_empty()))
            .filter(|i| filters.match_labels(&i.record.config.labels))
            .filter(|i| {
                filters.any("reference", |p| {
                    i.references.iter().any(|r| matches_pattern(r, p))
                })
            })
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
        let (record, references) = self.inner.images.find(reference)?;
        Ok(self.image_view(record, references))
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// `No such image: x`.
    pub async fn tag_image(&self, reference: &str, target: Reference) -> Result<()> {
        let (engine, reference) = (self.clone(), reference.to_owned());
        crate::to_the_end(async move {
            let _gate = engine.inner.images.gate().await;
            let image = engine.image(&reference)?;
            engine.inner.ledger.tag(&target, &image.record.id).await?;
            engine.inner.images.tag(target, &image.record.id);
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

/// Docker's `reference` filter: a shell pattern over the familiar name, with or without the tag
/// (`distribution/reference` `FamiliarMatch`); `*` does not cross a slash.
fn matches_pattern(reference: &Reference, pattern: &str) -> bool {
    glob(pattern.as_bytes(), reference.familiar().as_bytes())
        || glob(pattern.as_bytes(), reference.familiar_name().as_bytes())
}

/// Matches `*` (anything but a slash) and `?` (one byte but a slash), by backtracking to the last
/// star only: linear in practice, quadratic at worst, never exponential.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') if text[t] != b'/' => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((star_p, star_t)) if text[star_t] != b'/' => {
                    star = Some((star_p, star_t + 1));
                    (p, t) = (star_p + 1, star_t + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_patterns_match_names_with_and_without_tags() {
        let r: Reference = "library/busybox:1.36".parse().unwrap();
        for yes in ["busybox", "busybox:1.36", "busy*", "busybox:*", "b?sybox"] {
            assert!(matches_pattern(&r, yes), "{yes}");
        }
        for no in ["busy", "*/busybox", "busybox:2*", ""] {
            assert!(!matches_pattern(&r, no), "{no}");
        }
        assert!(!glob(b"*", b"a/b"));
    }
}
