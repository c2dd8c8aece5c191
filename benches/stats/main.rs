//! What two hundred streams of stats cost: this daemon, Debian's dockerd and podman, each with the same
//! containers, one after the other.
//!
//! `make bench` prints the table of README; `scripts/peers.sh` fetches the other engines. Processor time and
//! memory are those of all processes of an engine but its containers': of dockerd containerd and a shim for
//! each container are part, of the others a conmon for each. Nothing is asserted about time; that each
//! request ended well is.

#[path = "../images/bed.rs"]
#[expect(dead_code, reason = "the registry is for images")]
mod bed;
#[path = "../images/engine.rs"]
#[expect(dead_code, reason = "most of it is for images")]
mod engine;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bed::Bed;
use benchkit::{median, ms, p99};
use engine::{Engine, Running};
use serde_json::json;
use testkit::{Image, until};

const ENGINES: [Engine; 3] = [Engine::Moored, Engine::Dockerd, Engine::Podman];
const CONTAINERS: usize = 20;
const STREAMS: usize = 200;
const ONE_SHOTS: usize = 500;
/// Fewer of an engine that takes longer than that for them: dockerd 20.10 waits for its next look.
const ONE_SHOTS_TIME: Duration = Duration::from_secs(20);
/// How long the streams are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// dockerd 20.10 and podman 4.3 know it, and `one-shot`.
const VERSION: &str = "/v1.41";

/// What one engine needs.
#[derive(Debug)]
struct Row {
    name: &'static str,
    idle_mib: f64,
    streaming_mib: f64,
    /// Milliseconds of a processor in a second.
    cpu_ms: f64,
    records: f64,
    one_shot: Duration,
    one_shot_p99: Duration,
}

fn main() {
    println!("== stats: {STREAMS} streams of {CONTAINERS} containers");
    println!(
        "| | processor, ms/s | records/s | memory, MiB, idle | streaming | one-shot, median | p99 |"
    );
    for engine in ENGINES.into_iter().filter(|engine| engine.is_here()) {
        let row = measure(engine);
        println!(
            "| {} | {:.1} | {:.0} | {:.0} | {:.0} | {} | {} |",
            row.name,
            row.cpu_ms,
            row.records,
            row.idle_mib,
            row.streaming_mib,
            ms(row.one_shot),
            ms(row.one_shot_p99),
        );
    }
}

fn measure(engine: Engine) -> Row {
    let running = Running::start(engine, Bed::new());
    let image = running.bed.path("busybox.tar");
    std::fs::write(&image, Image::busybox().docker_archive()).expect("there is room for it");
    running.load(&image);
    let ids: Vec<String> = (0..CONTAINERS).map(|_| start(&running)).collect();
    let pids = processes(&running);
    let idle_mib = resident_mib(&pids);
    let (one_shot, one_shot_p99) = one_shots(&running, &ids);

    let records = Arc::new(AtomicU64::new(0));
    for n in 0..STREAMS {
        watch(&running, &ids[n % CONTAINERS], records.clone());
    }
    let enough = STREAMS as u64 * 2;
    until("all streams are on their way", || {
        records.load(Ordering::Relaxed) >= enough
    });
    let pids = processes(&running);
    let (begun, cpu, count) = (
        Instant::now(),
        cpu_ms(&pids),
        records.load(Ordering::Relaxed),
    );
    std::thread::sleep(WATCHED);
    let seconds = begun.elapsed().as_secs_f64();
    let row = Row {
        name: engine.name(),
        idle_mib,
        streaming_mib: resident_mib(&pids),
        cpu_ms: (cpu_ms(&pids) - cpu) / seconds,
        records: (records.load(Ordering::Relaxed) - count) as f64 / seconds,
        one_shot,
        one_shot_p99,
    };
    for id in ids {
        let path = format!("{VERSION}/containers/{id}?force=1");
        let _ = running.http().delete(&path);
    }
    row
}

fn start(running: &Running) -> String {
    // podman asks for more than a machine may give, where nobody says anything.
    let limits = ["nofile", "nproc"].map(|name| json!({"Name": name, "Soft": 1024, "Hard": 1024}));
    let body = json!({
        "Image": testkit::BUSYBOX, "Cmd": ["sleep", "1000000"],
        "HostConfig": {"NetworkMode": "none", "Ulimits": limits},
    });
    let made = running
        .http()
        .post_json(&format!("{VERSION}/containers/create"), &body);
    let id = made.expect(201).json()["Id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("{VERSION}/containers/{id}/start");
    running.http().post(&path).expect(204);
    id
}

fn one_shots(running: &Running, ids: &[String]) -> (Duration, Duration) {
    let mut times = Vec::new();
    let end = Instant::now() + ONE_SHOTS_TIME;
    for n in 0..ONE_SHOTS {
        if Instant::now() > end {
            break;
        }
        let id = &ids[n % ids.len()];
        let path = format!("{VERSION}/containers/{id}/stats?stream=false&one-shot=true");
        let begun = Instant::now();
        let record = running.http().get(&path).expect(200);
        times.push(begun.elapsed());
        assert!(record.json()["cpu_stats"]["cpu_usage"]["total_usage"].is_u64());
    }
    (median(&mut times), p99(&mut times))
}

/// Reads a stream in a thread of its own, to its end, which not every engine has in good order.
fn watch(running: &Running, id: &str, records: Arc<AtomicU64>) {
    let mut stream = running.http().connect().expect("the engine listens");
    let request = format!("GET {VERSION}/containers/{id}/stats HTTP/1.1\r\nHost: d\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        let mut last = 0;
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            for byte in &bytes[..count] {
                // A record is a line of its own; what is between two is not JSON.
                let ends = (last, *byte) == (b'}', b'\n');
                records.fetch_add(u64::from(ends), Ordering::Relaxed);
                last = *byte;
            }
        }
    });
}

/// All that an engine has started in its bed: a container's are in mount namespaces of their own.
fn processes(running: &Running) -> Vec<u32> {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = running.bed.pids();
    let bed = own.first().and_then(|pid| namespace(*pid));
    assert!(bed.is_some(), "the engine runs");
    let entries = std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| namespace(*pid) == bed && !is_helper(*pid))
        .collect()
}

/// The bed's own, that holds its namespaces.
fn is_helper(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    matches!(name.trim(), "sleep" | "unshare" | "nsenter" | "cat")
}

fn cpu_ms(pids: &[u32]) -> f64 {
    let ticks = pids.iter().map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        times.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>()
    });
    // A tick is ten milliseconds.
    ticks.sum::<u64>() as f64 * 10.0
}

fn resident_mib(pids: &[u32]) -> f64 {
    let kib = pids.iter().map(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let value = line.and_then(|value| value.split_whitespace().next());
        value
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0)
    });
    kib.sum::<u64>() as f64 / 1024.0
}
