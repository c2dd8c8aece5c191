//! What a container uses at one moment, as the kernel counts it.
//!
//! A part is `None` where the host has no controller for it. Numbers are the kernel's, in its units
//! but for times, which are nanoseconds everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

/// One look at everything a container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it was looked at.
    pub read_at: Timestamp,
    /// What its cgroups count.
    pub usage: Usage,
    /// What the host's processors had done by then.
    pub host: HostCpu,
    /// The interfaces of its own network namespace, by name; empty where it has none.
    pub networks: BTreeMap<String, NetworkCounters>,
}

/// One sample and the one before it, to tell how fast things grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// The newest; `None` when the container does not run.
    pub now: Option<Arc<Sample>>,
    /// The one before; `None` when there is none, or the container did not run then.
    pub before: Option<Arc<Sample>>,
}

/// Which of the kernel's two interfaces was asked. They do not count the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// What the cgroups of one container count, with those below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Whose numbers these are.
    pub version: CgroupVersion,
    /// Processor time.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes.
    pub pids: Option<Pids>,
    /// Reads and writes of block devices.
    pub block: Option<Block>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it, in nanoseconds.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub kernel_ns: u64,
    /// By processor, the first one's first; empty in version 2, which does not tell.
    pub by_processor_ns: Vec<u64>,
    /// Periods in which it could have been held back.
    pub periods: u64,
    /// Periods in which it was.
    pub throttled_periods: u64,
    /// For how long, in nanoseconds.
    pub throttled_ns: u64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use, page cache included, in bytes.
    pub usage_bytes: u64,
    /// The most that ever was; version 1 alone.
    pub peak_bytes: Option<u64>,
    /// The limit in bytes, or more than any host has.
    pub limit_bytes: u64,
    /// How often the limit was hit; in version 2, how often no room could be made.
    pub failures: u64,
    /// Lines of `memory.stat`, sorted by name.
    pub details: Vec<(&'static str, u64)>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` is any number.
    pub limit: Option<u64>,
}

/// Reads and writes of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// In bytes.
    pub bytes: Vec<BlockCount>,
    /// In operations; version 1 alone.
    pub operations: Vec<BlockCount>,
}

/// How much one device was used in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCount {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Total`, ... in version 1; `read` and `write` in version 2.
    pub operation: String,
    /// How much.
    pub value: u64,
}

/// What all processors of the host have done since its boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCpu {
    /// Time in all states but `guest`, idle included, in nanoseconds.
    pub total_ns: u64,
    /// Processors that are on.
    pub online: u32,
}

/// What went through one network interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Bytes that came.
    pub received_bytes: u64,
    /// Packets that came.
    pub received_packets: u64,
    /// Packets that came broken.
    pub receive_errors: u64,
    /// Packets that came and were dropped.
    pub receive_drops: u64,
    /// Bytes that went.
    pub sent_bytes: u64,
    /// Packets that went.
    pub sent_packets: u64,
    /// Packets that could not go.
    pub send_errors: u64,
    /// Packets that were to go and were dropped.
    pub send_drops: u64,
}
