//! Networks on the wire, field by field in Docker's order (moby v27.5.1 `api/types/network`; what a wire
//! capture of dockerd 26.1.5 shows, it decides).

use std::collections::BTreeMap;

use engine::NetworkMember;
use model::{NetworkName, NetworkRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::container::EndpointSettings;
use crate::null_as_default;

/// Where ranges of networks come from, as `info` has it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Docker's names")]
pub struct NetworkAddressPool {
    pub base: String,
    pub size: u8,
}

impl NetworkAddressPool {
    /// Of ranges, and the length of the prefix of a part.
    pub(crate) fn all(pools: Vec<(String, u8)>) -> Vec<Self> {
        let pools = pools.into_iter();
        pools.map(|(base, size)| Self { base, size }).collect()
    }
}

/// A network.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// When it was made, RFC 3339 with nanoseconds.
    #[schema(format = DateTime)]
    pub created: String,
    /// `local`: a network of this host alone.
    pub scope: String,
    /// `bridge`, `host`, `null`, `macvlan` or `ipvlan`.
    pub driver: String,
    /// Containers get IPv4 addresses. Of API 1.48; here where it says no.
    #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    /// Containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Nothing is routed out of it.
    pub internal: bool,
    /// As it was asked for.
    pub attachable: bool,
    /// Of a swarm.
    pub ingress: bool,
    /// None.
    pub config_from: ConfigReference,
    /// Never.
    pub config_only: bool,
    /// The running containers on it, by id. Empty in lists since API 1.28.
    pub containers: BTreeMap<String, EndpointResource>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// From the ledger's row and who is on it.
    pub fn new(record: &NetworkRecord, members: &[NetworkMember]) -> Self {
        let member = |m: &NetworkMember| (m.container.to_string(), EndpointResource::from(m));
        Self {
            name: record.name.to_string(),
            id: record.id.to_string(),
            created: record.created_at.to_string(),
            scope: "local".to_owned(),
            driver: record.driver.as_str().to_owned(),
            enable_ipv4: (!record.enable_ipv4 && !record.subnets.is_empty()).then_some(false),
            enable_ipv6: record.enable_ipv6,
            ipam: Ipam::from(record),
            internal: record.internal,
            attachable: record.attachable,
            ingress: false,
            config_from: ConfigReference::default(),
            config_only: false,
            containers: members.iter().map(member).collect(),
            options: record.options.clone(),
            labels: record.labels.clone(),
        }
    }
}

/// How a network gives out addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// `default`.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// Options of the address manager; `null` when none were given.
    #[schema(required)]
    pub options: Option<BTreeMap<String, String>>,
    /// The ranges; `null` when there are none.
    #[schema(required)]
    pub config: Option<Vec<IpamConfig>>,
}

impl From<&NetworkRecord> for Ipam {
    /// IPv4 before IPv6, as Docker has them.
    fn from(record: &NetworkRecord) -> Self {
        let mut subnets: Vec<_> = record.subnets.iter().collect();
        subnets.sort_by_key(|subnet| subnet.subnet.addr().is_ipv6());
        let shown = |subnet: &model::Subnet| IpamConfig {
            subnet: subnet.subnet.to_string(),
            ip_range: subnet.range.map(|n| n.to_string()).unwrap_or_default(),
            gateway: subnet.gateway.map(|a| a.to_string()).unwrap_or_default(),
            auxiliary_addresses: Some(
                subnet
                    .reserved
                    .iter()
                    .map(|(name, address)| (name.clone(), address.to_string()))
                    .collect(),
            ),
        };
        let config: Vec<IpamConfig> = subnets.into_iter().map(shown).collect();
        Self {
            driver: "default".to_owned(),
            options: record.ipam_options.clone(),
            config: Some(config).filter(|config| !config.is_empty()),
        }
    }
}

/// One range of addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// All of it, `172.20.0.0/16`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub subnet: String,
    /// Where containers' addresses are taken from.
    #[serde(
        rename = "IPRange",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ip_range: String,
    /// The host's end of it.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub gateway: String,
    /// Addresses that no container gets.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub auxiliary_addresses: Option<BTreeMap<String, String>>,
}

fn is_none_or_empty(map: &Option<BTreeMap<String, String>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Another network.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigReference {
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub network: String,
}

/// A container on a network.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointResource {
    /// Its name.
    pub name: String,
    /// The id of its place there.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The hardware address.
    pub mac_address: String,
    /// The address, with the length of the prefix.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// The address, with the length of the prefix.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl From<&NetworkMember> for EndpointResource {
    fn from(member: &NetworkMember) -> Self {
        let endpoint = &member.endpoint;
        Self {
            name: member.name.to_string(),
            endpoint_id: endpoint.id.to_string(),
            mac_address: endpoint.mac.to_string(),
            ipv4_address: endpoint.ipv4.map(|net| net.to_string()).unwrap_or_default(),
            ipv6_address: endpoint.ipv6.map(|net| net.to_string()).unwrap_or_default(),
        }
    }
}

/// What a new network should be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreateRequest {
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Names are always looked for: no effect.
    pub check_duplicate: Option<bool>,
    /// `bridge`, which is also the default, `macvlan` or `ipvlan`.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// `local` or nothing.
    #[serde(deserialize_with = "null_as_default")]
    pub scope: String,
    /// Containers get IPv4 addresses; the default.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    /// Nothing is routed out of it.
    #[serde(deserialize_with = "null_as_default")]
    pub internal: bool,
    /// Kept; it means something in a swarm only.
    #[serde(deserialize_with = "null_as_default")]
    pub attachable: bool,
    /// Of a swarm.
    #[serde(deserialize_with = "null_as_default")]
    pub ingress: bool,
    /// Not built.
    #[serde(deserialize_with = "null_as_default")]
    pub config_only: bool,
    /// A network that is configuration only: there are none.
    pub config_from: Option<ConfigReference>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The new network.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkCreateResponse {
    /// Its id.
    pub id: String,
    /// What of the request has no effect.
    pub warning: String,
}

/// A container that is to be on a network.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkConnectRequest {
    /// Its id, id prefix or name.
    #[serde(deserialize_with = "null_as_default")]
    pub container: String,
    /// What it asks for there.
    pub endpoint_config: Option<EndpointSettings>,
}

/// A container that is to be on a network no more.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkDisconnectRequest {
    /// Its id, id prefix or name.
    #[serde(deserialize_with = "null_as_default")]
    pub container: String,
    /// Also where the network is gone.
    #[serde(deserialize_with = "null_as_default")]
    pub force: bool,
}

/// What a prune of networks removed.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkPruneResponse {
    /// Their names; `null` when there were none.
    #[schema(required)]
    pub networks_deleted: Option<Vec<String>>,
}

impl From<Vec<NetworkName>> for NetworkPruneResponse {
    fn from(names: Vec<NetworkName>) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Self {
            networks_deleted: Some(names).filter(|names| !names.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Endpoint, NetworkDriver, Subnet};

    use super::*;

    const ID: &str = "bef6e34243c124c8ac99499ff38b30319e835d76ef68794481f0bbbf1ca114ed";

    fn record(name: &str, driver: NetworkDriver) -> NetworkRecord {
        NetworkRecord {
            id: ID.parse().unwrap(),
            name: name.parse().unwrap(),
            created_at: "2026-11-23T11:55:18.797112341Z".parse().unwrap(),
            driver,
            interface: String::new(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            subnets: Vec::new(),
            ipam_options: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    fn text(record: &NetworkRecord, members: &[NetworkMember]) -> String {
        serde_json::to_string(&Network::new(record, members)).unwrap()
    }

    #[test]
    fn a_network_looks_as_dockerd_26_shows_it() {
        assert_eq!(
            text(&record("none", NetworkDriver::Null), &[]),
            format!(
                r#"{{"Name":"none","Id":"{ID}","Created":"2026-11-23T11:55:18.797112341Z","Scope":"local","Driver":"null","EnableIPv6":false,"IPAM":{{"Driver":"default","Options":null,"Config":null}},"Internal":false,"Attachable":false,"Ingress":false,"ConfigFrom":{{"Network":""}},"ConfigOnly":false,"Containers":{{}},"Options":{{}},"Labels":{{}}}}"#
            )
        );
    }

    #[test]
    fn its_ranges_and_members_are_shown() {
        let mut record = record("net", NetworkDriver::Bridge);
        let subnet = |text: &str| Subnet {
            subnet: text.parse().unwrap(),
            gateway: None,
            range: None,
            reserved: BTreeMap::new(),
        };
        record.subnets = vec![subnet("fd00::/64"), subnet("10.5.0.0/16")];
        let second = &mut record.subnets[1];
        second.gateway = Some("10.5.0.1".parse().unwrap());
        second.range = Some("10.5.1.0/24".parse().unwrap());
        let host = "10.5.1.9".parse().unwrap();
        second.reserved = BTreeMap::from([("host".to_owned(), host)]);
        record.ipam_options = Some(BTreeMap::new());
        record.enable_ipv4 = false;
        let member = NetworkMember {
            container: ID.parse().unwrap(),
            name: "web".parse().unwrap(),
            endpoint: Endpoint {
                id: ID.parse().unwrap(),
                network: ID.parse().unwrap(),
                interface: "eth0".to_owned(),
                mac: "02:42:0a:05:00:02".parse().unwrap(),
                ipv4: Some("10.5.0.2/16".parse().unwrap()),
                ipv6: None,
                metric: 100,
            },
        };
        let text = text(&record, &[member]);
        let ipam = r#""EnableIPv4":false,"EnableIPv6":false,"IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"10.5.0.0/16","IPRange":"10.5.1.0/24","Gateway":"10.5.0.1","AuxiliaryAddresses":{"host":"10.5.1.9"}},{"Subnet":"fd00::/64"}]}"#;
        assert!(text.contains(ipam), "{text}");
        let containers = format!(
            r#""Containers":{{"{ID}":{{"Name":"web","EndpointID":"{ID}","MacAddress":"02:42:0a:05:00:02","IPv4Address":"10.5.0.2/16","IPv6Address":""}}}}"#
        );
        assert!(text.contains(&containers), "{text}");
    }

    #[test]
    fn nothing_pruned_is_null_and_nulls_are_defaults() {
        let shown = |names| serde_json::to_string(&NetworkPruneResponse::from(names)).unwrap();
        assert_eq!(shown(Vec::new()), r#"{"NetworksDeleted":null}"#);
        let one = vec!["one".parse().unwrap()];
        assert_eq!(shown(one), r#"{"NetworksDeleted":["one"]}"#);
        let nulls = r#"{"Name":null,"Driver":null,"IPAM":{"Driver":null,"Config":null},
            "EnableIPv6":null,"Internal":null,"Options":null,"ConfigFrom":null}"#;
        let request: NetworkCreateRequest = serde_json::from_str(nulls).unwrap();
        assert!(request.name.is_empty() && request.ipam.is_some_and(|i| i.config.is_none()));
    }
}
