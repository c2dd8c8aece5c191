//! What the engine offers on existing containers: each finds the container and asks its task.

use std::os::fd::OwnedFd;

use model::{CheckpointName, ContainerName, Error, Kind, Result, Signal};

use crate::Engine;
use crate::container::{
    Change, CheckpointContainer, ContainerView, RemoveContainer, Sizes, StopContainer,
    UpdateContainer, WaitCondition, Waiter,
};

impl Engine {
    /// Starts a container. In this run its first process has copies of `descriptors`, from 3 up.
    ///
    /// # Errors
    /// 404; 409 when paused or being removed; what conmon and the runtime said when it cannot run.
    pub async fn start_container(
        &self,
        reference: &str,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Change> {
        let handle = self.shared.registry.find(reference)?;
        or_already(handle.start(descriptors.into()).await)
    }

    /// Starts a container out of a checkpoint: its processes go on where they were.
    ///
    /// # Errors
    /// 404 for container and checkpoint; 409 when it runs, or the checkpoint is of another container,
    /// image, kernel or runtime; what CRIU said when it cannot.
    pub async fn restore_container(&self, reference: &str, name: CheckpointName) -> Result<Change> {
        let handle = self.shared.registry.find(reference)?;
        handle.restore(name).await
    }

    /// Dumps a container's processes into files.
    ///
    /// # Errors
    /// 404; 409 when it does not run, or there is a checkpoint of that name; what CRIU said.
    pub async fn checkpoint_container(
        &self,
        reference: &str,
        request: CheckpointContainer,
    ) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.checkpoint(request).await
    }

    /// Stops a container: its stop signal, then SIGKILL when the grace is over.
    ///
    /// # Errors
    /// 404; a process that survives SIGKILL.
    pub async fn stop_container(&self, reference: &str, request: StopContainer) -> Result<Change> {
        let handle = self.shared.registry.find(reference)?;
        or_already(handle.stop(request).await)
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As stop and start.
    pub async fn restart_container(&self, reference: &str, request: StopContainer) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.restart(request).await.map(|_| ())
    }

    /// Sends one signal to a container's first process.
    ///
    /// # Errors
    /// 404; 409 when it does not run.
    pub async fn kill_container(&self, reference: &str, signal: Signal) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.kill(signal).await
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// 404; 409 when it does not run or is paused.
    pub async fn pause_container(&self, reference: &str) -> Result<()> {
        self.shared.registry.find(reference)?.pause().await
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// 404; 409 when it is not paused.
    pub async fn unpause_container(&self, reference: &str) -> Result<()> {
        self.shared.registry.find(reference)?.unpause().await
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// 404; 409 when the name is taken.
    pub async fn rename_container(&self, reference: &str, name: ContainerName) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.rename(name).await
    }

    /// Gives a container other limits and another restart policy. What the client should know.
    ///
    /// # Errors
    /// 400 for limits that are none, also before it is looked for; 404; 409 for limits that exclude each
    /// other or its own; what the runtime says. Then nothing has changed.
    pub async fn update_container(
        &self,
        reference: &str,
        request: UpdateContainer,
    ) -> Result<Vec<String>> {
        let limits = spec::update_limits(&request.resources, &self.shared.facts)?;
        let handle = self.shared.registry.find(reference)?;
        handle
            .update(UpdateContainer {
                resources: limits.in_force,
                ..request
            })
            .await?;
        Ok(limits.warnings)
    }

    /// Removes a container, its writable layer and its log.
    ///
    /// # Errors
    /// 404; 409 when it runs and `force` is not set.
    pub async fn remove_container(&self, reference: &str, request: RemoveContainer) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.remove(request).await
    }

    /// Arms a wait; nothing that happens after this returns is missed.
    ///
    /// # Errors
    /// 404; 409 for health of a container without health checks.
    pub fn wait_container(&self, reference: &str, condition: WaitCondition) -> Result<Waiter> {
        let handle = self.shared.registry.find(reference)?;
        if condition == WaitCondition::Healthy && handle.view().spec.health_check.is_none() {
            let id = handle.id();
            return Err(Error::conflict(format!(
                "container {id} has no health check"
            )));
        }
        Ok(handle.wait(condition))
    }

    /// Changes the size of a container's terminal, in characters.
    ///
    /// # Errors
    /// 404; 409 when it does not run.
    pub async fn resize_container(&self, reference: &str, height: u16, width: u16) -> Result<()> {
        let handle = self.shared.registry.find(reference)?;
        handle.resize(height, width).await
    }

    /// Measures a container's disk use.
    ///
    /// # Errors
    /// 404; a directory that cannot be read.
    pub async fn container_sizes(&self, reference: &str) -> Result<Sizes> {
        let view = self.container(reference)?;
        self.measure(&view).await
    }

    pub(crate) async fn measure(&self, view: &ContainerView) -> Result<Sizes> {
        let store = self.shared.images.store().clone();
        let changed = view.paths.tree.changed.clone();
        let rw_bytes = crate::blocking(move || store.changed_size(&changed)).await?;
        let image = self.shared.images.record(&view.image_id);
        let image_bytes = image.map_or(0, |image| image.size_bytes);
        Ok(Sizes {
            rw_bytes,
            root_fs_bytes: rw_bytes + image_bytes,
        })
    }
}

/// A refusal that clients read as success is one.
fn or_already(result: Result<Change>) -> Result<Change> {
    match result {
        Err(e) if e.kind() == Kind::NotModified => Ok(Change::Already),
        other => other,
    }
}
