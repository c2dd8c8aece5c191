//! What networks need: netavark, aardvark-dns, iptables, and a kernel that forwards.

use engine::{NetworkConfig, NetworkTools, look_at_networks};

use super::{Finding, Verdict};

const IPTABLES: [&str; 4] = [
    "iptables-save",
    "iptables-restore",
    "ip6tables-save",
    "ip6tables-restore",
];

/// The programs, and those that netavark calls.
pub(super) async fn tools(config: &NetworkConfig) -> Vec<Finding> {
    let mut findings = of_podman(config.bridge.is_some(), look_at_networks(config).await);
    let missing = IPTABLES
        .iter()
        .find(|name| sys::host::find_program(name).is_none());
    findings.push(firewall(
        missing.copied(),
        sys::host::find_program("nft").is_some(),
    ));
    findings
}

/// Where there is a default network, containers that name none are on it.
fn of_podman(has_default: bool, found: NetworkTools) -> Vec<Finding> {
    let verdict = match has_default {
        true => Verdict::Fail,
        false => Verdict::Warn,
    };
    let netavark = match found.netavark {
        Ok(told) => Finding::ok("netavark", told, ""),
        Err(e) => Finding::bad(
            verdict,
            "netavark",
            e.to_string(),
            "no container can be on a network, the default one included; those on none and host run",
            "install the package netavark, or name its path in the settings; with [networks] bridge = \"none\" \
             containers that name no network have none",
        ),
    };
    let aardvark = match found.aardvark {
        Ok(told) => Finding::ok("aardvark-dns", told, ""),
        Err(e) => Finding::bad(
            Verdict::Warn,
            "aardvark-dns",
            e.to_string(),
            "containers on networks of their own do not find each other by name",
            "install the package aardvark-dns, or name its path in the settings",
        ),
    };
    vec![netavark, aardvark]
}

fn firewall(missing: Option<&str>, has_nft: bool) -> Finding {
    match (missing, has_nft) {
        (Some(name), _) => Finding::bad(
            Verdict::Warn,
            "iptables",
            format!("{name} is not there"),
            "ports cannot be published, and networks are neither kept apart nor led outside",
            "install the package iptables",
        ),
        (None, true) => Finding::ok("iptables", "yes, and nft", ""),
        (None, false) => Finding::ok(
            "iptables",
            "yes, without nft",
            "netavark 1.10 and later may need the package nftables",
        ),
    }
}

/// What the kernel does with packets.
pub(super) fn host() -> [Finding; 2] {
    let forwarding = match sys::host::ipv4_forwarding() {
        true => Finding::ok("ip_forward", "on", ""),
        false => Finding::ok(
            "ip_forward",
            "off",
            "netavark turns it on with the first container on a network",
        ),
    };
    let bridged = match sys::host::bridge_netfilter() {
        [false, false] => Finding::ok("br_netfilter", "off", "networks do not need it"),
        [v4, v6] => Finding::ok(
            "br_netfilter",
            match (v4, v6) {
                (true, true) => "on",
                (true, false) => "on for IPv4",
                _ => "on for IPv6",
            },
            "rules of the firewall are also asked between containers of one network",
        ),
    };
    [forwarding, bridged]
}

#[cfg(test)]
mod tests {
    use model::Error;

    use super::*;

    #[test]
    fn what_is_missing_is_as_bad_as_what_cannot_be_without_it() {
        let missing = || NetworkTools {
            netavark: Err(Error::system("it was not found")),
            aardvark: Err(Error::system("it was not found")),
        };
        let verdicts = |has_default| -> Vec<Verdict> {
            let found = of_podman(has_default, missing());
            assert!(
                found
                    .iter()
                    .all(|f| f.to_do.contains("install the package"))
            );
            found.iter().map(|f| f.verdict).collect()
        };
        assert_eq!(verdicts(true), [Verdict::Fail, Verdict::Warn]);
        assert_eq!(verdicts(false), [Verdict::Warn, Verdict::Warn]);
        let there = NetworkTools {
            netavark: Ok("/usr/lib/podman/netavark: 1.4.0".to_owned()),
            aardvark: Ok("/usr/lib/podman/aardvark-dns: 1.4.0".to_owned()),
        };
        assert!(
            of_podman(true, there)
                .iter()
                .all(|f| f.verdict == Verdict::Ok)
        );
        assert_eq!(
            firewall(Some("ip6tables-save"), true).verdict,
            Verdict::Warn
        );
        assert_eq!(firewall(None, false).verdict, Verdict::Ok);
    }
}
