//! The rules of ours in the host's firewall, as iptables-save prints them: pure.
//!
//! | chain | |
//! |---|---|
//! | `PREROUTING` of `raw` | nothing from outside is for 127.0.0.0/8: netavark has the kernel route it from bridges, and the ports that are published there would answer neighbours |
//! | `FORWARD` | the order: DOCKER-USER, ours, netavark's isolation, netavark's |
//! | `MOORED-FORWARD` | of each bridge: what is published is let in, also where the policy is to drop; nothing else is, though the host forwards; an internal network's bridge is on its own; nothing comes back to a bridge whose containers are apart |
//! | `MOORED-INPUT` | of each bridge: its name server is for those on it |
//!
//! Several daemons share the chains. The rules of a bridge name it, and go when it does.

use std::fmt::Write as _;
use std::net::IpAddr;

use model::{NetworkDriver, NetworkRecord};
use sys::links::Link;

use super::ends;
use crate::names::{PORT, PORTS_ASIDE};

/// The host's own rules for containers.
const FIRST: &str = "-j DOCKER-USER";
/// Before isolation: published ports answer containers of other networks, too.
const FORWARDS: &str = "-j MOORED-FORWARD";
/// netavark's own. Where it is, netavark does not put one before the ones above.
const ISOLATES: &str = "-j NETAVARK_ISOLATION_1";
/// As netavark's own rule, but for the comment: so it does not take this one away.
const APART: &str = r#"-m comment --comment "moored: networks are apart" -j NETAVARK_ISOLATION_1"#;
/// netavark's own, to the letter: it must not put another one before the one above.
pub(super) const ACCEPTS: &str =
    r#"-m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD"#;
/// What else comes to the host, published ports' answers among it, is not held up by the rules of bridges. The
/// ports are all that name servers may have.
const ASKED: [&str; 2] = [
    "-p udp -m multiport --dports 53,298,338,733 -j MOORED-INPUT",
    "-p tcp -m multiport --dports 53,298,338,733 -j MOORED-INPUT",
];
/// Names are asked for by the host itself, too.
const HOSTS_OWN: &str = "-i lo -j RETURN";
/// The kernel's own check comes only after the addresses were changed.
const NO_LOOPBACK: &str =
    r#"-d 127.0.0.0/8 ! -i lo -m comment --comment "moored: for the host alone" -j DROP"#;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The program that prints its rules.
    pub(super) fn save(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }

    /// The program that reads them.
    pub(super) fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    fn is_of(self, address: &IpAddr) -> bool {
        address.is_ipv6() == (self == Self::V6)
    }
}

/// What is to be there.
pub(super) struct Wanted<'a> {
    pub(super) family: Family,
    /// netavark's chains are its own business where it uses nftables.
    pub(super) with_netavarks: bool,
    /// Those whose rules are to be there; others' stay while there is their bridge.
    pub(super) networks: &'a [&'a NetworkRecord],
    /// The host's interfaces.
    pub(super) links: &'a [Link],
}

impl Wanted<'_> {
    /// What `iptables-restore --noflush` is to be told so that all is there, in its order; `None` when it is.
    pub(super) fn missing(&self, saved: &str) -> Option<String> {
        let filter = Table::of(saved, "filter");
        let mut forward = vec![(FIRST, "DOCKER-USER"), (FORWARDS, "MOORED-FORWARD")];
        if self.with_netavarks {
            forward.push((ISOLATES, "NETAVARK_ISOLATION_1"));
            forward.push((APART, "NETAVARK_ISOLATION_1"));
            forward.push((ACCEPTS, "NETAVARK_FORWARD"));
        }
        let input = ASKED.map(|rule| (rule, "MOORED-INPUT"));
        let mut edits = Edits::default();
        edits.refill(&filter, "MOORED-FORWARD", &self.forwarding(&filter));
        edits.refill(&filter, "MOORED-INPUT", &self.name_servers(&filter));
        edits.order(&filter, "FORWARD", &forward);
        edits.order(&filter, "INPUT", &input);
        let mut text = edits.into_text("filter");
        if self.family == Family::V4 {
            let raw = Table::of(saved, "raw");
            let mut edits = Edits::default();
            edits.order(&raw, "PREROUTING", &[(NO_LOOPBACK, "")]);
            text += &edits.into_text("raw");
        }
        (!text.is_empty()).then_some(text)
    }

    /// All of `MOORED-FORWARD`. Internal networks come first: nothing that is published leads out of them.
    fn forwarding(&self, filter: &Table<'_>) -> Vec<String> {
        let mut rules = self.of_others(filter, "MOORED-FORWARD");
        for (bridge, network) in self.bridges() {
            if network.internal {
                rules.push(format!("! -i {bridge} -o {bridge} -j DROP"));
                rules.push(format!("-i {bridge} ! -o {bridge} -j DROP"));
                // What goes from one to another passes here, too, where br_netfilter is at work, and netavark
                // has no rule for it.
                let own = if ends::are_apart(network) {
                    "DROP"
                } else {
                    "ACCEPT"
                };
                rules.push(format!("-i {bridge} -o {bridge} -j {own}"));
            } else {
                rules.push(format!("-o {bridge} -m conntrack --ctstate DNAT -j ACCEPT"));
                rules.push(format!(
                    "! -i {bridge} -o {bridge} -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP"
                ));
                // The bridge itself keeps them apart only where nothing goes by the host.
                if ends::are_apart(network) {
                    rules.push(format!(
                        "-i {bridge} -o {bridge} -m conntrack ! --ctstate DNAT -j DROP"
                    ));
                }
            }
        }
        let is_internal = |rule: &str| !rule.contains(" -m conntrack ");
        rules.sort_by(|a, b| {
            let key = |rule: &str| {
                (
                    !is_internal(rule),
                    bridge_of(rule).unwrap_or_default().to_owned(),
                )
            };
            key(a).cmp(&key(b))
        });
        rules
    }

    /// All of `MOORED-INPUT`.
    fn name_servers(&self, filter: &Table<'_>) -> Vec<String> {
        let mut rules = self.of_others(filter, "MOORED-INPUT");
        let ports = [&[PORT], &PORTS_ASIDE[..]].concat();
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let ports = ports.join(",");
        // Where there are no names, the host may have a server of its own at that address, for everybody.
        for (bridge, network) in self.bridges().into_iter().filter(|(_, n)| n.has_dns()) {
            let gateways = network.subnets.iter().filter_map(|subnet| subnet.gateway);
            for gateway in gateways.filter(|gateway| self.family.is_of(gateway)) {
                let width = if gateway.is_ipv4() { 32 } else { 128 };
                for protocol in ["udp", "tcp"] {
                    let asks = format!("-p {protocol} -m multiport --dports {ports}");
                    rules.push(format!("-d {gateway}/{width} -i {bridge} {asks} -j ACCEPT"));
                    rules.push(format!("-d {gateway}/{width} ! -i {bridge} {asks} -j DROP"));
                }
            }
        }
        rules.sort_by_key(|rule| bridge_of(rule).unwrap_or_default().to_owned());
        rules.insert(0, HOSTS_OWN.to_owned());
        rules
    }

    /// The bridges of these networks that are there, each once.
    fn bridges(&self) -> Vec<(&str, &NetworkRecord)> {
        let networks = self.networks.iter();
        let bridged = networks.filter(|n| n.driver == NetworkDriver::Bridge);
        let there = bridged.filter(|n| self.links.iter().any(|link| link.name == n.interface));
        let mut bridges: Vec<_> = there.map(|n| (n.interface.as_str(), *n)).collect();
        bridges.sort_by_key(|(bridge, _)| *bridge);
        bridges.dedup_by_key(|(bridge, _)| *bridge);
        bridges
    }

    /// The rules in a chain of bridges that are there and not of these networks.
    fn of_others(&self, filter: &Table<'_>, chain: &str) -> Vec<String> {
        let is_others = |rule: &&str| {
            bridge_of(rule).is_some_and(|bridge| {
                bridge != "lo"
                    && self.links.iter().any(|link| link.name == bridge)
                    && !self.networks.iter().any(|n| n.interface == bridge)
            })
        };
        let rules = filter.rules(chain).filter(is_others);
        rules.map(str::to_owned).collect()
    }
}

/// Whose rule it is.
fn bridge_of(rule: &str) -> Option<&str> {
    let mut words = rule.split(' ');
    words.find(|word| matches!(*word, "-i" | "-o"))?;
    words.next()
}

/// Part of what iptables-save prints.
struct Table<'a>(&'a str);

impl<'a> Table<'a> {
    fn of(saved: &'a str, name: &str) -> Self {
        let table = saved
            .split(&format!("*{name}\n"))
            .nth(1)
            .unwrap_or_default();
        Self(table.split("COMMIT").next().unwrap_or_default())
    }

    fn rules(&self, chain: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let begin = format!("-A {chain} ");
        self.0
            .lines()
            .filter_map(move |line| line.strip_prefix(begin.as_str()))
    }

    fn has(&self, chain: &str) -> bool {
        let begin = format!(":{chain} ");
        self.0.lines().any(|line| line.starts_with(&begin))
    }
}

/// What iptables-restore is to do in one table.
#[derive(Default)]
struct Edits {
    chains: String,
    rules: String,
}

impl Edits {
    /// A chain of ours has these rules and no others.
    fn refill(&mut self, table: &Table<'_>, chain: &str, rules: &[String]) {
        if table.has(chain) && table.rules(chain).eq(rules.iter().map(String::as_str)) {
            return;
        }
        // One that is there is flushed by this.
        self.declare(chain);
        for rule in rules {
            writeln!(self.rules, "-A {chain} {rule}").expect("writing to a string cannot fail");
        }
    }

    /// The first rules of a chain of the kernel's are these, in their order, each with the chain it leads to;
    /// others' may stand between.
    fn order(&mut self, table: &Table<'_>, chain: &str, wanted: &[(&str, &str)]) {
        let place = |rule: &str| table.rules(chain).position(|line| line == rule);
        let places: Vec<_> = wanted.iter().map(|(rule, _)| place(rule)).collect();
        if places.iter().all(Option::is_some) && places.is_sorted() {
            return;
        }
        for (_, chain) in wanted {
            // To name a chain that is there would flush it.
            if !chain.is_empty() && !table.has(chain) {
                self.declare(chain);
            }
        }
        for ((rule, _), place) in wanted.iter().zip(&places) {
            if place.is_some() {
                writeln!(self.rules, "-D {chain} {rule}").expect("writing to a string cannot fail");
            }
        }
        for (number, (rule, _)) in (1..).zip(wanted) {
            writeln!(self.rules, "-I {chain} {number} {rule}")
                .expect("writing to a string cannot fail");
        }
    }

    fn declare(&mut self, chain: &str) {
        let declared = format!(":{chain} - [0:0]\n");
        if !self.chains.contains(&declared) {
            self.chains.push_str(&declared);
        }
    }

    fn into_text(self, table: &str) -> String {
        match self.chains.is_empty() && self.rules.is_empty() {
            true => String::new(),
            false => format!("*{table}\n{}{}COMMIT\n", self.chains, self.rules),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::network;

    fn links(names: &[&str]) -> Vec<Link> {
        let link = |name: &&str| Link {
            index: 1,
            name: (*name).to_owned(),
            ..Link::default()
        };
        names.iter().map(link).collect()
    }

    fn missing(
        saved: &str,
        with_netavarks: bool,
        networks: &[&NetworkRecord],
        there: &[&str],
    ) -> Option<String> {
        let wanted = Wanted {
            family: Family::V6,
            with_netavarks,
            networks,
            links: &links(there),
        };
        wanted.missing(saved)
    }

    const OWN: &str = "-A INPUT -p udp -m multiport --dports 53,298,338,733 -j MOORED-INPUT\n\
        -A INPUT -p tcp -m multiport --dports 53,298,338,733 -j MOORED-INPUT\n-A MOORED-INPUT -i lo -j RETURN\n";
    const CHAINS: &str = ":FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n:MOORED-FORWARD - [0:0]\n:MOORED-INPUT - [0:0]\n\
        :NETAVARK_ISOLATION_1 - [0:0]\n:NETAVARK_FORWARD - [0:0]";

    fn saved(rules: &[&str], more: &str) -> String {
        let rules: String = rules.iter().map(|r| format!("-A FORWARD {r}\n")).collect();
        format!("*nat\nCOMMIT\n*filter\n{CHAINS}\n{rules}{OWN}{more}COMMIT\n")
    }

    #[test]
    fn rules_come_in_their_order_and_chains_that_are_there_are_not_flushed() {
        let input = missing("", true, &[], &[]).unwrap();
        let at = |line: &str| input.lines().position(|l| l == line).expect(line);
        for chain in [
            "DOCKER-USER",
            "MOORED-FORWARD",
            "MOORED-INPUT",
            "NETAVARK_FORWARD",
            "NETAVARK_ISOLATION_1",
        ] {
            assert!(at(&format!(":{chain} - [0:0]")) < at(&format!("-I FORWARD 1 {FIRST}")));
        }
        assert!(at(&format!("-I FORWARD 5 {ACCEPTS}")) > 0);
        // Others' rules may stand between.
        let right = [
            "-j OTHER", FIRST, FORWARDS, ISOLATES, APART, "-j OTHER", ACCEPTS,
        ];
        assert_eq!(missing(&saved(&right, ""), true, &[], &[]), None);
        let inserted = [ISOLATES, FIRST, FORWARDS, APART, ACCEPTS];
        assert!(missing(&saved(&inserted, ""), true, &[], &[]).is_some());
        let wrong = missing(&saved(&[ACCEPTS, FIRST], ""), true, &[], &[]).unwrap();
        assert!(!wrong.contains("\n:"), "{wrong}");
        assert!(
            wrong.contains(&format!("-D FORWARD {ACCEPTS}\n")),
            "{wrong}"
        );
        assert!(
            !wrong.contains("-D FORWARD -m comment --comment \"moored"),
            "{wrong}"
        );
        assert_eq!(
            missing(&saved(&[FIRST, FORWARDS], ""), false, &[], &[]),
            None
        );
    }

    #[test]
    fn rules_of_a_bridge_go_with_it_and_internal_networks_come_first() {
        let mut one = network(1, &[("fd91::/64", "fd91::1")]);
        let icc = "com.docker.network.bridge.enable_icc".to_owned();
        one.options.insert(icc, "false".to_owned());
        let mut inner = network(2, &[("10.92.0.0/24", "10.92.0.1")]);
        inner.internal = true;
        let there = ["lo", "br-test1", "br-test2", "br-other"];
        let others = "-A MOORED-FORWARD -o br-gone -m conntrack --ctstate DNAT -j ACCEPT\n\
            -A MOORED-FORWARD -o br-other -m conntrack --ctstate DNAT -j ACCEPT\n";
        let before = saved(&[FIRST, FORWARDS], others);
        let input = missing(&before, false, &[&one, &inner, &one], &there).unwrap();
        let rules: String = input
            .lines()
            .filter(|l| l.starts_with("-A "))
            .map(|l| format!("{l}\n"))
            .collect();
        let forward: Vec<_> = Table(&rules).rules("MOORED-FORWARD").collect();
        assert_eq!(
            forward,
            [
                "! -i br-test2 -o br-test2 -j DROP",
                "-i br-test2 ! -o br-test2 -j DROP",
                "-i br-test2 -o br-test2 -j ACCEPT",
                "-o br-other -m conntrack --ctstate DNAT -j ACCEPT",
                "-o br-test1 -m conntrack --ctstate DNAT -j ACCEPT",
                "! -i br-test1 -o br-test1 -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP",
                "-i br-test1 -o br-test1 -m conntrack ! --ctstate DNAT -j DROP",
            ]
        );
        let asked: Vec<_> = Table(&rules).rules("MOORED-INPUT").collect();
        assert_eq!(asked.len(), 5, "{asked:?}");
        let mut default = one.clone();
        default.name = "bridge".parse().unwrap();
        let nameless = missing(&before, false, &[&default], &there).unwrap();
        assert!(!nameless.contains("--dports"), "{nameless}");
        assert_eq!(
            asked[1],
            "-d fd91::1/128 -i br-test1 -p udp -m multiport --dports 53,298,338,733 -j ACCEPT"
        );
        // What is there is left alone, whether one asks for it or not.
        let asked_first = ASKED.map(|rule| format!("-A INPUT {rule}\n")).concat();
        let text = format!(
            "*filter\n{CHAINS}\n-A FORWARD {FIRST}\n-A FORWARD {FORWARDS}\n{asked_first}{rules}COMMIT\n"
        );
        assert_eq!(missing(&text, false, &[&inner, &one], &there), None);
        assert_eq!(missing(&text, false, &[], &there), None);
        let less = missing(&text, false, &[], &["lo", "br-test1"]).unwrap();
        assert!(
            !less.contains("br-test2") && !less.contains("br-other"),
            "{less}"
        );
        assert!(less.contains("br-test1"));
    }
}
