//! Which containers there are of each image, counted once for all images that are looked at.

use std::collections::HashMap;

use model::{ContainerId, Digest};

use crate::Catalog;

/// The containers of all images, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Users {
    of: HashMap<Digest, Of>,
}

#[derive(Debug, Default)]
struct Of {
    count: usize,
    /// The first of all, of those that are up, and of those that are not.
    first: Option<ContainerId>,
    up: Option<ContainerId>,
    down: Option<ContainerId>,
}

impl Catalog {
    pub(crate) fn users(&self) -> Users {
        let mut users = Users::default();
        for user in (self.inner.tools.users)() {
            let of = users.of.entry(user.image).or_default();
            of.count += 1;
            let (id, place) = (
                user.container,
                if user.is_up { &mut of.up } else { &mut of.down },
            );
            of.first.get_or_insert_with(|| id.clone());
            place.get_or_insert(id);
        }
        users
    }
}

impl Users {
    /// How many an image has.
    pub(crate) fn count(&self, image: &Digest) -> usize {
        self.of.get(image).map_or(0, |of| of.count)
    }

    /// One of them that is up or not, as asked, or either.
    pub(crate) fn one(&self, image: &Digest, is_up: Option<bool>) -> Option<ContainerId> {
        let of = self.of.get(image)?;
        match is_up {
            None => of.first.clone(),
            Some(true) => of.up.clone(),
            Some(false) => of.down.clone(),
        }
    }
}
