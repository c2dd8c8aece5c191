//! What the removal of an image takes away: names, then the image, and the images it was made from where
//! nothing else needs them (moby `daemon/images/image_delete.go`). A plan, which is carried out as one change
//! or not at all.

use std::collections::{BTreeMap, BTreeSet};

use model::{ContainerId, Digest, Error, ImageRecord, Reference, Result};

/// The images there are, as far as a removal goes.
pub trait KnownImages {
    /// One image.
    fn record(&self, id: &Digest) -> Option<&ImageRecord>;
    /// Its names, sorted.
    fn names(&self, id: &Digest) -> Vec<Reference>;
    /// How many images were made from it.
    fn children(&self, id: &Digest) -> usize;
    /// How many images have the layer of that chain id.
    fn chain_users(&self, chain_id: &Digest) -> usize;
    /// A container of the image: one that is up or not, as asked, or either.
    fn user(&self, id: &Digest, is_up: Option<bool>) -> Option<ContainerId>;
}

/// How an image is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveImage {
    /// Also when stopped containers use it, or several repositories name it.
    pub force: bool,
    /// Also the images it was made from that nothing names or uses.
    pub parents: bool,
}

/// A step of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalStep {
    /// A name goes.
    Untag {
        /// What it is a name of.
        image: Digest,
        /// As it is kept.
        name: Reference,
        /// As the client is told.
        shown: String,
        /// As an event, too. Docker does not tell of the digests that go with a repository's last tag.
        is_told: bool,
    },
    /// An image goes, without a name by then.
    Delete {
        /// Which.
        image: Digest,
        /// The layers that no other image has, by chain id, the topmost first.
        layers: Vec<Digest>,
    },
}

/// Why an image stays.
struct Refusal {
    error: Error,
    /// A container uses it.
    is_used: bool,
}

/// Removes a name, or an image with all its names (moby `ImageDelete`). `asked` is what the client wrote, and
/// `name` what that is where it is a name of the image.
///
/// An image that a stopped container was made from loses only its names, even when forced: it stays as an
/// unnamed image, so that the container can still start; it goes when it is removed by its id, after the
/// container.
///
/// # Errors
/// Conflict: a container uses it and `force` is not set or cannot help, or another image was made from it.
pub fn plan(
    known: &impl KnownImages,
    id: &Digest,
    asked: &str,
    name: Option<&Reference>,
    how: RemoveImage,
) -> Result<Vec<RemovalStep>> {
    let mut planner = Planner::new(known);
    let is_single = is_single_reference(&planner.names(id));
    if let Some(name) = name {
        if is_single && !how.force {
            planner.check_unused(id, asked)?;
        }
        planner.untag_with_digests(id, name);
        if !planner.names(id).is_empty() {
            return Ok(planner.steps);
        }
    } else if is_single {
        if let Some(refusal) = planner.refusal(id, how.force, false) {
            return Err(refusal.error);
        }
        planner.untag_all(id);
    }
    planner.delete_with_parents(id, how, name.is_some())?;
    Ok(planner.steps)
}

struct Planner<'a, K> {
    known: &'a K,
    steps: Vec<RemovalStep>,
    gone_names: BTreeSet<Reference>,
    /// Of images and layers, how many of those that need them are gone by now.
    gone_children: BTreeMap<Digest, usize>,
    gone_users: BTreeMap<Digest, usize>,
}

impl<'a, K: KnownImages> Planner<'a, K> {
    fn new(known: &'a K) -> Self {
        Self {
            known,
            steps: Vec::new(),
            gone_names: BTreeSet::new(),
            gone_children: BTreeMap::new(),
            gone_users: BTreeMap::new(),
        }
    }

    /// The names that are left.
    fn names(&self, id: &Digest) -> Vec<Reference> {
        let mut names = self.known.names(id);
        names.retain(|name| !self.gone_names.contains(name));
        names
    }

    fn has_children(&self, id: &Digest) -> bool {
        let gone = self.gone_children.get(id).copied().unwrap_or_default();
        self.known.children(id) > gone
    }

    fn untag(&mut self, id: &Digest, name: &Reference, is_told: bool) {
        self.gone_names.insert(name.lookup_key());
        self.steps.push(RemovalStep::Untag {
            image: id.clone(),
            name: name.lookup_key(),
            shown: name.familiar(),
            is_told,
        });
    }

    fn untag_all(&mut self, id: &Digest) {
        for name in self.names(id) {
            self.untag(id, &name, true);
        }
    }

    /// A name; and with the last tag of a repository its digests.
    fn untag_with_digests(&mut self, id: &Digest, name: &Reference) {
        self.untag(id, name, true);
        if name.digest().is_some() {
            return;
        }
        let mut left = self.names(id);
        left.retain(|other| same_repository(other, name));
        if left.iter().all(|other| other.digest().is_some()) {
            for digest in &left {
                self.untag(id, digest, false);
            }
        }
    }

    /// The image, unless something keeps it; then those it was made from, as long as nothing keeps them.
    fn delete_with_parents(
        &mut self,
        id: &Digest,
        how: RemoveImage,
        mut quiet: bool,
    ) -> Result<()> {
        let known = self.known;
        let mut force = how.force;
        let mut next = known.record(id);
        while let Some(record) = next.take() {
            let id = &record.id;
            if let Some(refusal) = self.refusal(id, force, true) {
                let is_dangling = self.names(id).is_empty() && !self.has_children(id);
                // A conflict over something that would be found by nobody is told.
                return match quiet && (!is_dangling || refusal.is_used) {
                    true => Ok(()),
                    false => Err(refusal.error),
                };
            }
            self.untag_all(id);
            if known.user(id, None).is_some() {
                return Ok(());
            }
            self.delete(record);
            let parent = record.parent.as_ref().filter(|_| how.parents);
            next = parent.and_then(|parent| known.record(parent));
            (force, quiet) = (false, true);
        }
        Ok(())
    }

    fn delete(&mut self, record: &ImageRecord) {
        if let Some(parent) = &record.parent {
            *self.gone_children.entry(parent.clone()).or_default() += 1;
        }
        let mut layers = Vec::new();
        for layer in record.layers.iter().rev() {
            let gone = self.gone_users.entry(layer.chain_id.clone()).or_default();
            *gone += 1;
            if self.known.chain_users(&layer.chain_id) <= *gone {
                layers.push(layer.chain_id.clone());
            }
        }
        self.steps.push(RemovalStep::Delete {
            image: record.id.clone(),
            layers,
        });
    }

    /// The only name of an image that a container uses is not taken away unless forced.
    fn check_unused(&self, id: &Digest, asked: &str) -> Result<()> {
        let Some(container) = self.known.user(id, None) else {
            return Ok(());
        };
        let (container, id) = (container.short(), id.short());
        // Docker quotes what the client wrote.
        Err(Error::conflict(format!(
            "conflict: unable to remove repository reference \"{asked}\" (must force) - \
             container {container} is using its referenced image {id}"
        )))
    }

    /// What keeps the image: images made from it and running containers always; names (where they count)
    /// and stopped containers unless forced.
    fn refusal(&self, id: &Digest, force: bool, names_count: bool) -> Option<Refusal> {
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
        if let Some(running) = self.known.user(id, Some(true)) {
            let container = running.short();
            let why = format!("image is being used by running container {container}");
            return refused(true, NEVER, why);
        }
        if force {
            return None;
        }
        if names_count && !self.names(id).is_empty() {
            let why = "image is referenced in multiple repositories".to_owned();
            return refused(false, FORCED, why);
        }
        let stopped = self.known.user(id, Some(false))?;
        let why = format!(
            "image is being used by stopped container {}",
            stopped.short()
        );
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
mod tests;
