//! The ranges of a network to be made (moby v27.5.1 `api/types/network/ipam.go`, `ValidateIPAM`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine::NewSubnet;
use ipnet::IpNet;
use model::{Error, Result};
use wire::network::{Ipam, IpamConfig};

use super::create::bounded;
use super::joined;
use crate::NotBuilt;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// In the client's order.
    pub(super) subnets: Vec<NewSubnet>,
    /// What has no effect.
    pub(super) warning: String,
}

/// Reads the ranges.
///
/// # Errors
/// 400 with all that is wrong, in Docker's words; 501 for another address manager.
pub(super) fn ranges(ipam: &Ipam, enable_ipv6: bool) -> Result<Ranges> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(NotBuilt::error(&format!("IPAM.Driver {:?}", ipam.driver)));
    }
    let configs = ipam.config.as_deref().unwrap_or_default();
    bounded("IPAM.Config", configs.len())?;
    bounded("IPAM.Options", ipam.options.as_ref().map_or(0, |o| o.len()))?;
    let (mut ranges, mut mistakes, mut unused) = (Ranges::default(), Vec::new(), Vec::new());
    for config in configs {
        let reserved = config.auxiliary_addresses.as_ref();
        bounded(
            "IPAM.Config.AuxiliaryAddresses",
            reserved.map_or(0, |r| r.len()),
        )?;
        let Ok(subnet) = config.subnet.parse::<IpNet>() else {
            mistakes.push(format!(
                "invalid subnet {}: invalid CIDR block notation",
                config.subnet
            ));
            continue;
        };
        if subnet.addr().is_ipv6() && !enable_ipv6 {
            // Docker keeps quiet about it.
            unused.push(config.subnet.as_str());
            continue;
        }
        ranges.subnets.push(range(config, subnet, &mut mistakes));
    }
    if let Some(mistakes) = joined(&mistakes) {
        return Err(Error::invalid(format!(
            "invalid network config:\n{mistakes}"
        )));
    }
    if !unused.is_empty() {
        ranges.warning = format!("IPv6 is not enabled: no use of {}", unused.join(", "));
    }
    Ok(ranges)
}

/// One range; what is wrong with it is added to `mistakes`.
fn range(config: &IpamConfig, subnet: IpNet, mistakes: &mut Vec<String>) -> NewSubnet {
    if subnet != subnet.trunc() {
        mistakes.push(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        ));
    }
    let range = part(&config.ip_range, subnet, mistakes);
    let gateway = match address(&config.gateway, subnet) {
        Ok(gateway) => gateway,
        Err(why) => {
            mistakes.push(format!("invalid gateway {}: {why}", config.gateway));
            None
        }
    };
    let mut reserved = BTreeMap::new();
    for (name, text) in config.auxiliary_addresses.iter().flatten() {
        match address(text, subnet) {
            // As in Docker, an empty one is none.
            Ok(found) => drop(found.map(|found| reserved.insert(name.clone(), found))),
            Err(why) => mistakes.push(format!("invalid auxiliary address {name}: {why}")),
        }
    }
    NewSubnet {
        subnet: Some(subnet),
        range,
        gateway,
        reserved,
    }
}

/// The part of a subnet that containers' addresses are taken from.
fn part(text: &str, subnet: IpNet, mistakes: &mut Vec<String>) -> Option<IpNet> {
    if text.is_empty() {
        return None;
    }
    let mut mistake = |why: String| mistakes.push(format!("invalid ip-range {text}: {why}"));
    let Ok(range) = text.parse::<IpNet>() else {
        mistake("invalid CIDR block notation".to_owned());
        return None;
    };
    if range.addr().is_ipv6() != subnet.addr().is_ipv6() {
        mistake(format!("parent subnet is an {} block", family(subnet)));
        return None;
    }
    if range.prefix_len() < subnet.prefix_len() {
        mistake(format!(
            "CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range != range.trunc() {
        mistake(format!("it should be {}", range.trunc()));
    }
    let overlaps = subnet.contains(&range.network()) || range.contains(&subnet.network());
    if !overlaps {
        mistake(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
    Some(range)
}

fn address(text: &str, subnet: IpNet) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv6() != subnet.addr().is_ipv6() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    match subnet.contains(&address) {
        true => Ok(Some(address)),
        false => Err(format!(
            "parent subnet {subnet} doesn't contain this address"
        )),
    }
}

fn family(subnet: IpNet) -> &'static str {
    match subnet {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use model::Kind;
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value, enable_ipv6: bool) -> Result<Ranges> {
        let mut ipam = json!({});
        ipam["Config"] = config;
        let ipam: Ipam = serde_json::from_value(ipam).unwrap();
        ranges(&ipam, enable_ipv6)
    }

    #[test]
    fn a_range_with_everything() {
        let config = json!([
            {"Subnet": "10.5.0.0/16", "IPRange": "10.5.1.0/24", "Gateway": "10.5.0.254",
             "AuxiliaryAddresses": {"nas": "10.5.0.9", "none": ""}},
            {"Subnet": "fd00::/64"},
        ]);
        let ranges = read(config, true).unwrap();
        let [first, second] = &ranges.subnets[..] else {
            panic!("{ranges:?}");
        };
        assert_eq!(first.subnet, Some("10.5.0.0/16".parse().unwrap()));
        assert_eq!(first.range, Some("10.5.1.0/24".parse().unwrap()));
        assert_eq!(first.gateway, Some("10.5.0.254".parse().unwrap()));
        let nas = ("nas".to_owned(), "10.5.0.9".parse().unwrap());
        assert_eq!(first.reserved, BTreeMap::from([nas]));
        assert_eq!(second.subnet, Some("fd00::/64".parse().unwrap()));
        assert!(ranges.warning.is_empty());
    }

    #[test]
    fn without_ipv6_its_ranges_are_warned_of() {
        let ranges = read(json!([{"Subnet": "fd00::1/64", "Gateway": "x"}]), false).unwrap();
        assert!(ranges.subnets.is_empty());
        assert_eq!(ranges.warning, "IPv6 is not enabled: no use of fd00::1/64");
    }

    #[test]
    fn what_is_wrong_is_told_in_dockers_words() {
        let with = |key: &str, value: Value| {
            let mut config = json!({"Subnet": "10.5.0.0/16"});
            config[key] = value;
            config
        };
        let table = [
            (json!({}), "invalid subnet : invalid CIDR block notation"),
            (
                json!({"Subnet": "10.5.0.0"}),
                "invalid subnet 10.5.0.0: invalid CIDR block notation",
            ),
            (
                json!({"Subnet": "10.5.0.1/16"}),
                "invalid subnet 10.5.0.1/16: it should be 10.5.0.0/16",
            ),
            (
                with("Gateway", json!("x")),
                "invalid gateway x: invalid address",
            ),
            (
                with("Gateway", json!("fd00::1")),
                "invalid gateway fd00::1: parent subnet is an IPv4 block",
            ),
            (
                with("Gateway", json!("10.6.0.1")),
                "invalid gateway 10.6.0.1: parent subnet 10.5.0.0/16 doesn't contain this address",
            ),
            (
                with("IPRange", json!("x")),
                "invalid ip-range x: invalid CIDR block notation",
            ),
            (
                with("IPRange", json!("fd00::/64")),
                "invalid ip-range fd00::/64: parent subnet is an IPv4 block",
            ),
            (
                with("IPRange", json!("10.0.0.0/8")),
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.5.0.0/16",
            ),
            (
                with("IPRange", json!("10.5.1.1/24")),
                "invalid ip-range 10.5.1.1/24: it should be 10.5.1.0/24",
            ),
            (
                with("IPRange", json!("10.6.1.0/24")),
                "invalid ip-range 10.6.1.0/24: parent subnet 10.5.0.0/16 doesn't contain ip-range",
            ),
            (
                with("AuxiliaryAddresses", json!({"a": "10.6.0.1"})),
                "invalid auxiliary address a: parent subnet 10.5.0.0/16 doesn't contain this address",
            ),
        ];
        for (config, message) in table {
            let e = read(json!([config]), true).unwrap_err();
            assert_eq!(e.kind(), Kind::InvalidParameter);
            assert_eq!(e.message(), format!("invalid network config:\n{message}"));
        }
        let both = read(json!([{"Subnet": "a"}, {"Subnet": "b"}]), false).unwrap_err();
        assert_eq!(
            both.message(),
            "invalid network config:\n* invalid subnet a: invalid CIDR block notation\n\
             * invalid subnet b: invalid CIDR block notation"
        );
    }

    #[test]
    fn another_address_manager_is_refused() {
        let ipam: Ipam = serde_json::from_value(json!({"Driver": "dhcp"})).unwrap();
        let e = ranges(&ipam, false).unwrap_err();
        assert_eq!(e.kind(), Kind::NotImplemented);
        assert!(e.message().starts_with("IPAM.Driver \"dhcp\""), "{e}");
    }
}
