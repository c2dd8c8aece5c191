//! From the answer of a start to the answer of the name server that has the container's name.

use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use benchkit::{median, ms, p99};
use serde_json::json;
use testkit::{Daemon, Options};

use crate::namespace_of;

const CONTAINERS: usize = 100;
/// How long one answer of the server is waited for.
const ANSWER: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(10);

/// Prints it: containers stay on the network, so the last is one of a hundred.
pub(crate) fn names() {
    let daemon = Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")).networks());
    let body = json!({"Name": "named", "IPAM": {"Config": [{"Subnet": "10.97.0.0/16", "Gateway": "10.97.0.1"}]}});
    daemon.http.post_json("/networks/create", &body).expect(201);
    let asking = create(&daemon, "asking");
    run(&daemon, &asking);
    let inspect = daemon.http.get(&format!("/containers/{asking}/json"));
    let pid = inspect.expect(200).json()["State"]["Pid"].as_u64();
    let namespace = namespace_of(u32::try_from(pid.expect("it runs")).expect("a pid"));
    let socket = ask_from(&namespace).expect("the name server can be reached");
    let (mut took, mut starts) = (Vec::new(), Vec::new());
    for n in 0..CONTAINERS {
        let name = format!("n{n}");
        let id = create(&daemon, &name);
        let begun = Instant::now();
        run(&daemon, &id);
        let answered = Instant::now();
        starts.push(answered - begun);
        until_known(&socket, &name);
        took.push(answered.elapsed());
    }
    println!(
        "from a start's answer to its name, {CONTAINERS} containers: median {}, p99 {}, longest {} (a start: median {})",
        ms(median(&mut took)),
        ms(p99(&mut took)),
        ms(*took.last().expect("there are some")),
        ms(median(&mut starts)),
    );
    daemon.http.get("/containers/json?all=1").expect(200);
    // A network goes when nobody is on it.
    let all = daemon.http.get("/containers/json?all=1").expect(200).json();
    for container in all.as_array().expect("a list") {
        let id = container["Id"].as_str().expect("an id");
        daemon
            .http
            .delete(&format!("/containers/{id}?force=1"))
            .expect(204);
    }
    daemon.http.delete("/networks/named").expect(204);
    daemon.finish();
}

fn create(daemon: &Daemon, name: &str) -> String {
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "named"},
    });
    let made = daemon
        .http
        .post_json(&format!("/containers/create?name={name}"), &body);
    made.expect(201).json()["Id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn run(daemon: &Daemon, id: &str) {
    daemon
        .http
        .post(&format!("/containers/{id}/start"))
        .expect(204);
}

/// A socket of a container, to its network's name server.
fn ask_from(namespace: &Path) -> io::Result<UdpSocket> {
    sys::netns::inside(namespace, || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("10.97.0.1:53")?;
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(socket)
    })
}

/// Asks until there is an address.
fn until_known(socket: &UdpSocket, name: &str) {
    let begun = Instant::now();
    for number in 0_u16.. {
        assert!(begun.elapsed() < DEADLINE, "{name} has no address");
        // RFC 1035: one question, recursion wished for, an address (A) of the Internet.
        let mut query = number.to_be_bytes().to_vec();
        query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        query.push(u8::try_from(name.len()).expect("it is short"));
        query.extend(name.as_bytes());
        query.extend([0, 0, 1, 0, 1]);
        let mut answer = [0; 512];
        // Where nobody listens for a moment, the kernel says so.
        if socket.send(&query).is_err() {
            continue;
        }
        let Ok(length) = socket.recv(&mut answer) else {
            continue;
        };
        let is_ours = length > 12 && answer[..2] == query[..2];
        let (code, answers) = (answer[3] & 0xf, u16::from_be_bytes([answer[6], answer[7]]));
        if is_ours && code == 0 && answers > 0 {
            return;
        }
    }
}
