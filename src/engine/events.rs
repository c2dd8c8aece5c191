//! Following events: what is told is in the journal, written with the change it tells of.

use std::sync::Arc;

use ::events::{EventStream, EventsRequest};
use model::Result;

use crate::Engine;

impl Engine {
    /// How many follow events.
    pub(crate) fn event_listeners(&self) -> usize {
        Arc::strong_count(&self.inner.event_listeners) - 1
    }

    /// Begins to follow events.
    ///
    /// # Errors
    /// As [`EventStream::begin`].
    pub async fn events(&self, request: EventsRequest) -> Result<EventStream> {
        let journal = self.shared.ledger.journal().clone();
        let now = (self.shared.host.now)();
        let listener = self.inner.event_listeners.clone();
        EventStream::begin(journal, request, now, listener).await
    }
}
