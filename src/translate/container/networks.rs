//! Whose network namespace a container has, names and addresses for /etc/hosts and the resolver.

use std::net::IpAddr;

use model::{ContainerSpec, Error, NetworkMode, Result};

use super::namespaces::donor;
use super::{bounded, not_built, ports};
use crate::network::{is_user_defined, link};
use wire::container::{ContainerConfig, CreateRequest, HostConfig};

/// Copies the network's half of `HostConfig` into the spec; adds to `warnings` what a mode
/// makes meaningless.
///
/// # Errors
/// 400 for what is malformed or contradicts itself.
pub(super) fn apply(
    request: &CreateRequest,
    host: &HostConfig,
    spec: &mut ContainerSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    spec.network = network_mode(&host.network_mode)?;
    check_conflicts(&request.config, host)?;
    if request.config.network_disabled {
        spec.network = NetworkMode::None;
    }
    check_sysctls(host)?;
    spec.links = links(host, request, warnings)?;
    ports::apply(host, spec, warnings)?;
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

/// What the mode names. One that is another container's is `None` until the engine has found that.
fn network_mode(text: &str) -> Result<NetworkMode> {
    match text {
        "" | "default" | "bridge" => Ok(NetworkMode::Default),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "container" | "container:" => Err(Error::invalid(
            "Invalid network mode: invalid container format container:<name|id>",
        )),
        other if donor(other).is_some() => Ok(NetworkMode::None),
        other => Ok(NetworkMode::User(other.to_owned())),
    }
}

/// What another's namespace, or the host's, cannot be asked for (moby `runconfig/hostconfig.go`).
fn check_conflicts(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let some = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let has_links = some(host.links.as_ref());
    let publishes = host.port_bindings.as_ref().is_some_and(|p| !p.is_empty());
    let exposes = config.exposed_ports.as_ref().is_some_and(|p| !p.is_empty());
    let of_another = [
        (
            !config.hostname.is_empty(),
            "conflicting options: hostname and the network mode",
        ),
        (
            has_links,
            "conflicting options: container type network can't be used with links. This would result \
             in undefined behavior",
        ),
        (
            some(host.dns.as_ref()),
            "conflicting options: dns and the network mode",
        ),
        (
            some(host.extra_hosts.as_ref()),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            publishes || host.publish_all_ports,
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            exposes,
            "conflicting options: port exposing and the container type network mode",
        ),
    ];
    if donor(&host.network_mode).is_some()
        && let Some((_, why)) = of_another.iter().find(|(is_asked, _)| *is_asked)
    {
        return Err(Error::invalid(*why));
    }
    if host.network_mode == "host" && has_links {
        return Err(Error::invalid(
            "conflicting options: host type networking can't be used with links. This would result in \
             undefined behavior",
        ));
    }
    Ok(())
}

/// Parameters of an interface: Docker sets them when it makes that (`handleSysctlBC`), the runtime before
/// there is one.
fn check_sysctls(host: &HostConfig) -> Result<()> {
    let of_interface = |name: &&String| {
        let mut parts = name.splitn(5, '.');
        let is_net = parts.next() == Some("net");
        is_net && parts.nth(2).is_some_and(|part| part.starts_with("eth")) && parts.next().is_some()
    };
    let names = host.sysctls.iter().flatten().map(|(name, _)| name);
    let is_private = host.network_mode != "host" && donor(&host.network_mode).is_none();
    match names.filter(|_| is_private).find(of_interface) {
        Some(name) => Err(not_built(&format!("HostConfig.Sysctls {name}"))),
        None => Ok(()),
    }
}

/// The links of the default network. On one of the user's own they are its endpoint's, as in Docker: the
/// CLI says them twice.
fn links(
    host: &HostConfig,
    request: &CreateRequest,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    let links = host.links.as_deref().unwrap_or_default();
    bounded("HostConfig.Links", links.len())?;
    if !is_user_defined(&host.network_mode) {
        return links.iter().map(|text| link(text)).collect();
    }
    let networking = request.networking_config.as_ref();
    let mut endpoints = networking.iter().flat_map(|n| n.endpoints_config.values());
    let is_said_twice = endpoints.any(|endpoint| endpoint.links.iter().flatten().next().is_some());
    if !links.is_empty() && !is_said_twice {
        warnings.push(
            "HostConfig.Links is of the default network alone: use Links of EndpointsConfig"
                .to_owned(),
        );
    }
    Ok(Vec::new())
}

/// The address that stands for the host's.
const HOST_GATEWAY: &str = "host-gateway";

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
        if name.contains(char::is_whitespace) {
            return Err(Error::invalid(format!(
                "bad format for add-host: {entry:?}"
            )));
        }
        if address == HOST_GATEWAY {
            continue;
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
