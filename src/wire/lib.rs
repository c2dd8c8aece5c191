//! What goes over the wire, field by field as Docker's clients know it.
//!
//! Only these types derive `Serialize` for clients, and only here: the engine's own types change
//! with the engine, these with Docker's API. Conversions from the engine's views stand beside
//! each type; a conversion that depends on the version takes it as an argument.

pub mod auth;
pub mod checkpoint;
pub mod container;
pub mod event;
pub mod exec;
pub mod image;
pub mod network;
pub mod plugin;
pub mod stats;
pub mod system;
mod system_version;
pub mod upkeep;
pub mod version;
pub mod volume;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{OpenApi, ToSchema};

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
        (name = "Image", description = "Images: pull, push, load, import, list, tag and remove them."),
        (name = "Distribution", description = "What registries have."),
        (name = "Network", description = "Networks: who can talk to whom, and by which name."),
        (name = "Volume", description = "Volumes: storage that outlives containers."),
        (name = "Plugin", description = "Plugins: none."),
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

/// One message of a stream of progress (pull, push, load, import).
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
    /// The same as a bar of characters, for clients that draw none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The item it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it ended, for clients that show it.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// Why it ended, for older clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What came of it, for programs: of a push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<PushResult>,
}

/// How far an item is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ProgressDetail {
    /// Bytes done; absent, like `total`, where nothing is counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Bytes in all; absent when not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total: u64,
}

impl ProgressDetail {
    /// As Docker's daemon draws it (moby `jsonmessage`): fifty characters and two numbers.
    pub fn bar(&self) -> Option<String> {
        const WIDTH: usize = 50;
        let (current, total) = (self.current, self.total);
        if current == 0 && total == 0 {
            return None;
        }
        if total == 0 {
            return Some(format!("{:>8}", human(current)));
        }
        let percent = current.saturating_mul(100) / total / 2;
        let done = usize::try_from(percent).unwrap_or(WIDTH).min(WIDTH);
        let rest = WIDTH - done;
        let numbers = match current > total {
            true => format!("{:>8}", human(current)),
            false => format!("{:>8}/{}", human(current), human(total)),
        };
        let (bar, space) = ("=".repeat(done), " ".repeat(rest));
        Some(format!("[{bar}>{space}] {numbers}"))
    }
}

/// `1.234MB`: four digits, powers of a thousand (go-units `HumanSize`).
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let whole_digits = if size >= 100.0 {
        3
    } else if size >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{size:.*}", 4 - whole_digits);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", UNITS[unit])
}

/// What a push has come to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PushResult {
    /// The tag.
    pub tag: String,
    /// Of the manifest.
    pub digest: String,
    /// Bytes of the manifest.
    pub size: u64,
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
