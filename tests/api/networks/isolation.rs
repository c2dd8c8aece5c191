//! What networks keep apart: internal ones from all that is outside, two bridges from each other.

use serde_json::json;
use testkit::{Daemon, until};

use super::{address, connect, daemon, exec, make, serves, stays, subnet, try_exec};

/// Whether a web server answers there.
fn reaches(d: &Daemon, from: &str, host: &str) -> bool {
    try_exec(d, from, &format!("timeout 1 wget -q -O - http://{host}/")).1 == 0
}

/// A way out that leads to a web server: an address of the host that is no gateway.
fn outside(d: &Daemon) -> std::process::Child {
    for words in [
        ["link", "add", "out0", "type", "bridge"].as_slice(),
        &["addr", "add", "192.0.2.80/24", "dev", "out0"],
        &["link", "set", "out0", "up"],
    ] {
        let done = d.command_inside("ip").args(words).status();
        assert!(done.expect("ip(8) runs").success());
    }
    let mut server = d.command_inside("busybox");
    let server = server
        .args(["httpd", "-f", "-p", "192.0.2.80:80", "-h", "/etc"])
        .spawn();
    server.expect("busybox runs")
}

#[test]
fn nothing_leads_out_of_an_internal_network() {
    let d = daemon();
    let mut server = outside(&d);
    let mut body = subnet("10.140.0.0/24");
    body["Internal"] = json!(true);
    make(&d, "closed", body);
    make(&d, "open", subnet("10.140.1.0/24"));
    d.run_detached("web", serves("closed"));
    d.run_detached("asks", stays("closed"));
    d.run_detached("free", stays("open"));
    let out = "192.0.2.80/hostname";
    let get =
        |from: &str| try_exec(&d, from, &format!("timeout 1 wget -q -O - http://{out}")).1 == 0;
    until("the outside is there", || get("free"));
    assert!(!get("asks"), "out of an internal network");
    assert!(
        exec(&d, "asks", "ip route")
            .lines()
            .all(|l| !l.contains("default"))
    );
    assert!(reaches(&d, "asks", "web"), "names and neighbours are there");
    assert_eq!(
        d.inspect("asks")["NetworkSettings"]["Networks"]["closed"]["Gateway"],
        ""
    );
    // Nor into it.
    let web = address(&d, "web", "closed");
    assert!(!reaches(&d, "free", &web));
    // Who is on both gets out, and lets nobody through.
    connect(&d, "open", "asks", &json!({}));
    assert!(get("asks"));
    assert!(!reaches(&d, "free", &web));
    let done = d
        .command_inside("ip")
        .args(["link", "del", "out0"])
        .status();
    assert!(done.expect("ip(8) runs").success());
    server.kill().expect("ours");
    server.wait().expect("ours");
    d.finish();
}

#[test]
fn bridges_do_not_reach_each_other() {
    let d = daemon();
    make(&d, "one", subnet("10.141.0.0/24"));
    make(&d, "two", subnet("10.141.1.0/24"));
    d.run_detached("web1", serves("one"));
    d.run_detached("web2", serves("two"));
    d.run_detached("web3", serves("bridge"));
    let at = [
        ("web1", address(&d, "web1", "one")),
        ("web2", address(&d, "web2", "two")),
        ("web3", address(&d, "web3", "bridge")),
    ];
    for (name, address) in &at {
        until("it serves", || reaches(&d, name, address));
    }
    for (from, _) in &at {
        for (to, address) in &at {
            let wanted = from == to;
            assert_eq!(reaches(&d, from, address), wanted, "{from} to {to}");
        }
    }
    d.finish();
}

/// Where a network's containers are to be apart, they reach the host, who asks for names, and others by what
/// they publish; whether their neighbours, too, is the kernel's affair (br_netfilter).
#[test]
fn containers_of_a_network_can_be_kept_apart() {
    let d = daemon();
    let mut body = subnet("10.143.0.0/24");
    body["Options"] = json!({"com.docker.network.bridge.enable_icc": "false"});
    make(&d, "apart", body);
    let mut body = serves("apart");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8143"}]});
    d.run_detached("web", body);
    d.run_detached("asks", stays("apart"));
    d.run_detached("late", stays("bridge"));
    let published = "10.143.0.1:8143";
    until("it serves", || reaches(&d, "late", published));
    connect(&d, "apart", "late", &json!({}));
    let web = address(&d, "web", "apart");
    for from in ["asks", "late"] {
        assert!(!reaches(&d, from, &web), "{from}");
        let (said, code) = try_exec(&d, from, "nslookup web");
        assert_eq!(code, 0, "{said}");
    }
    d.finish();
}

/// A published port is the way from one network to another, through the host.
#[test]
fn a_published_port_leads_from_one_bridge_to_another() {
    let d = daemon();
    make(&d, "one", subnet("10.142.0.0/24"));
    make(&d, "two", subnet("10.142.1.0/24"));
    let mut body = serves("one");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8142"}]});
    d.run_detached("web", body);
    d.run_detached("asks", stays("two"));
    until("at the gateway", || reaches(&d, "asks", "10.142.1.1:8142"));
    let web = address(&d, "web", "one");
    assert!(!reaches(&d, "asks", &web));
    // From its own network, too, and from itself.
    assert!(reaches(&d, "web", "10.142.0.1:8142"));
    d.finish();
}
