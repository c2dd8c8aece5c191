//! Limits of a container that is there: what of a change is refused, and what the runtime is told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::{Resources, Result};

use super::{Limits, limits, written};
use crate::cpu_list::CpuList;
use crate::document::{BlockIo, Cpu, Memory, Pids, Update};
use crate::host::{CgroupVersion, HostFacts};

/// The kernel's shares of a new cgroup of v1.
const CPU_SHARES_DEFAULT: u64 = 1024;
/// The same of v2. No number of shares means it: what the runtimes make of one changes with their versions.
const CPU_WEIGHT_DEFAULT: (&str, &str) = ("cpu.weight", "100");
/// The kernel's period of a new cgroup, in microseconds.
const CPU_PERIOD_DEFAULT_US: u64 = 100_000;
/// The period of real-time scheduling of a new cgroup, in microseconds.
const CPU_REALTIME_PERIOD_DEFAULT_US: i64 = 1_000_000;
/// The block I/O weight of a new cgroup of v1.
const BLKIO_WEIGHT_DEFAULT: u16 = 500;
/// That of the scheduler BFQ on v2.
const BFQ_WEIGHT_DEFAULT: u16 = 100;
/// That of v2 itself, in which the runtimes do not count.
const IO_WEIGHT_DEFAULT: (&str, &str) = ("io.weight", "default 100");
/// What is no soft limit: v1 has a word for it, v2 rounds this down to none at all.
const NO_RESERVATION: (i64, i64) = (-1, 1);

/// Checks the limits of an update by themselves, as moby does before it looks for the container
/// (`verifyPlatformContainerResources` with `update`).
///
/// # Errors
///
/// `InvalidParameter` in moby's words.
pub fn update_limits(asked: &Resources, host: &HostFacts) -> Result<Limits> {
    // The container may have the memory limit that this one needs.
    let swap = asked
        .memory_swap_bytes
        .filter(|n| *n > 0 && asked.memory_bytes.is_none());
    let alone = Resources {
        memory_swap_bytes: asked.memory_swap_bytes.filter(|_| swap.is_none()),
        ..asked.clone()
    };
    let mut checked = limits(&alone, host)?;
    let now = &mut checked.in_force;
    if swap.is_some() {
        now.memory_swap_bytes = swap;
    } else if asked.memory_swap_bytes.is_none() && now.memory_swap_bytes != Some(-1) {
        // The default of a new container.
        now.memory_swap_bytes = None;
    }
    // To an update this is a limit that is taken away.
    if asked.pids_limit.is_some_and(|n| n <= 0) && host.cgroup.pids {
        now.pids_limit = Some(0);
    }
    Ok(checked)
}

/// What the OCI runtime is told (`update --resources`) so that a cgroup with the limits of any of
/// `from` gets those of `to`; `None` when there is nothing to tell. Only what differs is in it:
/// a kernel may refuse what it has already. `no_pids_limit` is what the runtime takes for none.
pub fn update_document(
    from: &[&Resources],
    to: &Resources,
    host: &HostFacts,
    no_pids_limit: i64,
) -> Option<Vec<u8>> {
    let mut unified = BTreeMap::new();
    let (cpu, block_io) = (
        cpu(from, to, host, &mut unified),
        block_io(from, to, host, &mut unified),
    );
    let update = Update {
        memory: memory(from, to, host),
        cpu,
        pids: pids(from, to, no_pids_limit),
        block_io,
        unified,
    };
    let document =
        serde_json::to_vec(&update).expect("numbers and text have no failing serializer");
    (update != Update::default()).then_some(document)
}

/// Whether a document for `to` says all that is to be undone in a cgroup with the limits of any of `from`.
/// The runtimes take no real-time runtime for one that is not to change.
pub fn can_go_back(from: &[&Resources], to: &Resources) -> bool {
    let has_runtime = |r: &Resources| r.cpu_realtime_runtime_us.is_some_and(|n| n != 0);
    has_runtime(to) || !from.iter().any(|from| has_runtime(from))
}

fn differs<'a, T: PartialEq>(
    from: &[&'a Resources],
    to: &'a Resources,
    part: impl Fn(&'a Resources) -> T,
) -> bool {
    from.iter().any(|from| part(from) != part(to))
}

fn memory(from: &[&Resources], to: &Resources, host: &HostFacts) -> Option<Memory> {
    let mut memory = Memory::default();
    // Together: which is to be written first depends on the other.
    if differs(from, to, |r| (r.memory_bytes, r.memory_swap_bytes)) {
        memory.limit = Some(to.memory_bytes.unwrap_or(-1));
        let swap = to.memory_swap_bytes.filter(|_| to.memory_bytes.is_some());
        memory.swap = host.cgroup.swap.then(|| swap.unwrap_or(-1));
    }
    if differs(from, to, |r| r.memory_reservation_bytes) {
        let none = match host.cgroup.version {
            CgroupVersion::V1 => NO_RESERVATION.0,
            CgroupVersion::V2 => NO_RESERVATION.1,
        };
        memory.reservation = Some(to.memory_reservation_bytes.unwrap_or(none));
    }
    if differs(from, to, |r| r.kernel_memory_bytes) {
        memory.kernel = Some(to.kernel_memory_bytes.unwrap_or(-1));
    }
    (memory != Memory::default()).then_some(memory)
}

/// What is to be written to files of v2.
type Unified = BTreeMap<&'static str, &'static str>;

fn block_io(
    from: &[&Resources],
    to: &Resources,
    host: &HostFacts,
    unified: &mut Unified,
) -> Option<BlockIo> {
    if !differs(from, to, |r| r.block_io.weight) {
        return None;
    }
    let none = match host.cgroup.version {
        CgroupVersion::V1 => BLKIO_WEIGHT_DEFAULT,
        CgroupVersion::V2 => BFQ_WEIGHT_DEFAULT,
    };
    let is_counted = host.cgroup.version == CgroupVersion::V1 || host.cgroup.block_io.weight_is_bfq;
    let weight = to.block_io.weight.or_else(|| is_counted.then_some(none));
    if weight.is_none() {
        unified.extend([IO_WEIGHT_DEFAULT]);
    }
    weight.map(|weight| BlockIo {
        weight: Some(weight),
        ..BlockIo::default()
    })
}

fn cpu<'a>(
    from: &[&'a Resources],
    to: &'a Resources,
    host: &HostFacts,
    unified: &mut Unified,
) -> Option<Cpu<'a>> {
    let mut cpu = Cpu::default();
    if differs(from, to, |r| r.cpu_shares) {
        match (to.cpu_shares, host.cgroup.version) {
            (None, CgroupVersion::V2) => unified.extend([CPU_WEIGHT_DEFAULT]),
            (shares, _) => cpu.shares = Some(shares.unwrap_or(CPU_SHARES_DEFAULT)),
        }
    }
    if differs(from, to, written::cpu_time) {
        let (period, quota) = written::cpu_time(to);
        cpu.period = Some(period.unwrap_or(CPU_PERIOD_DEFAULT_US));
        cpu.quota = Some(quota.unwrap_or(-1));
    }
    let new_period = differs(from, to, |r| r.cpu_realtime_period_us);
    if new_period || differs(from, to, |r| r.cpu_realtime_runtime_us) {
        let none = new_period.then_some(CPU_REALTIME_PERIOD_DEFAULT_US);
        cpu.realtime_period = to.cpu_realtime_period_us.or(none);
        cpu.realtime_runtime = to.cpu_realtime_runtime_us;
    }
    let or_all = |list: &'a Option<String>, have: &CpuList| match list {
        Some(list) => Cow::from(list.as_str()),
        None => Cow::from(have.to_string()),
    };
    if differs(from, to, |r| &r.cpuset_cpus) {
        cpu.cpus = Some(or_all(&to.cpuset_cpus, &host.cgroup.cpuset_cpus));
    }
    if differs(from, to, |r| &r.cpuset_mems) {
        cpu.mems = Some(or_all(&to.cpuset_mems, &host.cgroup.cpuset_mems));
    }
    (cpu != Cpu::default()).then_some(cpu)
}

fn pids(from: &[&Resources], to: &Resources, no_limit: i64) -> Option<Pids> {
    let limit = |r: &Resources| r.pids_limit.filter(|n| *n > 0);
    differs(from, to, limit).then(|| Pids {
        limit: limit(to).unwrap_or(no_limit),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    const MB: i64 = 1 << 20;

    fn with(change: impl FnOnce(&mut Resources)) -> Resources {
        let mut resources = Resources::default();
        change(&mut resources);
        resources
    }

    fn told(from: &[&Resources], to: &Resources) -> Option<Value> {
        told_on(&fixture::host(), from, to)
    }

    fn told_on(host: &HostFacts, from: &[&Resources], to: &Resources) -> Option<Value> {
        let document = update_document(from, to, host, -1)?;
        Some(serde_json::from_slice(&document).unwrap())
    }

    #[test]
    fn swap_alone_is_fine_and_no_default_is_filled_in() {
        let host = fixture::host();
        let swap = with(|r| r.memory_swap_bytes = Some(50 * MB));
        let checked = update_limits(&swap, &host).unwrap();
        assert_eq!(checked.in_force, swap);
        assert_eq!(checked.warnings, [""; 0]);
        let memory = with(|r| r.memory_bytes = Some(50 * MB));
        assert_eq!(update_limits(&memory, &host).unwrap().in_force, memory);
        let no_pids = with(|r| r.pids_limit = Some(0));
        assert_eq!(update_limits(&no_pids, &host).unwrap().in_force, no_pids);
        let bad = with(|r| r.memory_bytes = Some(MB));
        assert_eq!(
            update_limits(&bad, &host).unwrap_err().message(),
            "Minimum memory limit allowed is 6MB"
        );
    }

    #[test]
    fn what_the_host_cannot_hold_is_left_out_with_a_warning() {
        let mut host = fixture::host();
        host.cgroup.swap = false;
        let memory = with(|r| r.memory_bytes = Some(50 * MB));
        let checked = update_limits(&memory, &host).unwrap();
        assert_eq!(checked.in_force.memory_swap_bytes, Some(-1));
        assert_eq!(checked.warnings.len(), 1);
        let document = update_document(&[&Resources::default()], &checked.in_force, &host, -1);
        assert_eq!(document.unwrap(), br#"{"memory":{"limit":52428800}}"#);
    }

    #[test]
    fn only_what_differs_is_told() {
        let now = with(|r| {
            (r.memory_bytes, r.memory_swap_bytes) = (Some(64 * MB), Some(128 * MB));
            r.cpu_shares = Some(512);
        });
        assert_eq!(told(&[&now], &now), None);
        let more = Resources {
            memory_swap_bytes: Some(-1),
            nano_cpus: Some(500_000_000),
            pids_limit: Some(7),
            ..now.clone()
        };
        assert_eq!(
            told(&[&now], &more),
            Some(json!({
                "memory": {"limit": 64 * MB, "swap": -1},
                "cpu": {"quota": 50_000, "period": 100_000},
                "pids": {"limit": 7},
            }))
        );
        // Nobody knows which of the two holds.
        assert_eq!(
            told(&[&now, &more], &now),
            Some(json!({
                "memory": {"limit": 64 * MB, "swap": 128 * MB},
                "cpu": {"quota": -1, "period": 100_000},
                "pids": {"limit": -1},
            }))
        );
    }

    #[test]
    fn what_was_not_limited_can_be_so_again() {
        let all = with(|r| {
            (r.memory_bytes, r.memory_swap_bytes) = (Some(64 * MB), Some(128 * MB));
            r.memory_reservation_bytes = Some(32 * MB);
            r.cpu_shares = Some(512);
            r.cpu_quota_us = Some(5000);
            r.cpuset_cpus = Some("0".into());
            r.cpuset_mems = Some("0".into());
            r.pids_limit = Some(7);
            r.block_io.weight = Some(10);
        });
        assert_eq!(
            told(&[&all], &Resources::default()),
            Some(json!({
                "memory": {"limit": -1, "swap": -1, "reservation": -1},
                "cpu": {"shares": 1024, "quota": -1, "period": 100_000, "cpus": "0-3", "mems": "0"},
                "pids": {"limit": -1},
                "blockIO": {"weight": 500},
            }))
        );
    }

    #[test]
    fn on_v2_the_kernels_own_numbers_are_told() {
        let mut host = fixture::host();
        host.cgroup.version = CgroupVersion::V2;
        let some = with(|r| {
            r.cpu_shares = Some(512);
            r.block_io.weight = Some(10);
        });
        let none = Resources::default();
        assert_eq!(
            told_on(&host, &[&some], &none),
            Some(json!({"unified": {"cpu.weight": "100", "io.weight": "default 100"}}))
        );
        assert_eq!(
            told_on(&host, &[&none], &some),
            Some(json!({"cpu": {"shares": 512}, "blockIO": {"weight": 10}}))
        );
        host.cgroup.block_io.weight_is_bfq = true;
        assert_eq!(
            told_on(&host, &[&some], &none),
            Some(json!({"unified": {"cpu.weight": "100"}, "blockIO": {"weight": 100}}))
        );
    }

    #[test]
    fn a_real_time_runtime_cannot_be_taken_away_and_a_period_can() {
        let period = with(|r| r.cpu_realtime_period_us = Some(500_000));
        let runtime = with(|r| r.cpu_realtime_runtime_us = Some(1000));
        let none = Resources::default();
        assert_eq!(
            told(&[&period], &none),
            Some(json!({"cpu": {"realtimePeriod": 1_000_000}}))
        );
        assert!(can_go_back(&[&period, &none], &none));
        assert!(!can_go_back(&[&none, &runtime], &none));
        assert!(can_go_back(&[&runtime], &runtime));
    }

    #[test]
    fn an_unlimited_number_of_processes_is_said_in_the_runtimes_words() {
        let some = with(|r| r.pids_limit = Some(7));
        let zero = with(|r| r.pids_limit = Some(0));
        let document = update_document(&[&some], &zero, &fixture::host(), 4_194_304);
        assert_eq!(document.unwrap(), br#"{"pids":{"limit":4194304}}"#);
        assert_eq!(told(&[&Resources::default()], &zero), None);
    }
}
