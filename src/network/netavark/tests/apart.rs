//! Who reaches what, and who does not: neighbours of the host, containers of other networks.

use std::net::{Ipv4Addr, UdpSocket};

use super::*;
use crate::fixture::{Host, ip};
use crate::names::{PORT, PORTS_ASIDE};

fn iptables(args: &str) {
    let done = Command::new("iptables").args(args.split(' ')).status();
    assert!(done.unwrap().success(), "iptables {args}");
}

fn from(ns: &Path, to: &str) -> Option<String> {
    netns::inside(ns, || Ok(ask(to))).unwrap()
}

fn word() -> Option<String> {
    Some("word".to_owned())
}

/// The namespace that stands for the host.
fn own(host: &Host) -> PathBuf {
    host.dir.path().join("host")
}

/// Has what is sent to 127.0.0.1 go to `gateway`, as a hostile neighbour may.
fn send_loopback_to(ns: &Path, gateway: &str, source: &str) {
    netns::inside(ns, || {
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")?;
        ip("link set lo up");
        ip("addr del 127.0.0.1/8 dev lo");
        ip(&format!(
            "route add 127.0.0.1/32 via {gateway} src {source}"
        ));
        Ok(())
    })
    .unwrap();
}

#[test]
fn neighbours_reach_what_is_published_and_nothing_else() {
    on_a_host(async |host| {
        let lan = host.neighbour();
        let net = network(21, &[("10.121.0.0/24", "10.121.0.1")]);
        let web = order(
            'a',
            &[(&net, place(&net, "eth0", &["10.121.0.2/24"]))],
            &[(8086, 80)],
        );
        let ns = host.ns("ns");
        // As dockerd and ufw leave it.
        iptables("-P FORWARD DROP");
        host.netavark.set_up(&ns, &web).await.unwrap();
        answer(&ns, 80, "word");
        answer(&ns, 81, "secret");
        answer(&lan, 82, "word");
        for policy in ["DROP", "ACCEPT"] {
            iptables(&format!("-P FORWARD {policy}"));
            assert_eq!(from(&lan, "10.77.0.1:8086"), word(), "{policy}");
            assert_eq!(from(&lan, "10.121.0.2:80"), None, "{policy}");
            assert_eq!(from(&lan, "10.121.0.2:81"), None, "{policy}");
            assert_eq!(from(&ns, "10.77.0.2:82"), word(), "{policy}");
            assert_eq!(ask("10.121.0.2:80"), word(), "{policy}");
        }
        // The operator's own rules come first.
        iptables("-A DOCKER-USER -s 10.77.0.2 -d 10.121.0.2 -j ACCEPT");
        assert_eq!(from(&lan, "10.121.0.2:80"), word());
        host.netavark.tear_down(&ns, &web).await.unwrap();
        assert!(!host.settled().await.1.contains("br-test21"));
    });
}

#[test]
fn nobody_else_reaches_the_hosts_loopback() {
    on_a_host(async |host| {
        let lan = host.neighbour();
        let net = network(22, &[("10.122.0.0/24", "10.122.0.1")]);
        let mut web = order(
            'a',
            &[(&net, place(&net, "eth0", &["10.122.0.2/24"]))],
            &[(8087, 80)],
        );
        web.ports[0].host_ip = Ipv4Addr::LOCALHOST.into();
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &web).await.unwrap();
        answer(&ns, 80, "word");
        answer(&own(host), 7777, "word");
        for address in ["127.0.0.1:8087", "127.0.0.1:7777"] {
            assert_eq!(ask(address), word(), "{address}");
        }
        send_loopback_to(&lan, "10.77.0.1", "10.77.0.2");
        assert_eq!(from(&lan, "10.77.0.1:7777"), word());
        assert_eq!(from(&lan, "127.0.0.1:8087"), None);
        send_loopback_to(&ns, "10.122.0.1", "10.122.0.2");
        assert_eq!(from(&ns, "10.122.0.1:7777"), word());
        assert_eq!(from(&ns, "127.0.0.1:7777"), None);
    });
}

#[test]
fn nothing_is_sent_into_an_internal_network() {
    on_a_host(async |host| {
        let mut inner = network(23, &[("10.123.0.0/24", "10.123.0.1")]);
        inner.internal = true;
        let outer = network(24, &[("10.124.0.0/24", "10.124.0.1")]);
        let at = |net, id, address| order(id, &[(net, place(net, "eth0", &[address]))], &[]);
        let all = [
            ("inner", at(&inner, 'a', "10.123.0.2/24")),
            ("near", at(&inner, 'b', "10.123.0.3/24")),
            ("far", at(&outer, 'c', "10.124.0.2/24")),
        ];
        for (name, order) in &all {
            host.netavark.set_up(&host.ns(name), order).await.unwrap();
        }
        // As dockerd and ufw leave it.
        iptables("-P FORWARD DROP");
        let [inner, near, far] = all.map(|(name, _)| host.dir.path().join(name));
        let socket = netns::inside(&inner, || UdpSocket::bind("10.123.0.2:9")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // What comes first was not stopped.
        for (ns, text) in [(&far, "far"), (&near, "near")] {
            netns::inside(ns, || {
                let own = UdpSocket::bind("0.0.0.0:0")?;
                own.send_to(text.as_bytes(), "10.123.0.2:9").map(drop)
            })
            .unwrap();
        }
        let mut buffer = [0; 16];
        let read = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"near");
    });
}

#[test]
fn a_networks_name_server_is_asked_by_its_own() {
    on_a_host(async |host| {
        let nets =
            [25, 26].map(|n| network(n, &[(&format!("10.1{n}.0.0/24"), &format!("10.1{n}.0.1"))]));
        let lan = host.neighbour();
        let [one, two] = ["one", "two"].map(|name| host.ns(name));
        for (ns, net, id) in [(&one, &nets[0], 'a'), (&two, &nets[1], 'b')] {
            let address = format!("10.1{}.0.2/24", net.interface.trim_start_matches("br-test"));
            let order = order(id, &[(net, place(net, "eth0", &[&address]))], &[]);
            host.netavark.set_up(ns, &order).await.unwrap();
        }
        answer(&own(host), 53, "word");
        for port in PORTS_ASIDE {
            answer(&own(host), port, "word");
        }
        assert_eq!(ask("10.125.0.1:53"), word());
        // As a host whose own firewall lets nothing in.
        for policy in ["ACCEPT", "DROP"] {
            iptables(&format!("-P INPUT {policy}"));
            for port in [&[PORT], &PORTS_ASIDE[..]].concat() {
                let server = format!("10.125.0.1:{port}");
                assert_eq!(from(&one, &server), word(), "{policy}");
                assert_eq!(from(&two, &server), None, "{policy}");
                assert_eq!(from(&lan, &server), None, "{policy}");
            }
        }
        iptables("-P INPUT ACCEPT");
        assert_eq!(
            from(&lan, "10.77.0.1:53"),
            word(),
            "another server is the host's own business"
        );
    });
}

#[test]
fn who_sent_datagrams_before_a_container_came_reaches_it() {
    on_a_host(async |host| {
        let lan = host.neighbour();
        let net = network(28, &[("10.128.0.0/24", "10.128.0.1")]);
        let at = |id, address, ports: &[(u16, u16)]| {
            let mut order = order(id, &[(&net, place(&net, "eth0", &[address]))], ports);
            for port in &mut order.ports {
                port.port.protocol = Protocol::Udp;
            }
            order
        };
        // Flows are kept track of as soon as there is one container.
        let first = at('a', "10.128.0.2/24", &[(9990, 9)]);
        host.netavark
            .set_up(&host.ns("first"), &first)
            .await
            .unwrap();
        let client = netns::inside(&lan, || UdpSocket::bind("10.77.0.2:4000")).unwrap();
        client.send_to(b"early", "10.77.0.1:9991").unwrap();
        let ns = host.ns("ns");
        let second = at('b', "10.128.0.3/24", &[(9991, 9)]);
        host.netavark.set_up(&ns, &second).await.unwrap();
        let server = netns::inside(&ns, || UdpSocket::bind("10.128.0.3:9")).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.send_to(b"late", "10.77.0.1:9991").unwrap();
        let mut buffer = [0; 16];
        let read = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"late");
    });
}

/// A netavark that finds, of the firewall's programs, these only.
fn with_programs(host: &Host, names: &[&str]) -> Netavark {
    let tools = host.dir.path().join(format!("bin-{}", names.len()));
    std::fs::create_dir(&tools).unwrap();
    for name in names {
        let found = sys::locate::locate(name, &[], std::env::var_os("PATH").as_deref());
        std::os::unix::fs::symlink(found.unwrap(), tools.join(name)).unwrap();
    }
    let path = tools.into_os_string();
    Netavark::new(None, path, host.dir.path().join("netavark"))
}

/// What netavark looks for is there, what lists and restores may not be.
#[test]
fn nobody_starts_on_a_closed_network_that_nothing_closes() {
    on_a_host(async |host| {
        let mut inner = network(30, &[("10.130.0.0/24", "10.130.0.1")]);
        inner.internal = true;
        let mut apart = network(31, &[("fd31::/64", "fd31::1")]);
        let icc = "com.docker.network.bridge.enable_icc".to_owned();
        apart.options.insert(icc, "false".to_owned());
        let open = network(32, &[("10.132.0.0/24", "10.132.0.1")]);
        let orders = [
            (&inner, "10.130.0.2/24"),
            (&apart, "fd31::2/64"),
            (&open, "10.132.0.2/24"),
        ]
        .map(|(net, at)| order('a', &[(net, place(net, "eth0", &[at]))], &[]));
        let v4 = ["iptables", "ip6tables", "iptables-save", "iptables-restore"];
        for (programs, wanted) in [(&v4[..2], [false, false, true]), (&v4, [true, false, true])] {
            let netavark = with_programs(host, programs);
            for (order, wanted) in orders.iter().zip(wanted) {
                let ns = host.ns("ns");
                let made = netavark.set_up(&ns, order).await;
                assert_eq!(made.is_ok(), wanted, "{made:?}");
                if let Err(e) = made {
                    assert!(e.message().contains("tables-save, which"), "{e}");
                } else {
                    netavark.tear_down(&ns, order).await.unwrap();
                }
                netns::remove(&ns).unwrap();
                assert_eq!(links::list().unwrap().len(), 1, "nothing is left");
            }
        }
    });
}

#[test]
fn without_a_firewall_of_ipv6_that_of_ipv4_is_kept() {
    on_a_host(async |host| {
        let names = ["iptables", "iptables-save", "iptables-restore", "ip6tables"];
        let netavark = with_programs(host, &names);
        let net = network(27, &[("10.127.0.0/24", "10.127.0.1")]);
        let order = order('a', &[(&net, place(&net, "eth0", &["10.127.0.2/24"]))], &[]);
        netavark.set_up(&host.ns("ns"), &order).await.unwrap();
        let whole = host.settled().await.1;
        assert!(whole.contains("-A MOORED-FORWARD -o br-test27"), "{whole}");
        iptables("-F");
        assert_eq!(
            netavark
                .keep_rules(None, || vec![order.clone()])
                .await
                .unwrap(),
            1
        );
        assert_eq!(host.settled().await.1, whole);
    });
}

/// Not by the bridge, and not by the host, which sends on what it is given for a neighbour.
#[test]
fn containers_that_are_apart_do_not_reach_each_other_by_the_host() {
    on_a_host(async |host| {
        let mut net = network(29, &[("10.129.0.0/24", "10.129.0.1")]);
        let icc = "com.docker.network.bridge.enable_icc".to_owned();
        net.options.insert(icc, "false".to_owned());
        let at = |id, address, ports: &[(u16, u16)]| {
            order(id, &[(&net, place(&net, "eth0", &[address]))], ports)
        };
        let [web, asks] = ["web", "asks"].map(|name| host.ns(name));
        for (ns, order) in [
            (&web, at('a', "10.129.0.2/24", &[(8129, 80)])),
            (&asks, at('b', "10.129.0.3/24", &[])),
        ] {
            host.netavark.set_up(ns, &order).await.unwrap();
        }
        answer(&web, 80, "word");
        assert_eq!(from(&asks, "10.129.0.2:80"), None);
        for (ns, other) in [(&web, "10.129.0.3"), (&asks, "10.129.0.2")] {
            netns::inside(ns, || {
                ip(&format!("route add {other}/32 via 10.129.0.1"));
                Ok(())
            })
            .unwrap();
        }
        // Whether the host's rules are for what only passes its bridges, too, is the host's own affair.
        let filters_bridges = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        for value in ["1", "0"] {
            if filters_bridges.exists() {
                std::fs::write(filters_bridges, value).unwrap();
            }
            assert_eq!(from(&asks, "10.129.0.2:80"), None);
            assert_eq!(ask("10.129.0.2:80"), word());
        }
        assert_eq!(from(&asks, "10.129.0.1:8129"), word(), "what is published");
    });
}
