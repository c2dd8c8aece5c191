//! `HostConfig`: what depends on the host a container runs on. Sent at create, shown by inspect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::{is_none_or_empty_list, is_none_or_empty_map, is_zero};
use super::{MountSpec, StrSlice};
use crate::null_as_default;

/// The host's half of a container's configuration: every field of API 1.47, built or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// `source:destination[:mode]`.
    pub binds: Option<Vec<String>>,
    /// A file of the client's.
    #[serde(rename = "ContainerIDFile", deserialize_with = "null_as_default")]
    pub container_id_file: String,
    /// Where output goes.
    #[serde(deserialize_with = "null_as_default")]
    pub log_config: LogConfig,
    /// The network.
    #[serde(deserialize_with = "null_as_default")]
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    /// What to do at its exit.
    #[serde(deserialize_with = "null_as_default")]
    pub restart_policy: RestartPolicy,
    /// Remove it at its exit.
    #[serde(deserialize_with = "null_as_default")]
    pub auto_remove: bool,
    /// The driver of volumes named in `Binds`.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_driver: String,
    /// Containers whose mounts to take.
    pub volumes_from: Option<Vec<String>>,
    /// Height and width of the terminal.
    #[serde(deserialize_with = "null_as_default")]
    pub console_size: [u32; 2],
    /// OCI annotations (API 1.43).
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub annotations: Option<BTreeMap<String, String>>,

    /// Capabilities to add.
    pub cap_add: Option<StrSlice>,
    /// Capabilities to take away.
    pub cap_drop: Option<StrSlice>,
    /// `host` or `private`.
    #[serde(deserialize_with = "null_as_default")]
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Resolver options.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// `name:address` for /etc/hosts.
    pub extra_hosts: Option<Vec<String>>,
    /// Additional groups.
    pub group_add: Option<Vec<String>>,
    /// The ipc namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub ipc_mode: String,
    /// The cgroup of another container.
    #[serde(deserialize_with = "null_as_default")]
    pub cgroup: String,
    /// `container:alias`.
    pub links: Option<Vec<String>>,
    /// `oom_score_adj` of the first process.
    #[serde(deserialize_with = "null_as_default")]
    pub oom_score_adj: i64,
    /// The pid namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub pid_mode: String,
    /// All capabilities and devices.
    #[serde(deserialize_with = "null_as_default")]
    pub privileged: bool,
    /// Publish every declared port.
    #[serde(deserialize_with = "null_as_default")]
    pub publish_all_ports: bool,
    /// A root that cannot be written.
    #[serde(deserialize_with = "null_as_default")]
    pub readonly_rootfs: bool,
    /// Security options.
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// tmpfs mounts: path to options.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// The uts namespace.
    #[serde(rename = "UTSMode", deserialize_with = "null_as_default")]
    pub uts_mode: String,
    /// The user namespace: `host`, and beside Docker's words `auto`, `auto:size=N` and ranges such as
    /// `0:200000:65536` (first id inside, first of the host, how many).
    #[serde(deserialize_with = "null_as_default")]
    pub userns_mode: String,
    /// Size of /dev/shm.
    #[serde(deserialize_with = "null_as_default")]
    pub shm_size: i64,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// The OCI runtime's configured name.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub runtime: String,
    /// Of Windows.
    #[serde(deserialize_with = "null_as_default")]
    pub isolation: String,

    /// Relative weight.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_shares: i64,
    /// Hard limit.
    #[serde(deserialize_with = "null_as_default")]
    pub memory: i64,
    /// Billionths of a CPU.
    #[serde(deserialize_with = "null_as_default")]
    pub nano_cpus: i64,
    /// The parent cgroup.
    #[serde(deserialize_with = "null_as_default")]
    pub cgroup_parent: String,
    /// Block IO weight.
    #[serde(deserialize_with = "null_as_default")]
    pub blkio_weight: u16,
    /// Block IO weight by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Read limit, bytes.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Write limit, bytes.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Read limit, operations.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Write limit, operations.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// CFS period.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_period: i64,
    /// CFS quota.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_quota: i64,
    /// Real-time period.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_realtime_period: i64,
    /// Real-time runtime.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_realtime_runtime: i64,
    /// CPUs, `0-2,5`.
    #[serde(deserialize_with = "null_as_default")]
    pub cpuset_cpus: String,
    /// Memory nodes.
    #[serde(deserialize_with = "null_as_default")]
    pub cpuset_mems: String,
    /// Devices of the host.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Rules for the device cgroup.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices by driver.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Kernel memory, until API 1.42.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub kernel_memory: i64,
    /// Kernel TCP memory.
    #[serde(
        rename = "KernelMemoryTCP",
        deserialize_with = "null_as_default",
        skip_serializing_if = "is_zero"
    )]
    pub kernel_memory_tcp: i64,
    /// Soft limit.
    #[serde(deserialize_with = "null_as_default")]
    pub memory_reservation: i64,
    /// Memory and swap; -1 is unlimited swap.
    #[serde(deserialize_with = "null_as_default")]
    pub memory_swap: i64,
    /// 0 to 100; the CLI sends -1 for none.
    pub memory_swappiness: Option<i64>,
    /// Keep the OOM killer away.
    pub oom_kill_disable: Option<bool>,
    /// Largest number of processes.
    pub pids_limit: Option<i64>,
    /// Process limits.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Of Windows.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_count: i64,
    /// Of Windows.
    #[serde(deserialize_with = "null_as_default")]
    pub cpu_percent: i64,
    /// Of Windows.
    #[serde(rename = "IOMaximumIOps", deserialize_with = "null_as_default")]
    pub io_maximum_iops: u64,
    /// Of Windows.
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "null_as_default")]
    pub io_maximum_bandwidth: u64,

    /// Mounts, spelled out.
    #[serde(skip_serializing_if = "is_none_or_empty_list")]
    pub mounts: Option<Vec<MountSpec>>,
    /// Paths that are masked; `null` is the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; `null` is the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// A small init as pid 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    /// The driver; empty is the daemon's default.
    #[serde(deserialize_with = "null_as_default")]
    pub r#type: String,
    /// Its options.
    pub config: Option<BTreeMap<String, String>>,
}

/// What to do at a container's exit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// Empty, `no`, `always`, `unless-stopped` or `on-failure`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Of `on-failure`; 0 is for ever.
    #[serde(deserialize_with = "null_as_default")]
    pub maximum_retry_count: i64,
}

/// One address of the host that leads to a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortBinding {
    /// The host's address; empty is any.
    #[serde(deserialize_with = "null_as_default")]
    pub host_ip: String,
    /// The host's port or range; empty is a free one.
    #[serde(deserialize_with = "null_as_default")]
    pub host_port: String,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// Its path on the host.
    #[serde(deserialize_with = "null_as_default")]
    pub path_on_host: String,
    /// Its path inside; empty is the same.
    #[serde(deserialize_with = "null_as_default")]
    pub path_in_container: String,
    /// Any of `rwm`.
    #[serde(deserialize_with = "null_as_default")]
    pub cgroup_permissions: String,
}

/// Devices asked of a driver, such as GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// The driver.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// How many; -1 is all.
    #[serde(deserialize_with = "null_as_default")]
    pub count: i64,
    /// Which.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// An OR of ANDs of capabilities.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// One process limit, setrlimit(2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// `nofile`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Hard limit; -1 is unlimited.
    #[serde(deserialize_with = "null_as_default")]
    pub hard: i64,
    /// Soft limit; -1 is unlimited.
    #[serde(deserialize_with = "null_as_default")]
    pub soft: i64,
}

/// Block IO weight of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct WeightDevice {
    /// The device.
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    /// The weight.
    #[serde(deserialize_with = "null_as_default")]
    pub weight: u16,
}

/// Block IO limit of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct ThrottleDevice {
    /// The device.
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    /// The rate per second.
    #[serde(deserialize_with = "null_as_default")]
    pub rate: u64,
}
