//! Limits: memory, CPUs, processes, the OOM killer, and setrlimit(2).

use model::{Error, Resources, Result, Ulimit};

use super::bounded;
use wire::container::HostConfig;

/// The least memory a container can be given (moby `linuxMinMemory`).
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// The cgroup limits.
///
/// # Errors
/// 400 in Docker's words (moby `verifyPlatformContainerResources`). What depends on the host's
/// cgroups is for the engine to check.
pub(super) fn resources(host: &HostConfig) -> Result<Resources> {
    check_memory(host)?;
    check_cpu(host)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    let positive = |n: i64| Some(n).filter(|n| *n > 0);
    let unsigned = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
    Ok(Resources {
        memory_bytes: positive(host.memory),
        memory_reservation_bytes: positive(host.memory_reservation),
        memory_swap_bytes: Some(host.memory_swap).filter(|n| *n != 0),
        nano_cpus: positive(host.nano_cpus),
        cpu_shares: unsigned(host.cpu_shares),
        cpu_period_us: unsigned(host.cpu_period),
        cpu_quota_us: Some(host.cpu_quota).filter(|n| *n != 0),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids_limit: host.pids_limit.and_then(positive),
        oom_score_adj: i32::try_from(host.oom_score_adj).expect("checked range"),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
    })
}

fn check_memory(host: &HostConfig) -> Result<()> {
    let (memory, swap, reservation) = (host.memory, host.memory_swap, host.memory_reservation);
    let mistake = if memory != 0 && memory < MEMORY_BYTES_MIN {
        "Minimum memory limit allowed is 6MB"
    } else if memory > 0 && swap > 0 && swap < memory {
        "Minimum memoryswap limit should be larger than memory limit, see usage"
    } else if memory == 0 && swap > 0 {
        "You should always set the Memory limit when using Memoryswap limit, see usage"
    } else if reservation != 0 && reservation < MEMORY_BYTES_MIN {
        "Minimum memory reservation allowed is 6MB"
    } else if memory > 0 && memory < reservation {
        "Minimum memory limit can not be less than memory reservation limit, see usage"
    } else if host.shm_size < 0 {
        "SHM size can not be less than 0"
    } else {
        return Ok(());
    };
    Err(Error::invalid(mistake))
}

fn check_cpu(host: &HostConfig) -> Result<()> {
    let (period, quota) = (host.cpu_period, host.cpu_quota);
    let mistake = if host.nano_cpus > 0 && period > 0 {
        "Conflicting options: Nano CPUs and CPU Period cannot both be set"
    } else if host.nano_cpus > 0 && quota > 0 {
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
    } else if host.nano_cpus < 0 {
        "NanoCpus can not be less than 0"
    } else if host.cpu_shares < 0 {
        "CPU shares can not be less than 0"
    } else if period != 0 && !(1000..=1_000_000).contains(&period) {
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
    } else if quota > 0 && quota < 1000 {
        "CPU cfs quota can not be less than 1ms (i.e. 1000)"
    } else {
        check_set("cpus", &host.cpuset_cpus)?;
        return check_set("mems", &host.cpuset_mems);
    };
    Err(Error::invalid(mistake))
}

/// `0-2,5`, cpuset(7) "List format".
fn check_set(what: &str, text: &str) -> Result<()> {
    let is_range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u32>().ok();
        number(first)
            .zip(number(last))
            .is_some_and(|(first, last)| first <= last)
    };
    if text.is_empty() || text.split(',').all(is_range) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid value {text} for cpuset {what}"
    )))
}

/// The names of setrlimit(2), lower case.
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The process limits.
///
/// # Errors
/// 400 for an unknown name or a soft limit above the hard one (go-units `ulimit.go`).
pub(super) fn ulimits(host: &HostConfig) -> Result<Vec<Ulimit>> {
    let list = host.ulimits.as_deref().unwrap_or_default();
    bounded("HostConfig.Ulimits", list.len())?;
    list.iter()
        .map(|limit| {
            if !ULIMITS.contains(&limit.name.as_str()) {
                return Err(Error::invalid(format!(
                    "invalid ulimit type: {}",
                    limit.name
                )));
            }
            // -1 is unlimited, larger than any number.
            let rank = |n: i64| if n == -1 { i64::MAX } else { n };
            if limit.soft < -1 || limit.hard < -1 || rank(limit.soft) > rank(limit.hard) {
                return Err(Error::invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    limit.soft, limit.hard
                )));
            }
            Ok(Ulimit {
                name: limit.name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            })
        })
        .collect()
}
