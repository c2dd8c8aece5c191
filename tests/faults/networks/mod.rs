//! Networks on bad days: the daemon killed around each effect on the host, netavark and aardvark-dns that
//! fail in every way, addresses and ports used up, a firewall that is flushed. What runs keeps its
//! addresses, names and ports; of what has ended nothing is left.

mod bridge;
mod changes;
mod firewall;
mod many;
mod names;
#[cfg(feature = "failpoints")]
mod points;
mod ports;
mod programs;
mod random;
mod truth;

use serde_json::{Value, json};
use testkit::Daemon;

use crate::options;

/// A daemon with a default network, and a configuration file that can be replaced.
fn daemon() -> Daemon {
    Daemon::start(options().networks().config(""))
}

fn make_network(d: &Daemon, name: &str) -> String {
    let made = d
        .http
        .post_json("/networks/create", &json!({"Name": name}))
        .expect(201)
        .json();
    made["Id"].as_str().expect("an id").to_owned()
}

/// Answers its own name on port 80, which the host's `port` leads to.
fn server(name: &str, network: &str, port: u16) -> Value {
    let script = format!(
        "mkdir /www; echo {name} > /www/index.html; trap 'exit 0' TERM; httpd -p 80 -h /www; \
         while :; do sleep 1 & wait $!; done"
    );
    json!({
        "Cmd": ["sh", "-c", script], "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"NetworkMode": network,
            "PortBindings": {"80/tcp": [{"HostPort": port.to_string()}]}},
    })
}

/// One that only stays.
fn sleeper(network: &str) -> Value {
    json!({"Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": network}})
}

fn remove(d: &Daemon, name: &str) {
    let gone = d.http.delete(&format!("/containers/{name}?force=1&v=1"));
    assert!(matches!(gone.status, 204 | 404 | 409), "{}", gone.text());
    testkit::until("its name is free", || {
        d.http.get(&format!("/containers/{name}/json")).status == 404
    });
}

/// What the host's port answers.
fn fetched(d: &Daemon, port: u16) -> String {
    fetched_by(d, d.pid(), &format!("http://127.0.0.1:{port}/"))
}

/// What a process, as far as its network goes, gets from there.
fn fetched_by(d: &Daemon, pid: u32, url: &str) -> String {
    let out = d
        .command_inside("nsenter")
        .args(["--target", &pid.to_string(), "--net", "--"])
        .arg(testkit::require("curl", "curl"))
        .args(["--silent", "--noproxy", "*", "--max-time", "2", url])
        .output();
    let out = out.expect("nsenter runs").stdout;
    String::from_utf8_lossy(&out).trim().to_owned()
}

/// What a program says in a container's namespaces.
fn said_inside(d: &Daemon, id: &str, words: &[&str]) -> String {
    let out = d
        .command_inside("nsenter")
        .args(["--target", &d.init_pid(id).to_string(), "--net", "--mount"])
        .arg("--")
        .args(words)
        .output();
    let out = out.expect("nsenter runs").stdout;
    String::from_utf8_lossy(&out).into_owned()
}

/// A container's address on a network.
fn address(d: &Daemon, id: &str, network: &str) -> String {
    let found = &d.inspect(id)["NetworkSettings"]["Networks"][network]["IPAddress"];
    found.as_str().expect("text").to_owned()
}

/// The address by which `from` finds `name`.
fn resolved(d: &Daemon, from: &str, name: &str) -> Option<String> {
    let said = said_inside(d, from, &["nslookup", "-type=a", &format!("{name}.")]);
    let answer = said.split("Name:").nth(1)?;
    let line = answer.lines().find_map(|l| l.strip_prefix("Address"))?;
    line.split_whitespace().last().map(str::to_owned)
}
