//! What a container uses, in the order in which Docker writes it (moby v27.5.1
//! `api/types/container/stats.go`; what Go leaves out when it is zero is left out).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::container::Empty;
use crate::is_zero;

/// What a container uses at one moment, and what it had used the second before.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ContainerStats {
    /// When it was looked at; Go's zero time when it does not run.
    pub read: String,
    /// When it was looked at before that; Go's zero time when it was not.
    pub preread: String,
    /// Processes.
    pub pids_stats: PidsStats,
    /// Block devices.
    pub blkio_stats: BlkioStats,
    /// Of Windows.
    pub num_procs: u32,
    /// Of Windows.
    #[schema(value_type = Object)]
    pub storage_stats: Empty,
    /// Processors.
    pub cpu_stats: CpuStats,
    /// Processors, at `preread`.
    pub precpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// The container's name, with a slash.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The interfaces of its own network namespace, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkStats>,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PidsStats {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be. Without a limit: absent with cgroups of version 1, the largest number of
    /// 64 bits with version 2.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Reads and writes of block devices. `null` is what is not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BlkioStats {
    /// Bytes.
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    /// Operations; with cgroups of version 1 alone.
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    /// Of schedulers that Linux has no more, as is all that follows.
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    /// Always empty.
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    /// Always empty.
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    /// Always empty.
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    /// Always empty.
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    /// Always empty.
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

/// How much one device was used in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BlkioEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, ...; `read` and `write` with cgroups of version 2.
    pub op: String,
    /// How much.
    pub value: u64,
}

/// Processors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CpuStats {
    /// Of the container.
    pub cpu_usage: CpuUsage,
    /// Of the host, in nanoseconds, idle time included.
    #[serde(skip_serializing_if = "is_zero")]
    pub system_cpu_usage: u64,
    /// Processors of the host that are on.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub online_cpus: u32,
    /// How it was held back by its limit.
    pub throttling_data: ThrottlingData,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CpuUsage {
    /// All of it.
    pub total_usage: u64,
    /// By processor; with cgroups of version 1 alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In user mode.
    pub usage_in_usermode: u64,
}

/// How a container was held back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ThrottlingData {
    /// Periods in which it could have been.
    pub periods: u64,
    /// Periods in which it was.
    pub throttled_periods: u64,
    /// For how long, in nanoseconds.
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemoryStats {
    /// In use, page cache included.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that ever was; with cgroups of version 1 alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_usage: u64,
    /// Lines of the kernel's `memory.stat`; those of version 1 and 2 have other names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub stats: BTreeMap<&'static str, u64>,
    /// How often the limit was hit.
    #[serde(skip_serializing_if = "is_zero")]
    pub failcnt: u64,
    /// The limit; the host's memory where there is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// What went through one network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NetworkStats {
    /// Bytes that came.
    pub rx_bytes: u64,
    /// Packets that came.
    pub rx_packets: u64,
    /// Packets that came broken.
    pub rx_errors: u64,
    /// Packets that came and were dropped.
    pub rx_dropped: u64,
    /// Bytes that went.
    pub tx_bytes: u64,
    /// Packets that went.
    pub tx_packets: u64,
    /// Packets that could not go.
    pub tx_errors: u64,
    /// Packets that were to go and were dropped.
    pub tx_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero_u32(n: &u32) -> bool {
    *n == 0
}
