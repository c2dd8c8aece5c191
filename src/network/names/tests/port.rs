//! Port 53 of the gateways, and where the server goes when that is somebody else's.

use std::fs::Permissions;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn bind(port: u16) -> UdpSocket {
    UdpSocket::bind(("0.0.0.0", port)).unwrap()
}

#[test]
fn names_are_served_where_port_53_is_somebody_elses() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 23).await;
        let served = names(host);
        let mut zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        let others = [PORT, PORTS_ASIDE[0]].map(bind);
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        until(&ns, "10.81.0.1", "web", Some("10.81.0.2"));
        let at = |serving: &Serving| serving.server.running().map(|server| server.port);
        assert_eq!(at(&*served.0.serving.lock().await), Some(PORTS_ASIDE[1]));
        let wanted = all_addresses();
        assert!(
            !served.make_way(&wanted).await.unwrap(),
            "it is aside already"
        );
        // A daemon that is new goes on there, and what somebody takes away is put back.
        let next = names(host);
        zone.members.push(member('b', 3, &["db"]));
        next.write(std::slice::from_ref(&zone)).await.unwrap();
        until(&ns, "10.81.0.1", "db", Some("10.81.0.3"));
        let flushed = Command::new("nft").args(["flush", "ruleset"]).status();
        assert!(flushed.unwrap().success());
        until(&ns, "10.81.0.1", "db", None);
        next.keep().await.unwrap();
        until(&ns, "10.81.0.1", "db", Some("10.81.0.3"));
        next.write(&[]).await.unwrap();
        assert!(!tables().contains("moored"), "{}", tables());
        drop(others);
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

#[test]
fn a_server_of_the_hosts_at_a_gateway_is_not_taken_for_ours() {
    on_a_host(async |host| {
        let [one, two] = [(27, "10.81.0"), (28, "10.82.0")]
            .map(|(n, net)| network(n, &[(&format!("{net}.0/24"), &format!("{net}.1"))]));
        let boxes = [('a', &one, "10.81.0.2/24"), ('b', &two, "10.82.0.2/24")]
            .map(|(id, net, ip)| order(id, &[(net, place(net, "eth0", &[ip]))], &[]));
        let spaces = ["one", "two"].map(|name| host.ns(name));
        for (ns, order) in spaces.iter().zip(&boxes) {
            host.netavark.set_up(ns, order).await.unwrap();
        }
        let served = names(host);
        let zone = |net: &model::NetworkRecord, member| Zone {
            network: net.id.clone(),
            servers: net.subnets.iter().filter_map(|s| s.gateway).collect(),
            members: vec![member],
        };
        let mut zones = vec![zone(&one, member('a', 2, &["web"]))];
        served.write(&zones).await.unwrap();
        // It binds each address that is new, and is faster.
        let other = UdpSocket::bind("10.82.0.1:53").unwrap();
        zones.push(zone(&two, member('b', 2, &["db"])));
        served.write(&zones).await.unwrap();
        until(&spaces[0], "10.81.0.1", "web", Some("10.81.0.2"));
        until(&spaces[1], "10.82.0.1", "db", Some("10.81.0.2"));
        drop(other);
        served.write(&[]).await.unwrap();
        for (ns, order) in spaces.iter().zip(&boxes) {
            host.netavark.tear_down(ns, order).await.unwrap();
        }
    });
}

#[test]
fn what_could_not_be_served_is_not_counted_as_told() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 26).await;
        let zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        let zones = std::slice::from_ref(&zone);
        let taken = [&[PORT], &PORTS_ASIDE[..]].concat();
        let taken: Vec<_> = taken.into_iter().map(bind).collect();
        let served = names(host);
        served.write(zones).await.unwrap_err();
        assert!(!served.is_told().await);
        served.write(&[]).await.unwrap();
        assert!(served.is_told().await);
        served.write(zones).await.unwrap_err();
        // One to whom the files are not new is none the wiser.
        drop(served);
        let next = names(host);
        next.write(zones).await.unwrap_err();
        assert!(!next.is_told().await);
        drop(taken);
        next.write(zones).await.unwrap();
        assert!(next.is_told().await);
        until(&ns, "10.81.0.1", "web", Some("10.81.0.2"));
        next.write(&[]).await.unwrap();
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

#[test]
fn nobody_waits_for_an_nft_that_hangs() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 29).await;
        let bin = host.dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let search_path = std::env::var("PATH").unwrap();
        let real = sys::locate::locate("nft", &[], Some(search_path.as_ref())).unwrap();
        let (hangs, nft) = (bin.join("hangs"), bin.join("nft"));
        let script = format!(
            "#!/bin/sh\n[ -e {} ] && exec sleep 1000\nexec {} \"$@\"\n",
            hangs.display(),
            real.display()
        );
        std::fs::write(&nft, script).unwrap();
        std::fs::set_permissions(&nft, Permissions::from_mode(0o755)).unwrap();
        let search_path = format!("{}:{search_path}", bin.display());
        let served = Names::new(None, search_path.into(), host.dir.path().join("dns"));
        let mut zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        let other = bind(PORT);
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        std::fs::write(&hangs, "").unwrap();
        let mut kept = std::pin::pin!(served.keep());
        zone.members.push(member('b', 3, &["db"]));
        tokio::select! {
            biased;
            kept = &mut kept => panic!("{kept:?}"),
            written = served.write(std::slice::from_ref(&zone)) => written.unwrap(),
        }
        until(&ns, "10.81.0.1", "db", Some("10.81.0.3"));
        kept.await.unwrap_err();
        std::fs::remove_file(&hangs).unwrap();
        served.keep().await.unwrap();
        served.write(&[]).await.unwrap();
        drop(other);
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

#[test]
fn the_server_makes_way_for_who_wants_port_53() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 24).await;
        let served = names(host);
        let wanted = all_addresses();
        assert!(
            !served.make_way(&wanted).await.unwrap(),
            "nobody is in the way"
        );
        let zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        let zones = std::slice::from_ref(&zone);
        served.write(zones).await.unwrap();
        let all = || UdpSocket::bind("0.0.0.0:53");
        assert!(all().is_err());
        let first = pid(&served).await.unwrap();
        // Those at which it is not are none of its business.
        let others = ["192.0.2.1", "::"].map(|ip| ip.parse().unwrap());
        assert!(!served.make_way(&others).await.unwrap());
        assert_eq!(pid(&served).await, Some(first));
        assert!(served.make_way(&wanted).await.unwrap());
        let other = all().unwrap();
        until(&ns, "10.81.0.1", "web", Some("10.81.0.2"));
        // One that is started again goes to where there is room.
        drop(other);
        let aside = pid(&served).await.unwrap();
        assert_ne!(first, aside);
        let server = PidFd::open(aside).unwrap().unwrap();
        server.signal(Signal::KILL).unwrap();
        server.exited().await.unwrap();
        until_another(&served, aside).await;
        until(&ns, "10.81.0.1", "web", Some("10.81.0.2"));
        assert!(!tables().contains("moored"), "{}", tables());
        served.write(&[]).await.unwrap();
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

/// The names of nftables' tables.
fn tables() -> String {
    let listed = Command::new("nft").args(["list", "tables"]).output();
    String::from_utf8(listed.unwrap().stdout).unwrap()
}

#[test]
fn only_who_asks_for_that_port_alone_wants_it() {
    let wants = |protocol, host_ports| {
        wants_port(&PortBinding {
            port: model::Port {
                number: 53,
                protocol,
            },
            host_ip: None,
            host_ports,
        })
    };
    assert!(wants(Protocol::Udp, Some((53, 53))));
    assert!(wants(Protocol::Tcp, Some((53, 53))));
    assert!(!wants(Protocol::Sctp, Some((53, 53))));
    // Another of them will do.
    assert!(!wants(Protocol::Udp, Some((50, 60))));
    assert!(!wants(Protocol::Udp, None));
}
