//! What netavark is told, and what it answers (netavark `src/network/types.rs`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{Endpoint, Error, NetworkDriver, NetworkRecord, Result};
use serde_json::{Map, Value, json};

use super::{Order, Version, parent};

/// Docker's options that mean something here.
const MTU: &str = "com.docker.network.driver.mtu";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
pub(super) const TALK: &str = "com.docker.network.bridge.enable_icc";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";

/// The first netavark with ipvlan.
const KNOWS_IPVLAN: Version = Version(1, 5, 0);
/// The first that takes the unspecified address as all of one family.
const KNOWS_ALL_OF_A_FAMILY: Version = Version(1, 6, 0);

/// Whether this netavark leads on both families what is published on all addresses of one.
pub fn publishes_in_both(version: Version) -> bool {
    version < KNOWS_ALL_OF_A_FAMILY
}

/// Whether this netavark can make such a network.
///
/// # Errors
/// NotImplemented, saying what it cannot; InvalidParameter for a bridge's name that iptables reads otherwise.
pub fn check(network: &NetworkRecord, version: Version) -> Result<()> {
    let no = |what: String| Err(Error::not_implemented(what));
    let is_bad = |c| matches!(c, '+' | '!' | '"' | '\'' | '\\');
    if network.driver == NetworkDriver::Bridge && network.interface.contains(is_bad) {
        return Err(Error::invalid(format!(
            "invalid name of a bridge {:?}: in a firewall's rules its characters mean something else",
            network.interface
        )));
    }
    if network.driver == NetworkDriver::Ipvlan && version < KNOWS_IPVLAN {
        return no(format!(
            "networks of the driver ipvlan need netavark {KNOWS_IPVLAN} or later, this is {version}"
        ));
    }
    if network.options.get(MASQUERADE).is_some_and(|v| is_false(v)) {
        return no(format!("netavark has no {MASQUERADE}=false"));
    }
    Ok(())
}

/// As Go's strconv.ParseBool reads it.
pub(super) fn is_false(text: &str) -> bool {
    ["0", "f", "F", "false", "FALSE", "False"].contains(&text)
}

/// Its interface is one that is made for it.
fn leads_nowhere(network: &NetworkRecord) -> bool {
    network.interface.is_empty() && parent::of(network).is_some()
}

/// All that netavark is told. The networks go by their ids, so that no two daemons share a chain.
pub(super) fn document(order: &Order, version: Version) -> Value {
    let (mut networks, mut infos) = (Map::new(), Map::new());
    for (network, place) in &order.places {
        let id = network.id.as_str().to_owned();
        let subnets = subnets_of(network, place);
        let addresses: Vec<_> = subnets.iter().map(|(_, address)| address).collect();
        networks.insert(
            id.clone(),
            json!({
                "interface_name": place.interface,
                "static_ips": addresses,
                "static_mac": place.mac.to_string(),
            }),
        );
        infos.insert(id, info(network, place, &subnets));
    }
    json!({
        "container_id": order.id.as_str(),
        "container_name": order.name,
        "networks": networks,
        "network_info": infos,
        // Never null: where one of a network's containers had none, netavark 1.4 leaves a chain behind.
        "port_mappings": ports(order, version),
    })
}

/// What of a network's subnets a place is on, each with the address there.
fn subnets_of(network: &NetworkRecord, place: &Endpoint) -> Vec<(Value, IpAddr)> {
    let v4 = place.ipv4.map(|net| IpAddr::V4(net.addr()));
    let v6 = place.ipv6.map(|net| IpAddr::V6(net.addr()));
    let on = |address: IpAddr| {
        let subnet = network
            .subnets
            .iter()
            .find(|s| s.subnet.contains(&address))?;
        Some((
            json!({"subnet": subnet.subnet, "gateway": subnet.gateway}),
            address,
        ))
    };
    v4.into_iter().chain(v6).filter_map(on).collect()
}

fn info(network: &NetworkRecord, place: &Endpoint, subnets: &[(Value, IpAddr)]) -> Value {
    let option = |name: &str| network.options.get(name).filter(|v| !v.is_empty()).cloned();
    let mut options = BTreeMap::from([("metric", place.metric.to_string())]);
    options.extend(option(MTU).map(|mtu| ("mtu", mtu)));
    match network.driver {
        // As in Docker, no bridge network's containers reach those of another.
        NetworkDriver::Bridge => drop(options.insert("isolate", "true".to_owned())),
        NetworkDriver::Macvlan => options.extend(option(MACVLAN_MODE).map(|m| ("mode", m))),
        NetworkDriver::Ipvlan => options.extend(option(IPVLAN_MODE).map(|m| ("mode", m))),
        NetworkDriver::Host | NetworkDriver::Null => {}
    }
    let interface = parent::of(network).unwrap_or_else(|| network.interface.clone());
    json!({
        "name": network.id.as_str(),
        "id": network.id.as_str(),
        "driver": network.driver.as_str(),
        "network_interface": interface,
        "subnets": subnets.iter().map(|(subnet, _)| subnet).collect::<Vec<_>>(),
        "ipv6_enabled": subnets.iter().any(|(_, address)| address.is_ipv6()),
        // As in Docker, there is no default route to where nothing is.
        "internal": network.internal || leads_nowhere(network),
        "dns_enabled": false,
        "options": options,
        "ipam_options": {"driver": if subnets.is_empty() { "none" } else { "host-local" }},
    })
}

fn ports(order: &Order, version: Version) -> Vec<Value> {
    let has_family = |ip: IpAddr| {
        let mut places = order.places.iter().map(|(_, place)| place);
        places.any(|place| match ip {
            IpAddr::V4(_) => place.ipv4.is_some(),
            IpAddr::V6(_) => place.ipv6.is_some(),
        })
    };
    let mut ports: Vec<Value> = Vec::new();
    for port in &order.ports {
        let host_ip = match port.host_ip {
            // Both families, if the container has both (both are held then): a rule for `0.0.0.0` would match
            // nothing.
            ip if ip.is_unspecified() && publishes_in_both(version) => {
                if !has_family(ip) {
                    continue;
                }
                String::new()
            }
            ip => ip.to_string(),
        };
        let port = json!({
            "container_port": port.port.number,
            "host_ip": host_ip,
            "host_port": port.host_port,
            "protocol": port.port.protocol.as_str(),
            "range": 1,
        });
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// The complaint in what netavark printed: `{"error": "..."}`, in later versions on a line of several.
pub(super) fn error_of(stdout: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stdout);
    let said = |text: &str| -> Option<String> {
        let value: Value = serde_json::from_str(text).ok()?;
        value.get("error")?.as_str().map(str::to_owned)
    };
    said(text.trim()).or_else(|| text.lines().find_map(said))
}
