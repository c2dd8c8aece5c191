//! What a run is to have of networks: an address on each, a hardware address, which of them has the default
//! route.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use model::{
    Attachment, ContainerId, ContainerSpec, Endpoint, EndpointId, EndpointSpec, Error, Kind,
    MacAddress, NetworkDriver, NetworkMode, NetworkName, NetworkRecord, PortBinding, PublishedPort,
    Result, Subnet,
};

use crate::Networks;

/// The metric of a container's first default route; netavark's own default.
const METRIC_FIRST: u32 = 100;
/// What lies between two, so that a network that is connected later finds a place before all.
const METRIC_STEP: u32 = 10;

/// What names the interfaces of a network inside, in place of `eth` (moby `netlabel`).
const PREFIX_OPTION: &str = "com.docker.network.container_iface_prefix";

impl Networks {
    /// The network of an endpoint: by its id, or by the name it was asked for with, where none was there
    /// then.
    ///
    /// # Errors
    /// `network x not found`.
    pub(crate) fn network_of(&self, endpoint: &EndpointSpec) -> Result<Arc<NetworkRecord>> {
        match &endpoint.network {
            Some(id) => self.by_id(id).ok_or_else(|| self.missing(id.as_str())),
            None => self.get(endpoint.name.as_str()),
        }
    }

    /// The networks that a container is on when it starts, in the order of its interfaces: the one that
    /// its mode names comes first.
    ///
    /// # Errors
    /// One is gone.
    pub(crate) fn networks_of(
        &self,
        spec: &ContainerSpec,
    ) -> Result<Vec<(Arc<NetworkRecord>, EndpointSpec)>> {
        if !spec.network.has_endpoints() {
            return Ok(Vec::new());
        }
        if spec.endpoints.is_empty() && spec.network == NetworkMode::Default {
            // One that was made before there were networks.
            let network = self.default_network();
            let endpoint = |network: Arc<NetworkRecord>| {
                let endpoint = EndpointSpec {
                    network: Some(network.id.clone()),
                    name: network.name.clone(),
                    config: model::EndpointConfig::default(),
                };
                (network, endpoint)
            };
            return Ok(network.into_iter().map(endpoint).collect());
        }
        let settings = &self.inner.tools.settings;
        let found = spec.endpoints.iter().filter_map(|endpoint| {
            let found = self.network_of(endpoint);
            let is_off =
                |r: &NetworkRecord| r.name.as_str() == "bridge" && settings.bridge.is_none();
            match found {
                // The operator wants no default network: loopback alone (moby `DisableBridge`).
                Ok(record) if is_off(&record) => None,
                Err(_) if endpoint.name.as_str() == "bridge" && settings.bridge.is_none() => None,
                found => Some(found.map(|record| (record, endpoint.clone()))),
            }
        });
        found.collect()
    }

    /// Chooses the endpoints of a run. Called by who holds `choosing`.
    pub(crate) fn choose_endpoints(
        &self,
        id: &ContainerId,
        networks: &[(Arc<NetworkRecord>, EndpointSpec)],
        before: &[Endpoint],
    ) -> Result<Vec<Endpoint>> {
        let metrics = metrics(networks, before);
        let mut chosen: Vec<Endpoint> = Vec::new();
        for ((record, wish), metric) in networks.iter().zip(metrics) {
            let names = before.iter().chain(&chosen).map(|e| e.interface.as_str());
            let interface = interface_name(record, &names.collect::<Vec<_>>());
            chosen.push(self.choose_endpoint((id, record), wish, interface, metric)?);
        }
        Ok(chosen)
    }

    /// Whether the addresses that are asked for are of the network's ranges.
    ///
    /// # Errors
    /// moby's words (`validateEndpointIPAddress`).
    pub fn check_addresses(
        &self,
        record: &NetworkRecord,
        config: &model::EndpointConfig,
    ) -> Result<()> {
        let asked = [config.ipv4.map(IpAddr::V4), config.ipv6.map(IpAddr::V6)];
        let is_outside =
            |address: &IpAddr| !record.subnets.iter().any(|s| s.subnet.contains(address));
        match asked.into_iter().flatten().find(is_outside) {
            Some(address) => Err(Error::invalid(format!(
                "invalid endpoint settings:\nno configured subnet or ip-range contain the IP \
                 address {address}"
            ))),
            None => Ok(()),
        }
    }

    fn choose_endpoint(
        &self,
        (id, record): (&ContainerId, &NetworkRecord),
        wish: &EndpointSpec,
        interface: String,
        metric: u32,
    ) -> Result<Endpoint> {
        let config = &wish.config;
        let v4 = self.choose_address((id, record), config.ipv4.map(IpAddr::V4), false)?;
        let v6 = self.choose_address((id, record), config.ipv6.map(IpAddr::V6), true)?;
        let ipv4 = v4.and_then(|(address, length)| match address {
            IpAddr::V4(address) => Ipv4Net::new(address, length).ok(),
            IpAddr::V6(_) => None,
        });
        let ipv6 = v6.and_then(|(address, length)| match address {
            IpAddr::V6(address) => Ipv6Net::new(address, length).ok(),
            IpAddr::V4(_) => None,
        });
        let mac = config.mac.unwrap_or_else(|| match ipv4 {
            Some(net) => MacAddress::of(net.addr()),
            None => {
                let [a, b, c, d, e, f, ..] = self.random_id();
                MacAddress::from_random([a, b, c, d, e, f])
            }
        });
        Ok(Endpoint {
            id: EndpointId::from_bytes(self.random_id()),
            network: record.id.clone(),
            interface,
            mac,
            ipv4,
            ipv6,
            metric,
        })
    }

    /// An address of a family and the length of its range's prefix: the one that is asked for, the one that
    /// the container had last, or the lowest that is free.
    fn choose_address(
        &self,
        (id, record): (&ContainerId, &NetworkRecord),
        asked: Option<IpAddr>,
        v6: bool,
    ) -> Result<Option<(IpAddr, u8)>> {
        let enabled = if v6 {
            record.enable_ipv6
        } else {
            record.enable_ipv4
        };
        if !enabled && asked.is_none() {
            return Ok(None);
        }
        let subnets = || {
            record
                .subnets
                .iter()
                .filter(|s| s.subnet.addr().is_ipv6() == v6)
        };
        let taken = self.inner.held.addresses(&record.id);
        if let Some(address) = asked {
            let subnet = subnets().find(|s| s.subnet.contains(&address));
            let subnet = subnet.ok_or_else(|| {
                Error::invalid(format!(
                    "invalid endpoint settings:\nno configured subnet or ip-range contain the IP \
                 address {address}"
                ))
            })?;
            // As in moby, those that nobody may have count as taken.
            if taken.contains(&address) || !network::addresses::may_have(subnet, address) {
                return Err(Error::forbidden("Address already in use"));
            }
            return Ok(Some((address, subnet.subnet.prefix_len())));
        }
        let last = self.inner.held.last(id, &record.id, v6);
        // Of several ranges the one first that it is of.
        let of_last = |s: &&Subnet| last.is_some_and(|last| s.subnet.contains(&last));
        for subnet in subnets().filter(of_last).chain(subnets()) {
            let is_taken = |address| taken.contains(&address);
            if let Some(free) = network::addresses::next_free(subnet, &is_taken, last) {
                return Ok(Some((free, subnet.subnet.prefix_len())));
            }
        }
        let family = if v6 { 6 } else { 4 };
        Err(Error::new(
            Kind::Unavailable,
            format!(
                "no available IPv{family} addresses on this network's address pools: {} ({})",
                record.name, record.id
            ),
        ))
    }
}

/// Which network's default route counts: the highest priority, then those that lead out, then by name
/// (moby `getGatewayEndpoint`).
fn metrics(networks: &[(Arc<NetworkRecord>, EndpointSpec)], before: &[Endpoint]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..networks.len()).collect();
    let key = |i: &usize| {
        let (record, wish) = &networks[*i];
        (
            -wish.config.gateway_priority,
            record.internal,
            record.name.clone(),
        )
    };
    order.sort_by_key(key);
    let mut metrics = vec![METRIC_FIRST; networks.len()];
    if before.is_empty() {
        for (rank, i) in (0_u32..).zip(order) {
            metrics[i] = METRIC_FIRST + rank * METRIC_STEP;
        }
        return metrics;
    }
    // Connected while it runs: before all with a priority, else after all.
    let (first, last) = before.iter().fold((u32::MAX, 0), |(first, last), e| {
        (first.min(e.metric), last.max(e.metric))
    });
    for (rank, i) in (1_u32..).zip(order) {
        metrics[i] = match networks[i].1.config.gateway_priority > 0 {
            true => first.saturating_sub(rank).max(1),
            false => last.saturating_add(rank * METRIC_STEP),
        };
    }
    metrics
}

/// The interface's name inside: the first free `eth`N, or of another prefix that the network's options say.
fn interface_name(record: &NetworkRecord, taken: &[&str]) -> String {
    let prefix = record.options.get(PREFIX_OPTION);
    let prefix = prefix.map_or("eth", String::as_str);
    let mut names = (0..=taken.len()).map(|n| format!("{prefix}{n}"));
    let free = names.find(|name| !taken.contains(&name.as_str()));
    free.expect("there are more names than are taken")
}

/// Whether ports can be published on what it is on.
pub(crate) fn publishes(networks: &[(Arc<NetworkRecord>, EndpointSpec)]) -> bool {
    networks
        .iter()
        .any(|(record, _)| record.driver == NetworkDriver::Bridge && !record.internal)
}

/// Whether it has an address on one of these.
pub(crate) fn share_networks(
    held: &Attachment,
    networks: &[(Arc<NetworkRecord>, EndpointSpec)],
) -> bool {
    networks.iter().any(|(r, _)| held.endpoint(&r.id).is_some())
}

/// Whether it has a port of the host that the container may ask for.
pub(crate) fn share_ports(held: &Attachment, spec: &ContainerSpec) -> bool {
    let is_wanted = |port: &PublishedPort| {
        let wants = |b: &PortBinding| {
            let mut range = b.host_ports.into_iter();
            b.port.protocol == port.port.protocol
                && range.all(|(first, last)| (first..=last).contains(&port.host_port))
        };
        spec.publish_all || spec.port_bindings.iter().any(wants)
    };
    held.ports.iter().any(is_wanted)
}

/// The host's addresses at which these are published; all are `0.0.0.0` and `::`.
pub(crate) fn addresses(bindings: &[PortBinding], default: Option<IpAddr>) -> Vec<IpAddr> {
    let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let of = |binding: &PortBinding| match binding.host_ip.or(default) {
        Some(ip) if !ip.is_unspecified() => vec![ip],
        _ => all.to_vec(),
    };
    bindings.iter().flat_map(of).collect()
}

/// The addresses by which the host's ports lead to it, of both families.
pub(crate) fn families(endpoints: &[Endpoint]) -> (bool, bool) {
    let v4 = endpoints.iter().any(|e| e.ipv4.is_some());
    let v6 = endpoints.iter().any(|e| e.ipv6.is_some());
    (v4, v6)
}

/// Whether a container of this mode may be on that network (moby `updateNetworkSettings`); `is_own` where it
/// is created, and its mode may name that very network.
///
/// # Errors
/// moby's words.
pub fn check_mode(mode: &NetworkMode, record: &NetworkRecord, is_own: bool) -> Result<()> {
    let refused = |message| Err(Error::invalid(message));
    match (mode, record.driver) {
        (NetworkMode::Host, NetworkDriver::Host) | (NetworkMode::None, NetworkDriver::Null)
            if is_own =>
        {
            Ok(())
        }
        (NetworkMode::Host | NetworkMode::Container(_), _) => refused(
            "container sharing network namespace with another container or host cannot be connected \
             to any other network",
        ),
        (_, NetworkDriver::Host) => refused(
            "container cannot be disconnected from host network or connected to host network",
        ),
        (NetworkMode::None, _) | (_, NetworkDriver::Null) => refused(
            "container cannot be connected to multiple networks with one of the networks in private \
             (none) mode",
        ),
        _ => Ok(()),
    }
}

/// An address that a client asks for is none on the default network (moby `validateEndpointSettings`).
///
/// # Errors
/// moby's words.
pub fn check_config(name: &NetworkName, config: &model::EndpointConfig) -> Result<()> {
    let mut wrong = Vec::new();
    if model::network::PREDEFINED_NETWORKS.contains(&name.as_str()) {
        if config.ipv4.is_some() || config.ipv6.is_some() {
            wrong.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        if !config.aliases.is_empty() {
            wrong.push(
                "network-scoped alias is supported only for containers in user defined networks"
                    .to_owned(),
            );
        }
    }
    let unspecified = [
        config
            .ipv4
            .filter(Ipv4Addr::is_unspecified)
            .map(|a| format!("invalid IPv4 address: {a}")),
        config
            .ipv6
            .filter(Ipv6Addr::is_unspecified)
            .map(|a| format!("invalid IPv6 address: {a}")),
    ];
    wrong.extend(unspecified.into_iter().flatten());
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "invalid endpoint settings:\n{}",
            wrong.join("\n")
        ))),
    }
}

/// What a network's options say of where ports are published (moby
/// `com.docker.network.bridge.host_binding_ipv4`).
pub(crate) fn binding_address(options: &BTreeMap<String, String>) -> Option<IpAddr> {
    let given = options.get("com.docker.network.bridge.host_binding_ipv4")?;
    given.parse().ok().filter(|a: &IpAddr| !a.is_unspecified())
}
