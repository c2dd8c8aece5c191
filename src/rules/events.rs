//! Which events a follower wants (moby `daemon/events/filter.go`).

use model::{Event, EventKind, Filters, Reference, Result};

/// The filter keys of `GET /events`. Those of swarm select nothing here, as nothing has such a
/// name.
const KEYS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// The keys whose values are the beginning of an actor's id or name, of whatever type it is.
const NAMED: &[&str] = &[
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// Actions that carry more than their word: asking for one of them makes all asked-for actions
/// beginnings.
const LONG_ACTIONS: &[&str] = &["exec_create", "exec_start", "health_status"];

/// All events of this engine are of this scope.
const EVENT_SCOPE: &str = "local";

/// A checked request for events.
#[derive(Debug)]
pub struct EventFilter {
    filters: Filters,
    actions_begin: bool,
}

impl EventFilter {
    /// Checks a request's filters.
    ///
    /// # Errors
    /// Docker's words for an unknown key.
    pub fn new(filters: Filters) -> Result<Self> {
        filters.check_keys(KEYS)?;
        let actions_begin = filters.values("event").any(|a| LONG_ACTIONS.contains(&a));
        Ok(Self {
            filters,
            actions_begin,
        })
    }

    /// Whether it wants `event`.
    pub fn selects(&self, event: &Event) -> bool {
        let filters = &self.filters;
        let name = event.attributes.get("name").map_or("", String::as_str);
        let named = |value: &str| event.actor.starts_with(value) || name.starts_with(value);
        filters.any("event", |action| match self.actions_begin {
            true => event.action.starts_with(action),
            false => event.action == action,
        }) && filters.any("type", |kind| event.kind.as_str() == kind)
            && filters.any("scope", |scope| scope == EVENT_SCOPE)
            && NAMED.iter().all(|key| filters.any(key, named))
            && filters.any("image", |image| is_of_image(event, image))
            && filters.match_labels(&event.attributes)
    }
}

/// An image's own events by id or name, others by the image they name; with or without a tag.
fn is_of_image(event: &Event, wanted: &str) -> bool {
    let key = match event.kind {
        EventKind::Image => "name",
        _ => "image",
    };
    let name = event.attributes.get(key).map_or("", String::as_str);
    [event.actor.as_str(), name]
        .iter()
        .any(|known| *known == wanted || without_tag(known) == wanted)
}

fn without_tag(image: &str) -> String {
    match image.parse::<Reference>() {
        Ok(reference) => reference.familiar_name(),
        Err(_) => image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::{Action, Timestamp};

    use super::*;

    fn filter(pairs: &[(&str, &str)]) -> EventFilter {
        let mut filters = Filters::default();
        for (key, value) in pairs {
            filters.insert(*key, *value);
        }
        EventFilter::new(filters).unwrap()
    }

    fn event(kind: EventKind, action: &Action) -> Event {
        Event::new(Timestamp::UNIX_EPOCH, kind, action, "abc123")
            .with("name", "web")
            .with("image", "registry.io:5000/busybox:1")
            .with("tier", "front")
    }

    #[test]
    fn unknown_keys_are_refused() {
        let mut filters = Filters::default();
        filters.insert("nosuch", "x");
        let e = EventFilter::new(filters).unwrap_err();
        assert_eq!(e.message(), "invalid filter 'nosuch'");
    }

    #[test]
    fn values_of_a_key_are_alternatives_and_keys_are_not() {
        let start = event(EventKind::Container, &Action::Start);
        for (pairs, wanted) in [
            (&[][..], true),
            (&[("event", "start")], true),
            (&[("event", "stop"), ("event", "start")], true),
            (&[("event", "sta")], false),
            (&[("event", "start"), ("type", "image")], false),
            (&[("type", "container")], true),
            (&[("scope", "local")], true),
            (&[("scope", "swarm")], false),
            (&[("container", "abc")], true),
            (&[("container", "web")], true),
            (&[("container", "bc")], false),
            (&[("volume", "data")], false),
            (&[("service", "x")], false),
            (&[("label", "tier")], true),
            (&[("label", "tier=front")], true),
            (&[("label", "tier=front"), ("label", "x")], false),
            (&[("image", "registry.io:5000/busybox:1")], true),
            (&[("image", "registry.io:5000/busybox")], true),
            (&[("image", "busybox")], false),
        ] {
            assert_eq!(filter(pairs).selects(&start), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn actions_with_a_tail_are_asked_for_by_their_beginning() {
        let exec = event(
            EventKind::Container,
            &Action::ExecCreate("sh -c x".to_owned()),
        );
        assert!(filter(&[("event", "exec_create")]).selects(&exec));
        assert!(filter(&[("event", "exec_create: sh -c x")]).selects(&exec));
        assert!(!filter(&[("event", "exec_start")]).selects(&exec));
        let healthy = event(EventKind::Container, &Action::HealthStatus("healthy"));
        assert!(filter(&[("event", "health_status")]).selects(&healthy));
        assert!(filter(&[("event", "health_status: healthy")]).selects(&healthy));
        assert!(!filter(&[("event", "health_status: unhealthy")]).selects(&healthy));
    }

    #[test]
    fn an_image_is_found_by_its_own_name() {
        let tag = Event::new(
            Timestamp::UNIX_EPOCH,
            EventKind::Image,
            &Action::Tag,
            "sha256:1",
        )
        .with("name", "busybox:new");
        assert!(filter(&[("image", "busybox")]).selects(&tag));
        assert!(filter(&[("image", "sha256:1")]).selects(&tag));
        assert!(!filter(&[("image", "new")]).selects(&tag));
    }
}
