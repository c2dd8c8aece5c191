//! Each limit beside the kernel's own value, and what becomes of those that the host cannot hold.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Daemon, census};

use crate::{daemon, options};

const MIB: i64 = 1 << 20;

/// Whether the runtimes use cgroup v2 here, and v2 alone.
fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The file of a running container's cgroup: of a v1 controller, or of v2. `None` where there is none.
fn cgroup_file(d: &Daemon, id: &str, v1: (&str, &str), v2: &str) -> Option<String> {
    let (controller, file) = v1;
    let dirs = census::cgroups(&d.mark());
    let text = |dir: &PathBuf| {
        let path = dir.to_string_lossy();
        if !path.contains(id) {
            return None;
        }
        let file = match unified() {
            true => v2,
            false if path.contains(&format!("/{controller}/")) => file,
            false => return None,
        };
        fs::read_to_string(dir.join(file)).ok()
    };
    let found = dirs.iter().find_map(text);
    found.map(|text| text.trim().to_owned())
}

/// A file of the root of a v1 controller: moby's sign that the host has the limit.
fn host_has(controller: &str, file: &str) -> bool {
    let dir = Path::new("/sys/fs/cgroup").join(controller);
    !unified() && dir.join(file).exists()
}

/// A block device of the host with its numbers, `254:0`.
fn disk() -> Option<(String, String)> {
    let virtual_ones = ["loop", "ram", "zram", "dm-", "sr"];
    let mut disks: Vec<_> = fs::read_dir("/sys/block").ok()?.flatten().collect();
    disks.sort_by_key(fs::DirEntry::file_name);
    disks.into_iter().find_map(|disk| {
        let name = disk.file_name().into_string().ok()?;
        let numbers = fs::read_to_string(disk.path().join("dev")).ok()?;
        let path = format!("/dev/{name}");
        let real = !virtual_ones.iter().any(|prefix| name.starts_with(prefix));
        (real && Path::new(&path).exists()).then(|| (path, numbers.trim().to_owned()))
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes one for this"
)]
fn sleeping(host: Value) -> Value {
    json!({"Cmd": ["sleep", "1000"], "HostConfig": host})
}

fn each_limit_is_the_kernels(runtime: &str) {
    let d = Daemon::start(options().runtime(runtime));
    let host = json!({
        "Memory": 64 * MIB, "MemorySwap": 96 * MIB, "MemoryReservation": 32 * MIB,
        "CpuShares": 512, "CpuPeriod": 50_000, "CpuQuota": 25_000, "CpusetCpus": "0",
        "CpusetMems": "0", "PidsLimit": 20, "OomScoreAdj": 300,
    });
    let id = d.run_detached("limited", sleeping(host.clone()));
    let file = |v1, v2| cgroup_file(&d, &id, v1, v2).unwrap_or_else(|| panic!("{v1:?} or {v2}"));
    let memory = |n: i64| (n * MIB).to_string();
    assert_eq!(
        file(("memory", "memory.limit_in_bytes"), "memory.max"),
        memory(64)
    );
    assert_eq!(
        file(("memory", "memory.soft_limit_in_bytes"), "memory.low"),
        memory(32)
    );
    if unified() || host_has("memory", "memory.memsw.limit_in_bytes") {
        // Both together on v1, swap alone on v2.
        let swap = memory(if unified() { 32 } else { 96 });
        let v1 = ("memory", "memory.memsw.limit_in_bytes");
        assert_eq!(file(v1, "memory.swap.max"), swap);
    }
    let shares = file(("cpu", "cpu.shares"), "cpu.weight");
    assert_eq!(shares, if unified() { "20" } else { "512" });
    if unified() {
        assert_eq!(file(("", ""), "cpu.max"), "25000 50000");
    } else {
        assert_eq!(file(("cpu", "cpu.cfs_period_us"), ""), "50000");
        assert_eq!(file(("cpu", "cpu.cfs_quota_us"), ""), "25000");
    }
    assert_eq!(file(("cpuset", "cpuset.cpus"), "cpuset.cpus"), "0");
    assert_eq!(file(("cpuset", "cpuset.mems"), "cpuset.mems"), "0");
    assert_eq!(file(("pids", "pids.max"), "pids.max"), "20");
    let init = d.init_pid(&id);
    let score = fs::read_to_string(format!("/proc/{init}/oom_score_adj")).expect("it runs");
    assert_eq!(score.trim(), "300");
    let shown = &d.inspect(&id)["HostConfig"];
    for (key, value) in host.as_object().expect("an object") {
        assert_eq!(&shown[key], value, "{key}");
    }
    d.finish();
}

#[test]
fn limits_are_the_kernels_of_runc() {
    each_limit_is_the_kernels("runc");
}

#[test]
fn limits_are_the_kernels_of_crun() {
    each_limit_is_the_kernels("crun");
}

#[test]
fn billionths_of_a_cpu_are_a_quota() {
    let d = daemon();
    let id = d.run_detached("half", sleeping(json!({"NanoCpus": 500_000_000})));
    let file = |v1, v2| cgroup_file(&d, &id, v1, v2).expect("a file");
    if unified() {
        assert_eq!(file(("", ""), "cpu.max"), "50000 100000");
    } else {
        assert_eq!(file(("cpu", "cpu.cfs_period_us"), ""), "100000");
        assert_eq!(file(("cpu", "cpu.cfs_quota_us"), ""), "50000");
    }
    assert_eq!(d.inspect(&id)["HostConfig"]["NanoCpus"], 500_000_000);
    d.finish();
}

fn block_devices_are_limited_by_their_numbers(runtime: &str) {
    let Some((path, numbers)) = disk() else {
        return;
    };
    let d = Daemon::start(options().runtime(runtime));
    let rate = |rate: u64| json!([{"Path": path, "Rate": rate}]);
    let host = json!({
        "BlkioDeviceReadBps": rate(1 << 20), "BlkioDeviceWriteBps": rate(2 << 20),
        "BlkioDeviceReadIOps": rate(100), "BlkioDeviceWriteIOps": rate(200),
    });
    let id = d.run_detached("limited", sleeping(host.clone()));
    if unified() {
        let line = format!("{numbers} rbps=1048576 wbps=2097152 riops=100 wiops=200");
        let said = cgroup_file(&d, &id, ("", ""), "io.max");
        assert_eq!(said.as_deref(), Some(line.as_str()));
    } else {
        for (name, rate) in [
            ("read_bps", 1 << 20),
            ("write_bps", 2 << 20),
            ("read_iops", 100),
            ("write_iops", 200),
        ] {
            let name = format!("blkio.throttle.{name}_device");
            let said = cgroup_file(&d, &id, ("blkio", &name), "").expect("a file");
            assert_eq!(said, format!("{numbers} {rate}"), "{name}");
        }
    }
    let shown = &d.inspect(&id)["HostConfig"];
    for (key, value) in host.as_object().expect("an object") {
        assert_eq!(&shown[key], value, "{key}");
    }
    // One that is not there is looked for at start, as under Docker.
    let gone = json!({"BlkioDeviceReadBps": [{"Path": "/dev/nosuch", "Rate": 1}]});
    let id = d.create("gone", sleeping(gone));
    let said = d.http.post(&format!("/containers/{id}/start")).error(500);
    assert_eq!(said, "stat /dev/nosuch: no such file or directory");
    d.finish();
}

#[test]
fn block_devices_are_limited_of_runc() {
    block_devices_are_limited_by_their_numbers("runc");
}

#[test]
fn block_devices_are_limited_of_crun() {
    block_devices_are_limited_by_their_numbers("crun");
}

/// Limits, whether the host has them, what is said where it has not, and what is shown then.
fn perhaps() -> Vec<(Value, bool, &'static str, Value)> {
    let (path, _) = disk().unwrap_or_else(|| ("/dev/null".to_owned(), String::new()));
    vec![
        (
            json!({"MemorySwappiness": 30}),
            host_has("memory", "memory.swappiness"),
            "Your kernel does not support memory swappiness capabilities or the cgroup is not \
             mounted. Memory swappiness discarded.",
            json!({"MemorySwappiness": null}),
        ),
        (
            json!({"OomKillDisable": true, "Memory": 64 * MIB}),
            host_has("memory", "memory.oom_control"),
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
            json!({"OomKillDisable": false, "Memory": 64 * MIB}),
        ),
        (
            json!({"BlkioWeight": 300}),
            unified() || host_has("blkio", "blkio.weight"),
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight \
             discarded.",
            json!({"BlkioWeight": 0}),
        ),
        (
            json!({"BlkioWeightDevice": [{"Path": path, "Weight": 200}]}),
            unified() || host_has("blkio", "blkio.weight_device"),
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. \
             Weight-device discarded.",
            json!({"BlkioWeightDevice": []}),
        ),
        (
            json!({"KernelMemoryTCP": 32 * MIB}),
            host_has("memory", "memory.kmem.tcp.limit_in_bytes"),
            "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is \
             not mounted. Limitation discarded.",
            json!({"KernelMemoryTCP": null}),
        ),
    ]
}

#[test]
fn what_the_host_cannot_hold_is_discarded_with_a_word() {
    let d = daemon();
    for (host, holds, words, left) in perhaps() {
        let body = json!({"Image": testkit::BUSYBOX, "Cmd": ["true"], "HostConfig": host});
        let made = d.http.post_json("/containers/create", &body).expect(201);
        let made = made.json();
        let told = made["Warnings"].as_array().expect("a list");
        let wanted: &[Value] = if holds { &[] } else { &[json!(words)] };
        assert_eq!(told, wanted, "{host}");
        let shown = &d.inspect(made["Id"].as_str().expect("an id"))["HostConfig"];
        let wanted = if holds { &host } else { &left };
        for (key, value) in wanted.as_object().expect("an object") {
            assert_eq!(&shown[key], value, "{key}");
        }
    }
    d.finish();
}

/// v1 alone has these.
fn swappiness_and_real_time_are_the_kernels_where_it_has_them(runtime: &str) {
    let d = Daemon::start(options().runtime(runtime));
    if host_has("memory", "memory.swappiness") {
        let id = d.run_detached("calm", sleeping(json!({"MemorySwappiness": 30})));
        let file = cgroup_file(&d, &id, ("memory", "memory.swappiness"), "");
        assert_eq!(file.as_deref(), Some("30"));
    }
    let real_time = sleeping(json!({"CpuRealtimePeriod": 500_000}));
    if host_has("cpu", "cpu.rt_period_us") {
        let id = d.run_detached("timely", real_time);
        let file = cgroup_file(&d, &id, ("cpu", "cpu.rt_period_us"), "");
        assert_eq!(file.as_deref(), Some("500000"));
    } else {
        let mut body = real_time;
        body["Image"] = json!(testkit::BUSYBOX);
        let said = d.http.post_json("/containers/create", &body).error(400);
        assert_eq!(said, "kernel does not support CPU real-time scheduler");
    }
    d.finish();
}

#[test]
fn swappiness_and_real_time_of_runc() {
    swappiness_and_real_time_are_the_kernels_where_it_has_them("runc");
}

#[test]
fn swappiness_and_real_time_of_crun() {
    swappiness_and_real_time_are_the_kernels_where_it_has_them("crun");
}

#[test]
fn kernel_memory_is_of_old_clients_only() {
    let d = daemon();
    let body = json!({"Image": testkit::BUSYBOX, "HostConfig": {"KernelMemory": 32 * MIB}});
    let kernel_memory = |path: &str| {
        let made = d.http.post_json(path, &body).expect(201).json();
        let shown = d.inspect(made["Id"].as_str().expect("an id"));
        shown["HostConfig"]["KernelMemory"].as_i64().unwrap_or(0)
    };
    let held = if host_has("memory", "memory.kmem.limit_in_bytes") {
        32 * MIB
    } else {
        0
    };
    assert_eq!(kernel_memory("/v1.41/containers/create"), held);
    assert_eq!(kernel_memory("/v1.42/containers/create"), 0);
    d.finish();
}

#[test]
fn limits_that_make_no_sense_are_refused_in_dockers_words() {
    let d = daemon();
    let cases = [
        (
            json!({"Memory": MIB}),
            "Minimum memory limit allowed is 6MB",
        ),
        (
            json!({"MemorySwappiness": -2}),
            "Invalid value: -2, valid memory swappiness range is 0-100",
        ),
        (
            json!({"MemorySwap": MIB}),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (json!({"NanoCpus": -1}), "range of CPUs is from 0.01 to"),
        (
            json!({"CpuShares": -1}),
            "invalid CPU shares (-1): value must be a positive integer",
        ),
        (
            json!({"CpuPeriod": 10}),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            json!({"CpusetCpus": "x"}),
            "Invalid value x for cpuset cpus: invalid format: x",
        ),
        (
            json!({"CpusetCpus": "0-9999999999"}),
            "Invalid value 0-9999999999 for cpuset cpus: value of out range, maximum is 8192",
        ),
        (
            json!({"CpusetMems": "1000"}),
            "Requested memory nodes are not available - requested 1000, available:",
        ),
        (
            json!({"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
        ),
        (json!({"ShmSize": -1}), "SHM size can not be less than 0"),
    ];
    for (host, words) in cases {
        let said = format!("{host}");
        let body = json!({"Image": testkit::BUSYBOX, "HostConfig": host});
        let told = d.http.post_json("/containers/create", &body).error(400);
        assert!(told.starts_with(words), "{said}: {told}");
    }
    let size = json!({"Image": testkit::BUSYBOX, "HostConfig": {"StorageOpt": {"size": "1g"}}});
    let told = d.http.post_json("/containers/create", &size).error(500);
    let words = [
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        "Filesystem does not support, or has not enabled quotas",
    ];
    assert!(words.contains(&told.as_str()), "{told}");
    let all = d.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(all, json!([]), "nothing was made");
    d.finish();
}
