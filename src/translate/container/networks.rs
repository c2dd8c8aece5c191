//! The network a container is on, names and addresses for /etc/hosts and the resolver.

use std::net::IpAddr;

use model::{ContainerSpec, Error, NetworkMode, Result};

use super::config::check_port;
use super::{bounded, not_built};
use wire::container::{EndpointSettings, HostConfig, NetworkingConfig};

/// Copies the network's half of `HostConfig` into the spec; adds to `warnings` what a mode
/// makes meaningless.
///
/// # Errors
/// 400 for what is malformed, 501 for networks of the user's own and published ports.
pub(super) fn apply(
    host: &HostConfig,
    networking: Option<&NetworkingConfig>,
    spec: &mut ContainerSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    spec.network = network_mode(&host.network_mode)?;
    let endpoints = networking.map(|networking| &networking.endpoints_config);
    for (name, endpoint) in endpoints.into_iter().flatten() {
        if network_mode(name).ok() != Some(spec.network.clone()) {
            return Err(not_built(&format!(
                "NetworkingConfig.EndpointsConfig {name:?}"
            )));
        }
        check_endpoint(endpoint)?;
    }
    ports(host, &spec.network, warnings)?;
    spec.extra_hosts = extra_hosts(host.extra_hosts.as_deref().unwrap_or_default())?;
    spec.dns = host.dns.clone().unwrap_or_default();
    spec.dns_search = host.dns_search.clone().unwrap_or_default();
    spec.dns_options = host.dns_options.clone().unwrap_or_default();
    let lists = [&spec.dns, &spec.dns_search, &spec.dns_options];
    for (name, list) in ["Dns", "DnsSearch", "DnsOptions"].iter().zip(lists) {
        bounded(&format!("HostConfig.{name}"), list.len())?;
        // Each becomes a word of a line of resolv.conf.
        if let Some(word) = list.iter().find(|w| w.contains(char::is_whitespace)) {
            return Err(Error::invalid(format!(
                "HostConfig.{name}: {word:?} is not one word"
            )));
        }
    }
    if let Some(address) = spec.dns.iter().find(|a| a.parse::<IpAddr>().is_err()) {
        return Err(Error::invalid(format!("{address} is not an ip address")));
    }
    Ok(())
}

fn network_mode(text: &str) -> Result<NetworkMode> {
    match text {
        "" | "default" | "bridge" => Ok(NetworkMode::Default),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "container" | "container:" => Err(Error::invalid(
            "Invalid network mode: invalid container format container:<name|id>",
        )),
        other => Err(not_built(&format!("HostConfig.NetworkMode {other:?}"))),
    }
}

/// The wishes among an endpoint's settings; the rest is what the daemon reports.
fn check_endpoint(endpoint: &EndpointSettings) -> Result<()> {
    let some = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let ipam = endpoint.ipam_config.clone().unwrap_or_default();
    let asks_address = !ipam.ipv4_address.is_empty()
        || !ipam.ipv6_address.is_empty()
        || some(ipam.link_local_ips.as_ref());
    let wishes = [
        ("IPAMConfig", asks_address),
        ("Links", some(endpoint.links.as_ref())),
        ("Aliases", some(endpoint.aliases.as_ref())),
        ("MacAddress", !endpoint.mac_address.is_empty()),
        (
            "DriverOpts",
            endpoint.driver_opts.as_ref().is_some_and(|o| !o.is_empty()),
        ),
    ];
    match wishes.iter().find(|(_, is_wished)| *is_wished) {
        Some((name, _)) => Err(not_built(&format!(
            "NetworkingConfig.EndpointsConfig {name}"
        ))),
        None => Ok(()),
    }
}

/// Ports cannot be published yet. On the host's network and on none Docker publishes nothing
/// either, whatever was asked for.
fn ports(host: &HostConfig, network: &NetworkMode, warnings: &mut Vec<String>) -> Result<()> {
    let bindings = host.port_bindings.iter().flatten();
    for (port, addresses) in bindings {
        check_port(port)?;
        for address in addresses
            .iter()
            .flatten()
            .filter(|a| !a.host_port.is_empty())
        {
            check_port(&address.host_port)?;
        }
    }
    let is_empty = host
        .port_bindings
        .as_ref()
        .is_none_or(|ports| ports.is_empty());
    match network {
        NetworkMode::Default if !is_empty => Err(not_built("HostConfig.PortBindings")),
        NetworkMode::Default if host.publish_all_ports => {
            Err(not_built("HostConfig.PublishAllPorts"))
        }
        NetworkMode::Host if !is_empty => {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `name:address` (docker/cli `opts/hosts.go`).
fn extra_hosts(list: &[String]) -> Result<Vec<String>> {
    bounded("HostConfig.ExtraHosts", list.len())?;
    for entry in list {
        let Some((name, address)) = entry.split_once(':').filter(|(name, _)| !name.is_empty())
        else {
            return Err(Error::invalid(format!(
                "bad format for add-host: {entry:?}"
            )));
        };
        if address == "host-gateway" {
            return Err(not_built("HostConfig.ExtraHosts host-gateway"));
        }
        if name.contains(char::is_whitespace) {
            return Err(Error::invalid(format!(
                "bad format for add-host: {entry:?}"
            )));
        }
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
        if bare.unwrap_or(address).parse::<IpAddr>().is_err() {
            return Err(Error::invalid(format!(
                "invalid IP address in add-host: {address:?}"
            )));
        }
    }
    Ok(list.to_vec())
}
