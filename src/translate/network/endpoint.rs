//! What a container asks for on one network (moby v27.5.1 `daemon/container_operations.go`,
//! `validateEndpointSettings`; `opts/opts.go`, `ParseLink`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{EndpointConfig, Error, MacAddress, Result};
use wire::container::{EndpointIpamConfig, EndpointSettings};

use super::create::bounded;
use super::joined;
use crate::NotBuilt;

/// Who has another's network namespace is on no network besides.
pub(crate) const NO_OTHER_NETWORK: &str = "container sharing network namespace with another \
    container or host cannot be connected to any other network";
/// Who has none is on no network.
pub(crate) const NOT_WITH_NONE: &str = "container cannot be connected to multiple networks with one \
    of the networks in private (none) mode";

/// Options of an endpoint that say how its interface is to be: none is built.
const INTERFACE_OPTIONS: &str = "com.docker.network.endpoint.";

/// Reads an endpoint's settings. `network` is how the client named the network; whether an address is in
/// one of its ranges is for the engine to say.
///
/// # Errors
/// `invalid endpoint settings:` with all that is wrong, in Docker's words; 501 for what is not built.
pub fn endpoint_config(network: &str, settings: &EndpointSettings) -> Result<EndpointConfig> {
    let none = EndpointIpamConfig::default();
    let ipam = settings.ipam_config.as_ref().unwrap_or(&none);
    let aliases = settings.aliases.clone().unwrap_or_default();
    let links = settings.links.as_deref().unwrap_or_default();
    bounded("Aliases", aliases.len())?;
    bounded("Links", links.len())?;
    let mut mistakes = Vec::new();
    if !is_user_defined(network) {
        if !(ipam.ipv4_address.is_empty() && ipam.ipv6_address.is_empty()) {
            mistakes.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        if !aliases.is_empty() {
            mistakes.push(
                "network-scoped alias is supported only for containers in user defined networks"
                    .to_owned(),
            );
        }
    }
    let ipv4 = address(
        &ipam.ipv4_address,
        "IPv4",
        &mut mistakes,
        |found| match found {
            IpAddr::V4(address) => Some(address).filter(|a| *a != Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => None,
        },
    );
    let ipv6 = address(
        &ipam.ipv6_address,
        "IPv6",
        &mut mistakes,
        |found| match found {
            IpAddr::V6(address) => Some(address).filter(|a| *a != Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(_) => None,
        },
    );
    let mac = match settings.mac_address.as_str() {
        "" => None,
        text => Some(text.parse::<MacAddress>().map_err(|_| {
            // As in Docker, this one stands alone.
            Error::invalid(format!("invalid MAC address {text}"))
        })?),
    };
    if let Some(mistakes) = joined(&mistakes) {
        return Err(Error::invalid(format!(
            "invalid endpoint settings:\n{mistakes}"
        )));
    }
    // Each becomes a word of a line of a name server's file.
    if let Some(alias) = aliases.iter().find(|alias| !is_one_word(alias)) {
        return Err(Error::invalid(format!("invalid alias: {alias:?}")));
    }
    let links = links.iter().map(|text| link(text));
    let links = links.collect::<Result<Vec<String>>>()?;
    refuse(settings, ipam)?;
    Ok(EndpointConfig {
        aliases,
        links,
        ipv4,
        ipv6,
        mac,
        driver_options: settings.driver_opts.clone(),
        gateway_priority: settings.gw_priority,
    })
}

/// Whether a network's name is none that is always there (moby `NetworkMode.IsUserDefined`).
pub(crate) fn is_user_defined(network: &str) -> bool {
    !matches!(network, "default" | "bridge" | "host" | "none")
        && network != "container"
        && !network.starts_with("container:")
}

/// `container:alias`, of `container`, `container:alias` or `/container:/other/alias`.
///
/// # Errors
/// 400 in Docker's words.
pub(crate) fn link(text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(Error::invalid("empty string specified for links"));
    }
    let bad = || Error::invalid(format!("bad format for links: {text}"));
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let (name, alias) = match name.strip_prefix('/') {
        // As inspect shows it.
        Some(name) => (name, alias.rsplit('/').next().unwrap_or(alias)),
        None => (name, alias),
    };
    if name.is_empty() || alias.contains(':') || !is_one_word(alias) {
        return Err(bad());
    }
    Ok(format!("{name}:{alias}"))
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
}

fn address<T>(
    text: &str,
    family: &str,
    mistakes: &mut Vec<String>,
    of_family: impl Fn(IpAddr) -> Option<T>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let found = text.parse().ok().and_then(of_family);
    if found.is_none() {
        mistakes.push(format!("invalid {family} address: {text}"));
    }
    found
}

/// Refuses what is not built.
fn refuse(settings: &EndpointSettings, ipam: &EndpointIpamConfig) -> Result<()> {
    if ipam.link_local_ips.iter().flatten().next().is_some() {
        return Err(NotBuilt::error("IPAMConfig.LinkLocalIPs"));
    }
    let options = settings.driver_opts.iter().flatten();
    bounded("DriverOpts", options.clone().count())?;
    match options
        .map(|(name, _)| name)
        .find(|name| name.starts_with(INTERFACE_OPTIONS))
    {
        Some(name) => Err(NotBuilt::error(&format!("DriverOpts {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::Kind;
    use serde_json::{Value, json};

    use super::*;

    fn read(network: &str, settings: Value) -> Result<EndpointConfig> {
        endpoint_config(network, &serde_json::from_value(settings).unwrap())
    }

    #[test]
    fn everything_that_can_be_asked_for() {
        let settings = json!({
            "IPAMConfig": {"IPv4Address": "10.5.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": []},
            "Links": ["db", "/cache:/web/c"], "Aliases": ["web", "www"],
            "MacAddress": "02-42-0A-05-00-09", "DriverOpts": {"own": "x"}, "GwPriority": 7,
            // What inspect shows is no wish.
            "NetworkID": "x", "EndpointID": "y", "Gateway": "10.5.0.1", "IPAddress": "10.5.0.2",
            "IPPrefixLen": 16, "DNSNames": ["a"],
        });
        let config = read("net", settings).unwrap();
        assert_eq!(config.ipv4, Some(Ipv4Addr::new(10, 5, 0, 9)));
        assert_eq!(config.ipv6, Some("fd00::9".parse().unwrap()));
        assert_eq!(config.links, ["db:db", "cache:c"]);
        assert_eq!(config.aliases, ["web", "www"]);
        assert_eq!(config.mac.unwrap().to_string(), "02:42:0a:05:00:09");
        assert_eq!(config.driver_options.unwrap()["own"], "x");
        assert_eq!(config.gateway_priority, 7);
        assert_eq!(
            read("bridge", json!({})).unwrap(),
            EndpointConfig::default()
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_dockers_words() {
        let ipv4 = |text: &str| json!({"IPAMConfig": {"IPv4Address": text}});
        let ipv6 = |text: &str| json!({"IPAMConfig": {"IPv6Address": text}});
        let list = "invalid endpoint settings:\n";
        let table = [
            (
                "bridge",
                ipv4("10.0.0.2"),
                format!(
                    "{list}user specified IP address is supported on user defined networks only"
                ),
            ),
            (
                "default",
                json!({"Aliases": ["a"]}),
                format!(
                    "{list}network-scoped alias is supported only for containers in user defined \
                     networks"
                ),
            ),
            ("net", ipv4("x"), format!("{list}invalid IPv4 address: x")),
            (
                "net",
                ipv4("fd00::1"),
                format!("{list}invalid IPv4 address: fd00::1"),
            ),
            (
                "net",
                ipv4("0.0.0.0"),
                format!("{list}invalid IPv4 address: 0.0.0.0"),
            ),
            (
                "net",
                ipv6("10.0.0.1"),
                format!("{list}invalid IPv6 address: 10.0.0.1"),
            ),
            ("net", ipv6("::"), format!("{list}invalid IPv6 address: ::")),
            (
                "host",
                json!({"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "y"}}),
                format!(
                    "{list}* user specified IP address is supported on user defined networks only\n\
                     * network-scoped alias is supported only for containers in user defined \
                     networks\n* invalid IPv4 address: y"
                ),
            ),
            (
                "net",
                json!({"MacAddress": "x"}),
                "invalid MAC address x".to_owned(),
            ),
            (
                "net",
                json!({"Links": [""]}),
                "empty string specified for links".to_owned(),
            ),
            (
                "net",
                json!({"Links": ["a:b:c"]}),
                "bad format for links: a:b:c".to_owned(),
            ),
            (
                "net",
                json!({"Aliases": ["a b"]}),
                "invalid alias: \"a b\"".to_owned(),
            ),
        ];
        for (network, settings, message) in table {
            let e = read(network, settings).unwrap_err();
            assert_eq!((e.kind(), e.message()), (Kind::InvalidParameter, &*message));
        }
    }

    #[test]
    fn what_is_not_built_is_named() {
        let sysctls = "com.docker.network.endpoint.sysctls";
        for (settings, named) in [
            (
                json!({"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}),
                "IPAMConfig.LinkLocalIPs".to_owned(),
            ),
            (
                json!({"DriverOpts": {sysctls: "net.ipv4.conf.IFNAME.forwarding=1"}}),
                format!("DriverOpts {sysctls}"),
            ),
        ] {
            let e = read("net", settings).unwrap_err();
            let message = format!("{named} is not implemented by moored yet");
            assert_eq!((e.kind(), e.message()), (Kind::NotImplemented, &*message));
        }
    }
}
