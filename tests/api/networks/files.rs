//! What containers find in `/etc/resolv.conf` and `/etc/hosts`, and that execs, health checks and counters
//! see the network.

use serde_json::json;
use testkit::Daemon;

use super::{address, connect, daemon, exec, make, serves, stays, subnet};
use crate::options;

#[test]
fn resolv_conf_says_what_was_asked_for() {
    let d = daemon();
    make(&d, "net", subnet("10.130.0.0/24"));
    let asked = json!({"Dns": ["192.0.2.53", "2001:db8::53"], "DnsSearch": ["a.example", "b.example"],
        "DnsOptions": ["ndots:3", "rotate"]});
    for mode in ["bridge", "net", "none"] {
        let mut body = stays(mode);
        for (key, value) in asked.as_object().expect("a map") {
            body["HostConfig"][key] = value.clone();
        }
        let name = format!("on-{mode}");
        d.run_detached(&name, body);
        let said = exec(&d, &name, "cat /etc/resolv.conf");
        let lines: Vec<&str> = said.lines().filter(|l| !l.starts_with('#')).collect();
        // On a network with names its name server asks those that were named.
        let servers = match mode {
            "net" => vec!["nameserver 10.130.0.1"],
            _ => vec!["nameserver 192.0.2.53", "nameserver 2001:db8::53"],
        };
        for server in &servers {
            assert!(lines.contains(server), "{mode}: {said}");
        }
        let count = lines.iter().filter(|l| l.starts_with("nameserver")).count();
        assert_eq!(count, servers.len(), "{mode}: {said}");
        assert!(
            lines.contains(&"search a.example b.example"),
            "{mode}: {said}"
        );
        let options = lines.iter().find(|l| l.starts_with("options"));
        let options = options.unwrap_or_else(|| panic!("{mode}: {said}"));
        assert!(
            options.contains("ndots:3") && options.contains("rotate"),
            "{mode}: {said}"
        );
    }
    d.finish();
}

#[test]
fn hosts_has_its_own_name_and_what_was_added() {
    let d = Daemon::start(options().networks());
    make(&d, "net", subnet("10.131.0.0/24"));
    for mode in ["bridge", "net"] {
        let mut body = stays(mode);
        body["Hostname"] = json!("me");
        body["Domainname"] = json!("example.org");
        body["HostConfig"]["ExtraHosts"] = json!([
            "one:192.0.2.1",
            "six:[2001:db8::6]",
            "host.docker.internal:host-gateway"
        ]);
        let name = format!("on-{mode}");
        d.run_detached(&name, body);
        let ip = address(&d, &name, mode);
        let hosts = exec(&d, &name, "cat /etc/hosts");
        let has = |address: &str, word: &str| {
            let mut lines = hosts.lines().map(str::split_whitespace);
            lines.any(|mut words| words.next() == Some(address) && words.any(|w| w == word))
        };
        assert!(has("127.0.0.1", "localhost"), "{hosts}");
        assert!(has("192.0.2.1", "one"), "{hosts}");
        assert!(has("2001:db8::6", "six"), "{hosts}");
        assert!(has("172.17.0.1", "host.docker.internal"), "{hosts}");
        assert!(has(&ip, "me") && has(&ip, "me.example.org"), "{hosts}");
    }
    // Who is connected later has that address there, too.
    connect(&d, "net", "on-bridge", &json!({}));
    let ip = address(&d, "on-bridge", "net");
    let hosts = exec(&d, "on-bridge", "cat /etc/hosts");
    assert!(
        hosts
            .lines()
            .any(|l| l.starts_with(&ip) && l.contains("me")),
        "{hosts}"
    );
    // `host-gateway` is a way to the host.
    exec(&d, "on-net", "ping -c1 -w5 host.docker.internal");
    d.finish();
}

#[test]
fn the_operator_may_say_what_host_gateway_is() {
    let config = "[networks]\nhost-gateway-ips = ['192.0.2.77']\n";
    let d = Daemon::start(options().networks().config(config));
    let mut body = stays("bridge");
    body["HostConfig"]["ExtraHosts"] = json!(["up:host-gateway"]);
    d.run_detached("cc", body);
    let hosts = exec(&d, "cc", "cat /etc/hosts");
    assert!(hosts.contains("192.0.2.77\tup\n"), "{hosts}");
    d.finish();
}

#[test]
fn health_checks_and_counters_see_the_network() {
    let d = daemon();
    make(&d, "net", subnet("10.132.0.0/24"));
    make(&d, "two", subnet("10.132.1.0/24"));
    let mut body = serves("net");
    body["Healthcheck"] = json!({"Test": ["CMD-SHELL", "wget -q -O - http://web/ && ip link show eth0"],
        "Interval": 100_000_000, "Retries": 5});
    d.run_detached("web", body);
    d.wait_health("web", "healthy");
    connect(&d, "two", "web", &json!({}));
    d.run_detached("asks", stays("net"));
    exec(&d, "asks", "ping -c3 -i0.1 -s1000 -w5 web");
    let path = "/containers/web/stats?stream=0&one-shot=1";
    let stats = d.http.get(path).expect(200).json();
    let networks = stats["networks"].as_object().expect("a map");
    let names: Vec<&String> = networks.keys().collect();
    assert_eq!(names, ["eth0", "eth1"]);
    let counter = |name: &str| networks["eth0"][name].as_u64().expect("a number");
    assert!(
        counter("rx_bytes") >= 3000 && counter("rx_packets") >= 3,
        "{stats}"
    );
    assert!(
        counter("tx_bytes") >= 3000 && counter("tx_packets") >= 3,
        "{stats}"
    );
    d.finish();
}
