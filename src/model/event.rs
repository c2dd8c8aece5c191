//! Events: what is told of a change, in Docker's words.
//!
//! An event is made where the change is decided, written by the ledger in the same transaction as
//! the change, and numbered there. The numbers only grow; each is given once.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

/// What an event is about: Docker's `Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A container, or an exec session in one.
    Container,
    /// An image or a name of one.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The daemon itself.
    Daemon,
}

impl EventKind {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Daemon => "daemon",
        }
    }

    /// The kind that Docker's word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Container,
            Self::Image,
            Self::Volume,
            Self::Network,
            Self::Daemon,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// What happened: Docker's `Action` (moby `api/types/events`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "Docker's own words")]
pub enum Action {
    Create,
    Start,
    Restart,
    Stop,
    Kill,
    Die,
    Oom,
    Pause,
    Unpause,
    Rename,
    Update,
    Resize,
    Top,
    Attach,
    Detach,
    Checkpoint,
    Commit,
    /// It has said so by sd_notify. Not Docker's.
    Ready,
    Destroy,
    /// With its command line.
    ExecCreate(String),
    /// With its command line.
    ExecStart(String),
    ExecDie,
    ExecDetach,
    /// With the new status.
    HealthStatus(&'static str),
    Mount,
    Unmount,
    /// A container came on a network.
    Connect,
    /// It is no more on it.
    Disconnect,
    Load,
    Pull,
    Push,
    Import,
    Save,
    Tag,
    Untag,
    Delete,
    Prune,
    Reload,
    ArchivePath,
    ExtractToDir,
    Export,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Die => "die",
            Self::Oom => "oom",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Rename => "rename",
            Self::Update => "update",
            Self::Resize => "resize",
            Self::Top => "top",
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Checkpoint => "checkpoint",
            Self::Commit => "commit",
            Self::Ready => "ready",
            Self::Destroy => "destroy",
            Self::ExecCreate(command) => return write!(f, "exec_create: {command}"),
            Self::ExecStart(command) => return write!(f, "exec_start: {command}"),
            Self::ExecDie => "exec_die",
            Self::ExecDetach => "exec_detach",
            Self::HealthStatus(status) => return write!(f, "health_status: {status}"),
            Self::Mount => "mount",
            Self::Unmount => "unmount",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Load => "load",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Import => "import",
            Self::Save => "save",
            Self::Tag => "tag",
            Self::Untag => "untag",
            Self::Delete => "delete",
            Self::Prune => "prune",
            Self::Reload => "reload",
            Self::ArchivePath => "archive-path",
            Self::ExtractToDir => "extract-to-dir",
            Self::Export => "export",
        };
        f.write_str(word)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, by the wall clock, which may be set back: the order is that of the numbers.
    pub at: Timestamp,
    /// To what kind of thing.
    pub kind: EventKind,
    /// What; see [`Action`].
    pub action: String,
    /// To which: an id, or the name of a volume.
    pub actor: String,
    /// What else is known: names, labels, codes.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event without attributes.
    pub fn new(at: Timestamp, kind: EventKind, action: &Action, actor: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            action: action.to_string(),
            actor: actor.into(),
            attributes: BTreeMap::new(),
        }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }
}

/// An event as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Its number; the first one ever is 1. Between two boots of the host some are left out.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for kind in [EventKind::Container, EventKind::Daemon, EventKind::Volume] {
            assert_eq!(EventKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::from_word("Container"), None);
    }

    #[test]
    fn actions_with_data_are_spelled_as_dockers() {
        let start = Action::ExecStart("sh -c ls".to_owned());
        assert_eq!(start.to_string(), "exec_start: sh -c ls");
        let health = Action::HealthStatus("healthy");
        assert_eq!(health.to_string(), "health_status: healthy");
    }
}
