//! Containers with a user namespace on networks: the network namespace is theirs.

use serde_json::json;
use testkit::Daemon;

use super::{address, connect, disconnect, exec, fetches, kill, make, serves, stays, subnet};
use crate::options;

#[test]
fn a_mapped_container_has_networks_like_all_others() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(options().networks().runtime(runtime));
        make(&d, "net", subnet("10.180.0.0/24"));
        make(&d, "more", subnet("10.180.1.0/24"));
        let mut body = serves("net");
        body["Hostname"] = json!("mapped");
        body["HostConfig"]["UsernsMode"] = json!("0:300000:65536");
        body["HostConfig"]["CapAdd"] = json!(["NET_ADMIN"]);
        body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8230"}]});
        d.run_detached("mapped", body);
        d.run_detached("plain", stays("net"));
        fetches(&d, "127.0.0.1:8230", "mapped");
        exec(&d, "plain", "timeout 5 wget -q -O - http://mapped/");
        exec(&d, "mapped", "ping -c1 -w5 plain");
        // It rules its own namespace, and no other.
        exec(&d, "mapped", "ip link set lo down && ip link set lo up");
        connect(&d, "more", "mapped", &json!({}));
        address(&d, "mapped", "more");
        assert_eq!(exec(&d, "mapped", "ls /sys/class/net"), "eth0\neth1\nlo\n");
        disconnect(&d, "more", "mapped");
        // Nobody of other ids shares its network.
        let mut guest = stays("container:mapped");
        guest["HostConfig"]["UsernsMode"] = json!("0:400000:65536");
        guest["HostConfig"]["CapAdd"] = json!(["NET_ADMIN"]);
        guest["Image"] = json!(testkit::BUSYBOX);
        let said = d.http.post_json("/containers/create", &guest).error(400);
        assert!(
            said.ends_with("the two have other ids behind theirs"),
            "{runtime}: {said}"
        );
        kill(&d, "mapped");
        d.start_container("mapped");
        fetches(&d, "127.0.0.1:8230", "mapped");
        d.finish();
    }
}

#[test]
fn ids_of_the_operators_choice_have_networks() {
    let mut d = Daemon::start(options().networks().config(""));
    let file = d.root().join("subids");
    std::fs::write(&file, "remapped:500000:65536\n").expect("ours");
    d.stop();
    d.reconfigure(&format!(
        "subuid = {file:?}\nsubgid = {file:?}\nuserns-remap = 'remapped'\n"
    ));
    d.restart();
    make(&d, "net", subnet("10.181.0.0/24"));
    let mut body = serves("net");
    body["Hostname"] = json!("remapped");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8231"}]});
    d.run_detached("remapped", body);
    let map = exec(&d, "remapped", "cat /proc/self/uid_map");
    assert!(map.contains("500000"), "{map}");
    fetches(&d, "127.0.0.1:8231", "remapped");
    // Who keeps the host's ids is on the same network.
    let mut plain = stays("net");
    plain["HostConfig"]["UsernsMode"] = json!("host");
    d.run_detached("plain", plain);
    exec(&d, "plain", "timeout 5 wget -q -O - http://remapped/");
    d.finish();
}
