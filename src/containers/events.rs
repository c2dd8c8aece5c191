//! Events: how each is told.
//!
//! Those of changes are written with the change (`state`); what is no change of the ledger
//! (a signal, an attach) is written by itself, in the order in which it happened.

use model::{Action, ContainerState, Event, EventKind, MountSource, VolumeName};

use crate::ContainerView;
use crate::Shared;

impl Shared {
    /// An event of a container: its labels, its image, its name (moby `LogContainerEvent`).
    pub fn container_event(&self, view: &ContainerView, action: &Action) -> Event {
        let id = view.id.as_str();
        let mut event = Event::new((self.host.now)(), EventKind::Container, action, id);
        event.attributes = attributes(view);
        event
    }

    /// An event of a volume.
    pub fn volume_event(&self, name: &VolumeName, action: &Action) -> Event {
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
    pub async fn tell(&self, event: Event) {
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
pub fn attributes(view: &ContainerView) -> std::collections::BTreeMap<String, String> {
    let mut attributes = view.spec.labels.clone();
    if !view.image_name.is_empty() {
        attributes.insert("image".to_owned(), view.image_name.clone());
    }
    attributes.insert("name".to_owned(), view.name.to_string());
    attributes
}
