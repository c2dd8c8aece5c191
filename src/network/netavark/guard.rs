//! Rules that stay: what netavark takes away too early, and what somebody else takes away.
//!
//! A firewall that is reloaded flushes the rules of running containers, and netavark takes the jump to its
//! chain of isolation away with the first network that goes, whoever is left, and puts it before all others
//! with the next. [`Netavark::keep_rules`] puts all that right. What netavark made is not remembered: netavark makes it again, on a stand-in, where it is
//! missing. The host's own rules have their place, as with Docker: the chain DOCKER-USER, which comes
//! before all of ours and is never flushed.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use model::{Context, Error, NetworkDriver, Result, limits};
use sys::netns;
use sys::spawn::Program;

use super::{Alone, Netavark, Order, Version};

/// The host's own rules for containers.
const FIRST: &str = "-j DOCKER-USER";
/// Published ports answer containers of other networks, too, both ways: isolation is for the rest.
const PUBLISHED: &str = r#"-m comment --comment "moored: published ports are for all" -m conntrack --ctstate DNAT -j NETAVARK_FORWARD"#;
/// The same where netavark uses nftables, whose chains do not end those of others: in its own, before its
/// jump to isolation, which it puts behind what is there.
const PUBLISHED_NFT: &str = r#"insert rule inet netavark FORWARD ct status dnat accept comment "moored: published ports are for all""#;
/// By which it is known.
const PUBLISHED_NFT_SIGN: &str = "ct status dnat accept comment \"moored: ";
/// netavark's own. Where it is, netavark does not put one before the ones above.
const ISOLATES: &str = "-j NETAVARK_ISOLATION_1";
/// As netavark's own rule, but for the comment: so it does not take this one away.
const APART: &str = r#"-m comment --comment "moored: networks are apart" -j NETAVARK_ISOLATION_1"#;
/// netavark's own, to the letter: it must not put another one before the one above.
const ACCEPTS: &str =
    r#"-m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD"#;

/// The first netavark that may have been built to use nftables.
pub(super) const KNOWS_NFTABLES: Version = Version(1, 10, 0);

/// What is in the host's firewall.
#[derive(Debug)]
pub(super) struct Rules {
    /// What `iptables-save` prints, all tables, and for IPv6.
    iptables: [String; 2],
    /// netavark's table, where it uses nftables.
    nftables: String,
}

impl Netavark {
    /// Sees to it that the rules of these running containers are in the firewall, and those that are always
    /// there; how many containers' had to be put back. To be called when the daemon starts, and now
    /// and then. `running` is asked when no other netavark can run any more: who is about to take a
    /// container's rules away no longer counts it among them by then, so none is put back that has gone.
    ///
    /// # Errors
    /// System: the firewall cannot be read or written.
    pub async fn keep_rules(&self, running: impl Fn() -> Vec<Order> + Send) -> Result<usize> {
        let version = self.version().await?;
        let alone = self.alone().await?;
        let rules = self.arrange(&alone, version).await?;
        let mut lost = running();
        lost.retain(|order| !rules.have(order));
        for order in &lost {
            self.put_back(&alone, order, version).await?;
        }
        if !lost.is_empty() && version >= KNOWS_NFTABLES {
            // Those had no place before netavark made one.
            self.arrange(&alone, version).await?;
        }
        Ok(lost.len())
    }

    /// Puts the rules that are always there where they must be; what was in the firewall before.
    pub(super) async fn arrange(&self, _alone: &Alone<'_>, version: Version) -> Result<Rules> {
        let rules = self.rules(version).await?;
        // A later one may use nftables: before it made anything, nobody knows.
        let with_netavarks = version < KNOWS_NFTABLES || rules.iptables[0].contains("NETAVARK_");
        // Before netavark's, so that it finds its own where it must be.
        for (saved, restore) in rules
            .iptables
            .iter()
            .zip(["iptables-restore", "ip6tables-restore"])
        {
            if let Some(input) = in_order(saved, with_netavarks) {
                let program = Program::new(self.tool(restore)?).args(["--noflush", "-w", "5"]);
                let program = program.env([("PATH", &self.search_path)]);
                let program = program
                    .input(input.as_bytes())
                    .context("cannot run iptables")?;
                succeed(restore, program).await?;
            }
        }
        if !rules.nftables.is_empty() && !rules.nftables.contains(PUBLISHED_NFT_SIGN) {
            succeed("nft", Program::new(self.tool("nft")?).args([PUBLISHED_NFT])).await?;
        }
        self.arranged.store(true, Ordering::Relaxed);
        Ok(rules)
    }

    /// Has netavark make all that is missing on the host, for a namespace that then goes alone.
    async fn put_back(&self, alone: &Alone<'_>, order: &Order, version: Version) -> Result<()> {
        let mut order = order.clone();
        order
            .places
            .retain(|(network, _)| network.driver == NetworkDriver::Bridge);
        let stand_in = self.stand_in()?;
        let made = self.call(alone, "setup", &stand_in, &order, version).await;
        let gone = super::delete_links(&stand_in, &order);
        let removed = netns::remove(&stand_in).context("cannot remove a network namespace");
        made.and(gone).and(removed)
    }

    async fn rules(&self, version: Version) -> Result<Rules> {
        let mut iptables = [String::new(), String::new()];
        for (text, save) in iptables.iter_mut().zip(["iptables-save", "ip6tables-save"]) {
            let program = Program::new(self.tool(save)?).env([("PATH", &self.search_path)]);
            *text = succeed(save, program).await?;
        }
        let mut nftables = String::new();
        if version >= KNOWS_NFTABLES
            && let Ok(nft) = self.tool("nft")
        {
            // Without the table it fails: then netavark made nothing by nftables.
            let program = Program::new(nft).args(["list", "table", "inet", "netavark"]);
            nftables = succeed("nft", program).await.unwrap_or_default();
        }
        Ok(Rules { iptables, nftables })
    }

    /// A program of the firewall.
    pub(super) fn tool(&self, name: &str) -> Result<std::path::PathBuf> {
        let found = sys::locate::locate(name, &[], Some(&self.search_path));
        let package = if name == "nft" {
            "nftables"
        } else {
            "iptables"
        };
        found.map_err(|_| {
            Error::system(format!(
                "{name}, which netavark needs, was not found in $PATH: install the package {package}"
            ))
        })
    }
}

async fn succeed(name: &str, program: Program) -> Result<String> {
    let program = program.output_max(limits::FIREWALL_BYTES_MAX);
    let done = program.run(limits::NETAVARK_TIMEOUT).await?;
    if !done.status.success() {
        return Err(Error::system(format!(
            "{name} failed ({}): {}",
            done.status,
            done.message()
        )));
    }
    if done.cut {
        return Err(Error::system(format!(
            "{name} prints more than can be read"
        )));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

impl Rules {
    /// Whether the rules of a container are there: its networks' and its ports'.
    fn have(&self, order: &Order) -> bool {
        let bridged = order
            .places
            .iter()
            .filter(|(network, _)| network.driver == NetworkDriver::Bridge && !network.internal);
        let mut bridged = bridged.peekable();
        if bridged.peek().is_none() {
            return true;
        }
        let v4 = bridged.clone().filter_map(|(_, place)| place.ipv4);
        let v6 = bridged.filter_map(|(_, place)| place.ipv6);
        let v4 = v4.map(|net| (0, net.trunc().to_string(), net.addr().to_string()));
        let v6 = v6.map(|net| (1, net.trunc().to_string(), format!("[{}]", net.addr())));
        v4.chain(v6).all(|(family, subnet, address)| {
            let has_ports = order
                .ports
                .iter()
                .any(|port| port.host_ip.is_ipv6() == (family == 1));
            if !self.nftables.is_empty() {
                return self.nftables.contains(&subnet)
                    && (!has_ports || self.nftables.contains(address.trim_matches(['[', ']'])));
            }
            let saved = &self.iptables[family];
            let masquerades = format!("-A POSTROUTING -s {subnet} -j NETAVARK-");
            let forwards = format!("-A NETAVARK_FORWARD -s {subnet} -j ACCEPT");
            let leads = format!("--to-destination {address}:");
            saved.contains(&masquerades)
                && saved.contains(&forwards)
                && saved.contains(&format!("-A FORWARD {ACCEPTS}"))
                && (!has_ports
                    || saved.contains(
                        "-A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT",
                    ) && saved.contains(&leads))
        })
    }
}

/// What `iptables-restore --noflush` is to be told so that the rules that are always there are, in their
/// order; `None` when they are. netavark's chains are its own business where it uses nftables.
fn in_order(saved: &str, with_netavarks: bool) -> Option<String> {
    let mut wanted = vec![(FIRST, "DOCKER-USER")];
    if with_netavarks {
        wanted.push((PUBLISHED, "NETAVARK_FORWARD"));
        wanted.push((ISOLATES, "NETAVARK_ISOLATION_1"));
        wanted.push((APART, "NETAVARK_ISOLATION_1"));
        wanted.push((ACCEPTS, "NETAVARK_FORWARD"));
    }
    let table = saved.split("*filter\n").nth(1).unwrap_or_default();
    let table = table.split("COMMIT").next().unwrap_or_default();
    let place = |rule: &str| {
        let mut forward = table
            .lines()
            .filter_map(|line| line.strip_prefix("-A FORWARD "));
        forward.position(|line| line == rule)
    };
    let places: Vec<_> = wanted.iter().map(|(rule, _)| place(rule)).collect();
    if places.iter().all(Option::is_some) && places.is_sorted() {
        return None;
    }
    let mut input = "*filter\n".to_owned();
    for (_, chain) in &wanted {
        let declared = format!(":{chain} - [0:0]\n");
        // To name a chain that is there would flush it.
        if !table.contains(&format!("\n:{chain} ")) && !input.contains(&declared) {
            input.push_str(&declared);
        }
    }
    for ((rule, _), place) in wanted.iter().zip(&places) {
        if place.is_some() {
            writeln!(input, "-D FORWARD {rule}").expect("writing to a string cannot fail");
        }
    }
    for (number, (rule, _)) in (1..).zip(&wanted) {
        writeln!(input, "-I FORWARD {number} {rule}").expect("writing to a string cannot fail");
    }
    input.push_str("COMMIT\n");
    Some(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_in_their_order_and_chains_that_are_there_are_not_flushed() {
        let input = in_order("", true).unwrap();
        let lines: Vec<_> = input.lines().collect();
        assert_eq!(
            lines[1..4],
            [
                ":DOCKER-USER - [0:0]",
                ":NETAVARK_FORWARD - [0:0]",
                ":NETAVARK_ISOLATION_1 - [0:0]"
            ]
        );
        assert_eq!(lines[4], format!("-I FORWARD 1 {FIRST}"));
        assert_eq!(lines[8], format!("-I FORWARD 5 {ACCEPTS}"));
        let chains = ":FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n:NETAVARK_ISOLATION_1 - [0:0]\n:NETAVARK_FORWARD - [0:0]";
        let saved = |rules: &[&str]| {
            let rules: String = rules.iter().map(|r| format!("-A FORWARD {r}\n")).collect();
            format!("*nat\nCOMMIT\n*filter\n{chains}\n{rules}COMMIT\n")
        };
        // Others' rules may stand between.
        let right = [
            "-j OTHER", FIRST, PUBLISHED, ISOLATES, APART, "-j OTHER", ACCEPTS,
        ];
        assert_eq!(in_order(&saved(&right), true), None);
        let inserted = [ISOLATES, FIRST, PUBLISHED, APART, ACCEPTS];
        assert!(in_order(&saved(&inserted), true).is_some());
        let wrong = in_order(&saved(&[ACCEPTS, FIRST]), true).unwrap();
        assert!(!wrong.contains("\n:"), "{wrong}");
        assert!(
            wrong.contains(&format!("-D FORWARD {ACCEPTS}\n")),
            "{wrong}"
        );
        assert!(
            !wrong.contains("-D FORWARD -m comment --comment \"moored"),
            "{wrong}"
        );
        assert_eq!(in_order(&saved(&[FIRST]), false), None);
    }
}
