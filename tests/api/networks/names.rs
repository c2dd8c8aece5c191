//! Who finds whom by name: on networks of the user's own all do, whatever happens to their containers.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::json;
use testkit::{Daemon, until};

use super::{address, connect, daemon, disconnect, exec, kill, make, stays, subnet, try_exec};

/// Whether `from` is told this address for a name.
fn finds(d: &Daemon, from: &str, name: &str, address: &str) -> bool {
    let (said, code) = try_exec(d, from, &format!("nslookup {name}"));
    code == 0 && said.contains(address)
}

#[test]
fn containers_find_each_other_by_every_name() {
    let d = daemon();
    make(&d, "net", subnet("10.120.0.0/24"));
    make(&d, "far", subnet("10.120.1.0/24"));
    d.run_detached("asks", stays("net"));
    d.run_detached("outside", stays("far"));
    let mut body = stays("net");
    body["Hostname"] = json!("own-hostname");
    body["NetworkingConfig"] =
        json!({"EndpointsConfig": {"net": {"Aliases": ["alias", "shared-name"]}}});
    let id = d.run_detached("named", body);
    let ip = address(&d, "named", "net");
    // As soon as the start was answered.
    for name in [
        "named",
        "alias",
        "shared-name",
        "own-hostname",
        &id[..12],
        "NAMED",
        "named.net",
        "shared-name.net",
        &format!("{}.net", &id[..12]),
    ] {
        assert!(finds(&d, "asks", name, &ip), "{name}");
        assert!(!finds(&d, "outside", name, &ip), "{name}");
    }
    let (said, code) = try_exec(&d, "asks", "nslookup nosuch");
    assert_ne!(code, 0, "{said}");
    assert!(!finds(&d, "asks", "named.far", &ip));
    // And backwards, the longer name first.
    let said = exec(&d, "asks", &format!("nslookup {ip}"));
    let told = said.lines().find(|line| line.contains("name = "));
    assert!(told.is_some_and(|l| l.ends_with("named.net")), "{said}");

    let mut body = stays("net");
    body["NetworkingConfig"] = json!({"EndpointsConfig": {"net": {"Aliases": ["shared-name"]}}});
    d.run_detached("second", body);
    let second = address(&d, "second", "net");
    let said = exec(&d, "asks", "nslookup shared-name");
    assert!(said.contains(&ip) && said.contains(&second), "{said}");

    d.http
        .post("/containers/named/rename?name=renamed")
        .expect(204);
    assert!(finds(&d, "asks", "renamed", &ip));
    assert!(!finds(&d, "asks", "named", &ip));
    assert!(finds(&d, "asks", "alias", &ip));
    kill(&d, "renamed");
    until("the name is gone", || !finds(&d, "asks", "renamed", &ip));
    d.finish();
}

/// Says `heard` to whoever sends it a datagram at port 53 of all addresses.
const SERVER: &str = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
    s.bind(('0.0.0.0', 53)); \
    exec('while True: d, a = s.recvfrom(999); s.sendto(b\"heard\", a)')";

/// Asks there; a datagram may be lost, so it waits a second only.
const ASK: &str = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); \
    s.sendto(b'me', ('127.0.0.1', 53)); print(s.recv(9).decode())";

fn serve(mut program: std::process::Command) -> std::process::Child {
    program
        .args(["python3", "-c", SERVER])
        .spawn()
        .expect("it runs")
}

fn is_heard(d: &Daemon) -> bool {
    let mut ask = d.command_inside("python3");
    let said = ask.args(["-c", ASK]).output().expect("python3 runs");
    said.stdout == b"heard\n"
}

/// A resolver for the neighbourhood in a container, as pi-hole: its port 53 and the networks' names do not know
/// of each other.
#[test]
fn a_container_may_publish_port_53() {
    let mut d = daemon();
    make(&d, "net", subnet("10.126.0.0/24"));
    d.run_detached("asks", stays("net"));
    d.run_detached("named", stays("net"));
    let ip = address(&d, "named", "net");
    assert!(finds(&d, "asks", "named", &ip));
    let mut body = stays("bridge");
    body["HostConfig"]["PortBindings"] =
        json!({"53/udp": [{"HostPort": "53"}], "53/tcp": [{"HostPort": "53"}]});
    d.run_detached("resolver", body);
    let in_it = |d: &Daemon| {
        let mut nsenter = d.command_inside("nsenter");
        nsenter.arg(format!("--net=/proc/{}/ns/net", d.init_pid("resolver")));
        nsenter
    };
    let mut server = serve(in_it(&d));
    until("the host's port leads to it", || is_heard(&d));
    assert!(finds(&d, "asks", "named", &ip));
    // Networks that come later.
    make(&d, "later", subnet("10.126.1.0/24"));
    d.run_detached("late", stays("later"));
    let late = address(&d, "late", "later");
    assert!(finds(&d, "late", "late", &late));
    // The next daemon, after somebody has emptied the firewall.
    d.stop();
    let mut nft = d.command_inside("nft");
    assert!(
        nft.args(["flush", "ruleset"])
            .status()
            .expect("it runs")
            .success()
    );
    d.restart();
    until("names are found", || finds(&d, "asks", "named", &ip));
    until("the port is led to it", || is_heard(&d));
    server.kill().expect("ours");
    server.wait().expect("ours");
    // Who is in the way is no longer the name server.
    let mut body = stays("bridge");
    body["HostConfig"]["PortBindings"] = json!({"53/udp": [{"HostPort": "53"}]});
    d.create("second", body);
    let said = d.http.post("/containers/second/start").error(500);
    assert!(
        said.contains("Bind for 0.0.0.0:53 failed: port is already allocated"),
        "{said}"
    );
    d.http.post("/containers/resolver/restart?t=0").expect(204);
    assert!(finds(&d, "asks", "named", &ip));
    d.finish();
}

/// What else is in the way of a container that publishes port 53 is told, and no server is moved for it.
#[test]
fn the_name_server_stays_where_making_way_is_of_no_use() {
    let d = daemon();
    make(&d, "net", subnet("10.126.2.0/24"));
    d.run_detached("named", stays("net"));
    let ip = address(&d, "named", "net");
    let taken = "import socket, time; s = socket.create_server(('0.0.0.0', 8080)); print(flush=True); time.sleep(60)";
    let mut python = d.command_inside("python3");
    let python = python.args(["-c", taken]).stdout(Stdio::piped());
    let mut other = python.spawn().expect("it runs");
    let mut said = [0];
    let mut out = other.stdout.take().expect("it is piped");
    out.read_exact(&mut said).expect("it listens");
    for host_ip in ["", "192.0.2.1"] {
        let mut body = stays("bridge");
        body["HostConfig"]["PortBindings"] = json!({
            "53/udp": [{"HostIp": host_ip, "HostPort": "53"}],
            "80/tcp": [{"HostPort": "8080"}],
        });
        d.create("resolver", body);
        let said = d.http.post("/containers/resolver/start").error(500);
        assert!(
            said.contains("0.0.0.0:8080/tcp: address already in use"),
            "{said}"
        );
        d.http.delete("/containers/resolver").expect(204);
    }
    let mut nft = d.command_inside("nft");
    let tables = nft.args(["list", "tables"]).output().expect("it runs");
    let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
    assert!(!tables.contains("moored"), "{tables}");
    assert!(finds(&d, "named", "named", &ip));
    other.kill().expect("ours");
    other.wait().expect("ours");
    d.finish();
}

/// As dnsmasq and named do where nobody tells them not to.
#[test]
fn names_are_found_where_the_hosts_name_server_has_all_addresses() {
    let d = daemon();
    make(&d, "net", subnet("10.127.0.0/24"));
    let mut server = serve(d.command_inside("env"));
    until("the host's server is there", || is_heard(&d));
    d.run_detached("named", stays("net"));
    let ip = address(&d, "named", "net");
    assert!(finds(&d, "named", "named", &ip));
    assert!(is_heard(&d));
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.finish();
}

/// Names and fixed addresses outlive restarts of the container, by hand and by policy.
#[test]
fn restarts_keep_names() {
    let d = daemon();
    make(&d, "net", subnet("10.121.0.0/24"));
    d.run_detached("asks", stays("net"));
    let mut body = stays("net");
    body["HostConfig"]["RestartPolicy"] = json!({"Name": "always"});
    body["NetworkingConfig"] = json!({"EndpointsConfig": {"net": {
        "Aliases": ["svc"], "IPAMConfig": {"IPv4Address": "10.121.0.99"},
        "MacAddress": "02:aa:bb:cc:dd:ee"}}});
    d.run_detached("cc", body);
    let is_as_it_was = || {
        let endpoint = d.inspect("cc")["NetworkSettings"]["Networks"]["net"].clone();
        assert_eq!(endpoint["IPAddress"], "10.121.0.99");
        assert_eq!(endpoint["MacAddress"], "02:aa:bb:cc:dd:ee");
        assert!(finds(&d, "asks", "svc", "10.121.0.99"));
        assert!(finds(&d, "asks", "cc", "10.121.0.99"));
        assert_eq!(
            exec(&d, "cc", "cat /sys/class/net/eth0/address"),
            "02:aa:bb:cc:dd:ee\n"
        );
    };
    is_as_it_was();
    d.http.post("/containers/cc/restart?t=0").expect(204);
    is_as_it_was();
    // By its policy.
    let before = d.init_pid("cc");
    let pid = i32::try_from(before).expect("a pid");
    let killed = d
        .command_inside("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(killed.expect("kill(1) runs").success());
    until("it runs again", || {
        let state = d.inspect("cc")["State"].clone();
        state["Running"] == true && state["Pid"] != before && state["Pid"] != 0
    });
    is_as_it_was();
    // Nobody else is given a fixed address that is in use.
    let mut body = stays("net");
    body["NetworkingConfig"] =
        json!({"EndpointsConfig": {"net": {"IPAMConfig": {"IPv4Address": "10.121.0.99"}}}});
    d.create("thief", body);
    let said = d.http.post("/containers/thief/start").error(403);
    assert!(said.contains("Address already in use"), "{said}");
    assert_eq!(d.status("thief"), "created");
    d.finish();
}

/// A container's own names for others, on the default network and on another.
#[test]
fn links_name_others_for_one_container_alone() {
    let d = daemon();
    make(&d, "net", subnet("10.122.0.0/24"));
    let mut body = stays("bridge");
    body["Env"] = json!(["A=of db", "HOME=/nowhere"]);
    body["ExposedPorts"] = json!({"5432/tcp": {}});
    d.run_detached("db", body);
    let mut body = stays("bridge");
    body["HostConfig"]["Links"] = json!(["db:store", "db"]);
    body["Env"] = json!(["DB_ENV_A=of its own"]);
    d.run_detached("web", body);
    let ip = address(&d, "db", "bridge");
    let first = exec(&d, "web", "tr '\\0' '\\n' </proc/1/environ");
    let env = exec(&d, "web", "env");
    for variable in [
        &format!("STORE_PORT=tcp://{ip}:5432"),
        &format!("STORE_PORT_5432_TCP_ADDR={ip}"),
        "STORE_NAME=/web/store",
        "STORE_ENV_A=of db",
        "DB_ENV_A=of its own",
    ] {
        assert!(first.lines().any(|l| l == variable), "{variable}: {first}");
        assert!(env.lines().any(|l| l == variable), "{variable}: {env}");
    }
    assert!(!env.contains("_ENV_HOME"), "{env}");
    let asked = d.inspect("web")["Config"]["Env"].to_string();
    assert!(!asked.contains("STORE"), "{asked}");
    let hosts = exec(&d, "web", "cat /etc/hosts");
    for name in ["store", "db"] {
        let line = hosts
            .lines()
            .find(|l| l.starts_with(&ip) && l.contains(name));
        assert!(line.is_some(), "{name}: {hosts}");
    }
    exec(&d, "web", "ping -c1 -w5 store");
    assert_eq!(
        d.inspect("web")["HostConfig"]["Links"],
        json!(["/db:/web/store", "/db:/web/db"])
    );
    // To one that does not run there is no way.
    kill(&d, "web");
    kill(&d, "db");
    let said = d.http.post("/containers/web/start");
    let said = said.error(409);
    assert!(
        said.contains("Cannot link to a non running container: /db AS "),
        "{said}"
    );

    d.run_detached("db2", stays("net"));
    let mut body = stays("net");
    body["NetworkingConfig"] = json!({"EndpointsConfig": {"net": {"Links": ["db2:store"]}}});
    d.run_detached("web2", body);
    d.run_detached("other", stays("net"));
    exec(&d, "web2", "ping -c1 -w5 store");
    let (said, code) = try_exec(&d, "other", "ping -c1 -w5 store");
    assert_ne!(code, 0, "{said}");
    // Its line follows it to another address.
    disconnect(&d, "net", "db2");
    let fixed = json!({"IPAMConfig": {"IPv4Address": "10.122.0.99"}});
    connect(&d, "net", "db2", &fixed);
    until("its line follows", || {
        let hosts = exec(&d, "web2", "cat /etc/hosts");
        let line = hosts.lines().find(|l| l.contains("store"));
        line.is_some_and(|l| l.starts_with("10.122.0.99"))
    });
    d.finish();
}

/// A network that is connected later brings its names, and takes them with it.
#[test]
fn a_connected_network_brings_its_names() {
    let d = daemon();
    make(&d, "one", subnet("10.123.0.0/24"));
    make(&d, "two", subnet("10.123.1.0/24"));
    d.run_detached("aa", stays("one"));
    d.run_detached("bb", stays("two"));
    let ip = address(&d, "bb", "two");
    assert!(!finds(&d, "aa", "bb", &ip));
    connect(&d, "two", "aa", &json!({"Aliases": ["guest"]}));
    assert!(finds(&d, "aa", "bb", &ip));
    let guest = address(&d, "aa", "two");
    assert!(finds(&d, "bb", "guest", &guest));
    disconnect(&d, "two", "aa");
    assert!(!finds(&d, "aa", "bb", &ip));
    assert!(!finds(&d, "bb", "guest", &guest));
    d.finish();
}
