//! What goes over the wire, field by field as Docker's clients know it.
//!
//! Only these types derive `Serialize` for clients, and only here: the engine's own types change
//! with the engine, these with Docker's API. Conversions from the engine's views stand beside
//! each type; a conversion that depends on the version takes it as an argument.

pub mod checkpoint;
pub mod container;
pub mod event;
pub mod exec;
pub mod image;
pub mod system;
pub mod version;
pub mod volume;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{OpenApi, ToSchema};

/// The storage driver's name, as `info` and the inspects show it. The trees on disk are those
/// of Docker's driver of that name: overlayfs with a directory for each layer.
pub const STORAGE_DRIVER: &str = "overlay2";

/// The head of the OpenAPI document; paths and schemas come from the routes.
#[derive(OpenApi, Debug)]
#[openapi(
    info(
        title = "Moored Engine API",
        description = "The part of the Docker Engine API that moored has built, on a unix socket. \
            Every path is also served below `/v1.24` to `/v1.47`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The newest version"),
            (url = "/v1.47", description = "A version, pinned")),
    components(schemas(ErrorResponse)),
    tags(
        (name = "Container", description = "Containers: create and manage them."),
        (name = "Exec", description = "Exec sessions: further processes in running containers."),
        (name = "Image", description = "Images: load, import, list, tag and remove them."),
        (name = "Volume", description = "Volumes: storage that outlives containers."),
        (name = "System", description = "The engine and its host."),
    ),
)]
pub struct Document;

/// An error.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorResponse {
    /// What went wrong.
    pub message: String,
}

/// One message of a stream of progress (load, import).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct JsonMessage {
    /// Text for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The item it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it ended, for clients that show it.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// Why it ended, for older clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far an item is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ProgressDetail {
    /// Bytes done.
    pub current: u64,
    /// Bytes in all; absent when not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total: u64,
}

/// The end of a stream that failed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// What went wrong.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Go's `omitempty` for a map or list that Docker shows as `null` when it was never set.
pub(crate) fn none_if_empty<T: Clone + Default + PartialEq>(value: &T) -> Option<T> {
    (*value != T::default()).then(|| value.clone())
}

/// For `#[serde(default, deserialize_with = "null_as_default")]`: Go leaves a field alone when
/// the JSON says `null`.
///
/// # Errors
/// As the field's own type.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
