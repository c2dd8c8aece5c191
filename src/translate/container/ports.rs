//! Ports: what a request publishes, and what is shown of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use engine::ContainerView;
use model::{ContainerSpec, Error, NetworkMode, Port, PortBinding, Protocol, Result, limits};

use super::{bounded, not_built};
use wire::container::{HostConfig, Port as PortRow, PortBinding as ShownBinding};

/// Copies what is published into the spec. On the host's network nothing is: all its ports are the host's.
///
/// # Errors
/// 400 in Docker's words.
pub(super) fn apply(
    host: &HostConfig,
    spec: &mut ContainerSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let asked = host.port_bindings.as_ref();
    let count = asked.map_or(0, |ports| {
        let lens = ports.values().map(|list| list.as_ref().map_or(1, Vec::len));
        lens.sum()
    });
    bounded("HostConfig.PortBindings", count)?;
    let mut bindings = Vec::with_capacity(count);
    for (text, addresses) in asked.into_iter().flatten() {
        let port = str::parse::<Port>(text)?;
        let addresses = addresses.as_deref().unwrap_or_default();
        for address in addresses {
            bindings.push(PortBinding {
                port,
                host_ip: host_ip(&address.host_ip)?,
                host_ports: host_ports(&address.host_port)?,
            });
        }
        if addresses.is_empty() && host.publish_all_ports {
            // Naming a port without an address declares it.
            bindings.push(PortBinding {
                port,
                host_ip: None,
                host_ports: None,
            });
        }
    }
    if spec.network == NetworkMode::Host {
        if asked.is_some_and(|ports| !ports.is_empty()) {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
        }
        return Ok(());
    }
    spec.port_bindings = bindings;
    spec.publish_all = host.publish_all_ports;
    Ok(())
}

fn host_ip(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    match bare.unwrap_or(text).parse() {
        // The kernel routes nothing from there to a container: Docker has a program for it.
        Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)) => {
            Err(not_built("HostConfig.PortBindings with HostIp ::1"))
        }
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Error::invalid(format!("invalid IP address: {text}"))),
    }
}

/// `8080`, `8000-8010`, with or without a protocol, which means nothing; nothing and `0` are any port.
fn host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    let range = text.split_once('/').map_or(text, |(range, _)| range);
    if range.is_empty() || range == "0" {
        return Ok(None);
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Some((first, last))),
        _ => Err(invalid(text)),
    }
}

fn invalid(text: &str) -> Error {
    Error::invalid(format!("invalid port specification: {text:?}"))
}

/// The ports that a declaration names: `80/tcp`, `80`, `8000-8010/udp`. What cannot be read names none: it
/// was refused at create, or is an image's.
fn declared_ports(text: &str) -> impl Iterator<Item = Port> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    let (first, last) = range.filter(|(first, _)| *first > 0).unwrap_or((1, 0));
    let protocol = Protocol::from_word(protocol);
    (first..=last).filter_map(move |number| {
        Some(Port {
            number,
            protocol: protocol?,
        })
    })
}

/// The ports of a container while it runs on networks: those that it declares, and where they are on the
/// host.
pub(super) fn shown(view: &ContainerView) -> BTreeMap<String, Option<Vec<ShownBinding>>> {
    let mut shown = BTreeMap::new();
    let attachment = view.attachment.as_deref();
    // Ports stay the run's when it is taken off its last network: nobody else can have them before its end.
    let is_shown = |a: &&model::Attachment| !a.endpoints.is_empty() || !a.ports.is_empty();
    let Some(attachment) = attachment.filter(is_shown) else {
        return shown;
    };
    let declared = view.spec.exposed_ports.iter();
    // A declaration may name all ports there are, and there may be many declarations.
    let declared = declared
        .flat_map(|text| declared_ports(text))
        .take(limits::SPEC_LIST_MAX);
    let bound = view.spec.port_bindings.iter().map(|binding| binding.port);
    for port in declared.chain(bound) {
        shown.insert(port.to_string(), None);
    }
    for published in &attachment.ports {
        let list: &mut Option<Vec<ShownBinding>> =
            shown.entry(published.port.to_string()).or_default();
        list.get_or_insert_default().push(ShownBinding {
            host_ip: published.host_ip.to_string(),
            host_port: published.host_port.to_string(),
        });
    }
    shown
}

/// The same as a list shows it.
pub(super) fn rows(view: &ContainerView) -> Vec<PortRow> {
    let mut rows = Vec::new();
    for (port, bindings) in shown(view) {
        let Ok(port) = str::parse::<Port>(&port) else {
            continue;
        };
        let row = |ip: String, public_port| PortRow {
            ip,
            private_port: port.number,
            public_port,
            kind: port.protocol.as_str().to_owned(),
        };
        match bindings {
            None => rows.push(row(String::new(), None)),
            Some(bindings) => rows.extend(
                bindings
                    .into_iter()
                    .map(|b| row(b.host_ip, b.host_port.parse().ok())),
            ),
        }
    }
    rows
}
