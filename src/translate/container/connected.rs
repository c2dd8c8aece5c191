//! What clients see of a container's networks (moby v27.5.1 `daemon/inspect.go`, `container/view.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::{ContainerView, Networks};
use model::{Endpoint, EndpointConfig, EndpointSpec, NetworkId, NetworkMode, NetworkRecord};

use super::ports;
use crate::network::is_user_defined;
use wire::container::{CreateRequest, EndpointIpamConfig, EndpointSettings, NetworkSettings};
use wire::version::ApiVersion;

/// The networks there are now.
pub trait KnownNetworks {
    /// One by its id.
    fn by_id(&self, id: &NetworkId) -> Option<Arc<NetworkRecord>>;

    /// One by its name.
    fn named(&self, name: &str) -> Option<Arc<NetworkRecord>>;
}

impl KnownNetworks for Networks {
    fn by_id(&self, id: &NetworkId) -> Option<Arc<NetworkRecord>> {
        Self::by_id(self, id)
    }

    fn named(&self, name: &str) -> Option<Arc<NetworkRecord>> {
        self.get(name).ok()
    }
}

/// `NetworkSettings` of inspect.
pub(super) fn settings(
    view: &ContainerView,
    known: &dyn KnownNetworks,
    version: ApiVersion,
) -> NetworkSettings {
    let mut networks = endpoints(view, known);
    if version < ApiVersion::v1(45) {
        add_old_aliases(view, &mut networks);
    }
    let default = networks.get("bridge").cloned().unwrap_or_default();
    // Docker has a file of its own for each namespace; the kernel's name for it is as good to
    // nsenter and lives as long as the container runs.
    let running = view.state.running();
    let sandbox_key = running.map(|running| format!("/proc/{}/ns/net", running.init.pid.get()));
    let has_own = view.spec.network.donor().is_none();
    NetworkSettings {
        sandbox_id: running
            .filter(|_| has_own)
            .map(|_| view.id.to_string())
            .unwrap_or_default(),
        sandbox_key: sandbox_key.unwrap_or_default(),
        ports: ports::shown(view),
        endpoint_id: default.endpoint_id,
        gateway: default.gateway,
        global_ipv6_address: default.global_ipv6_address,
        global_ipv6_prefix_len: default.global_ipv6_prefix_len,
        ip_address: default.ip_address,
        ip_prefix_len: default.ip_prefix_len,
        ipv6_gateway: default.ipv6_gateway,
        mac_address: default.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

/// The networks of a row of the list: what was asked for is left out, but for addresses.
pub(super) fn listed(
    view: &ContainerView,
    known: &dyn KnownNetworks,
) -> BTreeMap<String, EndpointSettings> {
    let mut networks = endpoints(view, known);
    for endpoint in networks.values_mut() {
        endpoint.links = None;
        endpoint.aliases = None;
        endpoint.driver_opts = None;
        endpoint.dns_names = None;
        endpoint.gw_priority = 0;
    }
    networks
}

/// All networks of a container, by name. Addresses are there while it runs.
fn endpoints(
    view: &ContainerView,
    known: &dyn KnownNetworks,
) -> BTreeMap<String, EndpointSettings> {
    if !view.spec.endpoints.is_empty() {
        let asked = view.spec.endpoints.iter();
        return asked
            .map(|spec| (spec.name.to_string(), endpoint(view, spec, known)))
            .collect();
    }
    let alone = match view.spec.network {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Default | NetworkMode::User(_) | NetworkMode::Container(_) => {
            return BTreeMap::new();
        }
    };
    let record = known.named(alone);
    let settings = EndpointSettings {
        network_id: record.map(|r| r.id.to_string()).unwrap_or_default(),
        ..EndpointSettings::default()
    };
    BTreeMap::from([(alone.to_owned(), settings)])
}

/// Lays the networks that a container is on now over those it was made with. Another daemon knows them by
/// their names.
pub(super) fn lay(view: &ContainerView, request: &mut CreateRequest) {
    let spec = &view.spec;
    if spec.endpoints.is_empty() {
        return;
    }
    let host = request.host_config.get_or_insert_default();
    if let NetworkMode::User(mode) = &spec.network {
        let mut endpoints = spec.endpoints.iter();
        let by_id = endpoints.find(|e| {
            e.network
                .as_ref()
                .is_some_and(|id| id.as_str().starts_with(mode.as_str()))
        });
        if let Some(main) = by_id {
            host.network_mode = main.name.to_string();
        }
    }
    // It is in the endpoint's.
    request.config.mac_address.clear();
    let networking = request.networking_config.get_or_insert_default();
    let endpoints = spec.endpoints.iter();
    networking.endpoints_config = endpoints
        .map(|endpoint| (endpoint.name.to_string(), asked(&endpoint.config)))
        .collect();
}

/// What was asked for.
fn asked(config: &EndpointConfig) -> EndpointSettings {
    let list = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    EndpointSettings {
        ipam_config: (config.ipv4.is_some() || config.ipv6.is_some()).then(|| EndpointIpamConfig {
            ipv4_address: config.ipv4.map(|a| a.to_string()).unwrap_or_default(),
            ipv6_address: config.ipv6.map(|a| a.to_string()).unwrap_or_default(),
            link_local_ips: None,
        }),
        links: list(&config.links),
        aliases: list(&config.aliases),
        mac_address: config.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        driver_opts: config.driver_options.clone(),
        gw_priority: config.gateway_priority,
        ..EndpointSettings::default()
    }
}

fn endpoint(
    view: &ContainerView,
    spec: &EndpointSpec,
    known: &dyn KnownNetworks,
) -> EndpointSettings {
    let mut shown = EndpointSettings {
        network_id: spec
            .network
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        dns_names: is_user_defined(spec.name.as_str()).then(|| {
            spec.config
                .dns_names(&view.name, &view.id, &view.spec.hostname)
        }),
        ..asked(&spec.config)
    };
    let attachment = view.attachment.as_deref();
    if let Some(network) = &spec.network
        && let Some(endpoint) = attachment.and_then(|a| a.endpoint(network))
    {
        show_addresses(endpoint, known.by_id(network).as_deref(), &mut shown);
    }
    shown
}

/// What the run holds. A network that nothing is routed out of shows no gateway.
fn show_addresses(
    endpoint: &Endpoint,
    record: Option<&NetworkRecord>,
    shown: &mut EndpointSettings,
) {
    let gateway = |address: IpAddr| {
        let subnets = record.filter(|r| !r.internal).into_iter();
        let mut subnets = subnets.flat_map(|record| &record.subnets);
        let found = subnets.find(|subnet| subnet.subnet.contains(&address));
        let gateway = found.and_then(|subnet| subnet.gateway);
        gateway
            .map(|gateway| gateway.to_string())
            .unwrap_or_default()
    };
    shown.endpoint_id = endpoint.id.to_string();
    shown.mac_address = endpoint.mac.to_string();
    if let Some(net) = endpoint.ipv4 {
        shown.gateway = gateway(net.addr().into());
        shown.ip_address = net.addr().to_string();
        shown.ip_prefix_len = net.prefix_len().into();
    }
    if let Some(net) = endpoint.ipv6 {
        shown.ipv6_gateway = gateway(net.addr().into());
        shown.global_ipv6_address = net.addr().to_string();
        shown.global_ipv6_prefix_len = net.prefix_len().into();
    }
}

/// Until 1.44 the short id and the hostname were among the aliases.
fn add_old_aliases(view: &ContainerView, networks: &mut BTreeMap<String, EndpointSettings>) {
    for (name, endpoint) in networks {
        if is_user_defined(name) {
            let mut aliases = endpoint.aliases.take().unwrap_or_default();
            aliases.extend([view.id.short().to_owned(), view.spec.hostname.clone()]);
            endpoint.aliases = Some(each_once(aliases));
        }
    }
}

fn each_once(names: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(names.len());
    for name in names {
        if !name.is_empty() && !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
