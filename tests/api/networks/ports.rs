//! Published ports: how they are asked for, where they lead, how they are shown.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Daemon, until};

use super::{daemon, exec, fetch, fetches, kill, make, serves, stays, subnet};

/// A web server that says this, with these ports published.
fn web(name: &str, ports: Value) -> Value {
    let mut body = serves("bridge");
    body["Hostname"] = json!(name);
    body["HostConfig"]["PortBindings"] = ports;
    body
}

fn shown(d: &Daemon, name: &str) -> Value {
    d.inspect(name)["NetworkSettings"]["Ports"].clone()
}

/// A row's ports, sorted.
fn rows(d: &Daemon, path: &str, id: &str) -> Vec<Value> {
    let list = d.http.get(path).expect(200).json();
    let mut list = list.as_array().expect("a list").iter();
    let row = list.find(|c| c["Id"] == id).expect("it is there");
    let mut rows = row["Ports"].as_array().expect("a list").clone();
    rows.sort_by_key(ToString::to_string);
    rows
}

#[test]
fn tcp_ports_lead_to_the_container_until_it_ends() {
    let d = daemon();
    let ports =
        json!({"80/tcp": [{"HostPort": "8150"}, {"HostIp": "127.0.0.1", "HostPort": "8151"}]});
    let mut body = web("web", ports.clone());
    body["ExposedPorts"] = json!({"443/tcp": {}, "80/tcp": {}});
    let id = d.create("web", body);
    assert_eq!(shown(&d, "web"), json!({}), "nothing before it runs");
    assert_eq!(rows(&d, "/containers/json?all=1", &id), [json!({})][..0]);
    d.start_container("web");
    fetches(&d, "127.0.0.1:8150", "web");
    fetches(&d, "127.0.0.1:8151", "web");
    fetches(&d, "172.17.0.1:8150", "web");
    assert_eq!(
        fetch(&d, "172.17.0.1:8151"),
        None,
        "published on loopback alone"
    );
    assert_eq!(
        d.inspect("web")["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"],
        "8150"
    );
    let ports = shown(&d, "web");
    assert_eq!(ports["443/tcp"], Value::Null);
    let http = ports["80/tcp"].as_array().expect("a list");
    assert!(
        http.contains(&json!({"HostIp": "0.0.0.0", "HostPort": "8150"})),
        "{ports}"
    );
    assert!(
        http.contains(&json!({"HostIp": "127.0.0.1", "HostPort": "8151"})),
        "{ports}"
    );
    let listed = rows(&d, "/containers/json", &id);
    let row = |ip: &str, port: u16| json!({"IP": ip, "PrivatePort": 80, "PublicPort": port, "Type": "tcp"});
    assert!(listed.contains(&row("0.0.0.0", 8150)), "{listed:?}");
    assert!(listed.contains(&row("127.0.0.1", 8151)), "{listed:?}");
    assert!(
        listed.contains(&json!({"PrivatePort": 443, "Type": "tcp"})),
        "{listed:?}"
    );
    let said = d.docker().run(&["port", "web", "80/tcp"]).expect(0).stdout;
    let said = String::from_utf8_lossy(said.as_ref()).into_owned();
    assert!(
        said.contains("0.0.0.0:8150") && said.contains("127.0.0.1:8151"),
        "{said}"
    );
    // Filters of the list.
    for (filter, found) in [("8150", true), ("80/tcp", false), ("8152", false)] {
        let filters = json!({"publish": [filter]}).to_string();
        let path = testkit::query("/containers/json", &[("filters", &filters)]);
        let list = d.http.get(&path).expect(200).json();
        assert_eq!(
            list.as_array().is_some_and(|l| !l.is_empty()),
            found,
            "{filter}"
        );
    }
    d.http.post("/containers/web/stop?t=0").expect(204);
    assert_eq!(shown(&d, "web"), json!({}));
    assert_eq!(fetch(&d, "127.0.0.1:8150"), None);
    // And again, with the same ones.
    d.start_container("web");
    fetches(&d, "127.0.0.1:8150", "web");
    d.http.post("/containers/web/restart?t=0").expect(204);
    fetches(&d, "127.0.0.1:8150", "web");
    d.finish();
}

/// Asked for by range, by nothing, and by `-P`.
#[test]
fn the_daemon_chooses_where_it_may() {
    let d = daemon();
    let port = |name: &str, inner: &str| -> u16 {
        let ports = shown(&d, name);
        let port = ports[inner][0]["HostPort"].as_str();
        port.unwrap_or_else(|| panic!("{ports}"))
            .parse()
            .expect("a number")
    };
    let range = || json!({"80/tcp": [{"HostPort": "8160-8162"}]});
    let mut chosen = BTreeSet::new();
    for name in ["r0", "r1", "r2"] {
        d.run_detached(name, web(name, range()));
        let port = port(name, "80/tcp");
        assert!((8160..=8162).contains(&port), "{port}");
        assert!(chosen.insert(port), "{port} twice");
        fetches(&d, &format!("127.0.0.1:{port}"), name);
    }
    d.create("r3", web("r3", range()));
    let said = d.http.post("/containers/r3/start").error(500);
    assert!(
        said.contains("port is already allocated") || said.contains("all ports are allocated"),
        "{said}"
    );
    kill(&d, "r1");
    d.start_container("r3");
    assert!(chosen.contains(&port("r3", "80/tcp")));

    d.run_detached("any", web("any", json!({"80/tcp": [{}]})));
    let any = port("any", "80/tcp");
    assert!(any >= 1024, "{any}");
    fetches(&d, &format!("127.0.0.1:{any}"), "any");

    let mut body = web("all", json!({}));
    body["ExposedPorts"] = json!({"80/tcp": {}, "81/tcp": {}, "53/udp": {}});
    body["HostConfig"]["PublishAllPorts"] = json!(true);
    d.run_detached("all", body);
    let ports = shown(&d, "all");
    for inner in ["80/tcp", "81/tcp", "53/udp"] {
        let host = ports[inner][0]["HostPort"].as_str().expect("published");
        assert_ne!(host, "0", "{ports}");
    }
    let all = port("all", "80/tcp");
    fetches(&d, &format!("127.0.0.1:{all}"), "all");
    d.finish();
}

/// Says back what it hears, once for each line.
const ECHO: &str = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
    s.bind(('0.0.0.0', 53)); \
    exec('while True: d, a = s.recvfrom(99); s.sendto(b\"heard \" + d, a)')";

/// Asks at a port of the host; a datagram may be lost, so it waits a second only.
const ASK: &str = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); \
    s.sendto(b'me', ('127.0.0.1', 8170)); print(s.recv(99).decode())";

#[test]
fn udp_ports_lead_to_the_container() {
    let d = daemon();
    let mut body = stays("bridge");
    body["HostConfig"]["PortBindings"] =
        json!({"53/udp": [{"HostPort": "8170"}], "53/tcp": [{"HostPort": "8170"}]});
    let id = d.run_detached("udp", body);
    let ports = shown(&d, "udp");
    for inner in ["53/udp", "53/tcp"] {
        let list = ports[inner].as_array().expect("a list");
        let all = json!({"HostIp": "0.0.0.0", "HostPort": "8170"});
        assert!(list.contains(&all), "{ports}");
    }
    let listed = rows(&d, "/containers/json", &id);
    let is_it = |row: &Value| row["Type"] == "udp" && row["PublicPort"] == 8170;
    assert!(listed.iter().any(is_it), "{listed:?}");
    // busybox has no server of datagrams: it is the host's program in the container's network.
    let mut server = d.command_inside("nsenter");
    server.arg(format!("--net=/proc/{}/ns/net", d.init_pid("udp")));
    let mut server = server
        .args(["python3", "-c", ECHO])
        .spawn()
        .expect("it runs");
    until("an answer by udp", || {
        let mut ask = d.command_inside("python3");
        let said = ask.args(["-c", ASK]).output().expect("python3 runs");
        said.stdout == b"heard me\n"
    });
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.finish();
}

/// IPv6 addresses of the host lead to the container's where its network has some.
#[test]
fn ipv6_is_published_too() {
    let d = daemon();
    let mut body = subnet("10.151.0.0/24");
    body["EnableIPv6"] = json!(true);
    make(&d, "six", body);
    let mut body = web("six", json!({"80/tcp": [{"HostPort": "8180"}]}));
    body["HostConfig"]["NetworkMode"] = json!("six");
    d.run_detached("six", body);
    fetches(&d, "127.0.0.1:8180", "six");
    let v6 = d.inspect("six")["NetworkSettings"]["Networks"]["six"]["IPv6Gateway"].clone();
    let v6 = v6.as_str().expect("text").to_owned();
    fetches(&d, &format!("[{v6}]:8180"), "six");
    let ports = shown(&d, "six");
    assert!(
        ports["80/tcp"]
            .as_array()
            .expect("a list")
            .contains(&json!({"HostIp": "::", "HostPort": "8180"})),
        "{ports}"
    );
    d.finish();
}

/// A container without ports, and one on no network, show none.
#[test]
fn nothing_is_published_by_itself() {
    let d = daemon();
    let mut body = stays("bridge");
    body["ExposedPorts"] = json!({"80/tcp": {}, "8000-8002/tcp": {}});
    let id = d.run_detached("exposes", body);
    let expected = json!({"80/tcp": null, "8000/tcp": null, "8001/tcp": null, "8002/tcp": null});
    assert_eq!(shown(&d, "exposes"), expected);
    assert_eq!(rows(&d, "/containers/json", &id).len(), 4);
    let mut body = stays("none");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8190"}]});
    d.run_detached("none", body);
    assert_eq!(shown(&d, "none"), json!({}));
    assert_eq!(fetch(&d, "127.0.0.1:8190"), None);
    exec(&d, "none", "true");
    d.finish();
}

/// As under Docker, where docker0 is there with or without containers.
#[test]
fn the_default_networks_gateway_is_there_without_containers_on_it() {
    let d = daemon();
    make(&d, "net", subnet("10.158.0.0/24"));
    let mut body = serves("net");
    body["Hostname"] = json!("web");
    body["HostConfig"]["PortBindings"] =
        json!({"80/tcp": [{"HostIp": "172.17.0.1", "HostPort": "8158"}]});
    d.run_detached("web", body);
    fetches(&d, "172.17.0.1:8158", "web");
    assert_eq!(fetch(&d, "127.0.0.1:8158"), None);
    // Who is on another network finds it, and what the host's own programs serve there.
    let mut server = d.command_inside("busybox");
    let server = server.args(["httpd", "-f", "-p", "172.17.0.1:8159", "-h", "/etc"]);
    let mut server = server.spawn().expect("busybox runs");
    let mut body = stays("net");
    body["HostConfig"]["ExtraHosts"] = json!(["host.docker.internal:host-gateway"]);
    d.run_detached("asks", body);
    for at in ["8158/", "8159/hostname"] {
        let ask = format!("timeout 1 wget -q -O - http://host.docker.internal:{at}");
        until(at, || super::try_exec(&d, "asks", &ask).1 == 0);
    }
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.finish();
}
