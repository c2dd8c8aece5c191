//! Cgroup limits: which values are refused, which the host cannot hold, and what is written.
//!
//! One pass does all three, in moby's order and words (`verifyPlatformContainerResources`), so
//! that create (which warns and refuses) and start (which writes) can never disagree. Values
//! are written in cgroup v1 terms; the OCI runtimes convert them on v2.

use model::{Error, Resources, Result};

use super::cpu_list::CpuList;
use super::document::{Cpu, Memory, Pids};
use super::host::{CgroupVersion, HostFacts};

/// Docker's least memory: room enough for the runtime itself to start.
const MEMORY_BYTES_MIN: i64 = 6 << 20;
/// The period that Docker counts billionths of a CPU in.
const NANO_CPU_PERIOD_US: u64 = 100_000;
/// Kernel range of `cpu.shares`; v2 weights are computed from it.
const CPU_SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// What is written, and what the client should know.
#[derive(Debug, Default)]
pub(super) struct Limits<'a> {
    pub(super) memory: Option<Memory>,
    pub(super) cpu: Option<Cpu<'a>>,
    pub(super) pids: Option<Pids>,
    pub(super) warnings: Vec<String>,
}

/// Checks the limits and maps them for this host.
///
/// # Errors
///
/// `InvalidParameter` in moby's words.
pub(super) fn limits<'a>(asked: &'a Resources, host: &HostFacts) -> Result<Limits<'a>> {
    let mut warnings = Vec::new();
    let memory = memory(asked, host, &mut warnings)?;
    let pids = pids(asked, host, &mut warnings);
    let mut cpu = cpu_time(asked, host, &mut warnings)?;
    cpuset(asked, host, &mut cpu, &mut warnings)?;
    Ok(Limits {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids,
        warnings,
    })
}

fn memory(asked: &Resources, host: &HostFacts, warnings: &mut Vec<String>) -> Result<Memory> {
    let have = &host.cgroup;
    let refuse = |why: &str| Err(Error::invalid(why));
    let mut limit = asked.memory_bytes.filter(|n| *n != 0);
    let mut swap = asked.memory_swap_bytes.filter(|n| *n != 0);
    let mut reservation = asked.memory_reservation_bytes.filter(|n| *n != 0);
    if limit.is_some_and(|n| n < MEMORY_BYTES_MIN) {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if limit.is_some() && !have.memory {
        warnings.push(
            "Your kernel does not support memory limit capabilities or the cgroup is not \
             mounted. Limitation discarded."
                .into(),
        );
        (limit, swap) = (None, None);
    }
    // Docker's default is as much swap as memory (adaptContainerSettings).
    let asked_swap = swap.or_else(|| limit.map(|n| n.saturating_mul(2)));
    if limit.is_some() && asked_swap != Some(-1) && !have.swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. \
             Memory limited without swap."
                .into(),
        );
        swap = Some(-1);
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            return refuse(
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            );
        }
        (None, Some(swap)) if swap > 0 => {
            return refuse(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            );
        }
        _ => {}
    }
    if swap.is_some_and(|n| n < -1) {
        return refuse("invalid MemorySwap: it must be -1 (unlimited) or a number of bytes");
    }
    if reservation.is_some() && !have.memory_reservation {
        warnings.push(
            "Your kernel does not support memory soft limit capabilities or the cgroup is not \
             mounted. Limitation discarded."
                .into(),
        );
        reservation = None;
    }
    if reservation.is_some_and(|n| n < MEMORY_BYTES_MIN) {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if matches!((limit, reservation), (Some(limit), Some(soft)) if limit < soft) {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(Memory {
        limit,
        reservation,
        // No value at all is the kernel's "unlimited" in v1 and v2 alike.
        swap: match swap {
            Some(-1) => None,
            swap => swap.or_else(|| limit.map(|n| n.saturating_mul(2))),
        },
        disable_oom_killer: oom_kill_disable(asked, host, limit, warnings),
    })
}

fn oom_kill_disable(
    asked: &Resources,
    host: &HostFacts,
    memory: Option<i64>,
    warnings: &mut Vec<String>,
) -> Option<bool> {
    if !asked.oom_kill_disable {
        return None;
    }
    if !host.cgroup.oom_kill_disable || host.cgroup.version == CgroupVersion::V2 {
        warnings
            .push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
        return None;
    }
    if memory.is_none() {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can \
             result in the system running out of resources."
                .into(),
        );
    }
    Some(true)
}

/// Zero and negative numbers are "unlimited" to Docker, which is what a new cgroup is.
fn pids(asked: &Resources, host: &HostFacts, warnings: &mut Vec<String>) -> Option<Pids> {
    let limit = asked.pids_limit.filter(|n| *n > 0)?;
    if !host.cgroup.pids {
        warnings.push(
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. \
             PIDs limit discarded."
                .into(),
        );
        return None;
    }
    Some(Pids { limit })
}

fn cpu_time<'a>(
    asked: &Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<Cpu<'a>> {
    let have = &host.cgroup;
    let refuse = |why: String| Err(Error::invalid(why));
    let nano = asked.nano_cpus.filter(|n| *n != 0);
    let mut period = asked.cpu_period_us.filter(|n| *n != 0);
    let mut quota = asked.cpu_quota_us.filter(|n| *n != 0);
    let mut shares = asked.cpu_shares.filter(|n| *n != 0);
    if nano.is_some() && period.is_some() {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set".into());
    }
    if nano.is_some() && quota.is_some() {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set".into());
    }
    if nano.is_some() && !have.cpu_cfs {
        return refuse(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the \
             cgroup is not mounted"
                .into(),
        );
    }
    if let Some(nano) = nano {
        (period, quota) = (Some(NANO_CPU_PERIOD_US), Some(nano_quota_us(nano, host)?));
    }
    if shares.is_some() && !have.cpu_shares {
        warnings.push(
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares \
             discarded."
                .into(),
        );
        shares = None;
    }
    check_shares(shares)?;
    if (period.is_some() || quota.is_some()) && !have.cpu_cfs {
        warnings.push(
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".into(),
        );
        (period, quota) = (None, None);
    }
    if period.is_some_and(|n| !(1000..=1_000_000).contains(&n)) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .into(),
        );
    }
    if quota.is_some_and(|n| n > 0 && n < 1000) {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
    }
    Ok(Cpu {
        shares,
        quota,
        period,
        ..Cpu::default()
    })
}

/// Billionths of a CPU as a quota of [`NANO_CPU_PERIOD_US`].
fn nano_quota_us(nano: i64, host: &HostFacts) -> Result<i64> {
    let cpus = i64::try_from(host.cpus.count()).unwrap_or(i64::MAX);
    let quota_us = nano / 1_000_000_000 * 100_000 + nano % 1_000_000_000 / 10_000;
    // Below one millisecond the kernel answers EINVAL; Docker lets that fail at start.
    if quota_us < 1000 || nano > cpus.saturating_mul(1_000_000_000) {
        return Err(Error::invalid(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    Ok(quota_us)
}

/// The runtimes find out at start, in these words; on v2 a 1 would even wrap round in them.
fn check_shares(shares: Option<u64>) -> Result<()> {
    match shares {
        Some(n) if n < *CPU_SHARES.start() => {
            Err(Error::invalid("The minimum allowed cpu-shares is 2"))
        }
        Some(n) if n > *CPU_SHARES.end() => {
            Err(Error::invalid("The maximum allowed cpu-shares is 262144"))
        }
        _ => Ok(()),
    }
}

fn cpuset<'a>(
    asked: &'a Resources,
    host: &HostFacts,
    cpu: &mut Cpu<'a>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let named = |text: &'a Option<String>| text.as_deref().filter(|t| !t.is_empty());
    let (cpus, mems) = (named(&asked.cpuset_cpus), named(&asked.cpuset_mems));
    if cpus.is_none() && mems.is_none() {
        return Ok(());
    }
    if !host.cgroup.cpuset {
        warnings.push(
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."
                .into(),
        );
        return Ok(());
    }
    cpu.cpus = cpus;
    cpu.mems = mems;
    available(cpus, "cpus", "CPUs", &host.cgroup.cpuset_cpus)?;
    available(mems, "mems", "memory nodes", &host.cgroup.cpuset_mems)
}

fn available(text: Option<&str>, file: &str, what: &str, have: &CpuList) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    let wanted = CpuList::parse(text).map_err(|why| {
        let shown = text.get(..256).unwrap_or(text);
        Error::invalid(format!("Invalid value {shown} for cpuset {file}: {why}"))
    })?;
    if !have.contains_all(&wanted) {
        return Err(Error::invalid(format!(
            "Requested {what} are not available - requested {wanted}, available: {have}"
        )));
    }
    Ok(())
}

/// The OOM score of the first process.
///
/// Without `CAP_SYS_RESOURCE` the kernel refuses a score below the daemon's own (proc_pid_oom_score_adj(5)),
/// and the runtime would fail the start; the daemon's own is then the nearest that can be had.
pub(super) fn oom_score_adj(asked: i32, host: &HostFacts, warnings: &mut Vec<String>) -> i32 {
    if host.sys_resource || asked >= host.oom_score_adj {
        return asked;
    }
    if asked != 0 {
        warnings.push(format!(
            "The OOM score adjustment {asked} is below the daemon's own and cannot be set. \
             Raised to {}.",
            host.oom_score_adj
        ));
    }
    host.oom_score_adj
}
