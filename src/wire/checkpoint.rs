//! Checkpoints on the wire.

use engine::{CheckpointContainer, CheckpointView, Imported};
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

/// A checkpoint, whole. Not Docker's.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CheckpointInspect {
    /// What it is called.
    pub name: String,
    /// When it was complete, RFC 3339.
    pub created: String,
    /// The bytes of its files.
    pub size: u64,
    /// The container ended with it; otherwise it went on.
    pub exit: bool,
    /// Of which container.
    pub container: String,
    /// The id of its image.
    pub image: String,
    /// The release of the kernel it was made on; it can be restored there alone.
    pub kernel: String,
    /// The runtime that made it.
    pub runtime: String,
    /// Established TCP connections are in it.
    #[serde(rename = "TCPEstablished")]
    pub tcp_established: bool,
    /// Locks of files are in it.
    pub file_locks: bool,
    /// What CRIU counted; `null` where it left nothing.
    pub statistics: Option<CheckpointStatistics>,
}

/// What CRIU counted while a checkpoint was made. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CheckpointStatistics {
    /// How long it took to freeze the processes.
    pub freezing_time: u64,
    /// How long they were frozen.
    pub frozen_time: u64,
    /// How long it took to find their memory.
    pub memdump_time: u64,
    /// How long it took to write it.
    pub memwrite_time: u64,
    /// Pages that were looked at.
    pub pages_scanned: u64,
    /// Pages that were written.
    pub pages_written: u64,
}

impl From<&CheckpointView> for CheckpointInspect {
    fn from(view: &CheckpointView) -> Self {
        Self {
            name: view.name.to_string(),
            created: view.created_at.to_string(),
            size: view.size_bytes,
            exit: view.ended,
            container: view.origin.container.to_string(),
            image: view.origin.image.to_string(),
            kernel: view.origin.kernel.clone(),
            runtime: view.origin.runtime.clone(),
            tcp_established: view.options.tcp_established,
            file_locks: view.options.file_locks,
            statistics: view.statistics.map(|counted| CheckpointStatistics {
                freezing_time: counted.freezing_us,
                frozen_time: counted.frozen_us,
                memdump_time: counted.memory_dump_us,
                memwrite_time: counted.memory_write_us,
                pages_scanned: counted.pages_scanned,
                pages_written: counted.pages_written,
            }),
        }
    }
}

/// The answer to an import. Not Docker's.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImportResponse {
    /// The container's id, as it was.
    pub id: String,
    /// The checkpoint to start it from.
    pub checkpoint: String,
    /// As of a create.
    pub warnings: Vec<String>,
}

impl From<Imported> for ImportResponse {
    fn from(imported: Imported) -> Self {
        Self {
            id: imported.id.to_string(),
            checkpoint: imported.checkpoint.to_string(),
            warnings: imported.warnings,
        }
    }
}
