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
