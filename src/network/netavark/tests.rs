//! With the real netavark, in a network namespace that stands for the host.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use super::*;
use crate::fixture::{network, on_a_host, order, place};

mod apart;
mod bridges;
mod ends;
mod lost;
mod standing;

/// Answers one connection in the namespace at `ns` with `word`, for as long as the process lives.
fn answer(ns: &Path, port: u16, word: &'static str) {
    // Of both families.
    let listener = netns::inside(ns, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(word.as_bytes());
        }
    });
}

/// What answers at `to`, or nothing.
fn ask(to: &str) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(700)).ok()?;
    let mut word = String::new();
    stream.read_to_string(&mut word).ok()?;
    Some(word)
}

#[test]
fn published_ports_answer_from_everywhere_and_networks_are_apart() {
    on_a_host(async |host| {
        let (one, two) = (
            network(1, &[("10.91.0.0/24", "10.91.0.1")]),
            network(2, &[("10.92.0.0/24", "10.92.0.1")]),
        );
        let web = order(
            'a',
            &[(&one, place(&one, "eth0", &["10.91.0.2/24"]))],
            &[(8080, 80)],
        );
        let near = order('b', &[(&one, place(&one, "eth0", &["10.91.0.3/24"]))], &[]);
        let far = order('c', &[(&two, place(&two, "eth0", &["10.92.0.2/24"]))], &[]);
        let [web_ns, near_ns, far_ns] = ["web", "near", "far"].map(|name| host.ns(name));
        for (ns, order) in [(&web_ns, &web), (&near_ns, &near), (&far_ns, &far)] {
            host.netavark.set_up(ns, order).await.unwrap();
        }
        answer(&web_ns, 80, "web");
        let word = Some("web".to_owned());
        for address in [
            "10.91.0.2:80",
            "127.0.0.1:8080",
            "10.91.0.1:8080",
            "10.92.0.1:8080",
        ] {
            assert_eq!(ask(address), word, "{address}");
        }
        let from = |ns: &Path, to: &'static str| netns::inside(ns, || Ok(ask(to))).unwrap();
        assert_eq!(from(&near_ns, "10.91.0.2:80"), word);
        assert_eq!(from(&near_ns, "10.91.0.1:8080"), word);
        // Itself, by the host's address.
        assert_eq!(from(&web_ns, "10.91.0.1:8080"), word);
        assert_eq!(
            from(&far_ns, "10.91.0.2:80"),
            None,
            "another network is not reached"
        );
        for (ns, order) in [(&web_ns, &web), (&near_ns, &near), (&far_ns, &far)] {
            host.netavark.tear_down(ns, order).await.unwrap();
        }
        assert_eq!(host.settled().await.0, [""; 0]);
    });
}

#[test]
fn a_port_of_both_families_answers_in_both() {
    on_a_host(async |host| {
        let net = network(
            10,
            &[("10.90.0.0/24", "10.90.0.1"), ("fd90::/64", "fd90::1")],
        );
        let place = place(&net, "eth0", &["10.90.0.2/24", "fd90::2/64"]);
        let web = order('a', &[(&net, place)], &[(8085, 80)]);
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &web).await.unwrap();
        answer(&ns, 80, "web");
        for address in [
            "127.0.0.1:8085",
            "10.90.0.1:8085",
            "[fd90::1]:8085",
            "[fd90::2]:80",
        ] {
            assert_eq!(ask(address).as_deref(), Some("web"), "{address}");
        }
        host.netavark.tear_down(&ns, &web).await.unwrap();
    });
}

#[test]
fn a_family_that_a_container_does_not_have_brings_no_other() {
    let net = network(12, &[("10.88.0.0/24", "10.88.0.1")]);
    let mut web = order(
        'a',
        &[(&net, place(&net, "eth0", &["10.88.0.2/24"]))],
        &[(8088, 80), (8089, 80)],
    );
    web.ports[1].host_ip = Ipv6Addr::UNSPECIFIED.into();
    let told = document::document(&web, Version::OLDEST);
    let ports = told["port_mappings"].as_array().unwrap();
    assert_eq!(ports.len(), 1, "{ports:?}");
    assert_eq!(ports[0]["host_port"], 8088);
}

#[test]
fn a_bridge_keeps_its_hardware_address_whoever_comes() {
    on_a_host(async |host| {
        let net = network(11, &[("10.89.0.0/24", "10.89.0.1")]);
        let address = || {
            let shown = Command::new("ip")
                .args(["-o", "link", "show", &net.interface])
                .output();
            String::from_utf8(shown.unwrap().stdout).unwrap()
        };
        for (last, id) in [(2, 'a'), (3, 'b'), (4, 'c')] {
            let place = place(&net, "eth0", &[&format!("10.89.0.{last}/24")]);
            let order = order(id, &[(&net, place)], &[]);
            let ns = host.ns(&format!("ns{last}"));
            host.netavark.set_up(&ns, &order).await.unwrap();
            let shown = address();
            assert!(shown.contains("link/ether 02:42:0a:59:00:01"), "{shown}");
        }
    });
}

#[test]
fn whatever_is_left_is_taken_away() {
    on_a_host(async |host| {
        let net = network(
            3,
            &[("10.93.0.0/24", "10.93.0.1"), ("fd93::/64", "fd93::1")],
        );
        let place = |last: u8| {
            place(
                &net,
                "eth0",
                &[&format!("10.93.0.{last}/24"), &format!("fd93::{last}/64")],
            )
        };
        let whole = order('a', &[(&net, place(2))], &[(8081, 80), (8082, 81)]);
        let other = order('b', &[(&net, place(3))], &[]);
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &whole).await.unwrap();
        host.netavark.tear_down(&ns, &whole).await.unwrap();
        let clean = host.settled().await;
        assert_eq!(clean.0, [""; 0]);
        assert!(
            !clean.1.contains("10.93.0") && !clean.1.contains("fd93:"),
            "{}",
            clean.1
        );
        // Twice, and what was never set up.
        host.netavark.tear_down(&ns, &whole).await.unwrap();
        host.netavark
            .tear_down(Path::new("/nowhere"), &whole)
            .await
            .unwrap();
        assert_eq!(host.settled().await, clean);
        // Set up, and the namespace went.
        host.netavark.set_up(&ns, &whole).await.unwrap();
        assert_ne!(host.settled().await, clean);
        netns::remove(&ns).unwrap();
        host.netavark.tear_down(&ns, &whole).await.unwrap();
        assert_eq!(host.settled().await, clean);
        // A daemon was killed while a namespace stood in.
        let stand_in = host.dir.path().join("netavark/stand-in");
        netns::make(&stand_in).unwrap();
        host.netavark.set_up(&stand_in, &whole).await.unwrap();
        host.netavark
            .tear_down(Path::new("/nowhere"), &whole)
            .await
            .unwrap();
        assert_eq!(host.settled().await, clean);
        // The same with another who stays.
        let (ns, other_ns) = (host.ns("ns"), host.ns("other"));
        host.netavark.set_up(&other_ns, &other).await.unwrap();
        let with_other = host.settled().await;
        host.netavark.set_up(&ns, &whole).await.unwrap();
        netns::remove(&ns).unwrap();
        host.netavark.tear_down(&ns, &whole).await.unwrap();
        assert_eq!(host.settled().await, with_other);
        host.netavark.tear_down(&other_ns, &other).await.unwrap();
        assert_eq!(host.settled().await, clean);
    });
}

#[test]
fn a_set_up_that_was_killed_leaves_nothing() {
    on_a_host(async |host| {
        let (one, two) = (
            network(4, &[("10.94.0.0/24", "10.94.0.1")]),
            network(5, &[("10.95.0.0/24", "10.95.0.1")]),
        );
        let places = [
            (&one, place(&one, "eth0", &["10.94.0.2/24"])),
            (&two, place(&two, "eth1", &["10.95.0.2/24"])),
        ];
        let order = order('a', &places, &[(8083, 80)]);
        let ns = host.ns("ns");
        let mut whole = Duration::MAX;
        // The first one is slower: modules are loaded.
        for _ in 0..2 {
            let began = Instant::now();
            host.netavark.set_up(&ns, &order).await.unwrap();
            whole = began.elapsed();
            host.netavark.tear_down(&ns, &order).await.unwrap();
        }
        let clean = host.settled().await;
        assert_eq!(clean.0, [""; 0]);
        let (mut tries, mut killed) = (0, 0);
        while killed < 30 {
            let ns = host.ns("ns");
            // All moments but the last, which on a busy machine may be after the end.
            let limit = whole * (tries % 28) / 32;
            // Dropped, the program is killed.
            let set_up = host.netavark.set_up(&ns, &order);
            killed += u32::from(tokio::time::timeout(limit, set_up).await.is_err());
            if tries % 3 == 0 {
                netns::remove(&ns).unwrap();
            }
            host.netavark.tear_down(&ns, &order).await.unwrap();
            assert_eq!(host.settled().await, clean, "after {limit:?} of {whole:?}");
            tries += 1;
            assert!(tries < 300, "only {killed} of {tries} were killed");
        }
    });
}

#[test]
fn failures_tell_netavarks_words_and_are_undone() {
    on_a_host(async |host| {
        let mut net = network(6, &[("10.96.0.0/24", "10.96.0.1")]);
        let ns = host.ns("ns");
        let good = order('a', &[(&net, place(&net, "eth0", &["10.96.0.2/24"]))], &[]);
        host.netavark.set_up(&ns, &good).await.unwrap();
        host.netavark.tear_down(&ns, &good).await.unwrap();
        assert!(!host.netavark.is_tidy());
        host.netavark.tidy().await.unwrap();
        let clean = host.settled().await;
        net.options
            .insert("com.docker.network.driver.mtu".into(), "many".into());
        let bad = order('a', &[(&net, place(&net, "eth0", &["10.96.0.2/24"]))], &[]);
        let e = host.netavark.set_up(&ns, &bad).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::System);
        assert!(e.message().starts_with("netavark setup: "), "{e}");
        host.netavark.tidy().await.unwrap();
        assert_eq!(host.settled().await, clean);
        net.options = BTreeMap::from([(
            "com.docker.network.bridge.enable_ip_masquerade".to_owned(),
            "false".to_owned(),
        )]);
        let refused = check(&net, Version::OLDEST).unwrap_err();
        assert_eq!(refused.kind(), model::Kind::NotImplemented);
        // As iptables reads it, that is all of `br...`.
        net.options.clear();
        net.interface = "br+".to_owned();
        let refused = check(&net, Version::OLDEST).unwrap_err();
        assert_eq!(refused.kind(), model::Kind::InvalidParameter);
    });
}

#[test]
fn internal_and_ipv6_networks_and_macvlans_work() {
    on_a_host(async |host| {
        let mut inside = network(7, &[("10.97.0.0/24", "10.97.0.1")]);
        inside.internal = true;
        let six = network(8, &[("fd98::/64", "fd98::1")]);
        let ns = host.ns("ns");
        let places = [
            (&inside, place(&inside, "eth0", &["10.97.0.2/24"])),
            (&six, place(&six, "eth1", &["fd98::2/64"])),
        ];
        let both = order('a', &places, &[]);
        host.netavark.set_up(&ns, &both).await.unwrap();
        let routes = |args: &[&str]| {
            let run = || {
                Command::new("ip")
                    .args(args)
                    .args(["route", "show", "default"])
                    .output()
            };
            String::from_utf8(netns::inside(&ns, run).unwrap().stdout).unwrap()
        };
        assert_eq!(routes(&[]), "");
        assert!(routes(&["-6"]).contains("via fd98::1 dev eth1"));
        host.netavark.tear_down(&ns, &both).await.unwrap();
        host.netavark.tidy().await.unwrap();
        let clean = host.settled().await;
        assert_eq!(clean.0, [""; 0]);
        let made = Command::new("ip")
            .args(["link", "add", "up0", "type", "bridge"])
            .status();
        assert!(made.unwrap().success());
        let mut vlan = network(9, &[("10.99.0.0/24", "10.99.0.1")]);
        vlan.driver = NetworkDriver::Macvlan;
        vlan.interface = "up0".to_owned();
        let macvlan = order(
            'b',
            &[(&vlan, place(&vlan, "eth0", &["10.99.0.2/24"]))],
            &[],
        );
        host.netavark.set_up(&ns, &macvlan).await.unwrap();
        assert!(routes(&[]).contains("via 10.99.0.1 dev eth0"));
        for _ in 0..2 {
            host.netavark.tear_down(&ns, &macvlan).await.unwrap();
        }
        assert_eq!(host.settled().await.0, ["up0"]);
        assert_eq!(host.settled().await.1, clean.1);
    });
}

#[test]
fn rules_that_were_flushed_come_back_and_networks_stay_apart() {
    on_a_host(async |host| {
        let nets = [1, 2, 3].map(|n| {
            network(
                10 + n,
                &[(&format!("10.10{n}.0.0/24"), &format!("10.10{n}.0.1"))],
            )
        });
        let order_on = |n: usize, id, ports: &[(u16, u16)]| {
            let place = place(&nets[n], "eth0", &[&format!("10.10{}.0.2/24", n + 1)]);
            order(id, &[(&nets[n], place)], ports)
        };
        let orders = [
            order_on(0, 'a', &[(8084, 80)]),
            order_on(1, 'b', &[]),
            order_on(2, 'c', &[]),
        ];
        let namespaces = ["a", "b", "c"].map(|name| host.ns(name));
        assert_eq!(host.netavark.keep_rules(None, Vec::new).await.unwrap(), 0);
        for (ns, order) in namespaces.iter().zip(&orders) {
            host.netavark.set_up(ns, order).await.unwrap();
        }
        assert_eq!(
            host.netavark
                .keep_rules(None, || orders.to_vec())
                .await
                .unwrap(),
            0
        );
        answer(&namespaces[0], 80, "web");
        let from_other = || netns::inside(&namespaces[1], || Ok(ask("10.101.0.2:80"))).unwrap();
        assert_eq!(from_other(), None);
        let published = || netns::inside(&namespaces[1], || Ok(ask("10.102.0.1:8084"))).unwrap();
        assert_eq!(published().as_deref(), Some("web"));
        // The third network goes, and netavark's jump with it.
        host.netavark
            .tear_down(&namespaces[2], &orders[2])
            .await
            .unwrap();
        assert_eq!(from_other(), None);
        host.netavark
            .set_up(&namespaces[2], &orders[2])
            .await
            .unwrap();
        assert_eq!(published().as_deref(), Some("web"));
        assert_eq!(from_other(), None);
        host.netavark
            .tear_down(&namespaces[2], &orders[2])
            .await
            .unwrap();
        let whole = host.settled().await;
        let run = |args: &[&str]| {
            let done = Command::new("iptables").args(args).status();
            assert!(done.unwrap().success(), "{args:?}");
        };
        run(&["-A", "DOCKER-USER", "-s", "192.0.2.1", "-j", "DROP"]);
        for table in ["filter", "nat"] {
            run(&["-t", table, "-F"]);
            run(&["-t", table, "-X"]);
        }
        assert_eq!(ask("127.0.0.1:8084"), None);
        assert_eq!(
            host.netavark
                .keep_rules(None, || orders[..2].to_vec())
                .await
                .unwrap(),
            2
        );
        assert_eq!(
            host.netavark
                .keep_rules(None, || orders[..2].to_vec())
                .await
                .unwrap(),
            0
        );
        assert_eq!(ask("127.0.0.1:8084").as_deref(), Some("web"));
        assert_eq!(from_other(), None);
        assert_eq!(
            host.settled().await.0,
            whole.0,
            "no interface is left of it"
        );
        for (ns, order) in namespaces.iter().zip(&orders[..2]) {
            host.netavark.tear_down(ns, order).await.unwrap();
        }
        assert_eq!(host.settled().await.0, [""; 0]);
        assert!(
            !host.settled().await.1.contains("10.101."),
            "{}",
            host.settled().await.1
        );
    });
}
