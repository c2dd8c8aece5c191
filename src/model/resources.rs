//! Limits and devices a container asks for, as Docker's `HostConfig` has them. Zero-like values
//! are `None` here: "not asked for" and "zero" never share a spelling.

use serde::{Deserialize, Serialize};

/// Resource limits, mapped to cgroup v1 or v2 by the OCI runtime.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Hard memory limit in bytes.
    pub memory_bytes: Option<i64>,
    /// Soft memory limit in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together in bytes; -1 is unlimited swap.
    pub memory_swap_bytes: Option<i64>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// CFS period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// CFS quota in microseconds.
    pub cpu_quota_us: Option<i64>,
    /// Allowed CPUs, `0-2,5`.
    pub cpuset_cpus: Option<String>,
    /// Allowed memory nodes.
    pub cpuset_mems: Option<String>,
    /// Largest number of processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// `oom_score_adj` of the first process, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Do not let the kernel kill in this cgroup when memory runs out (v1 only).
    pub oom_kill_disable: bool,
    /// How readily the kernel swaps this cgroup's memory out, 0 to 100 (v1 only).
    #[serde(default)]
    pub memory_swappiness: Option<i64>,
    /// Limit of the kernel's own memory in bytes (v1, and only kernels before 5.4 keep to it).
    #[serde(default)]
    pub kernel_memory_bytes: Option<i64>,
    /// Limit of the memory of TCP buffers in bytes (v1 only).
    #[serde(default)]
    pub kernel_memory_tcp_bytes: Option<i64>,
    /// Period of real-time scheduling in microseconds (v1 only).
    #[serde(default)]
    pub cpu_realtime_period_us: Option<i64>,
    /// Time for real-time threads in each period, in microseconds (v1 only).
    #[serde(default)]
    pub cpu_realtime_runtime_us: Option<i64>,
    /// Reads and writes of block devices.
    #[serde(default)]
    pub block_io: BlockIo,
}

/// Weights and limits of block I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// Share of all devices beside other cgroups, 10 to 1000.
    pub weight: Option<u16>,
    /// The same for single devices.
    pub weight_devices: Vec<DeviceWeight>,
    /// Bytes read each second.
    pub read_bps: Vec<DeviceRate>,
    /// Bytes written each second.
    pub write_bps: Vec<DeviceRate>,
    /// Reads each second.
    pub read_iops: Vec<DeviceRate>,
    /// Writes each second.
    pub write_iops: Vec<DeviceRate>,
}

/// The weight of one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Its path on the host.
    pub path: String,
    /// The weight, 10 to 1000.
    pub weight: u16,
}

/// The limit of one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Its path on the host.
    pub path: String,
    /// Bytes or operations each second.
    pub rate: u64,
}

/// One resource limit of the first process, setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`: `nofile`.
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

/// A device of the host given to the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub path_on_host: String,
    /// Path inside.
    pub path_in_container: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// A rule of the device cgroup: what may be done to devices whose numbers it names. It makes no nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Which kind of devices.
    pub kind: DeviceRuleKind,
    /// Their major number; `None` is any.
    pub major: Option<u32>,
    /// Their minor number; `None` is any.
    pub minor: Option<u32>,
    /// Any of `r`, `w`, `m`.
    pub access: String,
}

/// The kinds of devices a rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceRuleKind {
    /// Both kinds, `a`.
    All,
    /// Character devices, `c`.
    Char,
    /// Block devices, `b`.
    Block,
}

/// Devices asked of a driver by their names, as Docker's `DeviceRequests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceRequest {
    /// Devices of the Container Device Interface, `vendor/class=name`.
    Cdi {
        /// Their qualified names.
        names: Vec<String>,
    },
}

/// Major and minor number of Linux's 64-bit device number, st_rdev (`gnu_dev_major(3)`).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the masks leave 32 bits of each"
)]
pub fn device_numbers(rdev: u64) -> (u32, u32) {
    let major = ((rdev >> 32) & 0xffff_f000) | ((rdev >> 8) & 0xfff);
    let minor = ((rdev >> 12) & 0xffff_ff00) | (rdev & 0xff);
    (major as u32, minor as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_split_as_in_glibc() {
        assert_eq!(device_numbers(0x0103), (1, 3));
        assert_eq!(device_numbers(0x0010_0800), (8, 256));
        assert_eq!(device_numbers(0x0abc_d000_0000_0000), (0x0abc_d000, 0));
    }
}
