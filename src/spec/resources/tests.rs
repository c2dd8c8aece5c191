//! What is refused, warned of and written.

use model::BlockIo;
use model::resources::{DeviceRate, DeviceWeight};
use serde_json::json;

use super::*;
use crate::fixture;
use crate::host::BlockIoFacts;

fn asked(change: impl FnOnce(&mut Resources)) -> Resources {
    let mut resources = Resources::default();
    change(&mut resources);
    resources
}

fn refused(change: impl FnOnce(&mut Resources)) -> String {
    let resources = asked(change);
    let error = limits(&resources, &fixture::host()).unwrap_err();
    error.message().to_owned()
}

fn rate(path: &str, rate: u64) -> Vec<DeviceRate> {
    vec![DeviceRate {
        path: path.to_owned(),
        rate,
    }]
}

#[test]
fn what_is_out_of_range_is_refused_in_dockers_words() {
    assert_eq!(
        refused(|r| r.memory_swappiness = Some(101)),
        "Invalid value: 101, valid memory swappiness range is 0-100"
    );
    assert_eq!(
        refused(|r| r.memory_swappiness = Some(-2)),
        "Invalid value: -2, valid memory swappiness range is 0-100"
    );
    assert_eq!(
        refused(|r| r.kernel_memory_bytes = Some(1)),
        "Minimum kernel memory limit allowed is 6MB"
    );
    assert_eq!(
        refused(|r| {
            r.cpu_realtime_period_us = Some(10);
            r.cpu_realtime_runtime_us = Some(11);
        }),
        "cpu real-time runtime cannot be higher than cpu real-time period"
    );
    for weight in [9, 1001] {
        let range = "Range of blkio weight is from 10 to 1000";
        assert_eq!(refused(|r| r.block_io.weight = Some(weight)), range);
        let device = DeviceWeight {
            path: "/dev/sda".to_owned(),
            weight,
        };
        assert_eq!(refused(|r| r.block_io.weight_devices = vec![device]), range);
    }
}

#[test]
fn a_kernel_without_real_time_groups_refuses_them() {
    let mut host = fixture::host();
    host.cgroup.cpu_realtime = false;
    let resources = asked(|r| r.cpu_realtime_runtime_us = Some(1));
    assert_eq!(
        limits(&resources, &host).unwrap_err().message(),
        "kernel does not support CPU real-time scheduler"
    );
}

#[test]
fn what_the_host_cannot_hold_is_not_in_force() {
    let mut host = fixture::host();
    host.cgroup.memory_swappiness = false;
    host.cgroup.kernel_memory = false;
    host.cgroup.kernel_memory_tcp = false;
    host.cgroup.swap = false;
    host.cgroup.block_io = BlockIoFacts::all(false);
    let resources = asked(|r| {
        r.memory_bytes = Some(64 << 20);
        // Out of range, which nobody looks at where it is discarded.
        r.memory_swappiness = Some(1000);
        r.kernel_memory_bytes = Some(1);
        r.kernel_memory_tcp_bytes = Some(1);
        r.block_io.weight = Some(1);
        r.block_io.weight_devices = vec![DeviceWeight {
            path: "/dev/sda".to_owned(),
            weight: 1,
        }];
        r.block_io.read_bps = rate("/dev/sda", 1);
        r.block_io.write_bps = rate("/dev/sda", 1);
        r.block_io.read_iops = rate("/dev/sda", 1);
        r.block_io.write_iops = rate("/dev/sda", 1);
    });
    let Limits { in_force, warnings } = limits(&resources, &host).unwrap();
    let left = asked(|r| {
        r.memory_bytes = Some(64 << 20);
        r.memory_swap_bytes = Some(-1);
    });
    assert_eq!(in_force, left);
    let kernel = "Your kernel does not support";
    assert_eq!(
        warnings,
        [
            format!(
                "{kernel} swap limit capabilities or the cgroup is not mounted. Memory limited \
                 without swap."
            ),
            format!(
                "{kernel} memory swappiness capabilities or the cgroup is not mounted. Memory \
                 swappiness discarded."
            ),
            format!(
                "{kernel} kernel memory limit capabilities or the cgroup is not mounted. \
                 Limitation discarded."
            ),
            format!(
                "{kernel} kernel memory TCP limit capabilities or the cgroup is not mounted. \
                 Limitation discarded."
            ),
            format!("{kernel} Block I/O weight or the cgroup is not mounted. Weight discarded."),
            format!(
                "{kernel} Block I/O weight_device or the cgroup is not mounted. Weight-device \
                 discarded."
            ),
            format!(
                "{kernel} BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS \
                 read limit discarded."
            ),
            format!(
                "{kernel} BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS \
                 write limit discarded."
            ),
            format!(
                "{kernel} IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS \
                 read limit discarded."
            ),
            format!(
                "{kernel} IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS \
                 write limit discarded."
            ),
        ]
    );
}

#[test]
fn a_limit_without_a_wish_for_swap_doubles_it() {
    let limit = |swap| {
        let resources = asked(|r| {
            r.memory_bytes = Some(64 << 20);
            r.memory_swap_bytes = swap;
        });
        let limits = limits(&resources, &fixture::host()).unwrap();
        let written = memory(&limits.in_force).unwrap();
        (limits.in_force.memory_swap_bytes, written.swap)
    };
    assert_eq!(limit(None), (Some(128 << 20), Some(128 << 20)));
    assert_eq!(limit(Some(0)), (Some(128 << 20), Some(128 << 20)));
    assert_eq!(limit(Some(-1)), (Some(-1), None));
}

#[test]
fn what_says_nothing_is_no_limit() {
    let resources = asked(|r| {
        r.memory_swappiness = Some(-1);
        r.pids_limit = Some(-1);
        r.cpu_realtime_period_us = Some(0);
        r.block_io.weight = Some(0);
    });
    let Limits { in_force, warnings } = limits(&resources, &fixture::host()).unwrap();
    assert_eq!((in_force, warnings.len()), (Resources::default(), 0));
}

#[test]
fn kernel_memory_below_nothing_is_shown_and_not_written() {
    let resources = asked(|r| r.kernel_memory_bytes = Some(-1));
    let Limits { in_force, warnings } = limits(&resources, &fixture::host()).unwrap();
    assert_eq!((&in_force, warnings.len()), (&resources, 0));
    assert!(memory(&in_force).is_none());
}

#[test]
fn all_of_them_are_written_in_the_specifications_words() {
    let resources = asked(|r| {
        r.memory_swappiness = Some(0);
        r.kernel_memory_bytes = Some(8 << 20);
        r.kernel_memory_tcp_bytes = Some(9 << 20);
        r.cpu_realtime_period_us = Some(1_000_000);
        r.cpu_realtime_runtime_us = Some(950_000);
        r.nano_cpus = Some(1_500_000_000);
        r.block_io.weight = Some(300);
        r.block_io.read_bps = rate("/dev/null", 1 << 20);
        r.block_io.write_iops = rate("/dev/null", 7);
        r.block_io.weight_devices = vec![DeviceWeight {
            path: "/dev/null".to_owned(),
            weight: 20,
        }];
    });
    let limits = limits(&resources, &fixture::host()).unwrap();
    let deprecated = "Specifying a kernel memory limit is deprecated and will be removed in a future \
                      release.";
    assert_eq!(limits.warnings, [deprecated]);
    let devices = resolve_block_devices(&resources.block_io).unwrap();
    let in_force = &limits.in_force;
    let written = json!({
        "memory": memory(in_force),
        "cpu": cpu(in_force),
        "blockIO": block_io(in_force, &devices),
    });
    let wanted = json!({
        "memory": {"kernel": 8 << 20, "kernelTCP": 9 << 20, "swappiness": 0},
        "cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 950_000,
                "period": 100_000, "quota": 150_000},
        "blockIO": {
            "weight": 300,
            "weightDevice": [{"major": 1, "minor": 3, "weight": 20}],
            "throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1 << 20}],
            "throttleWriteIOPSDevice": [{"major": 1, "minor": 3, "rate": 7}],
        },
    });
    assert_eq!(written, wanted);
    serde_json::from_value::<oci_spec::runtime::LinuxResources>(written).unwrap();
}

#[test]
fn a_device_that_is_not_there_is_told_as_docker_does() {
    let io = BlockIo {
        read_bps: rate("/dev/nosuch", 1),
        ..BlockIo::default()
    };
    assert_eq!(
        resolve_block_devices(&io).unwrap_err().message(),
        "stat /dev/nosuch: no such file or directory"
    );
}

#[test]
fn limits_of_earlier_versions_are_read() {
    let old = r#"{"memory_bytes":1,"memory_reservation_bytes":null,"memory_swap_bytes":null,
        "nano_cpus":null,"cpu_shares":null,"cpu_period_us":null,"cpu_quota_us":null,
        "cpuset_cpus":null,"cpuset_mems":null,"pids_limit":null,"oom_score_adj":0,
        "oom_kill_disable":false}"#;
    let read: Resources = serde_json::from_str(old).unwrap();
    let wanted = Resources {
        memory_bytes: Some(1),
        ..Resources::default()
    };
    assert_eq!(read, wanted);
}
