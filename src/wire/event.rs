//! Events on the wire.

use std::collections::BTreeMap;

use model::{EventKind, NumberedEvent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The scope of everything that is not a swarm's.
const SCOPE: &str = "local";

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventMessage {
    /// Of containers and images: `Action` once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of containers and images: the actor's id once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of containers: the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it happened to: `container`, `image`, `volume`, `network`, `daemon`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened.
    #[serde(rename = "Action")]
    pub action: String,
    /// To which, and what else is known.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// `local`.
    pub scope: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event is about.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventActor {
    /// Its id; of a volume its name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Names, labels, codes.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Something that happened, with its number in the journal. Not Docker's.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NumberedEventMessage {
    /// Its number: the next request's `since`. Numbers grow; some are left out.
    pub number: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: EventMessage,
}

impl From<&NumberedEvent> for EventMessage {
    fn from(numbered: &NumberedEvent) -> Self {
        let event = &numbered.event;
        let is_container = event.kind == EventKind::Container;
        let has_legacy = is_container || event.kind == EventKind::Image;
        let image = event.attributes.get("image");
        Self {
            status: has_legacy.then(|| event.action.clone()),
            id: has_legacy.then(|| event.actor.clone()),
            from: image.filter(|_| is_container).cloned(),
            kind: event.kind.as_str().to_owned(),
            action: event.action.clone(),
            actor: EventActor {
                id: event.actor.clone(),
                attributes: event.attributes.clone(),
            },
            scope: SCOPE.to_owned(),
            time: event.at.as_second(),
            time_nano: i64::try_from(event.at.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }
}

impl From<&NumberedEvent> for NumberedEventMessage {
    fn from(numbered: &NumberedEvent) -> Self {
        Self {
            number: numbered.number,
            event: numbered.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Action, Event, Timestamp};

    use super::*;

    fn numbered(kind: EventKind, action: &Action) -> NumberedEvent {
        let at = Timestamp::new(1_795_435_640, 55_522_954).unwrap();
        NumberedEvent {
            number: 7,
            event: Event::new(at, kind, action, "0e48")
                .with("name", "cap1")
                .with("image", "busybox:bench")
                .with("exitCode", "7")
                .with("execDuration", "0"),
        }
    }

    /// The bytes of dockerd 26.1.5, but for the length of the id.
    #[test]
    fn a_container_event_is_dockers_byte_for_byte() {
        let die = numbered(EventKind::Container, &Action::Die);
        let text = serde_json::to_string(&EventMessage::from(&die)).unwrap();
        assert_eq!(
            text,
            r#"{"status":"die","id":"0e48","from":"busybox:bench","Type":"container","Action":"die","Actor":{"ID":"0e48","Attributes":{"execDuration":"0","exitCode":"7","image":"busybox:bench","name":"cap1"}},"scope":"local","time":1795435640,"timeNano":1795435640055522954}"#
        );
    }

    #[test]
    fn a_network_event_is_dockers_byte_for_byte() {
        let at = Timestamp::new(1_795_435_640, 55_522_954).unwrap();
        let text = |action: &Action, attributes: &[(&str, &str)]| {
            let mut event = Event::new(at, EventKind::Network, action, "bef6");
            for (key, value) in attributes {
                event = event.with(key, *value);
            }
            let numbered = NumberedEvent { number: 7, event };
            serde_json::to_string(&EventMessage::from(&numbered)).unwrap()
        };
        let who = [("container", "0e48"), ("name", "net"), ("type", "bridge")];
        for (action, word) in [
            (Action::Connect, "connect"),
            (Action::Disconnect, "disconnect"),
        ] {
            assert_eq!(
                text(&action, &who),
                format!(
                    r#"{{"Type":"network","Action":"{word}","Actor":{{"ID":"bef6","Attributes":{{"container":"0e48","name":"net","type":"bridge"}}}},"scope":"local","time":1795435640,"timeNano":1795435640055522954}}"#
                )
            );
        }
        let prune = text(&Action::Prune, &[("reclaimed", "0")]);
        assert!(prune.contains(r#""Action":"prune""#) && prune.contains(r#""reclaimed":"0""#));
    }

    #[test]
    fn others_have_no_fields_of_old() {
        let volume = numbered(EventKind::Volume, &Action::Create);
        let text = serde_json::to_string(&NumberedEventMessage::from(&volume)).unwrap();
        assert!(
            text.starts_with(r#"{"number":7,"Type":"volume","#),
            "{text}"
        );
        let image = EventMessage::from(&numbered(EventKind::Image, &Action::Tag));
        assert_eq!(image.from, None);
        assert_eq!(image.status.as_deref(), Some("tag"));
    }
}
