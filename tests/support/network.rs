//! What networks leave in a network namespace: interfaces, and rules of the firewall. Their pins are
//! mounts and files, their name servers processes, which the census finds anyway.

use std::collections::BTreeSet;
use std::fs;

use crate::{Namespace, require};

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
