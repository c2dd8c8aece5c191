//! Whose pid and ipc namespaces a container has. Those that are its own or the host's alone (uts,
//! cgroup) are a [`crate::NamespaceMode`].

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;
use crate::process::ProcessRef;

/// The pid namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container, which must run when it is started.
    Container(ContainerId),
}

impl PidMode {
    /// Whether its processes end with its first one, by the kernel's doing.
    pub fn is_private(&self) -> bool {
        *self == Self::Private
    }

    /// The container whose namespace it is.
    pub fn donor(&self) -> Option<&ContainerId> {
        match self {
            Self::Container(id) => Some(id),
            Self::Private | Self::Host => None,
        }
    }
}

/// The ipc namespace, with the shared memory at `/dev/shm` that goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcMode {
    /// One of its own.
    #[default]
    Private,
    /// One of its own that other containers may join.
    Shareable,
    /// One of its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// That of another container, which must run when it is started.
    Container(ContainerId),
}

impl IpcMode {
    /// Whether others may join it (moby: whether the daemon knows its `/dev/shm`).
    pub fn may_be_joined(&self) -> bool {
        match self {
            Self::Shareable | Self::Host | Self::Container(_) => true,
            Self::Private | Self::None => false,
        }
    }

    /// The container whose namespace it is.
    pub fn donor(&self) -> Option<&ContainerId> {
        match self {
            Self::Container(id) => Some(id),
            Self::Private | Self::Shareable | Self::None | Self::Host => None,
        }
    }
}

/// The containers whose namespaces a new one is to have, as its client named them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joins {
    /// Whose pid namespace.
    pub pid: Option<String>,
    /// Whose ipc namespace.
    pub ipc: Option<String>,
    /// Whose network namespace.
    pub network: Option<String>,
}

/// The first processes of the containers whose namespaces one that is being started has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Donors {
    /// Whose pid namespace.
    pub pid: Option<ProcessRef>,
    /// Whose ipc namespace.
    pub ipc: Option<ProcessRef>,
    /// Whose network namespace.
    pub network: Option<ProcessRef>,
}

impl Donors {
    /// Any of them: with ids of its own the container has the user namespace of that one, too.
    pub fn any(&self) -> Option<ProcessRef> {
        self.pid.or(self.ipc).or(self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_before_there_were_others_to_join_are_read() {
        let read = |text| serde_json::from_str::<PidMode>(text).unwrap();
        assert_eq!(read("\"Private\""), PidMode::Private);
        assert_eq!(read("\"Host\""), PidMode::Host);
        let ipc: IpcMode = serde_json::from_str("\"Host\"").unwrap();
        assert!(ipc.may_be_joined() && ipc.donor().is_none());
        let id = ContainerId::from_bytes([7; 32]);
        let joined = IpcMode::Container(id.clone());
        let text = serde_json::to_string(&joined).unwrap();
        assert_eq!(serde_json::from_str::<IpcMode>(&text).unwrap(), joined);
        assert_eq!(joined.donor(), Some(&id));
    }
}
