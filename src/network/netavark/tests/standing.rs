//! Bridges that stay.

use std::net::UdpSocket;

use super::*;
use crate::fixture::{Host, ip};

fn dual(number: u8) -> Arc<NetworkRecord> {
    let v4 = (format!("10.{number}.0.0/24"), format!("10.{number}.0.1"));
    let v6 = (format!("fd00:{number}::/64"), format!("fd00:{number}::1"));
    Arc::new(network(number, &[(&v4.0, &v4.1), (&v6.0, &v6.1)]))
}

fn on(net: &NetworkRecord, id: char, last: u8, ports: &[(u16, u16)]) -> Order {
    let range = net.subnets[0].subnet.network().to_string();
    let address = format!("{}{last}/24", range.trim_end_matches('0'));
    order(id, &[(net, place(net, "eth0", &[&address]))], ports)
}

fn gateway(net: &NetworkRecord) -> std::net::IpAddr {
    net.subnets[0].gateway.unwrap()
}

/// The interfaces of a bridge without containers.
fn alone(net: &NetworkRecord) -> [String; 3] {
    let short = net.id.short();
    let mut names = [
        net.interface.clone(),
        format!("ma-{short}"),
        format!("mp-{short}"),
    ];
    names.sort();
    names
}

async fn interfaces(host: &Host) -> Vec<String> {
    let mut found = host.settled().await.0;
    found.sort();
    found
}

fn members(net: &NetworkRecord) -> Option<usize> {
    links::members(&net.interface).unwrap()
}

#[test]
fn a_bridge_that_stays_is_there_before_and_after_containers() {
    on_a_host(async |host| {
        let net = dual(141);
        assert!(host.netavark.establish(&net).await.unwrap());
        assert!(stands(&net));
        UdpSocket::bind((gateway(&net), 0)).unwrap();
        assert_eq!(interfaces(host).await, alone(&net));
        let clean = host.settled().await;
        assert!(
            clean.1.contains("-A MOORED-INPUT -d 10.141.0.1/32"),
            "{}",
            clean.1
        );
        assert!(!host.netavark.establish(&net).await.unwrap());
        for lost in [false, true] {
            let web = on(&net, 'a', 2, &[(8141, 80)]);
            let ns = host.ns("ns");
            host.netavark.set_up(&ns, &web).await.unwrap();
            if lost {
                // A socket in it would keep it.
                netns::remove(&ns).unwrap();
            } else {
                answer(&ns, 80, "web");
                for address in ["127.0.0.1:8141", "10.141.0.1:8141", "10.141.0.2:80"] {
                    assert_eq!(ask(address).as_deref(), Some("web"), "{address}");
                }
            }
            host.netavark.tear_down(&ns, &web).await.unwrap();
            assert!(stands(&net));
            // The kernel takes the interfaces of a lost namespace away later.
            let deadline = Instant::now() + Duration::from_secs(20);
            while members(&net) != Some(1) {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            assert_eq!(host.settled().await, clean, "lost: {lost}");
            assert!(!host.netavark.establish(&net).await.unwrap());
        }
        assert!(host.netavark.dismantle(&net).await.unwrap());
        let gone = host.settled().await;
        assert_eq!(gone.0, [""; 0]);
        assert!(!gone.1.contains("141"), "{}", gone.1);
        assert!(!host.netavark.dismantle(&net).await.unwrap());
    });
}

#[test]
fn a_bridge_that_stays_comes_back_however_it_was_lost() {
    on_a_host(async |host| {
        let net = dual(142);
        host.netavark.establish(&net).await.unwrap();
        let whole = host.settled().await;
        let anchor = format!("ma-{}", net.id.short());
        let stand_in = host.dir.path().join("netavark/stand-in");
        for lost in [
            format!("link del {}", net.interface),
            format!("link del {anchor}"),
            format!("link set {anchor} nomaster"),
            format!("link set {} down", net.interface),
            format!("addr flush dev {}", net.interface),
            format!("addr del 10.142.0.1/24 dev {}", net.interface),
        ] {
            ip(&lost);
            assert!(host.netavark.establish(&net).await.unwrap(), "{lost}");
            assert_eq!(host.settled().await.1, whole.1, "{lost}");
            assert_eq!(interfaces(host).await, alone(&net), "{lost}");
            UdpSocket::bind((gateway(&net), 0)).unwrap();
        }
        // What a killed daemon's stand-in has on it is nobody.
        netns::make(&stand_in).unwrap();
        host.netavark
            .set_up(&stand_in, &on(&net, 'f', 254, &[]))
            .await
            .unwrap();
        assert_eq!(members(&net), Some(2));
        assert!(!host.netavark.establish(&net).await.unwrap());
        assert_eq!(members(&net), Some(1));
        // With other ranges in its record it is made anew, when nobody is on it.
        let mut moved = dual(143);
        let record = Arc::make_mut(&mut moved);
        record.id = net.id.clone();
        record.interface.clone_from(&net.interface);
        let (ns, last) = (host.ns("ns"), on(&net, 'a', 2, &[]));
        host.netavark.set_up(&ns, &last).await.unwrap();
        let e = host.netavark.establish(&moved).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::Conflict);
        assert!(e.message().contains("somebody is on it"), "{e}");
        host.netavark.tear_down(&ns, &last).await.unwrap();
        assert!(host.netavark.establish(&moved).await.unwrap());
        UdpSocket::bind((gateway(&moved), 0)).unwrap();
        UdpSocket::bind((gateway(&net), 0)).unwrap_err();
        let rules = host.settled().await.1;
        assert!(
            rules.contains("10.143.0.0") && !rules.contains("10.142.0"),
            "{rules}"
        );
    });
}

#[test]
fn the_first_container_has_all_rules_after_a_flush() {
    on_a_host(async |host| {
        let net = dual(144);
        host.netavark.establish(&net).await.unwrap();
        let flush = || {
            for words in ["-F", "-X", "-t nat -F", "-t nat -X"] {
                let done = Command::new("iptables").args(words.split(' ')).status();
                assert!(done.unwrap().success(), "{words}");
            }
        };
        let ns = host.ns("ns");
        let web = on(&net, 'a', 2, &[(8144, 80)]);
        host.netavark.set_up(&ns, &web).await.unwrap();
        let whole = host.settled().await;
        host.netavark.tear_down(&ns, &web).await.unwrap();
        flush();
        host.netavark.set_up(&ns, &web).await.unwrap();
        assert_eq!(host.settled().await.1, whole.1);
        host.netavark.tear_down(&ns, &web).await.unwrap();
        // Who is on no network has none, but the bridge does.
        flush();
        let kept = host.netavark.keep_rules(Some(&net), Vec::new).await;
        assert_eq!(kept.unwrap(), 0);
        let rules = host.settled().await.1;
        assert!(
            rules.contains("-A MOORED-FORWARD -o br-test144 "),
            "{rules}"
        );
        assert!(
            rules.contains("-A MOORED-INPUT -d 10.144.0.1/32"),
            "{rules}"
        );
    });
}

#[test]
fn a_bridge_of_somebody_else_is_neither_kept_nor_taken_away() {
    on_a_host(async |host| {
        let net = dual(145);
        ip("link add br-test145 type bridge");
        for _ in 0..2 {
            let e = host.netavark.establish(&net).await.unwrap_err();
            assert_eq!(e.kind(), model::Kind::Conflict);
            assert!(!host.netavark.dismantle(&net).await.unwrap());
        }
        assert!(!stands(&net));
        assert_eq!(interfaces(host).await, ["br-test145"]);
        // Nor is a range.
        for words in ["addr add 10.145.0.9/24 dev", "link set up dev"] {
            ip(&format!("{words} br-test145"));
        }
        ip("link set br-test145 name docker0");
        let e = host.netavark.establish(&net).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::Conflict);
        assert!(
            e.message()
                .contains("another interface of the host leads to 10.145.0.0/24"),
            "{e}"
        );
        assert_eq!(interfaces(host).await, ["docker0"]);
        ip("link del docker0");
        host.netavark.establish(&net).await.unwrap();
        // Its anchor tells whose it is, where the notes are lost.
        std::fs::remove_dir_all(host.dir.path().join("netavark")).unwrap();
        let (ns, one) = (host.ns("ns"), on(&net, 'a', 2, &[]));
        host.netavark.set_up(&ns, &one).await.unwrap();
        assert!(
            !host.netavark.dismantle(&net).await.unwrap(),
            "somebody is on it"
        );
        assert!(stands(&net));
        host.netavark.tear_down(&ns, &one).await.unwrap();
        assert!(host.netavark.dismantle(&net).await.unwrap());
        assert_eq!(host.settled().await.0, [""; 0]);
        // Of one that was deleted by hand the anchor is left.
        host.netavark.establish(&net).await.unwrap();
        ip("link del br-test145");
        assert!(host.netavark.dismantle(&net).await.unwrap());
        assert_eq!(host.settled().await.0, [""; 0]);
    });
}

/// Another default network with the same bridge: its record was wiped, and is made anew.
fn anew(net: &NetworkRecord, id: char) -> Arc<NetworkRecord> {
    let mut next = net.clone();
    next.id = id.to_string().repeat(64).parse().unwrap();
    next.name = "bridge".parse().unwrap();
    Arc::new(next)
}

fn next_daemon(host: &Host, dir: &str) -> Netavark {
    let path = std::env::var_os("PATH").unwrap();
    Netavark::new(None, path, host.dir.path().join(dir))
}

#[test]
fn what_a_network_left_whose_record_was_wiped_is_taken_over() {
    on_a_host(async |host| {
        let old = anew(&dual(146), 'd');
        assert!(host.netavark.establish(&old).await.unwrap());
        let rules = host.settled().await.1;
        // The data root was wiped, and the range is another now; the notes are there.
        let mut next = anew(&dual(147), 'b');
        Arc::make_mut(&mut next)
            .interface
            .clone_from(&old.interface);
        let one = on(&next, 'a', 2, &[]);
        let ns = host.ns("ns");
        // Whoever comes first.
        host.netavark.set_up(&ns, &one).await.unwrap();
        UdpSocket::bind((gateway(&next), 0)).unwrap();
        host.netavark.establish(&next).await.unwrap();
        assert!(stands(&next) && !stands(&old));
        host.netavark.tear_down(&ns, &one).await.unwrap();
        assert_eq!(interfaces(host).await, alone(&next));
        let left = host.settled().await.1;
        assert!(!left.contains("10.146."), "{left}");
        // As long as somebody is on it, it is not taken.
        host.netavark.set_up(&ns, &one).await.unwrap();
        let other = anew(&next, 'c');
        let e = host.netavark.establish(&other).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::Conflict);
        host.netavark.tear_down(&ns, &one).await.unwrap();
        assert!(host.netavark.dismantle(&next).await.unwrap());
        assert_eq!(host.settled().await.0, [""; 0]);
        assert!(rules.contains("10.146."), "{rules}");
    });
}

#[test]
fn what_a_daemon_left_is_taken_over_only_when_it_has_ended() {
    on_a_host(async |host| {
        let (old, new) = (anew(&dual(150), 'd'), anew(&dual(150), 'c'));
        let [first, second, again] = ["one", "two", "one"].map(|dir| next_daemon(host, dir));
        assert!(first.establish(&old).await.unwrap());
        let e = second.establish(&new).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::Conflict);
        assert!(stands(&old));
        // Its run root and its data root were wiped.
        drop(first);
        assert!(second.establish(&new).await.unwrap());
        assert_eq!(interfaces(host).await, alone(&new));
        assert!(!second.establish(&new).await.unwrap());
        // If they were not, it is not taken from each other in turn.
        let one = on(&old, 'a', 2, &[]);
        let ns = host.ns("ns");
        drop(second);
        for _ in 0..2 {
            assert!(again.establish(&old).await.is_err());
            assert!(again.set_up(&ns, &one).await.is_err());
            assert!(stands(&new));
        }
    });
}

#[test]
fn no_start_walks_into_a_range_that_was_taken_meanwhile() {
    on_a_host(async |host| {
        let net = anew(&dual(148), 'd');
        let (ns, one) = (host.ns("ns"), on(&net, 'a', 2, &[]));
        ip("link add other0 type bridge");
        ip("link set other0 up");
        for (taken, is_free) in [
            ("10.148.0.1/24", false),
            ("10.148.0.129/26", false),
            ("10.148.0.9/32", true),
            ("10.148.1.1/16", true),
        ] {
            ip(&format!("addr add {taken} dev other0"));
            let made = host.netavark.set_up(&ns, &one).await;
            if is_free {
                made.unwrap();
                host.netavark.tear_down(&ns, &one).await.unwrap();
            } else {
                let e = made.unwrap_err();
                assert_eq!(e.kind(), model::Kind::Conflict, "{taken}");
                assert!(
                    e.message()
                        .contains("another interface of the host leads to"),
                    "{e}"
                );
                assert!(host.netavark.establish(&net).await.is_err());
            }
            assert_eq!(host.settled().await.0, ["other0"], "{taken}");
            ip(&format!("addr del {taken} dev other0"));
        }
        // Who is there lives with it, and others come.
        host.netavark.establish(&net).await.unwrap();
        ip("addr add 10.148.0.1/24 dev other0");
        host.netavark.set_up(&ns, &one).await.unwrap();
    });
}

#[test]
fn nobody_starts_where_the_gateway_is_not() {
    on_a_host(async |host| {
        let net = anew(&dual(149), 'd');
        host.netavark.establish(&net).await.unwrap();
        ip("addr del 10.149.0.1/24 dev br-test149");
        let (ns, one) = (host.ns("ns"), on(&net, 'a', 2, &[]));
        host.netavark.set_up(&ns, &one).await.unwrap();
        UdpSocket::bind((gateway(&net), 0)).unwrap();
        ip("addr del 10.149.0.1/24 dev br-test149");
        let two = on(&net, 'b', 3, &[]);
        let e = host
            .netavark
            .set_up(&host.ns("two"), &two)
            .await
            .unwrap_err();
        assert!(e.message().contains("somebody is on it"), "{e}");
    });
}
