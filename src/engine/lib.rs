//! Every use case, and the only room that knows more than one neighbour.
//!
//! A client's request arrives here as typed values and leaves as typed values; there is no HTTP
//! and no JSON in a signature. The engine asks `state` to remember, `images` for trees, `runtime`
//! for processes, `streams` for bytes, `network` for files and addresses, and `rules` what may
//! happen.
//!
//! Invariants held here:
//! - One task owns one container (`containers`): only it writes the container's row and
//!   state. Reads are answered from the immutable [`ContainerView`] it publishes, so a stuck
//!   container delays nobody.
//! - A change runs in a task of the engine; a client that hangs up never cancels it.
//! - The intent is written before the first effect on the host, the outcome after.
//! - The exit status is published once, to a value that outlives the container.

mod attach;
mod config;
mod container;
mod events;
mod exec;
mod idle;
mod image;
mod logs;
mod network;
mod open;
mod system;
mod volume;

use std::sync::Arc;

pub(crate) use sys::task::{blocking, to_the_end};

pub use ::events::{EventStream, EventsFrom, EventsRequest};
pub use ::network::addresses::Pool as AddressPool;
pub use ::streams::detach::parse as parse_detach_keys;
pub use ::streams::{AttachInput, AttachOutput, Attachment, InputEnd};
pub use ::survey::{Component, Counts, HostInfo, RegistryFacts, RuntimeInfo, Survey, survey};
pub use archive::Changed;
pub use attach::AttachRequest;
pub use bundles::EtcFiles;
pub use catalog::{
    Catalog, CommitImage, Distribution, HistoryStep, ImageView, ImportImage, Job, Progress,
    PrunedImages, PullImage, PushImage, RemoveImage, RemovedReference,
};
pub use checkpoints::{CheckpointView, DumpStatistics, Exported};
pub use config::Config;
pub use confine::{IdSource, SeLinux, check_ids};
pub use container::{
    Change, CheckpointContainer, ContainerPaths, ContainerView, CreateContainer, Created,
    ImportContainer, Imported, ListContainers, ListedContainer, MountView, ProcessTable, Pruned,
    RemoveContainer, Sizes, StatsAnswer, StatsRecord, StatsRequest, StatsStream, StopContainer,
    UpdateContainer, WaitCondition, Waiter, Without,
};
use containers::Layout;
pub use containers::{ApiSocket, Host};
pub use execs::{ExecView, StartExec};
pub use files::{Change as FileChange, ChangeKind, Extract, Files, PathStat};
pub use images::{StorageFound, WritablePaths};
pub use logs::LogStream;
pub use model::WaitOutcome;
pub use network::{NetworkConfig, NetworkTools, look_at_networks};
pub use networks::{Member as NetworkMember, Networks, NewNetwork, NewSubnet};
pub use registry::{Credentials, Insecure, Login, Settings as RegistrySettings};
pub use stdio::LogRequest;
pub use transfer::Download;
pub use volumes::{NewVolume, PrunedVolumes, VolumeCatalog, VolumeUses};

/// conmon and the OCI runtimes: what of their configuration the daemon says.
pub use runtime::{
    CgroupManager, Config as RuntimeConfig, LogLevel, RuntimeTraits, exit_dir, held_socket,
};

/// What the images of `data_root` can be, and containers' trees are, made of.
///
/// # Errors
/// What the host says.
pub fn look_at_storage(data_root: &std::path::Path) -> model::Result<StorageFound> {
    images::look_at_storage(&Layout::new(data_root, data_root).images())
}

/// The engine: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Engine {
    /// What the containers' tasks work with, too.
    pub(crate) shared: Arc<containers::Shared>,
    pub(crate) inner: Arc<Inner>,
}

/// What use cases need beside that.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) downloads: transfer::Downloads,
    pub(crate) files: files::Gates,
    pub(crate) stats: stats::Stats,
    pub(crate) log_default: model::LogConfig,
    pub(crate) ids: confine::Ids,
    pub(crate) volumes: VolumeCatalog,
    /// As many as follow events, and one more.
    pub(crate) event_listeners: Arc<()>,
    pub(crate) told: Told,
}

/// What is told of the daemon itself, known at start.
#[derive(Debug)]
pub(crate) struct Told {
    /// A stable id.
    pub(crate) daemon_id: String,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
    /// How registries are reached.
    pub(crate) registries: RegistryFacts,
    /// The operator's labels.
    pub(crate) labels: Vec<String>,
    /// The operator's pools of addresses.
    pub(crate) address_pools: Vec<(String, u8)>,
}
