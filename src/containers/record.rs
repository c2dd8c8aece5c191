//! What the task writes of its container, and tells: the row first, then the picture.
//!
//! The picture follows the host even when the ledger cannot be written (a full disk): what was
//! not written is written again until it is, with the events that tell of it.

use std::time::Duration;

use model::{Action, ContainerState, Event, Intent, Kind, Result};
use tokio::time::Instant;

use crate::ContainerView;
use crate::actor::Actor;

/// How long after a failure it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Events that wait to be written with a state. The oldest go when there are more.
const EVENTS_UNWRITTEN_MAX: usize = 256;

/// A state that the ledger did not take; it is the one of the picture.
#[derive(Debug)]
pub(crate) struct Unwritten {
    intent: Option<Intent>,
    events: Vec<Event>,
    pub(crate) again_at: Instant,
}

impl Unwritten {
    /// To be tried again soon.
    pub(crate) fn new(intent: Option<Intent>, mut events: Vec<Event>) -> Self {
        let too_many = events.len().saturating_sub(EVENTS_UNWRITTEN_MAX);
        events.drain(..too_many);
        Self {
            intent,
            events,
            again_at: Instant::now() + AGAIN_AFTER,
        }
    }
}

impl Actor {
    /// An event of this container as it is now.
    pub(crate) fn event(&self, action: &Action) -> Event {
        self.engine.container_event(&self.view(), action)
    }

    /// Writes what is about to be begun, and publishes it only when it was written: nothing is
    /// begun otherwise, and the container stays what it was.
    pub(crate) async fn promise(&mut self, state: ContainerState, intent: Intent) -> Result<()> {
        let events = self.unwritten.as_ref().map(|u| u.events.clone());
        let view = self.view_in(state);
        let written = self.write(&view, Some(intent), events.unwrap_or_default());
        match written.await {
            // A damaged row may have lost its state; it can still be removed.
            Err(e) if e.kind() != Kind::NotFound => return Err(e),
            _ => self.unwritten = None,
        }
        self.handle.publish(view);
        Ok(())
    }

    /// Writes the state with the events that tell of it, and publishes it, whether it could be
    /// written or not: a container that runs is shown running, and recovery asks the kernel.
    pub(crate) async fn set_state(
        &mut self,
        state: ContainerState,
        intent: Option<Intent>,
        events: Vec<Event>,
    ) -> Result<()> {
        let view = self.view_in(state);
        self.set_view(view, intent, events).await
    }

    /// The same for a picture of which more has changed.
    pub(crate) async fn set_view(
        &mut self,
        view: ContainerView,
        intent: Option<Intent>,
        mut events: Vec<Event>,
    ) -> Result<()> {
        if let Some(earlier) = self.unwritten.take() {
            events.splice(0..0, earlier.events);
        }
        let intent = intent.or_else(|| self.wants_end(&view.state).then_some(Intent::Stopping));
        let written = self.write(&view, intent, events.clone()).await;
        if let Err(e) = &written {
            let state = view.state.status();
            tracing::error!(error = %e, state, "the ledger was not written");
            // A row that is not there will not come back.
            if e.kind() != Kind::NotFound {
                self.unwritten = Some(Unwritten::new(intent, events));
            }
        }
        self.handle.publish(view);
        written
    }

    /// Tries once more to write what could not be written.
    pub(crate) async fn write_again(&mut self) {
        if let Some(Unwritten { intent, .. }) = &self.unwritten {
            let (state, intent) = (self.view().state.clone(), *intent);
            drop(self.set_state(state, intent, vec![]).await);
        }
    }

    /// Tells of what is no change of its state, in its place among those that are.
    pub(crate) async fn tell(&self, event: Event) {
        self.engine.tell(event).await;
    }

    /// The picture with another state.
    pub(crate) fn view_in(&self, state: ContainerState) -> ContainerView {
        let attachment = match state.running() {
            Some(_) => self.engine.networks.attachment(self.handle.id()),
            None => None,
        };
        ContainerView {
            attachment,
            state,
            restart_count: self.restart_count,
            ..(*self.view()).clone()
        }
    }

    /// Who is told of it finds it published.
    async fn write(
        &self,
        view: &ContainerView,
        intent: Option<Intent>,
        events: Vec<Event>,
    ) -> Result<()> {
        let (handle, published) = (self.handle.clone(), view.clone());
        let ledger = self.engine.ledger.telling(events);
        let ledger = ledger.applying(move || handle.publish(published.clone()));
        ledger
            .update_container_state(&view.id, &view.state, intent, view.restart_count)
            .await
    }
}
