//! The limits of a container as the kernel has them, on cgroup v1 and v2.

use std::fs;
use std::path::PathBuf;

/// What a container's cgroup holds its processes to. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLimits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together, where the kernel counts swap.
    pub memory_and_swap: Option<i64>,
    /// Bytes of memory to stay below when it is scarce.
    pub reservation: Option<i64>,
    /// Share of the CPUs; on v2 what the runtimes make of Docker's number.
    pub cpu_weight: i64,
    /// Microseconds of a period of [`KernelLimits::cpu_period`].
    pub cpu_quota: Option<i64>,
    /// In microseconds.
    pub cpu_period: i64,
    /// The CPUs.
    pub cpus: String,
    /// Number of processes.
    pub pids: Option<i64>,
}

impl KernelLimits {
    /// Of the cgroup of a process.
    ///
    /// # Panics
    /// When it is gone, or its files cannot be read.
    pub fn of(pid: u32) -> Self {
        if PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists() {
            v2(pid)
        } else {
            v1(pid)
        }
    }
}

fn v1(pid: u32) -> KernelLimits {
    let read = |controller: &str, file: &str| {
        let dir = PathBuf::from("/sys/fs/cgroup").join(controller);
        let path = dir.join(member(pid, controller)).join(file);
        fs::read_to_string(&path).map(|text| text.trim().to_owned())
    };
    let text = |controller: &str, file: &str| {
        read(controller, file).unwrap_or_else(|e| panic!("{controller} {file}: {e}"))
    };
    // The largest number of pages is no limit.
    let bytes = |file: &str| {
        let number: i64 = read("memory", file).ok()?.parse().expect("a number");
        (number < i64::MAX - 4096).then_some(number)
    };
    let number =
        |controller: &str, file: &str| -> i64 { text(controller, file).parse().expect("a number") };
    KernelLimits {
        memory: bytes("memory.limit_in_bytes"),
        memory_and_swap: bytes("memory.memsw.limit_in_bytes"),
        reservation: bytes("memory.soft_limit_in_bytes"),
        cpu_weight: number("cpu", "cpu.shares"),
        cpu_quota: Some(number("cpu", "cpu.cfs_quota_us")).filter(|n| *n > 0),
        cpu_period: number("cpu", "cpu.cfs_period_us"),
        cpus: text("cpuset", "cpuset.cpus"),
        pids: text("pids", "pids.max").parse().ok(),
    }
}

fn v2(pid: u32) -> KernelLimits {
    let dir = PathBuf::from("/sys/fs/cgroup").join(member(pid, ""));
    let text = |file: &str| {
        let text = fs::read_to_string(dir.join(file));
        text.map(|text| text.trim().to_owned())
            .unwrap_or_else(|e| panic!("{file}: {e}"))
    };
    let limit = |file: &str| text(file).parse::<i64>().ok();
    let memory = limit("memory.max");
    let cpu = text("cpu.max");
    let (quota, period) = cpu.split_once(' ').expect("two numbers");
    KernelLimits {
        memory,
        memory_and_swap: memory.and_then(|memory| Some(memory + limit("memory.swap.max")?)),
        reservation: limit("memory.low").filter(|n| *n > 0),
        cpu_weight: limit("cpu.weight").expect("a number"),
        cpu_quota: quota.parse().ok(),
        cpu_period: period.parse().expect("a number"),
        cpus: text("cpuset.cpus"),
        pids: limit("pids.max"),
    }
}

/// The path of a process's cgroup below its hierarchy's root; `""` is v2's.
fn member(pid: u32, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let line = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_it = controllers.split(',').any(|c| c == controller);
        is_it.then(|| path.trim_start_matches('/').to_owned())
    });
    PathBuf::from(line.expect("it is in one"))
}
