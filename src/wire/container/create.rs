//! The body of `POST /containers/create`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ContainerConfig, HostConfig, NetworkingConfig};

/// A whole create request: `Config`'s fields on top, the rest beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateRequest {
    /// The portable half.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The half that depends on the host.
    #[serde(rename = "HostConfig")]
    pub host_config: Option<HostConfig>,
    /// The networks to join.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: Option<NetworkingConfig>,
}
