//! Networks as create and inspect speak of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::PortBinding;
use super::config::{is_none_or_empty_list, is_zero};
use crate::null_as_default;

/// The networks a new container joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkingConfig {
    /// By network name or id.
    #[serde(deserialize_with = "null_values_as_default")]
    pub endpoints_config: BTreeMap<String, EndpointSettings>,
}

/// Clients send `null` for the map and for an endpoint they wish nothing about.
fn null_values_as_default<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let map: Option<BTreeMap<String, Option<T>>> = Option::deserialize(deserializer)?;
    let entries = map.into_iter().flatten();
    Ok(entries
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

/// A container's end of a network, in the order of dockerd 26.1.5.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointSettings {
    /// Addresses asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpamConfig>,
    /// Links to other containers.
    pub links: Option<Vec<String>>,
    /// Further names on this network.
    pub aliases: Option<Vec<String>>,
    /// The hardware address.
    #[serde(deserialize_with = "null_as_default")]
    pub mac_address: String,
    /// The network's id.
    #[serde(rename = "NetworkID", deserialize_with = "null_as_default")]
    pub network_id: String,
    /// The endpoint's id.
    #[serde(rename = "EndpointID", deserialize_with = "null_as_default")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    #[serde(deserialize_with = "null_as_default")]
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress", deserialize_with = "null_as_default")]
    pub ip_address: String,
    /// IPv4 prefix length.
    #[serde(rename = "IPPrefixLen", deserialize_with = "null_as_default")]
    pub ip_prefix_len: i64,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway", deserialize_with = "null_as_default")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "null_as_default")]
    pub global_ipv6_address: String,
    /// IPv6 prefix length.
    #[serde(rename = "GlobalIPv6PrefixLen", deserialize_with = "null_as_default")]
    pub global_ipv6_prefix_len: i64,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// The highest of a container's networks gives it the default route. Of API 1.48; shown where it was
    /// set.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub gw_priority: i64,
    /// Every name it has on this network.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// Addresses asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EndpointIpamConfig {
    /// IPv4.
    #[serde(
        rename = "IPv4Address",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv4_address: String,
    /// IPv6.
    #[serde(
        rename = "IPv6Address",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv6_address: String,
    /// Link-local.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "is_none_or_empty_list")]
    pub link_local_ips: Option<Vec<String>>,
}

/// `NetworkSettings` of inspect: the sandbox, the default network's values once more, and all
/// networks by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// The bridge, when the daemon was told one.
    pub bridge: String,
    /// The network namespace's id.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// The network namespace's path.
    pub sandbox_key: String,
    /// Published ports.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Never set.
    pub hairpin_mode: bool,
    /// Never set.
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    /// Never set.
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: i64,
    /// Never set.
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    /// Never set.
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    /// On the default network.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// On the default network.
    pub gateway: String,
    /// On the default network.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// On the default network.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: i64,
    /// On the default network.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// On the default network.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: i64,
    /// On the default network.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// On the default network.
    pub mac_address: String,
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}
