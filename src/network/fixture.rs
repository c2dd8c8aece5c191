//! What the tests with real programs share: a host of their own, networks, places and orders.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use model::{
    Endpoint, MacAddress, NetworkDriver, NetworkRecord, Port, Protocol, PublishedPort, Subnet,
};
use sys::{links, netns};

use crate::{Netavark, Order};

/// A network namespace that stands for the host, and where its files are.
pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) netavark: Netavark,
}

/// Runs `test` on a host of its own.
pub(crate) fn on_a_host(test: impl AsyncFnOnce(&Host) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let ns = dir.path().join("host");
    netns::make(&ns).unwrap();
    netns::inside(&ns, || {
        let lo = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(lo.unwrap().success());
        let path = std::env::var_os("PATH").unwrap();
        let netavark = Netavark::new(None, path, dir.path().join("netavark"));
        let host = Host { dir, netavark };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test(&host));
        for ns in netns::list(host.dir.path()).unwrap() {
            let _ = netns::remove(&ns);
        }
        Ok(())
    })
    .unwrap();
}

impl Host {
    pub(crate) fn ns(&self, name: &str) -> PathBuf {
        let ns = self.dir.path().join(name);
        netns::make(&ns).unwrap();
        ns
    }

    /// Another host on the same wire, 10.77.0.2 beside this one's 10.77.0.1, that sends all else here.
    pub(crate) fn neighbour(&self) -> PathBuf {
        let lan = self.ns("lan");
        ip("link add lan0 type veth peer name lan1");
        let moved = format!("link set lan1 netns {}", lan.display());
        for args in ["addr add 10.77.0.1/24 dev lan0", "link set lan0 up", &moved] {
            ip(args);
        }
        netns::inside(&lan, || {
            ip("link set lo up");
            ip("addr add 10.77.0.2/24 dev lan1");
            ip("link set lan1 up");
            ip("route add default via 10.77.0.1");
            Ok(())
        })
        .unwrap();
        lan
    }

    /// The same once the rules that are always there are in order, which nobody's end waits for.
    pub(crate) async fn settled(&self) -> (Vec<String>, String) {
        self.netavark.tidy().await.unwrap();
        self.census()
    }

    /// Interfaces but for the loopback, and rules.
    fn census(&self) -> (Vec<String>, String) {
        let links = links::list().unwrap().into_iter().map(|link| link.name);
        let mut rules = String::new();
        for save in ["iptables-save", "ip6tables-save"] {
            let saved = Command::new(save).output().unwrap();
            assert!(saved.status.success());
            let text = String::from_utf8(saved.stdout).unwrap();
            let mut kept: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with("-A"))
                .chain(
                    text.lines()
                        .filter(|l| l.starts_with(':'))
                        .map(|l| l.split(' ').next().unwrap()),
                )
                .collect();
            kept.sort_unstable();
            rules += &kept.join("\n");
        }
        (links.filter(|name| name != "lo").collect(), rules)
    }
}

/// Runs ip(8) on the calling thread's host.
pub(crate) fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).status();
    assert!(done.unwrap().success(), "ip {args}");
}

pub(crate) fn network(number: u8, subnets: &[(&str, &str)]) -> NetworkRecord {
    let subnet = |&(subnet, gateway): &(&str, &str)| Subnet {
        subnet: subnet.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        range: None,
        reserved: BTreeMap::new(),
    };
    NetworkRecord {
        id: format!("{number:064x}").parse().unwrap(),
        name: format!("net{number}").parse().unwrap(),
        created_at: Timestamp::UNIX_EPOCH,
        driver: NetworkDriver::Bridge,
        interface: format!("br-test{number}"),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        subnets: subnets.iter().map(subnet).collect(),
        ipam_options: None,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

pub(crate) fn place(network: &NetworkRecord, interface: &str, addresses: &[&str]) -> Endpoint {
    let mut place = Endpoint {
        id: "e".repeat(64).parse().unwrap(),
        network: network.id.clone(),
        interface: interface.to_owned(),
        mac: MacAddress::from_random([7; 6]),
        ipv4: None,
        ipv6: None,
        metric: 100,
    };
    for address in addresses {
        match address.parse().unwrap() {
            IpNet::V4(v4) => {
                place.mac = MacAddress::of(v4.addr());
                place.ipv4 = Some(v4);
            }
            IpNet::V6(v6) => place.ipv6 = Some(v6),
        }
    }
    place
}

pub(crate) fn order(
    id: char,
    places: &[(&NetworkRecord, Endpoint)],
    ports: &[(u16, u16)],
) -> Order {
    let port = |&(host_port, number): &(u16, u16)| PublishedPort {
        port: Port {
            number,
            protocol: Protocol::Tcp,
        },
        host_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host_port,
    };
    Order {
        id: id.to_string().repeat(64).parse().unwrap(),
        name: format!("box-{id}"),
        places: places
            .iter()
            .map(|(net, place)| (Arc::new((*net).clone()), place.clone()))
            .collect(),
        ports: ports.iter().map(port).collect(),
    }
}
