//! What the daemon hands the engine at start.

use std::path::PathBuf;
use std::sync::Arc;

use confine::IdSource;
use model::{LogConfig, StorageDriver, Timestamp};

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
    /// How registries are reached.
    pub registries: registry::Settings,
    /// Where a small init for `HostConfig.Init` may be, in order.
    pub init_paths: Vec<PathBuf>,
}

/// What the engine must know of the world but not look up itself, so that tests can say it.
#[derive(Clone)]
pub struct Host {
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 32 unpredictable bytes, for ids.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
    /// `/proc/sys/kernel/random/boot_id`: another value means another boot.
    pub boot_id: String,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("boot_id", &self.boot_id)
            .finish_non_exhaustive()
    }
}
