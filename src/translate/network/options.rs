//! A network driver's options: those that are built are read, those that would change what the network
//! does and are not built are refused by name, all others are kept and mean nothing, as in Docker.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use model::{Error, Result};

use crate::NotBuilt;

/// The largest packet of a network's interfaces.
const MTU: &str = "com.docker.network.driver.mtu";
/// The host's address for ports that name none.
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

/// Options that name an interface of the host or begin the name of a container's, and the longest that they
/// may be: the kernel takes 15 bytes, of which an index needs some.
const INTERFACES: [(&str, usize); 3] = [
    ("com.docker.network.bridge.name", 15),
    ("com.docker.network.container_iface_prefix", 12),
    ("parent", 15),
];

/// Booleans of the bridge, and the value that asks for nothing where the other is not built.
const BRIDGE_BOOLEANS: [(&str, Option<bool>); 4] = [
    ("com.docker.network.bridge.enable_icc", None),
    ("com.docker.network.bridge.enable_ip_masquerade", Some(true)),
    ("com.docker.network.bridge.inhibit_ipv4", Some(false)),
    ("com.docker.network.bridge.default_bridge", Some(false)),
];

/// Options of the bridge of which no value, or only these, ask for nothing.
const BRIDGE_WORDS: [(&str, &[&str]); 5] = [
    ("com.docker.network.bridge.gateway_mode_ipv4", &["", "nat"]),
    ("com.docker.network.bridge.gateway_mode_ipv6", &["", "nat"]),
    ("com.docker.network.bridge.trusted_host_interfaces", &[""]),
    ("com.docker.network.host_ipv4", &[""]),
    ("com.docker.network.host_ipv6", &[""]),
];

/// Checks the options of a driver.
///
/// # Errors
/// 400 in Docker's words for a value that is none; 501 naming the option that is not built.
pub(super) fn check(driver: &str, options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(mtu) = options.get(MTU) {
        check_mtu(mtu)?;
    }
    for (name, longest) in INTERFACES {
        match options.get(name) {
            Some(word) if !is_interface(word, longest) => {
                return Err(Error::invalid(format!(
                    "invalid interface name in {name}: {word:?}"
                )));
            }
            _ => {}
        }
    }
    match driver {
        "" | "bridge" => check_bridge(options),
        "macvlan" => {
            let modes = ["bridge", "private", "vepa", "passthru"];
            check_mode(options, "macvlan", &modes, "'bridge' mode")
        }
        "ipvlan" => {
            check_mode(options, "ipvlan", &["l2", "l3", "l3s"], "'l2' mode")?;
            check_flag(options)
        }
        _ => Ok(()),
    }
}

fn check_bridge(options: &BTreeMap<String, String>) -> Result<()> {
    for (name, only) in BRIDGE_BOOLEANS {
        let Some(word) = options.get(name) else {
            continue;
        };
        let asked = go_bool(word).ok_or_else(|| {
            let why = format!("strconv.ParseBool: parsing {word:?}: invalid syntax");
            unparsed(name, word, &why)
        })?;
        if only.is_some_and(|only| asked != only) {
            return Err(not_built(name, word));
        }
    }
    for (name, words) in BRIDGE_WORDS {
        match options.get(name) {
            Some(word) if !words.contains(&word.as_str()) => return Err(not_built(name, word)),
            _ => {}
        }
    }
    match options.get(HOST_BINDING) {
        Some(word) if word.parse::<IpAddr>().is_err() => {
            Err(unparsed(HOST_BINDING, word, "nil ip"))
        }
        Some(word) if word.parse::<Ipv4Addr>().is_err() => Err(not_built(HOST_BINDING, word)),
        _ => Ok(()),
    }
}

/// What the kernel takes as a name (`dev_valid_name`), or nothing.
fn is_interface(word: &str, longest: usize) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    word.len() <= longest && !matches!(word, "." | "..") && !word.contains(is_odd)
}

fn check_mtu(word: &str) -> Result<()> {
    let mtu: i64 = word.parse().map_err(|_| {
        let why = format!("strconv.Atoi: parsing {word:?}: invalid syntax");
        unparsed(MTU, word, &why)
    })?;
    match u32::try_from(mtu) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid(format!("invalid MTU number: {mtu}"))),
    }
}

fn check_mode(
    options: &BTreeMap<String, String>,
    driver: &str,
    modes: &[&str],
    default: &str,
) -> Result<()> {
    match options.get(&format!("{driver}_mode")) {
        Some(mode) if !mode.is_empty() && !modes.contains(&mode.as_str()) => {
            Err(Error::invalid(format!(
                "requested {driver} mode '{mode}' is not valid, {default} is the {driver} driver \
                 default"
            )))
        }
        _ => Ok(()),
    }
}

fn check_flag(options: &BTreeMap<String, String>) -> Result<()> {
    const FLAG: &str = "ipvlan_flag";
    match options.get(FLAG).map_or("", String::as_str) {
        "" | "bridge" => Ok(()),
        flag @ ("private" | "vepa") => Err(not_built(FLAG, flag)),
        flag => Err(Error::invalid(format!(
            "requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
        ))),
    }
}

fn not_built(option: &str, value: &str) -> Error {
    NotBuilt::error(&format!("Options {option}={value}"))
}

fn unparsed(option: &str, value: &str, why: &str) -> Error {
    Error::invalid(format!("failed to parse {option} value: {value} ({why})"))
}

/// Refuses a `verbose` that says neither yes nor no.
///
/// # Errors
/// 400 in the words of Go.
pub fn check_verbose(word: &str) -> Result<()> {
    if word.is_empty() || go_bool(word).is_some() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid value for verbose: {word}: strconv.ParseBool: parsing {word:?}: invalid syntax"
    )))
}

/// Go's `strconv.ParseBool`.
pub(super) fn go_bool(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::Kind;

    use super::*;

    fn checked(driver: &str, name: &str, value: &str) -> Result<()> {
        let options = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        check(driver, &options)
    }

    #[test]
    fn what_is_built_or_asks_for_nothing_passes() {
        for (driver, name, value) in [
            ("", "com.docker.network.bridge.name", "br0"),
            ("bridge", MTU, "1400"),
            ("bridge", HOST_BINDING, "127.0.0.1"),
            ("bridge", "com.docker.network.container_iface_prefix", "net"),
            ("bridge", "com.docker.network.bridge.enable_icc", "true"),
            ("", "com.docker.network.bridge.enable_icc", "0"),
            ("bridge", "com.docker.network.bridge.inhibit_ipv4", "F"),
            (
                "bridge",
                "com.docker.network.bridge.gateway_mode_ipv4",
                "nat",
            ),
            ("bridge", "com.docker.network.host_ipv4", ""),
            ("bridge", "nosuch", "kept"),
            ("macvlan", "parent", "eth0"),
            ("macvlan", "macvlan_mode", "private"),
            ("ipvlan", "ipvlan_mode", "l3s"),
            ("ipvlan", "ipvlan_flag", "bridge"),
            (
                "macvlan",
                "com.docker.network.bridge.enable_icc",
                "no such word",
            ),
        ] {
            let result = checked(driver, name, value);
            assert!(result.is_ok(), "{driver} {name}={value}: {result:?}");
        }
    }

    #[test]
    fn what_would_change_the_network_is_refused_by_name() {
        for (driver, name, value) in [
            (
                "bridge",
                "com.docker.network.bridge.enable_ip_masquerade",
                "0",
            ),
            ("bridge", "com.docker.network.bridge.inhibit_ipv4", "1"),
            ("bridge", "com.docker.network.bridge.default_bridge", "t"),
            (
                "bridge",
                "com.docker.network.bridge.gateway_mode_ipv4",
                "routed",
            ),
            (
                "bridge",
                "com.docker.network.bridge.gateway_mode_ipv6",
                "isolated",
            ),
            (
                "bridge",
                "com.docker.network.bridge.trusted_host_interfaces",
                "eth0",
            ),
            ("bridge", "com.docker.network.host_ipv4", "10.0.0.1"),
            ("bridge", HOST_BINDING, "::1"),
            ("ipvlan", "ipvlan_flag", "vepa"),
        ] {
            let e = checked(driver, name, value).unwrap_err();
            let message = format!("Options {name}={value} is not implemented by moored yet");
            assert_eq!((e.kind(), e.message()), (Kind::NotImplemented, &*message));
        }
    }

    #[test]
    fn what_is_no_value_is_told_in_dockers_words() {
        for (driver, name, value, message) in [
            (
                "bridge",
                "com.docker.network.bridge.enable_icc",
                "on",
                "failed to parse com.docker.network.bridge.enable_icc value: on \
                 (strconv.ParseBool: parsing \"on\": invalid syntax)",
            ),
            (
                "bridge",
                HOST_BINDING,
                "x",
                "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)",
            ),
            (
                "bridge",
                MTU,
                "x",
                "failed to parse com.docker.network.driver.mtu value: x \
                 (strconv.Atoi: parsing \"x\": invalid syntax)",
            ),
            ("bridge", MTU, "-1", "invalid MTU number: -1"),
            (
                "bridge",
                "com.docker.network.bridge.name",
                "a/b",
                "invalid interface name in com.docker.network.bridge.name: \"a/b\"",
            ),
            (
                "macvlan",
                "parent",
                "sixteen-letters-",
                "invalid interface name in parent: \"sixteen-letters-\"",
            ),
            (
                "bridge",
                "com.docker.network.container_iface_prefix",
                "thirteen-byte",
                "invalid interface name in com.docker.network.container_iface_prefix: \
                 \"thirteen-byte\"",
            ),
            (
                "macvlan",
                "macvlan_mode",
                "x",
                "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
            ),
            (
                "ipvlan",
                "ipvlan_mode",
                "x",
                "requested ipvlan mode 'x' is not valid, 'l2' mode is the ipvlan driver default",
            ),
            (
                "ipvlan",
                "ipvlan_flag",
                "x",
                "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default",
            ),
        ] {
            let e = checked(driver, name, value).unwrap_err();
            assert_eq!((e.kind(), e.message()), (Kind::InvalidParameter, message));
        }
    }
}
