//! The words every room shares, and the only way to make them valid.
//!
//! Parse once, at the door: an id, a name, a reference, a digest or a signal that exists as a
//! value of these types is well formed, and no room below checks it again. This room is pure
//! vocabulary. It never sees the clock, a file, the environment or an async runtime; decisions
//! live in `rules`, effects in the rooms that own them.
//!
//! The serde derives here are the *ledger's* encoding (what `state` writes), never the wire:
//! what Docker's clients see is spelled by the room `wire`.

pub mod container;
pub mod digest;
pub mod error;
pub mod event;
pub mod exec;
pub mod exit;
pub mod filter;
pub mod health;
pub mod id;
pub mod id_map;
pub mod image;
pub mod limits;
pub mod log;
pub mod masks;
pub mod moment;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod platform;
pub mod process;
pub mod readiness;
pub mod reference;
pub mod request;
pub mod resources;
pub mod selinux;
pub mod signal;
pub mod state;
pub mod stats;
pub mod storage;
pub mod volume;

pub use container::{ContainerSpec, NamespaceMode, NetworkMode, PendingUpdate, RestartPolicy};
pub use digest::Digest;
pub use error::{Context, Error, Kind, Result};
pub use event::{Action, Event, EventKind, NumberedEvent};
pub use exec::{ExecEnded, ExecRunning, ExecSpec, ExecState};
pub use exit::{ExitReason, ExitStatus, WaitOutcome};
pub use filter::Filters;
pub use health::{Health, HealthCheck, HealthResult, HealthStatus};
pub use id::{
    CheckpointName, ContainerId, ContainerName, EndpointId, ExecId, NetworkId, NetworkName,
    VolumeName,
};
pub use id_map::{IdMaps, UserNamespace};
pub use image::{Blob, ImageConfig, ImageRecord, Layer};
pub use jiff::Timestamp;
pub use log::{LogConfig, LogDriver, LogFaults, LogLimits};
pub use mount::{AnonymousVolume, Mount, MountSource, ReadOnlyReach, VolumeOptions, VolumesFrom};
pub use namespace::{Donors, IpcMode, Joins, PidMode};
pub use network::{
    Attachment, Endpoint, EndpointConfig, EndpointSpec, EndpointWish, MacAddress, NetworkDriver,
    NetworkRecord, Port, PortBinding, Protocol, PublishedPort, Subnet,
};
pub use platform::Platform;
pub use process::{Pid, ProcessRef};
pub use readiness::Readiness;
pub use reference::Reference;
pub use resources::{BlockIo, Device, DeviceRequest, DeviceRule, Resources, Ulimit};
pub use selinux::{SelinuxLabel, SelinuxLabels, SelinuxWish};
pub use signal::Signal;
pub use state::{ContainerState, Exited, Intent, Restarting, Running, StartFailure};
pub use storage::StorageDriver;
pub use volume::VolumeRecord;
