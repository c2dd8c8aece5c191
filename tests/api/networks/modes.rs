//! `NetworkMode`: the default bridge, `host`, `none`, and another container's network.

use serde_json::{Value, json};

use super::{address, daemon, exec, fetches, kill, make, on, serves, stays, subnet};

#[test]
fn host_and_none_are_what_they_say() {
    let d = daemon();
    let mut body = stays("host");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8080"}]});
    body["Image"] = json!(testkit::BUSYBOX);
    let made = d
        .http
        .post_json("/containers/create?name=host", &body)
        .expect(201);
    assert_eq!(
        made.json()["Warnings"],
        json!(["Published ports are discarded when using host network mode"])
    );
    d.start_container("host");
    // The daemon's own namespace.
    let own = std::fs::read_link(format!("/proc/{}/ns/net", d.pid())).expect("a link");
    let theirs = std::fs::read_link(format!("/proc/{}/ns/net", d.init_pid("host")));
    assert_eq!(theirs.expect("a link"), own);
    let shown = d.inspect("host")["NetworkSettings"].clone();
    assert_eq!(shown["Ports"], json!({}));
    let host_id = super::show(&d, "host")["Id"].clone();
    assert_eq!(shown["Networks"]["host"]["NetworkID"], host_id);
    assert_eq!(shown["Networks"]["host"]["IPAddress"], "");

    d.run_detached("none", stays("none"));
    assert_eq!(exec(&d, "none", "ls /sys/class/net"), "lo\n");
    exec(&d, "none", "ping -c1 -w5 127.0.0.1");
    assert_eq!(on(&d, "none"), ["none"]);
    let hosts = exec(&d, "none", "cat /etc/hosts");
    assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"), "{hosts}");
    d.finish();
}

/// Modes that name the default network are all the same one; there names mean nothing.
#[test]
fn the_default_network_is_the_bridge() {
    let d = daemon();
    for (n, mode) in ["default", "bridge", ""].into_iter().enumerate() {
        let name = format!("c{n}");
        d.run_detached(&name, stays(mode));
        assert_eq!(on(&d, &name), ["bridge"], "{mode:?}");
        let shown = d.inspect(&name)["NetworkSettings"].clone();
        // On the default network the old fields say the same.
        let bridge = &shown["Networks"]["bridge"];
        assert_eq!(shown["IPAddress"], bridge["IPAddress"]);
        assert_eq!(shown["MacAddress"], bridge["MacAddress"]);
        assert_eq!(bridge["Gateway"], "172.17.0.1");
        assert_eq!(bridge["DNSNames"], Value::Null);
        assert_eq!(bridge["IPAddress"], format!("172.17.0.{}", n + 2));
        assert_eq!(
            bridge["MacAddress"],
            format!("02:42:ac:11:00:{:02x}", n + 2)
        );
    }
    exec(&d, "c0", "ping -c1 -w5 172.17.0.3");
    let (said, code) = super::try_exec(&d, "c0", "ping -c1 -w5 c1");
    assert_ne!(code, 0, "{said}");
    d.finish();
}

#[test]
fn a_containers_network_can_be_shared() {
    let d = daemon();
    make(&d, "net", subnet("10.110.0.0/24"));
    let mut donor = serves("net");
    donor["Hostname"] = json!("shared");
    donor["HostConfig"]["ExtraHosts"] = json!(["extra:192.0.2.9"]);
    let id = d.run_detached("donor", donor);
    d.run_detached("guest", stays("container:donor"));
    let shown = d.inspect("guest");
    assert_eq!(
        shown["HostConfig"]["NetworkMode"],
        format!("container:{id}")
    );
    assert_eq!(shown["NetworkSettings"]["Networks"], json!({}));
    assert_eq!(shown["Config"]["Hostname"], "shared");
    for file in ["hosts", "resolv.conf", "hostname"] {
        let cat = format!("cat /etc/{file}");
        assert_eq!(exec(&d, "guest", &cat), exec(&d, "donor", &cat), "{file}");
    }
    assert_eq!(
        exec(&d, "guest", "timeout 5 wget -q -O - http://127.0.0.1/"),
        "shared\n"
    );
    assert_eq!(
        exec(&d, "guest", "cat /sys/class/net/eth0/address"),
        exec(&d, "donor", "cat /sys/class/net/eth0/address")
    );
    // The donor ends: the guest keeps its namespace without a way out; a restart of both has one again.
    kill(&d, "donor");
    assert_eq!(d.status("guest"), "running");
    kill(&d, "guest");
    let said = d.http.post("/containers/guest/start").error(409);
    assert!(
        said.contains(&id) && said.contains("is not running"),
        "{said}"
    );
    d.start_container("donor");
    d.start_container("guest");
    let reached = || super::try_exec(&d, "guest", "timeout 5 wget -q -O - http://127.0.0.1/").0;
    testkit::until("the web server is up", || reached() == "shared\n");
    assert_eq!(
        exec(&d, "guest", "cat /etc/hosts"),
        exec(&d, "donor", "cat /etc/hosts")
    );
    d.finish();
}

/// What a guest serves is reached at the donor's address and port.
#[test]
fn a_guest_serves_at_its_donors_port() {
    let d = daemon();
    let mut donor = stays("bridge");
    donor["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8111"}]});
    donor["Hostname"] = json!("both");
    d.run_detached("donor", donor);
    d.run_detached("guest", serves("container:donor"));
    fetches(&d, "127.0.0.1:8111", "both");
    let address = address(&d, "donor", "bridge");
    fetches(&d, &format!("{address}:80"), "both");
    let said = d
        .http
        .post_json("/networks/bridge/connect", &json!({"Container": "guest"}));
    said.expect_error(
        400,
        "container sharing network namespace with another container or host cannot be connected to \
         any other network",
    );
    d.finish();
}
