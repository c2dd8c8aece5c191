//! Every use case, and the only room that knows more than one neighbour.
//!
//! A client's request arrives here as typed values and leaves as typed values; there is no HTTP
//! and no JSON in a signature. The engine asks `state` to remember, `images` for trees, `runtime`
//! for processes, `streams` for bytes, `network` for files and addresses, and `rules` what may
//! happen.
//!
//! Invariants held here:
//! - One task owns one container (`container::actor`): only it writes the container's row and
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
mod housekeeping;
mod idle;
mod image;
mod layout;
mod log_faults;
mod logs;
mod open;
mod recovery;
mod system;
mod volume;

use std::sync::Arc;

pub(crate) use sys::task::{blocking, to_the_end};

pub use ::events::{EventStream, EventsFrom, EventsRequest};
pub use ::streams::detach::parse as parse_detach_keys;
pub use ::streams::{AttachInput, AttachOutput, Attachment, InputEnd};
pub use ::survey::{Component, Counts, HostInfo, RuntimeInfo, Survey, survey};
pub use archive::Changed;
pub use attach::AttachRequest;
pub use bundles::EtcFiles;
pub use catalog::{
    Catalog, CommitImage, Distribution, HistoryStep, ImageView, ImportImage, Job, Progress,
    PrunedImages, PullImage, PushImage, RemoveImage, RemovedReference,
};
pub use checkpoints::{CheckpointView, DumpStatistics, Exported};
pub use config::{Config, Host};
pub use confine::{IdSource, SeLinux, check_ids};
pub use container::{
    Change, CheckpointContainer, ContainerPaths, ContainerView, CreateContainer, Created,
    ImportContainer, Imported, ListContainers, ListedContainer, MountView, ProcessTable, Pruned,
    RemoveContainer, Sizes, StopContainer, WaitCondition, Waiter, Without,
};
pub use execs::{ExecView, StartExec};
pub use files::{Change as FileChange, ChangeKind, Extract, Files, PathStat};
pub use images::{StorageFound, WritablePaths};
pub use logs::LogStream;
pub use model::WaitOutcome;
pub use registry::{Credentials, Insecure, Login, Settings as RegistrySettings};
pub use stdio::LogRequest;
pub use transfer::Download;

/// conmon and the OCI runtimes: what of their configuration the daemon says.
pub use runtime::{CgroupManager, Config as RuntimeConfig, LogLevel, RuntimeTraits, exit_dir};

/// What the images of `data_root` can be, and containers' trees are, made of.
///
/// # Errors
/// What the host says.
pub fn look_at_storage(data_root: &std::path::Path) -> model::Result<StorageFound> {
    images::look_at_storage(&layout::Layout::new(data_root, data_root).images())
}

/// The engine: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of the engine share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) host: Host,
    pub(crate) layout: layout::Layout,
    pub(crate) facts: Arc<spec::HostFacts>,
    pub(crate) ledger: state::Ledger,
    pub(crate) images: Catalog,
    pub(crate) volumes: volumes::Volumes,
    pub(crate) downloads: transfer::Downloads,
    pub(crate) files: files::Gates,
    pub(crate) runtimes: runtime::Runtimes,
    pub(crate) registry: Arc<container::Registry>,
    pub(crate) log_default: model::LogConfig,
    pub(crate) ids: confine::Ids,
    pub(crate) apparmor: confine::AppArmor,
    pub(crate) selinux: SeLinux,
    /// Held from the look whether a volume is there to the moment it is.
    pub(crate) making_volumes: tokio::sync::Mutex<()>,
    /// Cancelled when all containers are taken back: what they do by themselves begins then.
    pub(crate) recovered: tokio_util::sync::CancellationToken,
    /// Held for reading by each start, for writing by who removes what starts need.
    pub(crate) starts: tokio::sync::RwLock<()>,
    pub(crate) execs: execs::Execs,
    pub(crate) housekeeping: housekeeping::Housekeeping,
    /// As many as follow events, and one more.
    pub(crate) event_listeners: Arc<()>,
    pub(crate) space_watch: log_faults::SpaceWatch,
    /// A stable id of this daemon, for `info`.
    pub(crate) daemon_id: String,
    /// What the operator should know, found at start.
    pub(crate) warnings: Vec<String>,
    /// The ledger says which boot this is.
    pub(crate) boot_written: std::sync::atomic::AtomicBool,
    pub(crate) init_binary: Option<std::path::PathBuf>,
    /// Where the output of attached clients waits that do not read.
    pub(crate) spill: ::streams::SpillOptions,
}
