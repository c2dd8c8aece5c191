//! The host's ports and the addresses of networks: taken by others, used up, free again.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testkit::{Daemon, until};

use super::{daemon, fetched, remove, server, sleeper, truth};

fn gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// It may have gone with another: conmon does with its container.
fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(e) => panic!("cannot be killed: {e}"),
    }
}

/// A program of the host that has the port, inside the daemon's namespace.
struct Taker(std::process::Child);

impl Taker {
    fn new(d: &Daemon, port: u16) -> Self {
        let script = format!(
            "import socket, sys\n\
             s = socket.socket()\n\
             s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
             s.bind(('0.0.0.0', {port}))\n\
             s.listen()\n\
             print('ready', flush=True)\n\
             sys.stdin.read()\n"
        );
        let mut child = d
            .command_inside(testkit::require("python3", "python3"))
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)
            .expect("it is readable");
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_port_of_somebody_else_fails_the_start_and_leaves_nothing() {
    let d = daemon();
    let taker = Taker::new(&d, 18080);
    d.create("it", server("it", "bridge", 18080));
    let said = d.http.post("/containers/it/start").error(500);
    assert!(
        said.contains("failed to bind host port 0.0.0.0:18080/tcp: address already in use"),
        "{said}"
    );
    truth::expect(&d, "after a port that is in use");
    // Looked for once more, at each start: a container that is to be restarted gets it then.
    drop(taker);
    d.start_container("it");
    until("it serves", || fetched(&d, 18080) == "it");
    d.create("other", server("other", "bridge", 18080));
    let said = d.http.post("/containers/other/start").error(500);
    assert!(
        said.contains("Bind for 0.0.0.0:18080 failed: port is already allocated"),
        "{said}"
    );
    truth::expect(&d, "after a port that is allocated");
    // Nobody else gets it while the container lives, and not while there is no daemon.
    d.http.post("/containers/it/stop?t=0").expect(204);
    drop(Taker::new(&d, 18080));
    d.start_container("other");
    until("the other serves", || fetched(&d, 18080) == "other");
    d.finish();
}

/// Of the daemon, conmon and the container's process each may be the first to go.
#[test]
fn ports_are_free_at_once_whoever_is_killed_first() {
    let mut d = daemon();
    let orders = ["dci", "dic", "cdi", "cid", "idc", "icd"];
    for order in orders {
        eprintln!("{order}");
        let id = d.run_detached("it", server("it", "bridge", 18080));
        until("it serves", || fetched(&d, 18080) == "it");
        let (conmon, init) = (d.conmon_pid(&id), d.init_pid(&id));
        for who in order.chars() {
            match who {
                'd' => d.kill9(),
                'c' => kill(conmon),
                _ => kill(init),
            }
        }
        until("both are gone", || gone(conmon) && gone(init));
        // Nobody holds it: not a daemon that does not run, and not what it left.
        drop(Taker::new(&d, 18080));
        d.restart();
        d.wait_status(&id, "exited");
        truth::expect(&d, order);
        d.start_container(&id);
        until("it serves again", || fetched(&d, 18080) == "it");
        remove(&d, "it");
    }
    d.finish();
}

#[test]
fn a_subnet_that_is_used_up_says_so_until_one_is_free() {
    let d = daemon();
    let body = json!({"Name": "small", "IPAM": {"Config": [{"Subnet": "10.99.0.0/29"}]}});
    d.http.post_json("/networks/create", &body).expect(201);
    // Eight, less the network, the broadcast and the gateway.
    for n in 0..5 {
        d.run_detached(&format!("c{n}"), sleeper("small"));
    }
    d.create("more", sleeper("small"));
    let said = d.http.post("/containers/more/start").error(503);
    assert!(
        said.contains("no available IPv4 addresses on this network's address pools: small ("),
        "{said}"
    );
    assert_eq!(d.status("more"), "created");
    truth::expect(&d, "with a subnet that is full");
    d.http.post("/containers/c3/stop?t=0").expect(204);
    d.start_container("more");
    truth::expect(&d, "with one that was free again");
    let said = d.http.post("/containers/c3/start").error(503);
    assert!(said.contains("no available IPv4 addresses"), "{said}");
    remove(&d, "more");
    d.start_container("c3");
    d.finish();
}

#[test]
fn pools_that_are_used_up_say_so_until_one_is_free() {
    let config = "[networks]\ndefault-address-pools = [{ base = \"10.98.0.0/22\", size = 24 }]\n";
    let d = Daemon::start(crate::options().networks().config(config));
    // One of four is the default network's.
    for n in 0..3 {
        super::make_network(&d, &format!("n{n}"));
    }
    let more = json!({"Name": "more"});
    let said = d.http.post_json("/networks/create", &more).error(400);
    assert_eq!(
        said,
        "all predefined address pools have been fully subnetted"
    );
    d.run_detached("it", sleeper("n1"));
    d.http.delete("/networks/n1").error(403);
    remove(&d, "it");
    d.http.delete("/networks/n1").expect(204);
    d.http.post_json("/networks/create", &more).expect(201);
    truth::expect(&d, "with networks alone");
    d.finish();
}
