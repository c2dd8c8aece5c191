//! Limits: memory, CPUs, processes, the OOM killer, block devices, and setrlimit(2).

use model::resources::{DeviceRate, DeviceWeight};
use model::{BlockIo, Error, Resources, Result, Ulimit};

use super::bounded;
use wire::container::{HostConfig, ThrottleDevice, WeightDevice};

/// The cgroup limits.
///
/// # Errors
/// 400 in Docker's words for numbers that no limit can be. What they must be beside each other and for this
/// host is for the engine to check (moby `verifyPlatformContainerResources`).
pub(super) fn resources(host: &HostConfig) -> Result<Resources> {
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    let cpu_shares = u64::try_from(host.cpu_shares).map_err(|_| {
        Error::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        ))
    })?;
    let cpu_period = u64::try_from(host.cpu_period).map_err(|_| {
        Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        )
    })?;
    let set = |n: i64| Some(n).filter(|n| *n != 0);
    let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
    Ok(Resources {
        memory_bytes: set(host.memory),
        memory_reservation_bytes: set(host.memory_reservation),
        memory_swap_bytes: set(host.memory_swap),
        memory_swappiness: host.memory_swappiness.filter(|percent| *percent != -1),
        kernel_memory_bytes: set(host.kernel_memory),
        kernel_memory_tcp_bytes: set(host.kernel_memory_tcp),
        nano_cpus: set(host.nano_cpus),
        cpu_shares: Some(cpu_shares).filter(|n| *n != 0),
        cpu_period_us: Some(cpu_period).filter(|n| *n != 0),
        cpu_quota_us: set(host.cpu_quota),
        cpu_realtime_period_us: set(host.cpu_realtime_period),
        cpu_realtime_runtime_us: set(host.cpu_realtime_runtime),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids_limit: host.pids_limit.filter(|n| *n > 0),
        oom_score_adj: i32::try_from(host.oom_score_adj).expect("checked range"),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
        block_io: block_io(host)?,
    })
}

fn block_io(host: &HostConfig) -> Result<BlockIo> {
    let rates = |name: &str, list: Option<&Vec<ThrottleDevice>>| {
        let list = list.map(Vec::as_slice).unwrap_or_default();
        bounded(name, list.len())?;
        let rate = |device: &ThrottleDevice| {
            Ok(DeviceRate {
                path: path(name, &device.path)?,
                rate: device.rate,
            })
        };
        list.iter().map(rate).collect::<Result<Vec<_>>>()
    };
    let weights = host.blkio_weight_device.as_deref().unwrap_or_default();
    bounded("HostConfig.BlkioWeightDevice", weights.len())?;
    let weight = |device: &WeightDevice| {
        Ok(DeviceWeight {
            path: path("HostConfig.BlkioWeightDevice", &device.path)?,
            weight: device.weight,
        })
    };
    Ok(BlockIo {
        weight: Some(host.blkio_weight).filter(|weight| *weight != 0),
        weight_devices: weights.iter().map(weight).collect::<Result<_>>()?,
        read_bps: rates(
            "HostConfig.BlkioDeviceReadBps",
            host.blkio_device_read_bps.as_ref(),
        )?,
        write_bps: rates(
            "HostConfig.BlkioDeviceWriteBps",
            host.blkio_device_write_bps.as_ref(),
        )?,
        read_iops: rates(
            "HostConfig.BlkioDeviceReadIOps",
            host.blkio_device_read_iops.as_ref(),
        )?,
        write_iops: rates(
            "HostConfig.BlkioDeviceWriteIOps",
            host.blkio_device_write_iops.as_ref(),
        )?,
    })
}

/// A device's path. Docker looks at it when the container starts; relative to its own directory, if need be.
fn path(name: &str, path: &str) -> Result<String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    Err(Error::invalid(format!(
        "{name}: {path:?} is not an absolute path"
    )))
}

/// Lays limits that are in force over what a client sent, for inspect.
pub(super) fn show(limits: &Resources, host: &mut HostConfig) {
    let signed = |n: Option<u64>| n.map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX));
    host.memory = limits.memory_bytes.unwrap_or(0);
    host.memory_reservation = limits.memory_reservation_bytes.unwrap_or(0);
    host.memory_swap = limits.memory_swap_bytes.unwrap_or(0);
    host.memory_swappiness = limits.memory_swappiness;
    host.kernel_memory = limits.kernel_memory_bytes.unwrap_or(0);
    host.kernel_memory_tcp = limits.kernel_memory_tcp_bytes.unwrap_or(0);
    host.nano_cpus = limits.nano_cpus.unwrap_or(0);
    host.cpu_shares = signed(limits.cpu_shares);
    host.cpu_period = signed(limits.cpu_period_us);
    host.cpu_quota = limits.cpu_quota_us.unwrap_or(0);
    host.cpu_realtime_period = limits.cpu_realtime_period_us.unwrap_or(0);
    host.cpu_realtime_runtime = limits.cpu_realtime_runtime_us.unwrap_or(0);
    host.cpuset_cpus = limits.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = limits.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = limits.pids_limit;
    host.oom_score_adj = i64::from(limits.oom_score_adj);
    host.oom_kill_disable = Some(limits.oom_kill_disable);
    host.blkio_weight = limits.block_io.weight.unwrap_or(0);
    // A list that was discarded is an empty one, one that was never sent is none.
    let io = &limits.block_io;
    for (sent, holds) in [
        (&mut host.blkio_device_read_bps, !io.read_bps.is_empty()),
        (&mut host.blkio_device_write_bps, !io.write_bps.is_empty()),
        (&mut host.blkio_device_read_iops, !io.read_iops.is_empty()),
        (&mut host.blkio_device_write_iops, !io.write_iops.is_empty()),
    ] {
        sent.iter_mut().filter(|_| !holds).for_each(Vec::clear);
    }
    if io.weight_devices.is_empty() {
        host.blkio_weight_device.iter_mut().for_each(Vec::clear);
    }
}

/// The process limits. That they make sense is for the engine to check.
///
/// # Errors
/// 400 for a list without end.
pub(super) fn ulimits(host: &HostConfig) -> Result<Vec<Ulimit>> {
    let list = host.ulimits.as_deref().unwrap_or_default();
    bounded("HostConfig.Ulimits", list.len())?;
    let limit = |limit: &wire::container::Ulimit| Ulimit {
        name: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    };
    Ok(list.iter().map(limit).collect())
}
