//! Ports that somebody has: another container, the host, or a container that has just ended.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use testkit::{Daemon, until};

use super::{daemon, fetch, fetches, kill, make, serves, subnet};

fn web(name: &str, ports: Value) -> Value {
    let mut body = serves("bridge");
    body["Hostname"] = json!(name);
    body["HostConfig"]["PortBindings"] = ports;
    body
}

/// A server of the host.
fn host_server(d: &Daemon, port: u16) -> Child {
    let mut server = d.command_inside("busybox");
    let args = ["httpd", "-f", "-p", &port.to_string(), "-h", "/etc"];
    let server = server
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .expect("busybox runs");
    until("the host's server", || {
        let mut curl = d.command_inside("curl");
        let url = format!("http://127.0.0.1:{port}/hostname");
        curl.args(["-s", "-f", "-o", "/dev/null", &url])
            .status()
            .is_ok_and(|s| s.success())
    });
    server
}

#[test]
fn a_port_that_is_taken_is_dockers_error_and_leaves_nothing() {
    let d = daemon();
    make(&d, "other", subnet("10.160.0.0/24"));
    d.run_detached(
        "first",
        web("first", json!({"80/tcp": [{"HostPort": "8200"}]})),
    );
    fetches(&d, "127.0.0.1:8200", "first");
    let taken = |name: &str, host_ip: &str| {
        let said = d.http.post(&format!("/containers/{name}/start")).error(500);
        let words = format!("Bind for {host_ip}:8200 failed: port is already allocated");
        assert!(said.contains(&words), "{said}");
        let begin = format!("driver failed programming external connectivity on endpoint {name} (");
        assert!(said.contains(&begin), "{said}");
        // It was never started, and holds nothing.
        let view = d.inspect(name);
        assert_eq!(view["State"]["Status"], "created");
        assert_eq!(view["State"]["ExitCode"], 128);
        assert_eq!(view["NetworkSettings"]["Ports"], json!({}));
        let networks = view["NetworkSettings"]["Networks"]
            .as_object()
            .expect("a map")
            .clone();
        assert!(
            networks.values().all(|n| n["IPAddress"] == ""),
            "{networks:?}"
        );
    };
    d.create(
        "second",
        web("second", json!({"80/tcp": [{"HostPort": "8200"}]})),
    );
    taken("second", "0.0.0.0");
    let body = web(
        "third",
        json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8200"}]}),
    );
    d.create("third", body);
    taken("third", "127.0.0.1");
    let mut body = web(
        "fourth",
        json!({"81/tcp": [{"HostPort": "8201"}], "80/tcp": [{"HostPort": "8200"}]}),
    );
    body["HostConfig"]["NetworkMode"] = json!("other");
    d.create("fourth", body);
    taken("fourth", "0.0.0.0");
    // What was taken before it failed is free again.
    d.run_detached(
        "fifth",
        web("fifth", json!({"80/tcp": [{"HostPort": "8201"}]})),
    );
    fetches(&d, "127.0.0.1:8201", "fifth");
    d.http.delete("/containers/fifth?force=1").expect(204);
    // The other protocol is another port.
    d.run_detached("udp", web("udp", json!({"80/udp": [{"HostPort": "8200"}]})));
    // One that ends gives it back: to who starts next, at once.
    kill(&d, "first");
    d.start_container("second");
    fetches(&d, "127.0.0.1:8200", "second");
    d.http.delete("/containers/second?force=1").expect(204);
    d.start_container("fourth");
    fetches(&d, "127.0.0.1:8200", "fourth");
    d.finish();
}

#[test]
fn a_port_of_the_hosts_is_refused_and_a_published_one_is_not_the_hosts() {
    let d = daemon();
    let mut server = host_server(&d, 8210);
    d.create("cc", web("cc", json!({"80/tcp": [{"HostPort": "8210"}]})));
    let said = d.http.post("/containers/cc/start").error(500);
    assert!(said.contains("address already in use"), "{said}");
    assert!(said.contains("8210"), "{said}");
    // The host's goes on.
    assert!(server.try_wait().expect("ours").is_none());
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.start_container("cc");
    fetches(&d, "127.0.0.1:8210", "cc");
    // Nobody of the host gets it while the container lives.
    let mut nc = d.command_inside("busybox");
    let bound = nc
        .args(["timeout", "5", "busybox", "httpd", "-f", "-p", "8210"])
        .output();
    let bound = bound.expect("busybox runs");
    let said = String::from_utf8_lossy(&bound.stderr);
    assert!(said.contains("Address already in use"), "{said}");
    kill(&d, "cc");
    let mut server = host_server(&d, 8210);
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.finish();
}

/// Killed while it holds a port: the container keeps it, the next daemon knows it, its end frees it.
#[test]
fn ports_outlive_the_daemon_and_not_the_container() {
    let mut d = daemon();
    d.run_detached("web", web("web", json!({"80/tcp": [{"HostPort": "8220"}]})));
    fetches(&d, "127.0.0.1:8220", "web");
    d.create(
        "other",
        web("other", json!({"80/tcp": [{"HostPort": "8220"}]})),
    );
    let pid = d.init_pid("web").to_string();
    let shown = d.inspect("web")["NetworkSettings"].clone();
    d.kill9();
    assert_eq!(fetch(&d, "127.0.0.1:8220").as_deref(), Some("web"));
    d.restart();
    assert_eq!(d.inspect("web")["NetworkSettings"], shown);
    fetches(&d, "127.0.0.1:8220", "web");
    let said = d.http.post("/containers/other/start").error(500);
    assert!(said.contains("port is already allocated"), "{said}");
    // It ends while nobody looks.
    d.kill9();
    let killed = d.command_inside("kill").args(["-KILL", &pid]).status();
    assert!(killed.expect("kill(1) runs").success());
    d.restart();
    d.wait_status("web", "exited");
    d.start_container("other");
    fetches(&d, "127.0.0.1:8220", "other");
    d.finish();
}
