//! Processes we did not start ourselves, named so that a reused pid cannot be mistaken for them.

use serde::{Deserialize, Serialize};

/// A process id in the daemon's pid namespace; always above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pid(u32);

impl Pid {
    /// `None` for zero, negative numbers and anything above the kernel's PID_MAX_LIMIT (2^22).
    pub fn new(raw: i64) -> Option<Self> {
        (1..=4_194_304)
            .contains(&raw)
            .then(|| Self(u32::try_from(raw).expect("checked range")))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as the system calls take it.
    pub fn as_raw(self) -> i32 {
        i32::try_from(self.0).expect("a pid is at most 2^22")
    }
}

/// A pid together with its start time: what the ledger stores so that after a restart a reused
/// pid is told from the process we meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The pid.
    pub pid: Pid,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub start_ticks: u64,
}
