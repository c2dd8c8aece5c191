//! What programs inside do to the names of their interfaces.

use super::*;
use crate::fixture::ip;

fn names(ns: &Path) -> Vec<String> {
    let left = netns::inside(ns, links::list).unwrap();
    left.into_iter().map(|link| link.name).collect()
}

fn inside(ns: &Path, lines: &[&str]) {
    netns::inside(ns, || {
        lines.iter().for_each(|line| ip(line));
        Ok(())
    })
    .unwrap();
}

fn addresses(ns: &Path) -> String {
    let run = || Command::new("ip").args(["-4", "-o", "addr"]).output();
    String::from_utf8(netns::inside(ns, run).unwrap().stdout).unwrap()
}

const SWAP: [&str; 7] = [
    "link set eth0 down",
    "link set eth1 down",
    "link set eth0 name x",
    "link set eth1 name eth0",
    "link set x name eth1",
    "link set eth0 up",
    "link set eth1 up",
];

#[test]
fn of_two_that_changed_names_the_right_one_goes() {
    on_a_host(async |host| {
        let one = network(51, &[("10.151.0.0/24", "10.151.0.1")]);
        let two = network(52, &[("10.152.0.0/24", "10.152.0.1")]);
        let places = [
            (&one, place(&one, "eth0", &["10.151.0.2/24"])),
            (&two, place(&two, "eth1", &["10.152.0.2/24"])),
        ];
        let both = order('a', &places, &[(8151, 80)]);
        let only = |n: usize| Order {
            places: vec![both.places[n].clone()],
            ..both.clone()
        };
        let ns = host.ns("ns");
        for changes_address in [false, true] {
            host.netavark.set_up(&ns, &both).await.unwrap();
            inside(&ns, &SWAP);
            if changes_address {
                inside(&ns, &["link set eth0 address 02:00:00:00:00:99"]);
            }
            host.netavark.tear_down(&ns, &only(1)).await.unwrap();
            assert_eq!(names(&ns), ["lo", "eth1"]);
            let left = addresses(&ns);
            assert!(left.contains("10.151.0.2/24"), "{left}");
            assert!(!left.contains("10.152."), "{left}");
            host.netavark.tear_down(&ns, &only(0)).await.unwrap();
            assert_eq!(names(&ns), ["lo"]);
            let settled = host.settled().await;
            assert_eq!(settled.0, [""; 0]);
            assert!(!settled.1.contains("10.15"), "{}", settled.1);
        }
    });
}

#[test]
fn a_macvlan_goes_whatever_it_is_called() {
    on_a_host(async |host| {
        ip("link add up0 type bridge");
        let one = network(53, &[("10.153.0.0/24", "10.153.0.1")]);
        let mut vlan = network(54, &[("10.154.0.0/24", "10.154.0.1")]);
        vlan.driver = NetworkDriver::Macvlan;
        vlan.interface = "up0".to_owned();
        let places = [
            (&one, place(&one, "eth0", &["10.153.0.2/24"])),
            (&vlan, place(&vlan, "eth1", &["10.154.0.2/24"])),
        ];
        let both = order('a', &places, &[]);
        let only = Order {
            places: vec![both.places[1].clone()],
            ..both.clone()
        };
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &both).await.unwrap();
        inside(&ns, &SWAP);
        // Of two on one parent, one goes, once.
        let mut near = vlan.clone();
        near.id = "c".repeat(64).parse().unwrap();
        near.subnets = network(57, &[("10.157.0.0/24", "10.157.0.1")]).subnets;
        let third = order(
            'a',
            &[(&near, place(&near, "eth2", &["10.157.0.2/24"]))],
            &[],
        );
        host.netavark.set_up(&ns, &third).await.unwrap();
        for _ in 0..2 {
            host.netavark.tear_down(&ns, &only).await.unwrap();
        }
        assert!(addresses(&ns).contains("10.157.0.2/24"));
        host.netavark.tear_down(&ns, &third).await.unwrap();
        let left = addresses(&ns);
        assert!(
            left.contains("10.153.0.2/24") && !left.contains("10.154."),
            "{left}"
        );
        host.netavark.tear_down(&ns, &both).await.unwrap();
        assert_eq!(names(&ns), ["lo"]);
        assert_eq!(host.settled().await.0, ["up0"]);
    });
}

#[test]
fn who_renames_an_interface_is_kept_apart_all_the_same() {
    on_a_host(async |host| {
        let mut net = network(55, &[("10.155.0.0/24", "10.155.0.1")]);
        let option = "com.docker.network.bridge.enable_icc";
        net.options.insert(option.into(), "false".into());
        let one = order('a', &[(&net, place(&net, "eth0", &["10.155.0.2/24"]))], &[]);
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &one).await.unwrap();
        let isolated = || {
            let shown = Command::new("bridge").args(["-d", "link"]).output();
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            shown.matches("isolated on").count()
        };
        assert_eq!(isolated(), 1);
        let own = links::list().unwrap();
        let end = own.iter().find(|link| link.peer_netns.is_some()).unwrap();
        ip(&format!(
            "link set {} type bridge_slave isolated off",
            end.name
        ));
        inside(&ns, &["link set eth0 down", "link set eth0 name zz"]);
        assert_eq!(isolated(), 0);
        super::super::ends::attend(&ns, &one).unwrap();
        assert_eq!(isolated(), 1);
        // One that it has moved elsewhere is not found.
        let inner = host.ns("inner");
        inside(&ns, &[&format!("link set zz netns {}", inner.display())]);
        let e = super::super::ends::attend(&ns, &one).unwrap_err();
        assert!(e.message().contains("is not found"), "{e}");
    });
}

#[test]
fn an_interface_of_a_container_inside_is_no_place_of_another() {
    on_a_host(async |host| {
        let net = network(56, &[("10.156.0.0/24", "10.156.0.1")]);
        let at = |id, last: u8| {
            let place = place(&net, "eth0", &[&format!("10.156.0.{last}/24")]);
            order(id, &[(&net, place)], &[])
        };
        let (outer, other) = (at('a', 2), at('b', 3));
        let [ns, other_ns, inner] = ["ns", "other", "inner"].map(|name| host.ns(name));
        host.netavark.set_up(&ns, &outer).await.unwrap();
        host.netavark.set_up(&other_ns, &other).await.unwrap();
        let there = |ns: &Path| netns::inside(ns, links::list).unwrap();
        let theirs = there(&other_ns)
            .into_iter()
            .find(|link| link.name == "eth0")
            .unwrap();
        // An engine inside has a pair of the same numbers, as it may happen, and the container's own is gone.
        let (near, far) = (theirs.index, theirs.peer.unwrap());
        let pair = format!("link add dind0 index {near} type veth peer name far0 index {far}");
        let moved = format!("link set far0 netns {}", inner.display());
        inside(&ns, &["link del eth0", &pair, &moved]);
        let own = there(&ns).into_iter().find(|link| link.name == "dind0");
        let own = own.unwrap();
        assert_eq!((own.index, own.peer), (near, Some(far)));
        host.netavark.tear_down(&ns, &outer).await.unwrap();
        assert_eq!(names(&other_ns), ["lo", "eth0"]);
        host.netavark.tear_down(&other_ns, &other).await.unwrap();
        assert_eq!(host.settled().await.0, [""; 0]);
    });
}
