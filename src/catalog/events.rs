//! How each change of an image is told (moby `LogImageEvent`).

use model::{Action, Digest, Event, EventKind, ImageRecord, Reference};

use crate::Catalog;

impl Catalog {
    /// An event of an image: its labels, and the name it is told by.
    pub(crate) fn event(&self, image: &ImageRecord, name: &str, action: &Action) -> Event {
        let mut event = self.bare_event(&image.id, name, action);
        let labels = image.config.labels.clone();
        event.attributes = labels.into_iter().chain(event.attributes).collect();
        event
    }

    /// An event of an image that is told by the name it was asked for by.
    pub(crate) fn named_event(
        &self,
        image: &ImageRecord,
        reference: &Reference,
        action: &Action,
    ) -> Event {
        let now = (self.inner.tools.now)();
        let mut event = Event::new(now, EventKind::Image, action, reference.familiar());
        event.attributes.extend(image.config.labels.clone());
        event.with("name", reference.familiar_name())
    }

    /// That all tags of a repository were pulled, told by its bare name.
    pub(crate) fn repository_event(&self, repository: &Reference) -> Event {
        let (now, name) = ((self.inner.tools.now)(), repository.familiar_name());
        let mut event = Event::new(now, EventKind::Image, &Action::Pull, name.as_str());
        // Of what that name means where it means something (moby `LogImageEvent`).
        if let Ok((image, _)) = self.inner.index.find(&name) {
            event.attributes.extend(image.config.labels.clone());
        }
        event.with("name", name)
    }

    /// An event of an image of which no more is known.
    pub(crate) fn bare_event(&self, id: &Digest, name: &str, action: &Action) -> Event {
        let now = (self.inner.tools.now)();
        Event::new(now, EventKind::Image, action, id.as_str()).with("name", name)
    }
}
