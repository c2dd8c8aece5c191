//! Checkpoints of a container, beside its task: listed and removed.

use model::{CheckpointName, Result};

use crate::Engine;

impl Engine {
    /// The names of a container's checkpoints.
    ///
    /// # Errors
    /// 404; a directory that cannot be read.
    pub async fn list_checkpoints(&self, reference: &str) -> Result<Vec<CheckpointName>> {
        let view = self.container(reference)?;
        let checkpoints = self.shared.checkpoints_of(&view);
        crate::blocking(move || checkpoints.list()).await
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// 404 for either.
    pub async fn remove_checkpoint(&self, reference: &str, name: CheckpointName) -> Result<()> {
        let view = self.container(reference)?;
        let checkpoints = self.shared.checkpoints_of(&view);
        crate::blocking(move || checkpoints.remove(&name)).await
    }
}
