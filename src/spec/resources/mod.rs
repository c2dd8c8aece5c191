//! Cgroup limits: which values are refused, which the host cannot hold, and what is written.
//!
//! One pass does the first two, in moby's order and words (`verifyPlatformContainerResources`), so
//! that create and update (which warn and refuse) and start (which writes) can never disagree. What
//! is left when it has passed is in force: inspect shows that, and [`written`] puts it in the terms
//! of cgroup v1, which the OCI runtimes convert on v2.

mod block_io;
#[cfg(test)]
mod tests;
mod update;
mod written;

use model::{Error, Resources, Result};

use super::cpu_list::CpuList;
use super::host::{CgroupFacts, HostFacts};

pub use block_io::{BlockDevices, resolve as resolve_block_devices};
pub use update::{can_go_back, update_document, update_limits};
pub(super) use written::{block_io, cpu, memory, pids};

/// Docker's least memory: room enough for the runtime itself to start.
const MEMORY_BYTES_MIN: i64 = 6 << 20;
/// Kernel range of `cpu.shares`; v2 weights are computed from it.
const CPU_SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// Kernel range of the period of the CFS, in microseconds.
const CPU_PERIOD_US: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
/// Numbers of CPUs and memory nodes that moby looks at, unless the host has higher ones.
const CPUS_MAX: u64 = 8192;
/// Docker's range of block I/O weights.
const BLKIO_WEIGHT: std::ops::RangeInclusive<u16> = 10..=1000;

/// Limits that were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// What of them this host can hold; Docker's defaults are in.
    pub in_force: Resources,
    /// What the client should know.
    pub warnings: Vec<String>,
}

/// Checks limits, takes away what this host cannot hold, and fills in Docker's defaults.
///
/// # Errors
///
/// `InvalidParameter` in moby's words.
pub fn limits(asked: &Resources, host: &HostFacts) -> Result<Limits> {
    let mut check = Check {
        host,
        have: &host.cgroup,
        now: asked.clone(),
        warnings: Vec::new(),
    };
    check.real_time()?;
    check.memory()?;
    check.kernel_memory()?;
    check.oom_kill_disable();
    check.pids();
    check.nano_cpus()?;
    check.cpu_time()?;
    check.cpuset()?;
    check.block_io()?;
    Ok(Limits {
        in_force: check.now,
        warnings: check.warnings,
    })
}

struct Check<'a> {
    host: &'a HostFacts,
    have: &'a CgroupFacts,
    now: Resources,
    warnings: Vec<String>,
}

fn refuse(why: impl Into<String>) -> Result<()> {
    Err(Error::invalid(why.into()))
}

impl Check<'_> {
    fn warn(&mut self, what: &str) {
        self.warnings.push(what.to_owned());
    }

    /// moby `validateResources` (runconfig).
    fn real_time(&mut self) -> Result<()> {
        let set = |n: &Option<i64>| n.filter(|n| *n != 0);
        let period = set(&self.now.cpu_realtime_period_us);
        let runtime = set(&self.now.cpu_realtime_runtime_us);
        if (period.is_some() || runtime.is_some()) && !self.have.cpu_realtime {
            return refuse("kernel does not support CPU real-time scheduler");
        }
        if period.is_some_and(|n| n < 0) || runtime.is_some_and(|n| n < -1) {
            return refuse("cpu real-time period and runtime cannot be negative");
        }
        if matches!((period, runtime), (Some(period), Some(runtime)) if runtime > period) {
            return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
        }
        (
            self.now.cpu_realtime_period_us,
            self.now.cpu_realtime_runtime_us,
        ) = (period, runtime);
        Ok(())
    }

    fn memory(&mut self) -> Result<()> {
        let set = |n: Option<i64>| n.filter(|n| *n != 0);
        let now = &mut self.now;
        now.memory_bytes = set(now.memory_bytes);
        now.memory_swap_bytes = set(now.memory_swap_bytes);
        now.memory_reservation_bytes = set(now.memory_reservation_bytes).filter(|n| *n > 0);
        if now.memory_bytes.is_some_and(|n| n < MEMORY_BYTES_MIN) {
            return refuse("Minimum memory limit allowed is 6MB");
        }
        if now.memory_bytes.is_some() && !self.have.memory {
            now.memory_bytes = None;
            now.memory_swap_bytes = Some(-1);
            self.warn(
                "Your kernel does not support memory limit capabilities or the cgroup is not \
                 mounted. Limitation discarded.",
            );
        }
        self.swap()?;
        self.swappiness()?;
        let now = &mut self.now;
        if now.memory_reservation_bytes.is_some() && !self.have.memory_reservation {
            now.memory_reservation_bytes = None;
            self.warn(
                "Your kernel does not support memory soft limit capabilities or the cgroup is not \
                 mounted. Limitation discarded.",
            );
        }
        let (limit, soft) = (self.now.memory_bytes, self.now.memory_reservation_bytes);
        if soft.is_some_and(|n| n < MEMORY_BYTES_MIN) {
            return refuse("Minimum memory reservation allowed is 6MB");
        }
        if matches!((limit, soft), (Some(limit), Some(soft)) if limit < soft) {
            return refuse(
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            );
        }
        Ok(())
    }

    fn swap(&mut self) -> Result<()> {
        let limit = self.now.memory_bytes;
        if limit.is_some() && self.now.memory_swap_bytes != Some(-1) && !self.have.swap {
            self.now.memory_swap_bytes = Some(-1);
            self.warn(
                "Your kernel does not support swap limit capabilities or the cgroup is not \
                 mounted. Memory limited without swap.",
            );
        }
        match (limit, self.now.memory_swap_bytes) {
            (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
                refuse("Minimum memoryswap limit should be larger than memory limit, see usage")
            }
            (None, Some(swap)) if swap > 0 => refuse(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (_, Some(swap)) if swap < -1 => {
                refuse("invalid MemorySwap: it must be -1 (unlimited) or a number of bytes")
            }
            // Docker's default is as much swap as memory (moby `adaptContainerSettings`).
            (Some(limit), None) => {
                self.now.memory_swap_bytes = Some(limit.saturating_mul(2));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn swappiness(&mut self) -> Result<()> {
        // The CLI says so where nothing is wished for (moby `fixMemorySwappiness`).
        let asked = self.now.memory_swappiness.filter(|percent| *percent != -1);
        self.now.memory_swappiness = asked.filter(|_| self.have.memory_swappiness);
        match self.now.memory_swappiness {
            Some(percent) if !(0..=100).contains(&percent) => refuse(format!(
                "Invalid value: {percent}, valid memory swappiness range is 0-100"
            )),
            None if asked.is_some() => {
                self.warn(
                    "Your kernel does not support memory swappiness capabilities or the cgroup is \
                     not mounted. Memory swappiness discarded.",
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn kernel_memory(&mut self) -> Result<()> {
        // Less than nothing is no limit, and shown.
        let set = |n: Option<i64>| n.filter(|n| *n != 0);
        let is_limit = |n: Option<i64>| n.is_some_and(|n| n > 0);
        let now = &mut self.now;
        now.kernel_memory_bytes = set(now.kernel_memory_bytes);
        now.kernel_memory_tcp_bytes = set(now.kernel_memory_tcp_bytes);
        if is_limit(now.kernel_memory_bytes) && !self.have.kernel_memory {
            now.kernel_memory_bytes = None;
            self.warn(
                "Your kernel does not support kernel memory limit capabilities or the cgroup is \
                 not mounted. Limitation discarded.",
            );
        }
        let limit = self.now.kernel_memory_bytes;
        if limit.is_some_and(|n| n > 0 && n < MEMORY_BYTES_MIN) {
            return refuse("Minimum kernel memory limit allowed is 6MB");
        }
        if is_limit(limit) {
            // moby 20.10; the kernels and runtimes of today pass it over.
            self.warn(
                "Specifying a kernel memory limit is deprecated and will be removed in a future \
                 release.",
            );
        }
        // moby hands it to the runtime, which passes it over.
        if is_limit(self.now.kernel_memory_tcp_bytes) && !self.have.kernel_memory_tcp {
            self.now.kernel_memory_tcp_bytes = None;
            self.warn(
                "Your kernel does not support kernel memory TCP limit capabilities or the cgroup \
                 is not mounted. Limitation discarded.",
            );
        }
        Ok(())
    }

    fn oom_kill_disable(&mut self) {
        if !self.now.oom_kill_disable {
            return;
        }
        if !self.have.oom_kill_disable {
            self.now.oom_kill_disable = false;
            self.warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
        } else if self.now.memory_bytes.is_none() {
            self.warn(
                "OOM killer is disabled for the container, but no memory limit is set, this can \
                 result in the system running out of resources.",
            );
        }
    }

    /// Zero and negative numbers are "unlimited" to Docker, which is what a new cgroup is.
    fn pids(&mut self) {
        self.now.pids_limit = self.now.pids_limit.filter(|n| *n > 0);
        if self.now.pids_limit.is_some() && !self.have.pids {
            self.now.pids_limit = None;
            self.warn(
                "Your kernel does not support PIDs limit capabilities or the cgroup is not \
                 mounted. PIDs limit discarded.",
            );
        }
    }

    fn nano_cpus(&mut self) -> Result<()> {
        let now = &mut self.now;
        now.nano_cpus = now.nano_cpus.filter(|n| *n != 0);
        now.cpu_period_us = now.cpu_period_us.filter(|n| *n != 0);
        now.cpu_quota_us = now.cpu_quota_us.filter(|n| *n != 0);
        let Some(nano) = now.nano_cpus else {
            return Ok(());
        };
        if now.cpu_period_us.is_some() {
            return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if now.cpu_quota_us.is_some_and(|quota| quota > 0) {
            return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        if !self.have.cpu_cfs {
            return refuse(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or \
                 the cgroup is not mounted",
            );
        }
        let cpus = i64::try_from(self.host.cpus.count()).unwrap_or(i64::MAX);
        // Below one millisecond the kernel answers EINVAL; Docker lets that fail at start.
        let too_few = written::nano_quota_us(nano) < 1000;
        if too_few || nano > cpus.saturating_mul(1_000_000_000) {
            return refuse(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
        Ok(())
    }

    fn cpu_time(&mut self) -> Result<()> {
        self.now.cpu_shares = self.now.cpu_shares.filter(|n| *n != 0);
        if self.now.cpu_shares.is_some() && !self.have.cpu_shares {
            self.now.cpu_shares = None;
            self.warn(
                "Your kernel does not support CPU shares or the cgroup is not mounted. Shares \
                 discarded.",
            );
        }
        // The runtimes find out at start, in these words; on v2 a 1 would even wrap round in them.
        match self.now.cpu_shares {
            Some(n) if n < *CPU_SHARES.start() => refuse("The minimum allowed cpu-shares is 2"),
            Some(n) if n > *CPU_SHARES.end() => refuse("The maximum allowed cpu-shares is 262144"),
            _ => Ok(()),
        }?;
        let now = &mut self.now;
        if (now.cpu_period_us.is_some() || now.cpu_quota_us.is_some()) && !self.have.cpu_cfs {
            (now.cpu_period_us, now.cpu_quota_us) = (None, None);
            self.warn(
                "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
            );
        }
        let period = self.now.cpu_period_us;
        if period.is_some_and(|n| !CPU_PERIOD_US.contains(&n)) {
            return refuse(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. \
                 1000000)",
            );
        }
        if self.now.cpu_quota_us.is_some_and(|n| n > 0 && n < 1000) {
            return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
        }
        Ok(())
    }

    fn cpuset(&mut self) -> Result<()> {
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let now = &mut self.now;
        now.cpuset_cpus = named(now.cpuset_cpus.take());
        now.cpuset_mems = named(now.cpuset_mems.take());
        if (now.cpuset_cpus.is_some() || now.cpuset_mems.is_some()) && !self.have.cpuset {
            (now.cpuset_cpus, now.cpuset_mems) = (None, None);
            self.warn(
                "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset \
                 discarded.",
            );
        }
        let (cpus, mems) = (&self.now.cpuset_cpus, &self.now.cpuset_mems);
        available(cpus.as_deref(), "cpus", "CPUs", &self.have.cpuset_cpus)?;
        available(
            mems.as_deref(),
            "mems",
            "memory nodes",
            &self.have.cpuset_mems,
        )
    }

    fn block_io(&mut self) -> Result<()> {
        let have = &self.have.block_io;
        let io = &mut self.now.block_io;
        io.weight = io.weight.filter(|n| *n != 0);
        if io.weight.is_some() && !have.weight {
            io.weight = None;
            self.warnings.push(
                "Your kernel does not support Block I/O weight or the cgroup is not mounted. \
                 Weight discarded."
                    .to_owned(),
            );
        }
        // A device's weight of 0 is that of the cgroup.
        let weights = io.weight_devices.iter().map(|device| device.weight);
        let weights = weights.filter(|weight| have.weight_device && *weight != 0);
        let mut weights = io.weight.into_iter().chain(weights);
        if weights.any(|weight| !BLKIO_WEIGHT.contains(&weight)) {
            return refuse("Range of blkio weight is from 10 to 1000");
        }
        if !io.weight_devices.is_empty() && !have.weight_device {
            io.weight_devices.clear();
            self.warnings.push(
                "Your kernel does not support Block I/O weight_device or the cgroup is not \
                 mounted. Weight-device discarded."
                    .to_owned(),
            );
        }
        for (list, can, how, of, what) in [
            (
                &mut io.read_bps,
                have.read_bps,
                "BPS",
                "Block I/O read",
                "BPS read",
            ),
            (
                &mut io.write_bps,
                have.write_bps,
                "BPS",
                "Block I/O write",
                "BPS write",
            ),
            (
                &mut io.read_iops,
                have.read_iops,
                "IOPS",
                "Block read",
                "IOPS read",
            ),
            (
                &mut io.write_iops,
                have.write_iops,
                "IOPS",
                "Block write",
                "IOPS write",
            ),
        ] {
            if !list.is_empty() && !can {
                list.clear();
                self.warnings.push(format!(
                    "Your kernel does not support {how} {of} limit or the cgroup is not mounted. \
                     Block I/O {what} limit discarded."
                ));
            }
        }
        Ok(())
    }
}

fn available(text: Option<&str>, file: &str, what: &str, have: &CpuList) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    let invalid = |why: String| {
        let shown = text.get(..256).unwrap_or(text);
        Error::invalid(format!("Invalid value {shown} for cpuset {file}: {why}"))
    };
    let wanted = CpuList::parse(text).map_err(invalid)?;
    let max = CPUS_MAX.max(have.last().unwrap_or(0));
    if wanted.last().is_some_and(|last| last > max) {
        return Err(invalid(format!("value of out range, maximum is {max}")));
    }
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
