//! `/networks`, and what containers have of networks: real bridges, netavark and aardvark-dns in a network
//! namespace of each test's own. One module per route or theme; each shares one daemon among its cases.

mod bad_endpoints;
mod bad_input;
mod connect;
mod create;
mod events;
mod files;
mod isolation;
mod list;
mod modes;
mod names;
mod ports;
mod ports_taken;
mod remove;
mod restarts;
mod user_namespaces;

use serde_json::{Value, json};
use testkit::{Daemon, until};

use crate::options;

/// A daemon with a default network.
fn daemon() -> Daemon {
    Daemon::start(options().networks())
}

/// Makes a network; its id.
#[track_caller]
fn make(d: &Daemon, name: &str, mut body: Value) -> String {
    body["Name"] = json!(name);
    let made = d.http.post_json("/networks/create", &body).expect(201);
    made.json()["Id"].as_str().expect("an id").to_owned()
}

/// A network as it is shown.
#[track_caller]
fn show(d: &Daemon, name: &str) -> Value {
    let path = format!("/networks/{name}");
    d.http.get(&path).expect(200).json()
}

/// What asks for one range.
fn subnet(range: &str) -> Value {
    json!({"IPAM": {"Config": [{"Subnet": range}]}})
}

/// A container that stays, on this network.
fn stays(network: &str) -> Value {
    json!({"Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": network}})
}

/// A container that serves its own name at port 80, on this network.
fn serves(network: &str) -> Value {
    let script = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www";
    json!({"Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": network}})
}

/// What a script prints in a running container, and its code.
#[track_caller]
fn try_exec(d: &Daemon, name: &str, script: &str) -> (String, i64) {
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", script]});
    let path = format!("/containers/{name}/exec");
    let made = d.http.post_json(&path, &body).expect(201).json();
    let id = made["Id"].as_str().expect("an id");
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
    let said = testkit::demux(&stream.read_to_end());
    let ended = d.http.get(&format!("/exec/{id}/json")).expect(200).json();
    let code = ended["ExitCode"].as_i64().expect("it ended");
    (format!("{}{}", said.stdout, said.stderr), code)
}

/// What a script prints that does what it should.
#[track_caller]
fn exec(d: &Daemon, name: &str, script: &str) -> String {
    let (said, code) = try_exec(d, name, script);
    assert_eq!(code, 0, "{name}: {script}: {said}");
    said
}

/// A container's address on a network.
#[track_caller]
fn address(d: &Daemon, container: &str, network: &str) -> String {
    let shown = &d.inspect(container)["NetworkSettings"]["Networks"][network];
    let address = shown["IPAddress"].as_str().expect("it is on it");
    assert_ne!(address, "", "{container} on {network}");
    address.to_owned()
}

/// The names of the networks a container is on.
fn on(d: &Daemon, container: &str) -> Vec<String> {
    let shown = &d.inspect(container)["NetworkSettings"]["Networks"];
    shown.as_object().expect("a map").keys().cloned().collect()
}

#[track_caller]
fn connect(d: &Daemon, network: &str, container: &str, endpoint: &Value) {
    let body = json!({"Container": container, "EndpointConfig": endpoint});
    let path = format!("/networks/{network}/connect");
    d.http.post_json(&path, &body).expect(200);
}

#[track_caller]
fn disconnect(d: &Daemon, network: &str, container: &str) {
    let path = format!("/networks/{network}/disconnect");
    let body = json!({"Container": container});
    d.http.post_json(&path, &body).expect(200);
}

#[track_caller]
fn kill(d: &Daemon, container: &str) {
    d.http
        .post(&format!("/containers/{container}/kill"))
        .expect(204);
    d.wait_status(container, "exited");
}

/// What a client on the host gets from a web server; `None` where nobody answers.
fn fetch(d: &Daemon, host_and_port: &str) -> Option<String> {
    let mut curl = d.command_inside("curl");
    curl.args(["-sS", "--fail", "--max-time", "5"]);
    let done = curl.arg(format!("http://{host_and_port}/")).output();
    let done = done.expect("curl(1) runs");
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    done.status.success().then_some(text)
}

/// Waits until the web server there says so: it comes up after its container.
#[track_caller]
fn fetches(d: &Daemon, host_and_port: &str, wanted: &str) {
    until(&format!("{wanted} at {host_and_port}"), || {
        fetch(d, host_and_port).as_deref() == Some(wanted)
    });
}
