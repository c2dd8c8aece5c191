//! What the daemon hands the engine at start.

use std::path::PathBuf;

use confine::IdSource;
use model::{LogConfig, StorageDriver};

use crate::NetworkConfig;

/// Where the engine keeps things and which programs it drives.
#[derive(Debug, Clone)]
pub struct Config {
    /// What must survive a reboot: ledger, images, containers, volumes.
    pub data_root: PathBuf,
    /// What must not: exit files, sockets, the runtimes' state.
    pub run_root: PathBuf,
    /// conmon and the OCI runtimes.
    pub runtime: runtime::Config,
    /// Most bytes of output that wait in a file for one attached client that does not read.
    pub spill_bytes_max: u64,
    /// Where output goes where a container says nothing else.
    pub log_default: LogConfig,
    /// Where the ids of user namespaces come from.
    pub ids: IdSource,
    /// Containers are to have SELinux labels, and the kernel has it.
    pub selinux: bool,
    /// How new containers' trees are made; `None` is as they can be.
    pub storage_driver: Option<StorageDriver>,
    /// Where the files of the Container Device Interface are; none where it is off.
    pub cdi_dirs: Vec<PathBuf>,
    /// What the operator says of networks.
    pub networks: NetworkConfig,
    /// How registries are reached.
    pub registries: registry::Settings,
    /// What the operator calls this daemon, `KEY=VALUE`, for `info`.
    pub labels: Vec<String>,
    /// Where this daemon is served, as far as the sockets are its own: a container may have one mounted.
    pub api_sockets: Vec<containers::ApiSocket>,
    /// Where a small init for `HostConfig.Init` may be, in order.
    pub init_paths: Vec<PathBuf>,
}
