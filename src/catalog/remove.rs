//! Removing images: names first, then the record, then the bytes nobody names any more; and the images it
//! was made from, where nothing else needs them (moby `daemon/images/image_delete.go`).

use failpoint::Point;
use images::Partials;
use model::{Action, Digest, Error, ImageRecord, Reference, Result};

use crate::{Catalog, ImageView, RemovedReference};

/// How an image is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveImage {
    /// Also when stopped containers use it, or several repositories name it.
    pub force: bool,
    /// Also the images it was made from that nothing names or uses.
    pub parents: bool,
}

/// Why an image stays.
struct Refusal {
    error: Error,
    /// A container uses it.
    is_used: bool,
}

impl Catalog {
    /// Removes a name, or an image with all its names (moby `ImageDelete`).
    ///
    /// An image that a stopped container was made from loses only its names, even when forced:
    /// its record stays, as an unnamed image, so that the container can still start; it goes when
    /// it is removed by its id, after the container.
    ///
    /// # Errors
    /// `No such image: x`; 409 when a container uses it and `force` is not set or cannot help, or another
    /// image was made from it.
    pub async fn remove(&self, reference: &str, how: RemoveImage) -> Result<Vec<RemovedReference>> {
        let (catalog, reference) = (self.clone(), reference.to_owned());
        sys::task::to_the_end(async move { catalog.remove_named(&reference, how).await }).await
    }

    async fn remove_named(
        &self,
        reference: &str,
        how: RemoveImage,
    ) -> Result<Vec<RemovedReference>> {
        let removed = self.remove_records(reference, how).await?;
        if removed
            .iter()
            .any(|r| matches!(r, RemovedReference::Deleted(_)))
        {
            // The bytes, however many, without the gate: no record names them any more.
            self.sweep(Partials::Old).await;
        }
        Ok(removed)
    }

    /// All of a removal but the bytes.
    pub(crate) async fn remove_records(
        &self,
        reference: &str,
        how: RemoveImage,
    ) -> Result<Vec<RemovedReference>> {
        let _gate = self.gate_all().await;
        let image = self.find(reference)?;
        let id = image.record.id.clone();
        let named = reference
            .parse::<Reference>()
            .ok()
            .filter(|name| self.inner.index.named(name).as_ref() == Some(&id));
        let mut removed = Vec::new();
        let is_single = is_single_reference(&image.references);
        let was_named = named.is_some();
        if let Some(name) = named {
            if is_single && !how.force {
                // Docker quotes what the client wrote.
                self.check_unused(&image, reference)?;
            }
            self.untag_with_digests(&image, &name, &mut removed).await?;
            if !self.view_of(&image.record)?.references.is_empty() {
                return Ok(removed);
            }
        } else if is_single {
            if let Some(refusal) = self.refusal(&image, how.force, false) {
                return Err(refusal.error);
            }
            for name in &image.references {
                self.untag(&image, name, &mut removed).await?;
            }
        }
        self.delete_with_parents(&id, how, was_named, &mut removed)
            .await?;
        Ok(removed)
    }

    /// A name; and with the last tag of a repository its digests.
    async fn untag_with_digests(
        &self,
        image: &ImageView,
        name: &Reference,
        removed: &mut Vec<RemovedReference>,
    ) -> Result<()> {
        self.untag(image, name, removed).await?;
        if name.digest().is_some() {
            return Ok(());
        }
        let same = |other: &&Reference| same_repository(other, name);
        let left = self.view_of(&image.record)?.references;
        if left
            .iter()
            .filter(same)
            .any(|other| other.digest().is_none())
        {
            return Ok(());
        }
        for digest in left.iter().filter(same) {
            self.untag(image, digest, removed).await?;
        }
        Ok(())
    }

    /// The image, unless something keeps it; then those it was made from, as long as nothing keeps them.
    async fn delete_with_parents(
        &self,
        id: &Digest,
        how: RemoveImage,
        mut quiet: bool,
        removed: &mut Vec<RemovedReference>,
    ) -> Result<()> {
        let mut force = how.force;
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            let Some(record) = self.record(&id) else {
                return Ok(());
            };
            let image = self.view_of(&record)?;
            if let Some(refusal) = self.refusal(&image, force, true) {
                let is_dangling = image.references.is_empty() && !self.has_children(&id);
                // A conflict over something that would be found by nobody is told.
                return match quiet && (!is_dangling || refusal.is_used) {
                    true => Ok(()),
                    false => Err(refusal.error),
                };
            }
            for name in &image.references {
                self.untag(&image, name, removed).await?;
            }
            if image.containers > 0 {
                return Ok(());
            }
            self.delete(&id, removed).await?;
            next = record.parent.clone().filter(|_| how.parents);
            (force, quiet) = (false, true);
        }
        Ok(())
    }

    async fn untag(
        &self,
        image: &ImageView,
        name: &Reference,
        removed: &mut Vec<RemovedReference>,
    ) -> Result<()> {
        let record = &image.record;
        let event = self.event(record, record.id.as_str(), &Action::Untag);
        let key = name.lookup_key();
        let (inner, gone) = (self.inner.clone(), key.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || inner.index.untag(&gone));
        ledger.untag(&key).await?;
        failpoint::reach(Point::ImageUntagged).await?;
        removed.push(RemovedReference::Untagged(name.familiar()));
        Ok(())
    }

    async fn delete(&self, id: &Digest, removed: &mut Vec<RemovedReference>) -> Result<()> {
        let record = self.inner.index.record(id);
        let event = self.bare_event(id, id.as_str(), &Action::Delete);
        let (inner, gone) = (self.inner.clone(), id.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || inner.index.remove(&gone));
        ledger.delete_image(id).await?;
        failpoint::reach(Point::ImageForgotten).await?;
        removed.push(RemovedReference::Deleted(id.clone()));
        for layer in record.iter().flat_map(|r| r.layers.iter().rev()) {
            let still_used = self
                .inner
                .index
                .all()
                .iter()
                .any(|(other, _)| other.layers.iter().any(|l| l.chain_id == layer.chain_id));
            if !still_used {
                removed.push(RemovedReference::Deleted(layer.chain_id.clone()));
            }
        }
        Ok(())
    }

    fn view_of(&self, record: &ImageRecord) -> Result<ImageView> {
        self.find(record.id.as_str())
    }

    pub(crate) fn has_children(&self, id: &Digest) -> bool {
        let all = self.inner.index.all();
        all.iter()
            .any(|(other, _)| other.parent.as_ref() == Some(id))
    }

    /// The only name of an image that a container uses is not taken away unless forced.
    fn check_unused(&self, image: &ImageView, name: &str) -> Result<()> {
        let id = &image.record.id;
        let users = (self.inner.tools.users)();
        let Some(user) = users.iter().find(|user| user.image == *id) else {
            return Ok(());
        };
        let (container, id) = (user.container.short(), id.short());
        Err(Error::conflict(format!(
            "conflict: unable to remove repository reference \"{name}\" (must force) - \
             container {container} is using its referenced image {id}"
        )))
    }

    /// What keeps the image: images made from it and running containers always; names (where they count)
    /// and stopped containers unless forced.
    fn refusal(&self, image: &ImageView, force: bool, names_count: bool) -> Option<Refusal> {
        let id = &image.record.id;
        let refused = |is_used, force, why: String| {
            let id = id.short();
            Some(Refusal {
                error: Error::conflict(format!(
                    "conflict: unable to delete {id} ({force}) - {why}"
                )),
                is_used,
            })
        };
        const NEVER: &str = "cannot be forced";
        const FORCED: &str = "must be forced";
        if self.has_children(id) {
            let why = "image has dependent child images".to_owned();
            return refused(false, NEVER, why);
        }
        let users = (self.inner.tools.users)();
        let user = |is_up| users.iter().find(|u| u.image == *id && u.is_up == is_up);
        if let Some(running) = user(true) {
            let container = running.container.short();
            let why = format!("image is being used by running container {container}");
            return refused(true, NEVER, why);
        }
        if force {
            return None;
        }
        if names_count && !image.references.is_empty() {
            let why = "image is referenced in multiple repositories".to_owned();
            return refused(false, FORCED, why);
        }
        let stopped = user(false)?.container.short();
        let why = format!("image is being used by stopped container {stopped}");
        refused(true, FORCED, why)
    }
}

fn same_repository(a: &Reference, b: &Reference) -> bool {
    a.domain() == b.domain() && a.path() == b.path()
}

/// Whether all names are of one repository, and at most one is a tag; not when there is none.
fn is_single_reference(names: &[Reference]) -> bool {
    let mut tags = names.iter().filter(|name| name.digest().is_none());
    let (tag, second) = (tags.next(), tags.next());
    let first = tag.or_else(|| names.first());
    second.is_none()
        && first.is_some_and(|first| names.iter().all(|name| same_repository(name, first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_with_the_digests_of_its_repository_is_a_single_name() {
        let digest = format!("a@{}", Digest::from_sha256([1; 32]));
        let other = format!("b@{}", Digest::from_sha256([1; 32]));
        let single = |names: &[&str]| {
            let names: Vec<Reference> = names.iter().map(|n| n.parse().unwrap()).collect();
            is_single_reference(&names)
        };
        assert!(single(&["a:1"]) && single(&[&digest]) && single(&[&digest, "a:1"]));
        assert!(!single(&[]) && !single(&["a:1", "a:2"]) && !single(&["a:1", "b:1"]));
        assert!(!single(&["a:1", &other]) && !single(&[&digest, &other]));
    }
}
