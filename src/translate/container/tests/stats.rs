//! Records of stats against the bytes of dockerd 20.10.24 and 26.1.5, cgroups of version 1: the same
//! numbers go in, the same bytes come out.

use std::sync::Arc;

use engine::StatsRecord;
use model::stats::{
    Block, BlockCount, CgroupVersion, Cpu, HostCpu, Memory, NetworkCounters, Pids, Sample, Samples,
    Usage,
};
use serde_json::{Value, json};

use crate::container::stats;

const RUNNING: &str = include_str!("../fixtures/dockerd-20.10.24/stats.json");
const STOPPED: &str = include_str!("../fixtures/dockerd-20.10.24/stats-stopped.json");
const ONE_SHOT: &str = include_str!("../fixtures/dockerd-26.1.5/stats-one-shot.json");

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn counts(list: &Value) -> Vec<BlockCount> {
    let count = |entry: &Value| BlockCount {
        major: number(&entry["major"]),
        minor: number(&entry["minor"]),
        operation: entry["op"].as_str().unwrap().to_owned(),
        value: number(&entry["value"]),
    };
    list.as_array().unwrap().iter().map(count).collect()
}

/// The sample that a record of Docker's was made of: its `read` and `cpu_stats`, or those before.
fn sample(record: &Value, read: &str, cpu: &str) -> Option<Arc<Sample>> {
    let read_at = record[read].as_str().unwrap();
    if read_at.starts_with("0001") {
        return None;
    }
    let (cpu, memory) = (&record[cpu], &record["memory_stats"]);
    let (used, throttling) = (&cpu["cpu_usage"], &cpu["throttling_data"]);
    let by_processor = used["percpu_usage"].as_array().unwrap();
    let details = memory["stats"].as_object().unwrap().iter();
    let limit = record["pids_stats"]["limit"].as_u64();
    let block = &record["blkio_stats"];
    Some(Arc::new(Sample {
        read_at: read_at.parse().unwrap(),
        usage: Usage {
            version: CgroupVersion::V1,
            cpu: Some(Cpu {
                total_ns: number(&used["total_usage"]),
                user_ns: number(&used["usage_in_usermode"]),
                kernel_ns: number(&used["usage_in_kernelmode"]),
                by_processor_ns: by_processor.iter().map(number).collect(),
                periods: number(&throttling["periods"]),
                throttled_periods: number(&throttling["throttled_periods"]),
                throttled_ns: number(&throttling["throttled_time"]),
            }),
            memory: Some(Memory {
                usage_bytes: number(&memory["usage"]),
                peak_bytes: memory["max_usage"].as_u64(),
                limit_bytes: number(&memory["limit"]),
                failures: number(&memory["failcnt"]),
                details: details
                    .map(|(key, value)| (&*key.clone().leak(), number(value)))
                    .collect(),
            }),
            pids: Some(Pids {
                current: number(&record["pids_stats"]["current"]),
                limit,
            }),
            block: Some(Block {
                bytes: counts(&block["io_service_bytes_recursive"]),
                operations: counts(&block["io_serviced_recursive"]),
            }),
        },
        host: HostCpu {
            total_ns: number(&cpu["system_cpu_usage"]),
            online: u32::try_from(number(&cpu["online_cpus"])).unwrap(),
        },
        networks: [].into(),
    }))
}

fn record_of(docker: &Value) -> StatsRecord {
    let text = |key: &str, or: &str| docker[key].as_str().unwrap_or(or).to_owned();
    StatsRecord {
        id: text("id", &"ab".repeat(32)).parse().unwrap(),
        name: text("name", "/cap2")
            .trim_start_matches('/')
            .parse()
            .unwrap(),
        samples: Samples {
            now: sample(docker, "read", "cpu_stats"),
            before: sample(docker, "preread", "precpu_stats"),
        },
    }
}

fn shown(record: &StatsRecord) -> String {
    serde_json::to_string(&stats(record)).unwrap() + "\n"
}

#[test]
fn a_record_is_dockers_byte_for_byte() {
    for docker in [RUNNING, STOPPED] {
        let parsed = serde_json::from_str(docker).unwrap();
        assert_eq!(shown(&record_of(&parsed)), docker);
    }
}

/// Docker leaves the name and the id out of this one alone; ours has them, as its own description of
/// the API says and as newer ones do (moby v29).
#[test]
fn one_of_now_alone_has_no_second_before() {
    let parsed = serde_json::from_str(ONE_SHOT).unwrap();
    let shown = shown(&record_of(&parsed));
    let (same, rest) = shown.split_once(r#","name":"/cap2""#).unwrap();
    assert_eq!(same, ONE_SHOT.trim_end().strip_suffix('}').unwrap());
    assert_eq!(rest, format!(",\"id\":\"{}\"}}\n", "ab".repeat(32)));
}

#[test]
fn what_version_2_does_not_count_is_null_or_absent() {
    let parsed = serde_json::from_str(RUNNING).unwrap();
    let record = record_of(&parsed);
    let mut sample = Sample::clone(record.samples.now.as_ref().unwrap());
    let usage = &mut sample.usage;
    usage.version = CgroupVersion::V2;
    usage.memory.as_mut().unwrap().peak_bytes = None;
    usage.cpu.as_mut().unwrap().by_processor_ns.clear();
    usage.pids.as_mut().unwrap().limit = None;
    usage.block.as_mut().unwrap().operations.clear();
    sample.networks.insert(
        "eth0".to_owned(),
        NetworkCounters {
            received_bytes: 1,
            send_drops: 8,
            ..NetworkCounters::default()
        },
    );
    let show = |sample: &Sample| {
        let samples = Samples {
            now: Some(Arc::new(sample.clone())),
            before: None,
        };
        let record = StatsRecord {
            samples,
            ..record.clone()
        };
        serde_json::to_value(stats(&record)).unwrap()
    };
    let shown = show(&sample);
    assert_eq!(
        shown["pids_stats"],
        json!({"current": 1, "limit": 18_446_744_073_709_551_615_u64})
    );
    assert_eq!(shown["cpu_stats"]["cpu_usage"].get("percpu_usage"), None);
    assert_eq!(shown["memory_stats"].get("max_usage"), None);
    let block = shown["blkio_stats"].as_object().unwrap();
    assert_eq!(block.len(), 8);
    assert_eq!(block["io_service_bytes_recursive"][1]["value"], 13_631_488);
    assert_eq!(block["io_serviced_recursive"], Value::Null);
    assert_eq!(
        shown["networks"],
        json!({"eth0": {
            "rx_bytes": 1, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0,
            "tx_bytes": 0, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 8,
        }})
    );
    // Nothing is counted at all.
    sample.usage.memory = None;
    sample.usage.block = Some(Block::default());
    let shown = show(&sample);
    assert_eq!(shown["memory_stats"], json!({}));
    let block = shown["blkio_stats"].as_object().unwrap();
    assert!(block.values().all(Value::is_null), "{block:?}");
}
