//! `stats`: the kernel's numbers, for many, over a container's whole life.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Body, Daemon, Streaming, census, until, until_some};

use crate::daemon;

/// A stream of records.
struct Records {
    body: Body,
    left: Vec<u8>,
}

impl Records {
    fn of(d: &Daemon, name: &str) -> Self {
        let path = format!("/containers/{name}/stats");
        let Streaming { status, body, .. } = d.http.stream("GET", &path, &[], &[]);
        assert_eq!(status, 200);
        Self {
            body,
            left: Vec::new(),
        }
    }

    /// The next one; `None` at the end of the stream.
    fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.left.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.left.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a record is JSON"));
            }
            self.left.extend(self.body.piece()?);
        }
    }

    /// The next one that is as wanted.
    fn next_that(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        for _ in 0..30 {
            let record = self.next().expect("the stream goes on");
            if wanted(&record) {
                return record;
            }
        }
        panic!("not among 30 records: {what}");
    }
}

fn one_shot(d: &Daemon, name: &str) -> Value {
    let path = format!("/containers/{name}/stats?stream=0&one-shot=1");
    d.http.get(&path).expect(200).json()
}

fn is_running(record: &Value) -> bool {
    record["read"] != "0001-01-01T00:00:00Z"
}

fn total(record: &Value) -> u64 {
    record["cpu_stats"]["cpu_usage"]["total_usage"]
        .as_u64()
        .expect("a number")
}

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
                .map(|n| n.parse().unwrap())
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
        let kernels = expected["details"].get(key).cloned();
        assert_eq!(*value, kernels.unwrap_or(json!(0)), "{key}");
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
fn a_second_record_has_the_first_in_it() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let mut records = Records::of(&d, "it");
    let first = records.next().expect("a record");
    assert_eq!(first["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(first["precpu_stats"].get("system_cpu_usage"), None);
    let mut last = first;
    for _ in 0..2 {
        let next = records.next().expect("a record");
        assert_eq!(next["preread"], last["read"]);
        assert_eq!(next["precpu_stats"], last["cpu_stats"]);
        assert!(total(&next) > total(&last));
        last = next;
    }
    // Without a stream, one that has the second before in it; versions before 1.41 know no other.
    for path in [
        "/v1.47/containers/it/stats?stream=false",
        "/v1.40/containers/it/stats?stream=0&one-shot=1",
    ] {
        let one = d.http.get(path).expect(200);
        assert_eq!(one.header("Content-Type"), Some("application/json"));
        let one = one.json();
        assert_ne!(one["preread"], "0001-01-01T00:00:00Z", "{path}");
        let before = &one["precpu_stats"]["cpu_usage"]["total_usage"];
        assert!(total(&one) > before.as_u64().expect("a number"));
    }
    d.finish();
}

#[test]
fn twenty_streams_of_one_container_tell_the_same() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let mut streams: Vec<Records> = (0..20).map(|_| Records::of(&d, "it")).collect();
    let mut by_time: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for records in &mut streams {
        for _ in 0..3 {
            let mut record = records.next().expect("a record");
            let read = record["read"].as_str().expect("a time").to_owned();
            // What came before the first differs.
            record["preread"].take();
            record["precpu_stats"].take();
            by_time.entry(read).or_default().push(record);
        }
    }
    for (read, records) in &by_time {
        assert!(records.iter().all(|r| *r == records[0]), "of {read}");
    }
    assert!(
        by_time.len() <= 5,
        "it is looked at for all at once: {:?}",
        by_time.keys()
    );
    d.finish();
}

#[test]
fn a_stream_goes_on_over_a_stop_and_a_start_until_the_removal() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let mut records = Records::of(&d, "it");
    assert!(is_running(&records.next().expect("a record")));
    d.http.post("/containers/it/kill").expect(204);
    d.wait("it");
    let stopped = records.next_that("that it has ended", |record| !is_running(record));
    assert_eq!(stopped["memory_stats"], json!({}));
    assert_eq!(stopped["pids_stats"], json!({}));
    assert_eq!(stopped["blkio_stats"]["io_serviced_recursive"], Value::Null);
    assert_eq!(
        (&stopped["name"], &stopped["id"]),
        (&json!("/it"), &json!(id))
    );
    // Without a stream, the same at once.
    let none = |record: &mut Value| {
        record["preread"].take();
        record["precpu_stats"].take();
        record.to_string()
    };
    for path in [
        "/containers/it/stats?stream=0",
        "/containers/it/stats?stream=0&one-shot=1",
    ] {
        let mut one = d.http.get(path).expect(200).json();
        assert_eq!(one["preread"], "0001-01-01T00:00:00Z");
        assert_eq!(none(&mut one), none(&mut stopped.clone()));
    }
    d.start_container("it");
    let again = records.next_that("that it runs again", is_running);
    assert_eq!(again["pids_stats"]["current"], 1);
    d.http.post("/containers/it/rename?name=other").expect(204);
    records.next_that("its new name", |record| record["name"] == "/other");
    d.http.delete("/containers/other?force=1").expect(204);
    until("the stream ends", || records.next().is_none());
    d.finish();
}

#[test]
fn a_container_that_ends_while_it_is_looked_at_is_no_error() {
    let d = daemon();
    let mut streams = Vec::new();
    for n in 0..6 {
        let name = format!("c{n}");
        d.run_detached(
            &name,
            json!({"Cmd": ["sleep", "1000"], "HostConfig": {"AutoRemove": true}}),
        );
        streams.push(Records::of(&d, &name));
    }
    let path = |n: usize| format!("/containers/c{n}/stats?stream=0&one-shot=1");
    std::thread::scope(|scope| {
        for n in 0..streams.len() {
            let d = &d;
            scope.spawn(move || {
                loop {
                    let one = d.http.get(&path(n));
                    if one.status == 404 {
                        return;
                    }
                    let one = one.expect(200).json();
                    // All of it is there, or nothing.
                    let runs = is_running(&one);
                    assert_eq!(one["memory_stats"].get("limit").is_some(), runs, "{one}");
                    assert_eq!(total(&one) > 0, runs, "{one}");
                }
            });
            d.http.post(&format!("/containers/c{n}/kill")).expect(204);
        }
    });
    for records in &mut streams {
        until("the stream ends", || records.next().is_none());
    }
    assert!(!d.log().contains("ended early"), "{}", d.log());
    d.finish();
}

#[test]
fn who_hangs_up_is_forgotten() {
    let d = daemon();
    d.run_detached("runs", json!({"Cmd": ["sleep", "1000"]}));
    d.create("never", json!({"Cmd": ["true"]}));
    let before = census::descriptors(d.pid()).len();
    let mut streams = Vec::new();
    for name in ["runs", "never"].into_iter().cycle().take(40) {
        streams.push(Records::of(&d, name));
    }
    assert!(census::descriptors(d.pid()).len() >= before + 40);
    for records in streams.iter_mut().take(20) {
        assert!(records.next().is_some());
    }
    drop(streams);
    until("nothing is held for them", || {
        census::descriptors(d.pid()).len() <= before
    });
    d.finish();
}

#[test]
fn a_daemon_that_comes_back_counts_on() {
    let mut d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "while :; do :; done"]}));
    let before = one_shot(&d, "it");
    let mut records = Records::of(&d, "it");
    assert!(records.next().is_some());
    d.kill9();
    d.restart();
    let after = one_shot(&d, "it");
    assert!(total(&after) > total(&before));
    assert_eq!(after["pids_stats"]["current"], 1);
    // An end in good order waits for no stream.
    let _records = Records::of(&d, "it");
    d.stop();
    d.restart();
    assert!(is_running(&one_shot(&d, "it")));
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

#[test]
fn what_cannot_be_asked_is_refused_in_dockers_words() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["true"]}));
    for path in [
        "/containers/it/stats?one-shot=1",
        "/containers/it/stats?stream=1&one-shot=1",
    ] {
        d.http
            .get(path)
            .expect_error(400, "cannot have stream=true and one-shot=true");
    }
    for query in ["", "?one-shot=1", "?stream=0"] {
        d.http
            .get(&format!("/containers/none/stats{query}"))
            .expect_error(404, "No such container: none");
    }
    d.finish();
}
