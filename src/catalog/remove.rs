//! Removing images: what goes is decided in `rules` (moby `daemon/images/image_delete.go`), and goes from the
//! ledger in one change; then the bytes nobody names any more.

use failpoint::Point;
use images::Partials;
use model::{Action, ContainerId, Digest, Event, ImageRecord, Reference, Result};
use rules::image_removal::{self, KnownImages, RemovalStep};

use crate::index::Known;
use crate::users::Users;
use crate::{Catalog, RemoveImage, RemovedReference};

/// What a removal is decided on.
struct Sight<'a> {
    known: &'a Known,
    users: Users,
}

impl KnownImages for Sight<'_> {
    fn record(&self, id: &Digest) -> Option<&ImageRecord> {
        self.known.record(id).map(|record| &**record)
    }

    fn names(&self, id: &Digest) -> Vec<Reference> {
        self.known.names_of(id)
    }

    fn children(&self, id: &Digest) -> usize {
        self.known.children(id)
    }

    fn chain_users(&self, chain_id: &Digest) -> usize {
        self.known.chain_users(chain_id)
    }

    fn user(&self, id: &Digest, is_up: Option<bool>) -> Option<ContainerId> {
        self.users.one(id, is_up)
    }
}

impl Catalog {
    /// Removes a name, or an image with all its names, and what it was made from
    /// ([`rules::image_removal::plan`]).
    ///
    /// # Errors
    /// `No such image: x`; 409 when a container uses it and `force` is not set or cannot help, or another
    /// image was made from it.
    pub async fn remove(&self, reference: &str, how: RemoveImage) -> Result<Vec<RemovedReference>> {
        let (catalog, reference) = (self.clone(), reference.to_owned());
        sys::task::to_the_end(async move {
            let removed = catalog.remove_records(&reference, how, None).await?;
            let is_deleted = |r: &RemovedReference| matches!(r, RemovedReference::Deleted(_));
            if removed.iter().any(is_deleted) {
                // The bytes, however many, without the gate: no record names them any more.
                catalog.sweep(Partials::Old).await;
                drop(failpoint::reach(Point::ImageSwept).await);
            }
            Ok(removed)
        })
        .await
    }

    /// All of a removal but the bytes; nothing where `reference` means another image than the one that
    /// is `expected`.
    pub(crate) async fn remove_records(
        &self,
        reference: &str,
        how: RemoveImage,
        expected: Option<&Digest>,
    ) -> Result<Vec<RemovedReference>> {
        let _gate = self.gate_all().await;
        let id = self.inner.index.find(reference)?.0.id.clone();
        if expected.is_some_and(|expected| *expected != id) {
            return Ok(Vec::new());
        }
        let index = &self.inner.index;
        let name = reference.parse::<Reference>().ok();
        let name = name.filter(|name| index.named(name).as_ref() == Some(&id));
        let users = self.users();
        let steps = index.read(|known| {
            let sight = Sight { known, users };
            image_removal::plan(&sight, &id, reference, name.as_ref(), how)
        })?;
        self.carry_out(steps).await
    }

    async fn carry_out(&self, steps: Vec<RemovalStep>) -> Result<Vec<RemovedReference>> {
        let (mut names, mut ids) = (Vec::new(), Vec::new());
        let mut events = Vec::new();
        let mut removed = Vec::new();
        for step in steps {
            match step {
                RemovalStep::Untag {
                    image,
                    name,
                    shown,
                    is_told,
                } => {
                    events.extend(is_told.then(|| self.untag_event(&image)));
                    names.push(name);
                    removed.push(RemovedReference::Untagged(shown));
                }
                RemovalStep::Delete { image, layers } => {
                    events.push(self.bare_event(&image, image.as_str(), &Action::Delete));
                    removed.push(RemovedReference::Deleted(image.clone()));
                    removed.extend(layers.into_iter().map(RemovedReference::Deleted));
                    ids.push(image);
                }
            }
        }
        failpoint::reach(Point::ImageUntagged).await?;
        let inner = self.inner.clone();
        let (gone_names, gone_ids) = (names.clone(), ids.clone());
        let ledger = self.inner.tools.ledger.telling(events);
        let ledger = ledger.applying(move || inner.index.remove(&gone_names, &gone_ids));
        ledger.forget_images(names, ids).await?;
        drop(failpoint::reach(Point::ImageForgotten).await);
        Ok(removed)
    }

    fn untag_event(&self, id: &Digest) -> Event {
        match self.record(id) {
            Some(record) => self.event(&record, id.as_str(), &Action::Untag),
            None => self.bare_event(id, id.as_str(), &Action::Untag),
        }
    }
}
