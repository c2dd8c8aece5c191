//! Checkpoints on the wire.

use engine::CheckpointContainer;
use model::{CheckpointName, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null_as_default;

/// The body of `POST /containers/{id}/checkpoints`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct CheckpointCreate {
    /// What it is called.
    #[serde(rename = "CheckpointID", deserialize_with = "null_as_default")]
    pub checkpoint_id: String,
    /// Another directory than the container's own; not built.
    #[serde(deserialize_with = "null_as_default")]
    pub checkpoint_dir: String,
    /// The container ends with it, as by SIGKILL.
    #[serde(deserialize_with = "null_as_default")]
    pub exit: bool,
    /// Dump established TCP connections, too. Not Docker's.
    #[serde(rename = "TCPEstablished", deserialize_with = "null_as_default")]
    pub tcp_established: bool,
    /// Dump locks of files, too. Not Docker's.
    #[serde(deserialize_with = "null_as_default")]
    pub file_locks: bool,
}

impl CheckpointCreate {
    /// As the engine takes it.
    ///
    /// # Errors
    /// A name that is none, in Docker's words.
    pub fn into_request(self) -> Result<CheckpointContainer> {
        Ok(CheckpointContainer {
            name: self.checkpoint_id.parse()?,
            exit: self.exit,
            tcp_established: self.tcp_established,
            file_locks: self.file_locks,
        })
    }
}

/// One of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CheckpointSummary {
    /// What it is called.
    pub name: String,
}

impl From<CheckpointName> for CheckpointSummary {
    fn from(name: CheckpointName) -> Self {
        Self { name: name.into() }
    }
}
