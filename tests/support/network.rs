//! What networks leave in a network namespace: interfaces, and rules of the firewall. Their pins are
//! mounts and files, their name servers processes, which the census finds anyway.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use crate::{Daemon, Namespace, require};

/// What stays of the default network when no container is on it, by design: where netavark comes late, it was not
/// there at the start.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The bridge and what keeps it.
    pub(crate) interfaces: BTreeSet<String>,
    pub(crate) bridge: String,
    /// Its range and its gateway.
    addresses: Vec<String>,
}

impl Standing {
    /// As the daemon tells of its network; nothing where it has none, or does not run.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let answer = daemon.http.attempt("GET", "/networks/bridge", "", b"");
        let Some(answer) = answer.filter(|answer| answer.status == 200) else {
            return Self::default();
        };
        let shown: serde_json::Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (id, config) = (text(&shown["Id"]), &shown["IPAM"]["Config"][0]);
        let bridge = text(&shown["Options"]["com.docker.network.bridge.name"]);
        Self {
            interfaces: ["ma", "mp"]
                .map(|kind| format!("{kind}-{}", id.get(..12).unwrap_or_default()))
                .into_iter()
                .chain([bridge.clone()])
                .collect(),
            bridge,
            addresses: [text(&config["Subnet"]), text(&config["Gateway"])].into(),
        }
    }

    /// Whether a file of the run root says whose the bridge is.
    pub(crate) fn is_note(&self, file: &str) -> bool {
        file.strip_prefix("networks/bridges/") == Some(&self.bridge)
    }

    /// Whether a rule is about the network as a whole, and not about one who is on it.
    pub(crate) fn is_rule(&self, rule: &str) -> bool {
        // Masqueraded is what is not for many.
        let is_address = |word: &&str| {
            let address = word.split('/').next().unwrap_or_default();
            let address = address.parse::<IpAddr>();
            address.is_ok_and(|address| !address.is_multicast())
        };
        let mut addresses = rule.split(' ').filter(is_address);
        !rule.contains("dnat") && addresses.all(|word| self.addresses.iter().any(|a| a == word))
    }
}

/// The interfaces that process `pid` has.
pub(crate) fn interfaces(pid: u32) -> BTreeSet<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// The rules of a namespace's firewall that are about some address: the frame, which stays for the next time,
/// has none but the loopback's.
///
/// # Panics
/// When there is no nft(8).
pub(crate) fn firewall(namespace: &Namespace) -> BTreeSet<String> {
    let nft = require("nft", "nftables");
    let listed = namespace.command(nft).args(["list", "ruleset"]).output();
    let listed = listed.expect("nft runs").stdout;
    let text = String::from_utf8_lossy(&listed);
    text.lines().filter_map(addressed).collect()
}

/// The rule without its counters, if it is about an address.
fn addressed(line: &str) -> Option<String> {
    const SIGNS: [&str; 6] = [
        "ip saddr ",
        "ip daddr ",
        "ip6 saddr ",
        "ip6 daddr ",
        "dnat to",
        "dnat ip",
    ];
    // Whatever containers there are, that is for the host alone.
    let is_frame = line.contains(r#"iifname != "lo" ip daddr 127.0.0.0/8"#);
    let is_about = SIGNS.iter().any(|sign| line.contains(sign));
    (is_about && !is_frame).then(|| {
        let mut words = Vec::new();
        let mut all = line.split_whitespace();
        while let Some(word) = all.next() {
            match word {
                "packets" | "bytes" => drop(all.next()),
                word => words.push(word),
            }
        }
        words.join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_network_are_not_those_of_a_container() {
        let standing = Standing {
            addresses: ["172.17.0.0/16", "172.17.0.1"].map(str::to_owned).into(),
            ..Standing::default()
        };
        for (rule, is_its) in [
            (
                "ip saddr 172.17.0.0/16 counter jump NETAVARK-1D8721804F16F",
                true,
            ),
            (
                "iifname \"moored0\" ip daddr 172.17.0.1 udp dport 53 counter accept",
                true,
            ),
            (
                "ip saddr 172.17.0.0/16 tcp dport 80 counter dnat to 172.17.0.1:80",
                false,
            ),
            ("ip daddr != 224.0.0.0/4 counter masquerade", true),
            ("ip saddr 172.17.0.2 counter accept", false),
            (
                "ip saddr 172.17.0.0/16 ip daddr 172.18.0.0/16 counter drop",
                false,
            ),
        ] {
            assert_eq!(standing.is_rule(rule), is_its, "{rule}");
        }
    }

    #[test]
    fn interfaces_and_rules_are_found_and_the_frame_is_none() {
        let namespace = Namespace::new(false);
        let run = |words: &[&str]| {
            let (program, args) = words.split_first().unwrap();
            let done = namespace.command(program).args(args).status().unwrap();
            assert!(done.success(), "{words:?}");
        };
        assert_eq!(interfaces(namespace.pid()), ["lo".to_owned()].into());
        run(&["ip", "link", "add", "some0", "type", "bridge"]);
        assert!(interfaces(namespace.pid()).contains("some0"));
        run(&["nft", "add", "table", "inet", "some"]);
        run(&[
            "nft",
            "add chain inet some forward { type filter hook forward priority 0; }",
        ]);
        run(&["nft", "add rule inet some forward ct state invalid drop"]);
        assert_eq!(firewall(&namespace), BTreeSet::new());
        run(&[
            "nft",
            "add rule inet some forward ip saddr 192.0.2.0/24 counter accept",
        ]);
        let rule = "ip saddr 192.0.2.0/24 counter accept".to_owned();
        assert_eq!(firewall(&namespace), [rule].into());
    }
}
