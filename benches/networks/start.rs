//! `run --rm` on the default network, beside the same on `none` and netavark by hand: a namespace made and
//! pinned, `setup`, `teardown`, the pin removed, one after the other.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use benchkit::{enter, median, ms, timed};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use testkit::{Daemon, Options};

use crate::namespace_of;

const PAIRS: usize = 30;
/// Of the container that runs all the while. The bridge stays without it, too, on both sides.
const ELSEWHERE: &str = "sleep";
/// Whose id netavark is told.
const ID: &str = "f100f100f100f100f100f100f100f100f100f100f100f100f100f100f100f100";

/// Prints both, for each runtime.
pub(crate) fn start() {
    for runtime in ["runc", "crun"] {
        let options = Options::new(env!("CARGO_BIN_EXE_moored"));
        let daemon = Daemon::start(options.runtime(runtime).networks());
        for alone in [true, false] {
            if !alone {
                let body = json!({"Image": "busybox", "Cmd": [ELSEWHERE, "100000"]});
                let made = daemon.http.post_json("/containers/create", &body);
                let id = made.expect(201).json()["Id"].clone();
                let id = id.as_str().expect("an id");
                daemon
                    .http
                    .post(&format!("/containers/{id}/start"))
                    .expect(204);
            }
            // A thread that went into the daemon's namespaces does not come back.
            std::thread::scope(|scope| {
                scope.spawn(|| pairs(&daemon, runtime, alone));
            });
        }
        daemon.finish();
    }
}

fn pairs(daemon: &Daemon, runtime: &str, alone: bool) {
    enter(daemon);
    let net = std::fs::File::open(namespace_of(daemon.pid())).expect("the daemon runs");
    setns(&net, CloneFlags::CLONE_NEWNET).expect("we are root");
    let by_hand = ByHand::new(daemon);
    run_rm(daemon, "default");
    by_hand.turn();
    let (mut ours, mut none, mut hand) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        ours.push(timed(|| run_rm(daemon, "default")));
        none.push(timed(|| run_rm(daemon, "none")));
        hand.push(timed(|| by_hand.turn()));
    }
    let mut floor: Vec<_> = none.iter().zip(&hand).map(|(a, b)| *a + *b).collect();
    let others = if alone { "no other" } else { "another" };
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    println!(
        "run --rm on the default network, {others} container there, {runtime}: {} (on none and netavark by \
         hand {}: {} + {}; {:+.2} ms)",
        ms(ours),
        ms(floor),
        ms(median(&mut none)),
        ms(median(&mut hand)),
        (ours.as_secs_f64() - floor.as_secs_f64()) * 1000.0,
    );
}

/// As the docker CLI does it: create, wait for removal, start, read the wait's end.
fn run_rm(daemon: &Daemon, network: &str) {
    let body = json!({
        "Image": "busybox", "Cmd": ["true"],
        "HostConfig": {"AutoRemove": true, "NetworkMode": network},
    });
    let http = testkit::Client::new(daemon.http.socket());
    let made = http
        .post_json("/containers/create", &body)
        .expect(201)
        .json();
    let id = made["Id"].as_str().expect("an id").to_owned();
    let wait = format!("/containers/{id}/wait?condition=removed");
    let mut waiting = http.stream("POST", &wait, &[], b"");
    http.post(&format!("/containers/{id}/start")).expect(204);
    assert_eq!(waiting.body.read_to_end(), b"{\"StatusCode\":0}\n");
}

/// netavark, told what the daemon tells it for the default network.
struct ByHand {
    program: PathBuf,
    dir: PathBuf,
    input: String,
}

impl ByHand {
    fn new(daemon: &Daemon) -> Self {
        let network = daemon.http.get("/networks/bridge").expect(200).json();
        let range = &network["IPAM"]["Config"][0];
        let (subnet, gateway) = (&range["Subnet"], &range["Gateway"]);
        let text = subnet.as_str().expect("it has a range");
        // Far from those that the daemon gives.
        let address = format!(
            "{}.200.7",
            text.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
        );
        let id = network["Id"].as_str().expect("an id");
        let interface = &network["Options"]["com.docker.network.bridge.name"];
        let info = json!({
            "name": id, "id": id, "driver": "bridge", "network_interface": interface,
            "subnets": [{"subnet": subnet, "gateway": gateway}], "ipv6_enabled": false,
            "internal": false, "dns_enabled": false, "options": {"isolate": "true", "metric": "100"},
            "ipam_options": {"driver": "host-local"},
        });
        let place = json!({
            "interface_name": "eth0", "static_ips": [address], "static_mac": "02:42:0a:00:c8:07",
        });
        let by_id = |value: Value| json!({id: value});
        let input = json!({
            "container_id": ID, "container_name": "by-hand", "networks": by_id(place),
            "network_info": by_id(info), "port_mappings": [],
        });
        let usual = ["/usr/libexec/podman/netavark", "/usr/lib/podman/netavark"];
        let program = usual.iter().map(Path::new).find(|path| path.exists());
        Self {
            program: program.expect("netavark is installed").to_owned(),
            dir: daemon.root().join("run"),
            input: input.to_string(),
        }
    }

    fn turn(&self) {
        let pin = self.dir.join("by-hand-ns");
        sys::netns::make(&pin).expect("a namespace");
        self.call("setup", &pin);
        self.call("teardown", &pin);
        sys::netns::remove(&pin).expect("it is ours");
    }

    fn call(&self, verb: &str, pin: &Path) {
        let config = self.dir.join("by-hand");
        std::fs::create_dir_all(&config).expect("a directory in the daemon's");
        let mut netavark = Command::new(&self.program)
            .arg("--config")
            .arg(config)
            .args(["--aardvark-binary", "/nonexistent", verb])
            .arg(pin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("netavark runs");
        let mut stdin = netavark.stdin.take().expect("it is a pipe");
        stdin.write_all(self.input.as_bytes()).expect("it reads");
        drop(stdin);
        let done = netavark.wait_with_output().expect("it is our child");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "netavark {verb}: {said}");
    }
}
