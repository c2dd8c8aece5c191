//! Events: how each is told, and following the journal.
//!
//! Those of changes are written with the change (`state`); what is no change of the ledger
//! (a signal, an attach) is written by itself, in the order in which it happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Action, ContainerState, Error, Event, EventKind, Filters, Kind, MountSource, NumberedEvent,
    Result, Timestamp, VolumeName,
};
use rules::EventFilter;
use state::{Batch, Journal};

use crate::container::ContainerView;
use crate::{Engine, Inner};

/// From where to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsFrom {
    /// What comes.
    Now,
    /// What happened at this time or after it, as far as it is kept, then what comes.
    Time(Timestamp),
    /// What has a greater number, then what comes.
    Number(u64),
}

/// What is to be followed.
#[derive(Debug, Clone)]
pub struct EventsRequest {
    /// Where it begins.
    pub from: EventsFrom,
    /// Where it ends; one in the past ends the stream at what there is now.
    pub until: Option<Timestamp>,
    /// Only some.
    pub filters: Filters,
}

/// Events being followed.
#[derive(Debug)]
pub struct EventStream {
    journal: Journal,
    filter: EventFilter,
    /// The number to go on after.
    position: u64,
    /// It was asked for what comes after a number: then nothing may be left out.
    by_number: bool,
    /// The number of the newest event when this began: what comes later is new.
    began_at: u64,
    since: Option<Timestamp>,
    until: Option<Until>,
    waiting: VecDeque<Arc<NumberedEvent>>,
    /// One of those that are counted.
    _listener: Arc<()>,
}

#[derive(Debug)]
struct Until {
    time: Timestamp,
    /// When it will be; `None` when it was before this began.
    at: Option<tokio::time::Instant>,
}

impl EventStream {
    /// The number of the newest event when this began.
    pub fn began_at(&self) -> u64 {
        self.began_at
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// [`model::Kind::Gone`] when so much happened that the next one is kept no more.
    pub async fn next(&mut self) -> Option<Result<Arc<NumberedEvent>>> {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if self.is_beyond_the_end(&event) {
                    return None;
                }
                if self.selects(&event) {
                    return Some(Ok(event));
                }
            }
            let batch = match self.journal.after(self.position).await {
                Ok(batch) => batch,
                // Old ones are told as far as they are kept.
                Err(e) if e.kind() == Kind::Gone && self.is_in_the_past() => {
                    self.position = self.journal.dropped();
                    continue;
                }
                Err(e) => return Some(Err(e)),
            };
            if batch.up_to > self.position {
                self.position = batch.up_to;
                self.waiting.extend(batch.events);
                continue;
            }
            let journal = &self.journal;
            let grown = journal.grown_beyond(self.position);
            match self.until.as_ref().map(|until| until.at) {
                None => grown.await,
                Some(None) => return None,
                Some(Some(end)) => tokio::select! {
                    biased;
                    () = grown => {}
                    () = tokio::time::sleep_until(end) => return None,
                },
            }
        }
    }

    /// It was asked for by time, and is not yet at what was there when it began.
    fn is_in_the_past(&self) -> bool {
        !self.by_number && self.position < self.began_at
    }

    /// Something new that happened after the end that was asked for.
    fn is_beyond_the_end(&self, numbered: &NumberedEvent) -> bool {
        let is_new = numbered.number > self.began_at;
        is_new
            && self
                .until
                .as_ref()
                .is_some_and(|until| numbered.event.at > until.time)
    }

    fn selects(&self, numbered: &NumberedEvent) -> bool {
        let NumberedEvent { number, event } = numbered;
        let is_old = *number <= self.began_at;
        let too_early = is_old && self.since.is_some_and(|since| event.at < since);
        let too_late = is_old && self.until.as_ref().is_some_and(|u| event.at > u.time);
        let is_past = self.until.as_ref().is_some_and(|until| until.at.is_none());
        !too_early && !too_late && (is_old || !is_past) && self.filter.selects(event)
    }
}

impl Engine {
    /// How many follow events.
    pub(crate) fn event_listeners(&self) -> usize {
        Arc::strong_count(&self.inner.event_listeners) - 1
    }

    /// Begins to follow events: nothing that happens after this returns is missed.
    ///
    /// # Errors
    /// Bad filters; a number that no event has yet; [`model::Kind::Gone`] for a number up to which
    /// events are kept no more.
    pub async fn events(&self, request: EventsRequest) -> Result<EventStream> {
        let filter = EventFilter::new(request.filters)?;
        let journal = self.inner.ledger.journal().clone();
        let began_at = journal.newest();
        let (position, since) = match (request.from, request.until) {
            (EventsFrom::Now, None) => (began_at, None),
            // Docker tells what was before an end that it is given.
            (EventsFrom::Now, Some(_)) => (journal.dropped(), None),
            (EventsFrom::Time(since), _) => (journal.dropped(), Some(since)),
            (EventsFrom::Number(number), _) => (number, None),
        };
        let by_number = matches!(request.from, EventsFrom::Number(_));
        if let EventsFrom::Number(number) = request.from
            && number > began_at
        {
            // Of another ledger, perhaps: who waits for it would miss all before.
            return Err(Error::invalid(format!(
                "there is no event {number} yet: the newest is {began_at}"
            )));
        }
        // Who asks for a number is told at once that it is too old.
        let first = match by_number {
            true => journal.after(position).await?,
            false => Batch {
                events: Vec::new(),
                up_to: position,
            },
        };
        let now = (self.inner.host.now)();
        let until = request.until.map(|time| Until {
            time,
            at: Duration::try_from(time.duration_since(now))
                .ok()
                .and_then(|left| tokio::time::Instant::now().checked_add(left)),
        });
        Ok(EventStream {
            journal,
            filter,
            position: first.up_to,
            by_number,
            began_at,
            since,
            until,
            waiting: first.events.into(),
            _listener: self.inner.event_listeners.clone(),
        })
    }
}

impl Inner {
    /// An event of a container: its labels, its image, its name (moby `LogContainerEvent`).
    pub(crate) fn container_event(&self, view: &ContainerView, action: &Action) -> Event {
        let id = view.id.as_str();
        let mut event = Event::new((self.host.now)(), EventKind::Container, action, id);
        event.attributes = attributes(view);
        event
    }

    /// An event of a volume.
    pub(crate) fn volume_event(&self, name: &VolumeName, action: &Action) -> Event {
        let now = (self.host.now)();
        Event::new(now, EventKind::Volume, action, name.as_str()).with("driver", "local")
    }

    /// That a container's volumes are mounted into it.
    pub(crate) fn mount_events(&self, view: &ContainerView) -> Vec<Event> {
        let told = volumes(view).map(|(name, mount)| {
            self.volume_event(name, &Action::Mount)
                .with("container", view.id.as_str())
                .with("destination", &mount.destination)
                .with("read/write", (!mount.read_only).to_string())
                .with("propagation", "")
        });
        told.collect()
    }

    /// That they are no more.
    pub(crate) fn unmount_events(&self, view: &ContainerView) -> Vec<Event> {
        let told = volumes(view).map(|(name, _)| {
            self.volume_event(name, &Action::Unmount)
                .with("container", view.id.as_str())
        });
        told.collect()
    }

    /// What is told of a container's end (moby `handleContainerExit`).
    pub(crate) fn exit_events(&self, view: &ContainerView, state: &ContainerState) -> Vec<Event> {
        let Some(exited) = state.exited() else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if exited.oom_killed {
            events.push(self.container_event(view, &Action::Oom));
        }
        events.extend(self.unmount_events(view));
        let ran = exited.finished_at.duration_since(exited.started_at);
        events.push(
            self.container_event(view, &Action::Die)
                .with("exitCode", exited.status.code().to_string())
                .with("execDuration", ran.as_secs().max(0).to_string()),
        );
        events
    }

    /// What is told when the daemon finds that `state` holds, and not what is in the ledger: what
    /// lies between the two.
    pub(crate) fn found_events(&self, view: &ContainerView, state: &ContainerState) -> Vec<Event> {
        let mut events = Vec::new();
        let (before, now) = (view.state.running(), state.running());
        let started_anew = match (before, now) {
            (Some(before), Some(now)) => before.init != now.init,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        // A start that was cut short, and what it started has ended by now.
        let ran_meanwhile = before.is_none() && view.state.exited() != state.exited();
        if started_anew || (ran_meanwhile && state.exited().is_some()) {
            events.extend(self.mount_events(view));
            events.push(self.container_event(view, &Action::Start));
        }
        if state.exited() != view.state.exited() {
            events.extend(self.exit_events(view, state));
        }
        if let Some(now) = now {
            let was_paused = before.is_some_and(|before| before.paused);
            match (was_paused, now.paused) {
                (false, true) => events.push(self.container_event(view, &Action::Pause)),
                (true, false) => events.push(self.container_event(view, &Action::Unpause)),
                _ => {}
            }
        }
        events
    }

    /// That a terminal has another size.
    pub(crate) async fn tell_resize(&self, view: &ContainerView, height: u16, width: u16) {
        let event = self.container_event(view, &Action::Resize);
        let event = event.with("height", height.to_string());
        self.tell(event.with("width", width.to_string())).await;
    }

    /// Tells of something that is no change, in its place among what else happens.
    pub(crate) async fn tell(&self, event: Event) {
        if let Err(e) = self.ledger.tell_soon(vec![event]).await {
            tracing::error!(error = %e, "an event was not kept");
        }
    }
}

fn volumes(view: &ContainerView) -> impl Iterator<Item = (&VolumeName, &model::Mount)> {
    view.spec.mounts.iter().filter_map(|mount| {
        let MountSource::Volume { name, .. } = &mount.source else {
            return None;
        };
        Some((name, mount))
    })
}

/// What every event of a container says. The daemon's own words win over labels.
pub(crate) fn attributes(view: &ContainerView) -> std::collections::BTreeMap<String, String> {
    let mut attributes = view.spec.labels.clone();
    if !view.image_name.is_empty() {
        attributes.insert("image".to_owned(), view.image_name.clone());
    }
    attributes.insert("name".to_owned(), view.name.to_string());
    attributes
}
