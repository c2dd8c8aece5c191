//! The rows of `GET /containers/json`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::config::is_none_or_empty_map;
use super::{EndpointSettings, MountPoint};

/// One container in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSummary {
    /// Its id.
    pub id: String,
    /// Its names, with the slash.
    pub names: Vec<String>,
    /// The image as the client named it, or its id when that name is another's now.
    pub image: String,
    /// The image's id.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Its command line.
    pub command: String,
    /// When it was made, unix seconds.
    pub created: i64,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Bytes written, when asked for and not zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    /// Bytes in all, when asked for and not zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its state in one word.
    pub state: String,
    /// Its state in a phrase.
    pub status: String,
    /// A part of its configuration.
    pub host_config: SummaryHostConfig,
    /// Its networks.
    pub network_settings: SummaryNetworkSettings,
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// The host's address.
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The container's port.
    pub private_port: u16,
    /// The host's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// The part of `HostConfig` that a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    /// The network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_mode: String,
    /// OCI annotations (API 1.46).
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The part of `NetworkSettings` that a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryNetworkSettings {
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}
