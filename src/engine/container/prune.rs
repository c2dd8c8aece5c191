//! Pruning: removing every stopped container that the filters select.

use model::{Action, ContainerState, Event, EventKind, Filters, Kind, Result};

use crate::Engine;
use crate::container::{ContainerView, Pruned, RemoveContainer};

/// The filters a prune of containers takes.
const KEYS: &[&str] = &["label", "label!", "until"];

impl Engine {
    /// Removes all stopped containers that `filters` select. One that starts or vanishes
    /// meanwhile is left alone.
    ///
    /// # Errors
    /// Bad filters.
    pub async fn prune_containers(&self, filters: Filters) -> Result<Pruned> {
        filters.check_keys(KEYS)?;
        let now = (self.shared.host.now)();
        let until = filters.until(now, sys::host::local_offset(now))?;
        let stopped = |view: &ContainerView| {
            let at_rest = match view.state {
                ContainerState::Created { .. }
                | ContainerState::Exited(_)
                | ContainerState::Dead { .. } => true,
                // One that nobody knows about may run.
                ContainerState::Running(_)
                | ContainerState::Restarting(_)
                | ContainerState::Removing
                | ContainerState::Lost { .. } => false,
            };
            at_rest
                && until.is_none_or(|limit| view.created_at < limit)
                && filters.match_labels(&view.spec.labels)
        };
        let mut pruned = Pruned::default();
        for handle in self.shared.registry.all() {
            let view = handle.view();
            if !stopped(&view) {
                continue;
            }
            let freed_bytes = self.measure(&view).await.map_or(0, |sizes| sizes.rw_bytes);
            match self
                .remove_container(view.id.as_str(), RemoveContainer::default())
                .await
            {
                Ok(()) => {
                    pruned.containers.push(view.id.clone());
                    pruned.space_reclaimed_bytes += freed_bytes;
                }
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Conflict) => {}
                // One that cannot go does not keep the others (moby `ContainersPrune`).
                Err(e) => tracing::warn!(id = view.id.short(), error = %e, "not pruned"),
            }
        }
        let reclaimed = pruned.space_reclaimed_bytes.to_string();
        let now = (self.shared.host.now)();
        let event = Event::new(now, EventKind::Container, &Action::Prune, "");
        self.shared.tell(event.with("reclaimed", reclaimed)).await;
        Ok(pruned)
    }
}
