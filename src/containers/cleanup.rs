//! What a run has on the host is taken away: the runtime's state, networks, mounts, conmon's files.

use failpoint::Point;
use model::{Intent, Mount, Result};
use runtime::RuntimeName;

use crate::{ContainerView, Shared};

impl Shared {
    /// Takes away what a run leaves on the host: the runtime's state, the mount, conmon's files.
    /// With `forget` the exit file goes too; without it recovery can still read it. conmon's
    /// files go last, and only when all else did: recovery knows by them that something is left.
    ///
    /// # Errors
    /// When the runtime does not let go of the container; it was logged.
    pub(crate) async fn clean_up_run(&self, view: &ContainerView, forget: bool) -> Result<()> {
        let delete = async {
            let mut deleted = Ok(());
            for runtime in self.runtimes_of(view) {
                deleted = deleted.and(self.delete_run(view, &runtime).await);
            }
            deleted
        };
        let (deleted, ()) = tokio::join!(delete, self.release_networks(&view.id));
        failpoint::reach(Point::CleanupDeleted).await?;
        self.unmount(view).await;
        failpoint::reach(Point::CleanupUnmounted).await?;
        if forget && deleted.is_ok() {
            self.runtimes
                .forget(&view.id, &self.layout.bundle(&view.id))
                .await;
            drop(failpoint::reach(Point::CleanupDone).await);
        }
        deleted
    }

    /// Makes the runtime forget a container that has ended; by force when it does not want to.
    async fn delete_run(&self, view: &ContainerView, runtime: &RuntimeName) -> Result<()> {
        let id = view.id.short();
        let bundle = self.layout.bundle(&view.id);
        self.runtimes.clear_lost(&view.id, runtime, &bundle).await;
        let Err(e) = self.runtimes.delete(&view.id, runtime, false).await else {
            return Ok(());
        };
        tracing::warn!(id, error = %e, "a plain delete did not do");
        let forced = self.runtimes.delete(&view.id, runtime, true).await;
        forced
            .inspect_err(|e| tracing::warn!(id, error = %e, "the runtime's state was not removed"))
    }

    /// The container's runtime. One that is configured no more, or whose name a damaged row has
    /// lost, may be any.
    fn runtimes_of(&self, view: &ContainerView) -> Vec<RuntimeName> {
        self.runtime_of(view)
            .map_or_else(|_| self.runtimes.names(), |runtime| vec![runtime])
    }

    /// Undoes a start that did not come to its end, whatever stage it was in. That it is undone is
    /// in the ledger first: the next daemon must not take the end of what is taken back for the
    /// end of a run.
    pub(crate) async fn undo_start(&self, view: &ContainerView, again: bool) {
        let intent = Some(Intent::UndoingStart { again });
        let write =
            self.ledger
                .update_container_state(&view.id, &view.state, intent, view.restart_count);
        if let Err(e) = write.await {
            tracing::warn!(id = view.id.short(), error = %e, "that a start is undone was not written");
        }
        for runtime in self.runtimes_of(view) {
            let bundle = self.layout.bundle(&view.id);
            self.runtimes.discard(&view.id, &runtime, &bundle).await;
        }
        self.release_networks(&view.id).await;
        self.unmount(view).await;
    }

    /// Unmounts a container's tree, and what was mounted for it alone.
    pub(crate) async fn unmount(&self, view: &ContainerView) {
        let (store, id) = (self.images.store().clone(), view.id.clone());
        let (volumes, spec) = (self.volumes.clone(), view.spec.clone());
        let bundle = self.layout.bundle(&id);
        let unmount = move || {
            // Whatever the spec says: that of a damaged row says nothing.
            let released = bundles::release_joined(&bundle);
            let unmounted = store.unmount(id.as_str());
            volumes.release(&id, spec.mounts.iter().filter_map(Mount::volume));
            unmounted.and(released)
        };
        let unmounted = crate::blocking(unmount).await;
        if let Err(e) = unmounted {
            tracing::warn!(id = view.id.short(), error = %e, "the tree was not unmounted");
        }
    }
}
