//! The body of `POST /containers/create`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ContainerConfig, HostConfig, NetworkingConfig};
use crate::error::ApiError;
use crate::extract::JsonBody;

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

/// What stands beside `Config`'s fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Beside {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

impl CreateRequest {
    /// Reads a request's body: once for each half, because keys in another case are not found
    /// through a flattened field.
    ///
    /// # Errors
    /// 400 when it is not JSON, or not of this shape.
    pub fn read(body: &JsonBody) -> Result<Self, ApiError> {
        let beside: Beside = body.parse()?;
        Ok(Self {
            config: body.parse()?,
            host_config: beside.host_config,
            networking_config: beside.networking_config,
        })
    }
}
