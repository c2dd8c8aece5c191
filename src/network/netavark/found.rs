//! What is in the host's firewall, and whether what a container needs is among it: pure.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use model::{Error, NetworkDriver, NetworkRecord, PublishedPort};

use super::Order;
use super::rules;

/// What is in the host's firewall.
#[derive(Debug)]
pub(super) struct Rules {
    /// What `iptables-save` prints, all tables, and for IPv6; nothing of a family that the host cannot filter.
    pub(super) iptables: [Option<String>; 2],
    /// Why a family's could not be read, or not be changed.
    pub(super) failed: [Option<Error>; 2],
    /// netavark's table, where it uses nftables.
    pub(super) nftables: String,
}

/// The same, so that each container's is found at once.
#[derive(Debug)]
pub(super) struct Found<'a> {
    iptables: [Option<BTreeSet<&'a str>>; 2],
    /// Words of netavark's table.
    nftables: HashSet<&'a str>,
    ports: HashSet<Led<'a>>,
}

/// What is sent to a port of the host is led there.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Led<'a> {
    protocol: &'a str,
    host_port: u16,
    /// Of the host, where it is not all of them.
    host_ip: Option<IpAddr>,
    to: SocketAddr,
}

/// What a rule for a port says, whoever prints it.
#[derive(Debug, Default)]
struct PortRule<'a> {
    chain: &'a str,
    protocol: &'a str,
    port: u16,
    host_ip: Option<IpAddr>,
    /// The chain in which one goes on.
    jump: &'a str,
    to: Option<SocketAddr>,
}

/// netavark's chain that all come to who are sent to the host's own addresses, in both of its ways.
const ALL_PORTS: &str = "NETAVARK-HOSTPORT-DNAT";

impl Rules {
    /// Why the rules of a network are not there, in a family that it has.
    pub(super) fn failed_for(&self, network: &NetworkRecord) -> Option<Error> {
        let mut subnets = network.subnets.iter();
        subnets.find_map(|s| self.failed[usize::from(s.subnet.addr().is_ipv6())].clone())
    }

    /// Made once for all containers: of a thousand with a thousand rules, each would read all.
    pub(super) fn index(&self) -> Found<'_> {
        let texts = self.iptables.iter().flatten();
        let mut rules: Vec<_> = texts
            .flat_map(|text| text.lines().filter_map(of_iptables))
            .collect();
        let mut chain = "";
        for line in self.nftables.lines() {
            match line.trim().strip_prefix("chain ") {
                Some(name) => chain = name.trim_end_matches(" {"),
                None => rules.extend(of_nftables(chain, line)),
            }
        }
        let into = rules.iter().filter(|rule| rule.chain == ALL_PORTS);
        let into: HashSet<_> = into.map(|r| (r.protocol, r.port, r.jump)).collect();
        let led = rules.iter().filter_map(|rule| {
            let led = Led {
                protocol: rule.protocol,
                host_port: rule.port,
                host_ip: rule.host_ip,
                to: rule.to?,
            };
            into.contains(&(rule.protocol, rule.port, rule.chain))
                .then_some(led)
        });
        Found {
            iptables: self
                .iptables
                .each_ref()
                .map(|text| Some(text.as_ref()?.lines().collect())),
            nftables: self.nftables.split_whitespace().collect(),
            ports: led.collect(),
        }
    }
}

/// As iptables-save prints it.
fn of_iptables(line: &str) -> Option<PortRule<'_>> {
    let mut rule = PortRule::default();
    let mut words = line.split(' ');
    while let Some(word) = words.next() {
        match word {
            "-A" => rule.chain = words.next()?,
            "-p" => rule.protocol = words.next()?,
            "-d" => rule.host_ip = one_of_the_hosts(words.next()?.split('/').next()?),
            "--dport" => rule.port = words.next()?.parse().ok()?,
            "-j" => rule.jump = words.next()?,
            "--to-destination" => rule.to = Some(words.next()?.parse().ok()?),
            _ => {}
        }
    }
    (rule.port != 0).then_some(rule)
}

/// As nft(8) lists it.
fn of_nftables<'a>(chain: &'a str, line: &'a str) -> Option<PortRule<'a>> {
    let mut rule = PortRule {
        chain,
        ..PortRule::default()
    };
    let mut words = line.split_whitespace();
    let mut before = "";
    while let Some(word) = words.next() {
        match word {
            "daddr" => rule.host_ip = one_of_the_hosts(words.next()?),
            "dport" => {
                rule.protocol = before;
                rule.port = words.next()?.parse().ok()?;
            }
            "jump" => rule.jump = words.next()?,
            "to" => rule.to = Some(words.next()?.parse().ok()?),
            _ => {}
        }
        before = word;
    }
    (rule.port != 0).then_some(rule)
}

fn one_of_the_hosts(word: &str) -> Option<IpAddr> {
    let ip: IpAddr = word.parse().ok()?;
    (!ip.is_unspecified()).then_some(ip)
}

impl Found<'_> {
    /// Whether the rules of a container are there: its networks' and each of its ports'.
    pub(super) fn has(&self, order: &Order) -> bool {
        let bridged = order.places.iter();
        let mut bridged = bridged
            .filter(|(network, _)| network.driver == NetworkDriver::Bridge && !network.internal);
        bridged.all(|(_, place)| {
            let v4 = place
                .ipv4
                .map(|net| (0, net.trunc().to_string(), IpAddr::from(net.addr())));
            let v6 = place
                .ipv6
                .map(|net| (1, net.trunc().to_string(), IpAddr::from(net.addr())));
            let mut both = v4.into_iter().chain(v6);
            both.all(|(family, subnet, address)| {
                self.has_family(family, &subnet)
                    .is_none_or(|is_there| is_there && self.has_ports(&order.ports, address))
            })
        })
    }

    /// Whether what containers of a subnet need is there; nothing can be put where nothing can be read.
    fn has_family(&self, family: usize, subnet: &str) -> Option<bool> {
        if !self.nftables.is_empty() {
            return Some(self.nftables.contains(subnet));
        }
        let lines = self.iptables[family].as_ref()?;
        let begins = |begin: String| {
            let mut from = lines.range(begin.as_str()..);
            from.next().is_some_and(|line| line.starts_with(&begin))
        };
        Some(
            begins(format!("-A POSTROUTING -s {subnet} -j NETAVARK-"))
                && begins(format!("-A NETAVARK_FORWARD -s {subnet} -j ACCEPT"))
                && begins(format!("-A NETAVARK_FORWARD -d {subnet} "))
                && begins(format!("-A FORWARD {}", rules::ACCEPTS)),
        )
    }

    /// Whether all ports of the family of a container's address lead there.
    fn has_ports(&self, ports: &[PublishedPort], address: IpAddr) -> bool {
        let family = usize::from(address.is_ipv6());
        let mut ports = ports
            .iter()
            .filter(|port| port.host_ip.is_ipv6() == address.is_ipv6())
            .peekable();
        if ports.peek().is_none() {
            return true;
        }
        let come = |chain: &str| format!("-A {chain} -m addrtype --dst-type LOCAL -j {ALL_PORTS}");
        let do_come = !self.nftables.is_empty()
            || self.iptables[family].as_ref().is_none_or(|lines| {
                ["PREROUTING", "OUTPUT"]
                    .iter()
                    .all(|chain| lines.contains(come(chain).as_str()))
            });
        do_come
            && ports.all(|port| {
                self.ports.contains(&Led {
                    protocol: port.port.protocol.as_str(),
                    host_port: port.host_port,
                    host_ip: Some(port.host_ip).filter(|ip| !ip.is_unspecified()),
                    to: SocketAddr::new(address, port.port.number),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{network, order, place};

    #[test]
    fn each_port_of_a_container_is_looked_for_where_nftables_has_them() {
        let net = network(
            1,
            &[("10.89.0.0/24", "10.89.0.1"), ("fd89::/64", "fd89::1")],
        );
        let of = |last: u8, ports: &[(u16, u16)]| {
            let addresses = [format!("10.89.0.{last}/24"), format!("fd89::{last}/64")];
            let addresses = addresses.each_ref().map(String::as_str);
            order('a', &[(&net, place(&net, "eth0", &addresses))], ports)
        };
        let whole = "table inet netavark {\n\
            \tchain nv_2f_10_89_0_0_nm24 {\n\t\tip daddr 10.89.0.0/24 accept\n\t}\n\
            \tchain nv_2f_fd89 {\n\t\tip6 daddr fd89::/64 accept\n\t}\n\
            \tchain NETAVARK-HOSTPORT-DNAT {\n\
            \t\ttcp dport 8080 jump nv_2f_dnat comment \"dnat name: n id: a\"\n\
            \t\tip daddr 127.0.0.1 tcp dport 8081 jump nv_2f_dnat\n\
            \t\ttcp dport 8080 jump nv_2f6_dnat\n\t}\n\
            \tchain nv_2f_dnat {\n\
            \t\tip saddr 10.89.0.0/24 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK\n\
            \t\ttcp dport 8080 dnat ip to 10.89.0.20:80\n\
            \t\tip daddr 127.0.0.1 tcp dport 8081 dnat ip to 10.89.0.20:81\n\t}\n\
            \tchain nv_2f6_dnat {\n\t\ttcp dport 8080 dnat ip6 to [fd89::20]:80\n\t}\n}\n";
        let has = |text: &str, order: &Order| {
            let rules = Rules {
                iptables: [None, None],
                failed: [None, None],
                nftables: text.to_owned(),
            };
            rules.index().has(order)
        };
        let mut web = of(20, &[(8080, 80), (8080, 80), (8081, 81)]);
        web.ports[1].host_ip = std::net::Ipv6Addr::UNSPECIFIED.into();
        web.ports[2].host_ip = std::net::Ipv4Addr::LOCALHOST.into();
        assert!(has(whole, &web));
        for less in whole
            .lines()
            .filter(|line| line.contains("dport") && !line.contains("saddr"))
        {
            let rest = whole.replacen(&format!("{less}\n"), "", 1);
            assert!(!has(&rest, &web), "without {less}");
        }
        // Not by an address that only begins like it.
        assert!(has(whole, &of(2, &[])));
        assert!(!has(whole, &of(2, &[(8080, 80)])));
        assert!(!has(
            &whole.replace("10.89.0.0/24", "110.89.0.0/24"),
            &of(2, &[])
        ));
    }
}
