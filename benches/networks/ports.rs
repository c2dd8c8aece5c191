//! Published ports, beside those of Debian's podman and dockerd: one stream of TCP in both directions, and the
//! echo of a byte, from the host to a container, by 127.0.0.1 and by the bridge's address.
//!
//! All engines run at once, each in its own namespaces, and are measured in turn.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use benchkit::{median, median_of, p99};
use serde_json::{Value, json};
use testkit::Image;

use crate::bed::Bed;
use crate::engine::{Engine, Running};
use crate::namespace_of;

const ENGINES: [Engine; 3] = [Engine::Moored, Engine::Podman, Engine::Dockerd];
/// What one measurement of throughput moves.
const BYTES: usize = 64 << 20;
const ROUNDS: usize = 15;
/// Echoes in a round.
const ECHOES: usize = 400;
/// dockerd 20.10 and podman 4.3 know it.
const VERSION: &str = "/v1.41";
const HOST_PORT: u16 = 8080;
const OWN_PORT: u16 = 80;
/// The first byte of a connection: what the container is to do with it.
const SWALLOW: u8 = 0;
const POUR: u8 = 1;
const ECHO: u8 = 2;

/// An engine, its container, and what was measured.
struct Bench {
    name: &'static str,
    running: Running,
    id: String,
    host: PathBuf,
    ways: [Way; 2],
}

/// By one address of the host.
struct Way {
    to: SocketAddr,
    in_mb_s: Vec<f64>,
    out_mb_s: Vec<f64>,
    echoes: Vec<Duration>,
}

/// Prints the table.
pub(crate) fn ports() {
    let mut benches: Vec<Bench> = ENGINES
        .into_iter()
        .filter(|engine| engine.is_here())
        .map(Bench::new)
        .collect();
    for _ in 0..ROUNDS {
        for bench in &mut benches {
            bench.round();
        }
    }
    println!(
        "== published ports, {ROUNDS} rounds of {} MiB and {ECHOES} echoes",
        BYTES >> 20
    );
    println!("| | to the container, MB/s | from it, MB/s | echo, median | p99 |");
    for bench in &mut benches {
        for (way, word) in bench
            .ways
            .iter_mut()
            .zip(["127.0.0.1", "the bridge's address"])
        {
            println!(
                "| {}, {word} | {:.0} | {:.0} | {} | {} |",
                bench.name,
                median_of(&mut way.in_mb_s),
                median_of(&mut way.out_mb_s),
                us(median(&mut way.echoes)),
                us(p99(&mut way.echoes)),
            );
        }
        // What it started would outlive its bed.
        let path = format!("{VERSION}/containers/{}?force=1", bench.id);
        let _ = bench.running.http().delete(&path);
    }
}

fn us(value: Duration) -> String {
    format!("{:.1} us", value.as_secs_f64() * 1e6)
}

impl Bench {
    fn new(engine: Engine) -> Self {
        let running = Running::start_with_networks(engine, Bed::new());
        let image = running.bed.path("busybox.tar");
        std::fs::write(&image, Image::busybox().docker_archive()).expect("there is room for it");
        running.load(&image);
        let inspect = container(&running);
        let pid = inspect["State"]["Pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok());
        serve(&namespace_of(pid.expect("it runs")));
        let settings = &inspect["NetworkSettings"];
        let gateway = settings["Gateway"].as_str().filter(|text| !text.is_empty());
        let gateway = gateway.or_else(|| {
            let networks = settings["Networks"].as_object()?;
            networks
                .values()
                .find_map(|network| network["Gateway"].as_str())
        });
        let gateway: Ipv4Addr = gateway.expect("a gateway").parse().expect("an address");
        let host = namespace_of(running.bed.pids()[0]);
        let way = |ip: Ipv4Addr| Way {
            to: (ip, HOST_PORT).into(),
            in_mb_s: Vec::new(),
            out_mb_s: Vec::new(),
            echoes: Vec::new(),
        };
        Self {
            name: engine.name(),
            running,
            id: inspect["Id"].as_str().expect("an id").to_owned(),
            host,
            ways: [way(Ipv4Addr::LOCALHOST), way(gateway)],
        }
    }

    fn round(&mut self) {
        for way in &mut self.ways {
            let connect = |what: u8| {
                let to = way.to;
                let stream = sys::netns::inside(&self.host, move || TcpStream::connect(to));
                let mut stream = stream.expect("the port is published");
                stream.set_nodelay(true).expect("it is TCP");
                stream.write_all(&[what]).expect("the container reads");
                stream
            };
            way.in_mb_s.push(rate(|| pour_in(connect(SWALLOW))));
            way.out_mb_s.push(rate(|| swallow(&mut connect(POUR))));
            let mut stream = connect(ECHO);
            for n in 0..ECHOES {
                let (sent, mut byte) = ([u8::try_from(n % 251).expect("small")], [255]);
                let begun = Instant::now();
                stream.write_all(&sent).expect("the container reads");
                stream.read_exact(&mut byte).expect("the container answers");
                way.echoes.push(begun.elapsed());
                assert_eq!(byte, sent);
            }
        }
    }
}

fn rate(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

/// Sends all, and waits for the word that it came.
fn pour_in(mut stream: TcpStream) {
    pour(&mut stream);
    let mut end = [0];
    stream
        .read_exact(&mut end)
        .expect("the container has it all");
}

fn pour(stream: &mut TcpStream) {
    let block = vec![7; 128 << 10];
    for _ in 0..BYTES / block.len() {
        stream.write_all(&block).expect("the other end reads");
    }
}

fn swallow(stream: &mut TcpStream) {
    let mut block = vec![0; 128 << 10];
    let mut left = BYTES;
    while left > 0 {
        let count = stream.read(&mut block).expect("the other end writes");
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
}

/// The container's side: a socket in its namespace, as long as this program lives.
fn serve(namespace: &Path) {
    let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, OWN_PORT));
    let listener = sys::netns::inside(namespace, listen).expect("nothing else listens there");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // A proxy may connect to see whether somebody listens.
            std::thread::spawn(move || answer(&mut stream));
        }
    });
}

fn answer(stream: &mut TcpStream) {
    let mut what = [255];
    if stream.read_exact(&mut what).is_err() {
        return;
    }
    stream.set_nodelay(true).expect("it is TCP");
    match what[0] {
        SWALLOW => {
            swallow(stream);
            stream.write_all(&[1]).expect("it waits for that");
        }
        POUR => pour(stream),
        _ => {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).expect("it waits for that");
            }
        }
    }
}

/// A container that sleeps, with a port; what its inspect says.
fn container(running: &Running) -> Value {
    // podman asks for more than a machine may give, where nobody says anything.
    let limits = ["nofile", "nproc"].map(|name| json!({"Name": name, "Soft": 1024, "Hard": 1024}));
    let own = format!("{OWN_PORT}/tcp");
    let body = json!({
        "Image": testkit::BUSYBOX, "Cmd": ["sleep", "1000000"],
        "ExposedPorts": {&own: {}},
        "HostConfig": {
            "NetworkMode": "bridge", "Ulimits": limits,
            "PortBindings": {&own: [{"HostPort": HOST_PORT.to_string()}]},
        },
    });
    let made = running
        .http()
        .post_json(&format!("{VERSION}/containers/create"), &body);
    let made = made.expect(201).json();
    let id = made["Id"].as_str().expect("an id");
    running
        .http()
        .post(&format!("{VERSION}/containers/{id}/start"))
        .expect(204);
    running
        .http()
        .get(&format!("{VERSION}/containers/{id}/json"))
        .expect(200)
        .json()
}
