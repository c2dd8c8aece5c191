//! `POST /containers/{id}/update`: Docker's `UpdateConfig`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    DeviceMapping, DeviceRequest, HostConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use crate::null_as_default;

/// Other limits and another restart policy: what is absent, 0 or empty stays. Docker sends all of
/// `Resources` here, also what no update changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateRequest {
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
    #[serde(deserialize_with = "null_as_default")]
    pub kernel_memory: i64,
    /// Kernel TCP memory.
    #[serde(rename = "KernelMemoryTCP", deserialize_with = "null_as_default")]
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

    /// What to do at its exit.
    #[serde(deserialize_with = "null_as_default")]
    pub restart_policy: RestartPolicy,
}

impl From<UpdateRequest> for HostConfig {
    fn from(request: UpdateRequest) -> Self {
        Self {
            cpu_shares: request.cpu_shares,
            memory: request.memory,
            nano_cpus: request.nano_cpus,
            cgroup_parent: request.cgroup_parent,
            blkio_weight: request.blkio_weight,
            blkio_weight_device: request.blkio_weight_device,
            blkio_device_read_bps: request.blkio_device_read_bps,
            blkio_device_write_bps: request.blkio_device_write_bps,
            blkio_device_read_iops: request.blkio_device_read_iops,
            blkio_device_write_iops: request.blkio_device_write_iops,
            cpu_period: request.cpu_period,
            cpu_quota: request.cpu_quota,
            cpu_realtime_period: request.cpu_realtime_period,
            cpu_realtime_runtime: request.cpu_realtime_runtime,
            cpuset_cpus: request.cpuset_cpus,
            cpuset_mems: request.cpuset_mems,
            devices: request.devices,
            device_cgroup_rules: request.device_cgroup_rules,
            device_requests: request.device_requests,
            kernel_memory: request.kernel_memory,
            kernel_memory_tcp: request.kernel_memory_tcp,
            memory_reservation: request.memory_reservation,
            memory_swap: request.memory_swap,
            memory_swappiness: request.memory_swappiness,
            oom_kill_disable: request.oom_kill_disable,
            pids_limit: request.pids_limit,
            ulimits: request.ulimits,
            cpu_count: request.cpu_count,
            cpu_percent: request.cpu_percent,
            io_maximum_iops: request.io_maximum_iops,
            io_maximum_bandwidth: request.io_maximum_bandwidth,
            restart_policy: request.restart_policy,
            ..Self::default()
        }
    }
}

/// An update was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateResponse {
    /// What could not be given quite as asked; `null` when there was nothing.
    pub warnings: Option<Vec<String>>,
}
