//! `stats`: its numbers are the kernel's, which are asked here as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{until, until_some};

use super::stats::{one_shot, total};
use crate::daemon;

/// The container's cgroup, asked of the kernel and not of the daemon.
struct Cgroup {
    pid: u32,
    is_v2: bool,
}

impl Cgroup {
    fn of(pid: u32) -> Self {
        let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        Self { pid, is_v2 }
    }

    fn dir(&self, controller: &str) -> PathBuf {
        let all = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).expect("it runs");
        let path = all.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let wanted = match self.is_v2 {
                true => controllers.is_empty(),
                false => controllers.split(',').any(|c| c == controller),
            };
            wanted.then(|| path.trim_start_matches('/').to_owned())
        });
        let root = match self.is_v2 {
            true => PathBuf::from("/sys/fs/cgroup"),
            false => Path::new("/sys/fs/cgroup").join(controller),
        };
        root.join(path.expect("it is in one"))
    }

    fn text(&self, name: &str) -> String {
        let controller = name.split('.').next().expect("a controller");
        let path = self.dir(controller).join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// `u64::MAX` for `max`.
    fn number(&self, name: &str) -> u64 {
        self.text(name).trim().parse().unwrap_or(u64::MAX)
    }

    fn pairs(&self, name: &str) -> BTreeMap<String, u64> {
        let text = self.text(name);
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// What a record has to say, key by key.
    fn expected(&self) -> Value {
        let (mut cpu, mut memory) = (json!({}), json!({}));
        let throttling = self.pairs("cpu.stat");
        let details = self.pairs("memory.stat");
        let mut pids = json!({"current": self.number("pids.current")});
        pids["limit"] = json!(self.number("pids.max"));
        if self.is_v2 {
            let ns = |key: &str| throttling.get(key).copied().unwrap_or(0) * 1000;
            cpu["total_usage"] = json!(ns("usage_usec"));
            cpu["usage_in_usermode"] = json!(ns("user_usec"));
            cpu["usage_in_kernelmode"] = json!(ns("system_usec"));
            memory["usage"] = json!(self.number("memory.current"));
            memory["limit"] = json!(self.number("memory.max"));
        } else {
            let ticks = self.pairs("cpuacct.stat");
            cpu["total_usage"] = json!(self.number("cpuacct.usage"));
            cpu["usage_in_usermode"] = json!(ticks["user"] * 10_000_000);
            cpu["usage_in_kernelmode"] = json!(ticks["system"] * 10_000_000);
            let text = self.text("cpuacct.usage_percpu");
            let each: Vec<u64> = text
                .split_whitespace()
                .map(|n| n.parse().expect("a number"))
                .collect();
            cpu["percpu_usage"] = json!(each);
            memory["usage"] = json!(self.number("memory.usage_in_bytes"));
            memory["max_usage"] = json!(self.number("memory.max_usage_in_bytes"));
            memory["limit"] = json!(self.number("memory.limit_in_bytes"));
        }
        let value = |key: &str| json!(throttling.get(key).copied().unwrap_or(0));
        json!({
            "cpu": cpu, "memory": memory, "pids": pids, "details": details,
            "periods": value("nr_periods"), "throttled": value("nr_throttled"),
        })
    }
}

#[test]
fn the_numbers_are_the_kernels() {
    let d = daemon();
    let script = "dd if=/dev/zero of=/dev/shm/kept bs=1M count=8 2>/dev/null
        sleep 1000 & sleep 1000 &
        n=0; while [ $n -lt 30000 ]; do n=$((n + 1)); done; echo done; wait";
    let limits = json!({"Memory": 64 << 20, "PidsLimit": 20, "NanoCpus": 500_000_000});
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": limits}),
    );
    until("it has done its work", || d.logs("it").stdout == "done\n");
    d.http.post("/containers/it/pause").expect(204);
    let cgroup = Cgroup::of(d.init_pid("it"));
    // Frozen, it does nothing; the kernel still gives back what it had charged ahead.
    let (expected, record) = until_some("the numbers stand still", || {
        let before = cgroup.expected();
        let record = one_shot(&d, "it");
        (cgroup.expected() == before).then_some((before, record))
    });
    let used = &record["cpu_stats"]["cpu_usage"];
    for (key, value) in expected["cpu"].as_object().expect("a map") {
        assert_eq!(used[key], *value, "{key}");
    }
    assert!(total(&record) > 0);
    let throttling = &record["cpu_stats"]["throttling_data"];
    assert_eq!(throttling["periods"], expected["periods"]);
    assert_eq!(throttling["throttled_periods"], expected["throttled"]);
    let memory = &record["memory_stats"];
    for (key, value) in expected["memory"].as_object().expect("a map") {
        assert_eq!(memory[key], *value, "{key}");
    }
    assert!(memory["usage"].as_u64() > Some(8 << 20));
    assert_eq!(memory["limit"], 64 << 20);
    let details = memory["stats"].as_object().expect("a map");
    assert!(details.len() > 30);
    for (key, value) in details {
        let kernels = expected["details"]
            .get(key)
            .cloned()
            .unwrap_or_else(|| json!(0));
        assert_eq!(*value, kernels, "{key}");
    }
    assert_eq!(record["pids_stats"], expected["pids"]);
    assert_eq!(record["pids_stats"], json!({"current": 3, "limit": 20}));
    assert_eq!(record["name"], "/it");
    assert_eq!(record["id"], id);
    assert_eq!(record.get("networks"), None, "it has loopback alone");
    d.finish();
}

#[test]
fn the_hosts_numbers_are_beside_them() {
    /// Processors, and what they have done, in nanoseconds.
    fn host() -> (usize, u64) {
        let text = fs::read_to_string("/proc/stat").expect("/proc is mounted");
        let ticks = text.lines().next().expect("a line").split_whitespace();
        let ticks = ticks
            .skip(1)
            .take(7)
            .map(|n| n.parse::<u64>().expect("a number"));
        let each = text.lines().filter(|l| l.starts_with("cpu")).count() - 1;
        (each, ticks.sum::<u64>() * 10_000_000)
    }
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let (processors, before) = host();
    let record = one_shot(&d, "it");
    let (_, after) = host();
    assert_eq!(record["cpu_stats"]["online_cpus"], processors);
    let then = record["cpu_stats"]["system_cpu_usage"]
        .as_u64()
        .expect("it is told");
    assert!(before <= then && then <= after, "{before} {then} {after}");
    let memory = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    assert_eq!(
        record["memory_stats"]["limit"],
        kib.expect("MemTotal") << 10
    );
    // No second before: of that all is zero.
    assert_eq!(record["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(record["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    d.finish();
}

#[test]
fn interfaces_of_its_own_are_counted() {
    /// Those of a process, but loopback.
    fn interfaces(pid: u32) -> BTreeMap<String, Vec<u64>> {
        let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).expect("it runs");
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(name, _)| name.trim() != "lo")
            .map(|(name, counters)| {
                let all = counters
                    .split_whitespace()
                    .map(|n| n.parse().expect("a number"));
                (name.trim().to_owned(), all.collect())
            })
            .collect()
    }
    let d = daemon();
    let script = "busybox ip link add a0 type veth
        for i in $(ls /sys/class/net); do busybox ip link set $i up; done
        echo up; exec sleep 1000";
    let host = json!({"Privileged": true, "NetworkMode": "none"});
    d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": host}),
    );
    until("its interfaces are up", || d.logs("it").stdout == "up\n");
    let pid = d.init_pid("it");
    let (counters, record) = until_some("nothing is sent for a moment", || {
        let before = interfaces(pid);
        let record = one_shot(&d, "it");
        (interfaces(pid) == before).then_some((before, record))
    });
    let networks = record["networks"].as_object().expect("it has some");
    assert_eq!(networks.len(), 2, "{networks:?}");
    for (name, counted) in &counters {
        let keys = ["rx_bytes", "rx_packets", "rx_errors", "rx_dropped"];
        for (key, value) in keys.iter().zip(counted) {
            assert_eq!(networks[name][key], *value, "{name} {key}");
        }
        let keys = ["tx_bytes", "tx_packets", "tx_errors", "tx_dropped"];
        for (key, value) in keys.iter().zip(&counted[8..]) {
            assert_eq!(networks[name][key], *value, "{name} {key}");
        }
    }
    let host = json!({"NetworkMode": "host"});
    d.run_detached(
        "hosts",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": host}),
    );
    assert_eq!(one_shot(&d, "hosts").get("networks"), None);
    d.finish();
}

/// The kernel counts what goes to a disk where it may throttle it.
#[test]
fn reads_and_writes_of_disks_are_counted() {
    let d = daemon();
    let Some(disk) = disk_of(d.root()) else {
        eprintln!("not shown: {} is on no disk", d.root().display());
        return d.finish();
    };
    let bind = d.root().join("bound");
    fs::create_dir(&bind).expect("a directory in ours");
    let rate = json!([{"Path": disk, "Rate": 4_000_000_000_u64}]);
    let host = json!({
        "Binds": [format!("{}:/bound", bind.display())],
        "BlkioDeviceWriteBps": rate, "BlkioDeviceReadBps": rate,
    });
    let script = "dd if=/dev/zero of=/bound/it bs=1M count=4 oflag=direct && echo done; sleep 1000";
    d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": host}),
    );
    until("it is on the disk", || d.logs("it").stdout == "done\n");
    let cgroup = Cgroup::of(d.init_pid("it"));
    let file = match cgroup.is_v2 {
        true => "io.stat",
        false => "blkio.throttle.io_service_bytes_recursive",
    };
    let (text, record) = until_some("nothing is written for a moment", || {
        let before = cgroup.text(file);
        let record = one_shot(&d, "it");
        (cgroup.text(file) == before).then_some((before, record))
    });
    let bytes = &record["blkio_stats"]["io_service_bytes_recursive"];
    let entries = bytes.as_array().unwrap_or_else(|| panic!("{text}"));
    let mut written = 0;
    for entry in entries {
        let device = format!("{}:{}", entry["major"], entry["minor"]);
        let operation = entry["op"].as_str().expect("a word");
        let value = entry["value"].as_u64().expect("a number");
        let mut lines = text.lines().filter(|line| line.starts_with(&device));
        let says = match cgroup.is_v2 {
            true => format!("{}bytes={value} ", &operation[..1]),
            false => format!(" {operation} {value}"),
        };
        assert!(
            lines.any(|line| format!("{line} ").contains(&says)),
            "{entry} {text}"
        );
        if operation.eq_ignore_ascii_case("write") {
            written += value;
        }
    }
    assert!(written >= 4 << 20, "{text}");
    d.finish();
}

/// The disk that carries `path`, if it is one.
fn disk_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = fs::metadata(path).expect("it is there").dev();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff);
    let entry = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let disk = match entry.join("partition").exists() {
        true => entry.parent()?,
        false => &entry,
    };
    let node = Path::new("/dev").join(disk.file_name()?);
    node.exists().then(|| node.display().to_string())
}
