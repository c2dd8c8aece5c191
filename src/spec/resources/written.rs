//! Limits in force as the OCI runtimes are told them.

use std::borrow::Cow;

use model::Resources;

use super::BlockDevices;
use crate::document::{BlockIo, Cpu, Memory, Pids, Throttle, WeightDevice};

/// The period that Docker counts billionths of a CPU in.
const NANO_CPU_PERIOD_US: u64 = 100_000;

/// Billionths of a CPU as a quota of [`NANO_CPU_PERIOD_US`].
pub(super) fn nano_quota_us(nano: i64) -> i64 {
    nano / 1_000_000_000 * 100_000 + nano % 1_000_000_000 / 10_000
}

/// Memory; nothing where nothing is limited.
pub(crate) fn memory(limits: &Resources) -> Option<Memory> {
    let memory = Memory {
        limit: limits.memory_bytes,
        reservation: limits.memory_reservation_bytes,
        // No value at all is the kernel's "unlimited" in v1 and v2 alike.
        swap: limits.memory_swap_bytes.filter(|n| *n > 0),
        kernel: limits.kernel_memory_bytes.filter(|n| *n > 0),
        kernel_tcp: limits.kernel_memory_tcp_bytes.filter(|n| *n > 0),
        swappiness: limits.memory_swappiness,
        disable_oom_killer: limits.oom_kill_disable.then_some(true),
    };
    (memory != Memory::default()).then_some(memory)
}

/// Processes.
pub(crate) fn pids(limits: &Resources) -> Option<Pids> {
    limits.pids_limit.map(|limit| Pids { limit })
}

/// Period and quota of the CFS, in microseconds.
pub(super) fn cpu_time(limits: &Resources) -> (Option<u64>, Option<i64>) {
    match limits.nano_cpus {
        Some(nano) => (Some(NANO_CPU_PERIOD_US), Some(nano_quota_us(nano))),
        None => (limits.cpu_period_us, limits.cpu_quota_us),
    }
}

/// CPU time and CPUs.
pub(crate) fn cpu(limits: &Resources) -> Option<Cpu<'_>> {
    let (period, quota) = cpu_time(limits);
    let cpu = Cpu {
        shares: limits.cpu_shares,
        quota,
        period,
        realtime_runtime: limits.cpu_realtime_runtime_us,
        realtime_period: limits.cpu_realtime_period_us,
        cpus: limits.cpuset_cpus.as_deref().map(Cow::from),
        mems: limits.cpuset_mems.as_deref().map(Cow::from),
    };
    (cpu != Cpu::default()).then_some(cpu)
}

/// Block I/O of devices that were looked up.
pub(crate) fn block_io(limits: &Resources, devices: &BlockDevices) -> Option<BlockIo> {
    // What the host cannot hold any more is not in force.
    let throttles = |list: &[(u32, u32, u64)], holds: bool| {
        let throttle = |&(major, minor, rate): &_| Throttle { major, minor, rate };
        list.iter().filter(|_| holds).map(throttle).collect()
    };
    let weight = |&(major, minor, weight): &_| WeightDevice {
        major,
        minor,
        weight,
    };
    let asked = &limits.block_io;
    let holds_weights = !asked.weight_devices.is_empty();
    let io = BlockIo {
        weight: asked.weight,
        weight_device: devices
            .weights
            .iter()
            .filter(|_| holds_weights)
            .map(weight)
            .collect(),
        read_bps: throttles(&devices.read_bps, !asked.read_bps.is_empty()),
        write_bps: throttles(&devices.write_bps, !asked.write_bps.is_empty()),
        read_iops: throttles(&devices.read_iops, !asked.read_iops.is_empty()),
        write_iops: throttles(&devices.write_iops, !asked.write_iops.is_empty()),
    };
    (io != BlockIo::default()).then_some(io)
}
