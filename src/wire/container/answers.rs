//! The small answers: create, wait, top, prune.

use serde::Serialize;
use utoipa::ToSchema;

/// A container was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreateResponse {
    /// Its id.
    pub id: String,
    /// What could not be given quite as asked; never `null`.
    pub warnings: Vec<String>,
}

/// The end of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WaitResponse {
    /// The exit code.
    pub status_code: i64,
    /// Why the code means nothing, when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

/// Why a wait's code means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WaitError {
    /// In words.
    pub message: String,
}

/// A container's processes, in the captured order of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TopResponse {
    /// One row a process; `null` when there is none.
    #[schema(required)]
    pub processes: Option<Vec<Vec<String>>>,
    /// Column titles.
    pub titles: Vec<String>,
}

/// What a prune removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PruneReport {
    /// The ids; `null` when there were none.
    pub containers_deleted: Option<Vec<String>>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}
