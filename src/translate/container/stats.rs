//! Samples into what clients are shown (moby `statsV1`, `statsV2`).

use engine::StatsRecord;
use model::stats::{Block, BlockCount, CgroupVersion, Memory, NetworkCounters, Pids, Sample};
use wire::container::Empty;
use wire::stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats,
    PidsStats, ThrottlingData,
};

use super::phrase::{ZERO_TIME, time};

/// One record. Of a container that does not run everything is zero but its name.
pub fn stats(record: &StatsRecord) -> ContainerStats {
    let (now, before) = (
        record.samples.now.as_deref(),
        record.samples.before.as_deref(),
    );
    let read = |sample: Option<&Sample>| {
        sample.map_or_else(|| ZERO_TIME.to_owned(), |sample| time(sample.read_at))
    };
    let version = now.map(|sample| sample.usage.version);
    let usage = now.map(|sample| &sample.usage);
    let networks = now.into_iter().flat_map(|sample| &sample.networks);
    ContainerStats {
        read: read(now),
        preread: read(before),
        pids_stats: (usage.and_then(|usage| usage.pids))
            .map_or_else(PidsStats::default, |found| pids(found, version)),
        blkio_stats: (usage.and_then(|usage| usage.block.as_ref()))
            .map_or_else(BlkioStats::default, |block| blkio(block, version)),
        num_procs: 0,
        storage_stats: Empty::default(),
        cpu_stats: cpu(now),
        precpu_stats: cpu(before),
        memory_stats: (usage.and_then(|usage| usage.memory.as_ref()))
            .map_or_else(MemoryStats::default, memory),
        name: format!("/{}", record.name),
        id: record.id.to_string(),
        networks: networks
            .map(|(name, counters)| (name.clone(), network(counters)))
            .collect(),
    }
}

/// "No limit" is nothing for Docker in version 1, and the largest number in version 2.
fn pids(pids: Pids, version: Option<CgroupVersion>) -> PidsStats {
    let unlimited = match version {
        Some(CgroupVersion::V2) => u64::MAX,
        Some(CgroupVersion::V1) | None => 0,
    };
    PidsStats {
        current: pids.current,
        limit: pids.limit.unwrap_or(unlimited),
    }
}

/// Of version 1 Docker shows the lists that no kernel fills any more as empty, of version 2 as `null`.
fn blkio(block: &Block, version: Option<CgroupVersion>) -> BlkioStats {
    let entry = |count: &BlockCount| BlkioEntry {
        major: count.major,
        minor: count.minor,
        op: count.operation.clone(),
        value: count.value,
    };
    let list = |counts: &[BlockCount]| -> Vec<BlkioEntry> { counts.iter().map(entry).collect() };
    let bytes = list(&block.bytes);
    match version {
        Some(CgroupVersion::V1) => BlkioStats {
            io_service_bytes_recursive: Some(bytes),
            io_serviced_recursive: Some(list(&block.operations)),
            io_queue_recursive: Some(Vec::new()),
            io_service_time_recursive: Some(Vec::new()),
            io_wait_time_recursive: Some(Vec::new()),
            io_merged_recursive: Some(Vec::new()),
            io_time_recursive: Some(Vec::new()),
            sectors_recursive: Some(Vec::new()),
        },
        Some(CgroupVersion::V2) | None => BlkioStats {
            io_service_bytes_recursive: (!bytes.is_empty()).then_some(bytes),
            ..BlkioStats::default()
        },
    }
}

fn cpu(sample: Option<&Sample>) -> CpuStats {
    let Some(sample) = sample else {
        return CpuStats::default();
    };
    let cpu = sample.usage.cpu.clone().unwrap_or_default();
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total_ns,
            percpu_usage: cpu.by_processor_ns,
            usage_in_kernelmode: cpu.kernel_ns,
            usage_in_usermode: cpu.user_ns,
        },
        system_cpu_usage: sample.host.total_ns,
        online_cpus: sample.host.online,
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_ns,
        },
    }
}

fn memory(memory: &Memory) -> MemoryStats {
    MemoryStats {
        usage: memory.usage_bytes,
        max_usage: memory.peak_bytes.unwrap_or(0),
        stats: memory.details.iter().copied().collect(),
        failcnt: memory.failures,
        limit: memory.limit_bytes,
    }
}

fn network(counters: &NetworkCounters) -> NetworkStats {
    NetworkStats {
        rx_bytes: counters.received_bytes,
        rx_packets: counters.received_packets,
        rx_errors: counters.receive_errors,
        rx_dropped: counters.receive_drops,
        tx_bytes: counters.sent_bytes,
        tx_packets: counters.sent_packets,
        tx_errors: counters.send_errors,
        tx_dropped: counters.send_drops,
    }
}
