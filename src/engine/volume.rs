//! Volumes. What they are and what is done with them is the room `volumes`', the use cases included; who
//! uses them is known here.

use std::sync::Arc;

use containers::Shared;
use model::{ContainerState, Mount, VolumeName};
use state::{ContainerRow, Damaged, Table};
use volumes::{Tools, VolumeCatalog, VolumeUser};

use crate::Engine;

impl Engine {
    /// The volumes, and what can be done with them.
    pub fn volumes(&self) -> &VolumeCatalog {
        &self.inner.volumes
    }

    /// Before a container is taken back: tells which of them may run and have what volumes, takes away
    /// what was mounted for others, and gives back what a removal had set aside.
    pub(crate) async fn resume_volumes(&self, rows: &[ContainerRow], damaged: &[Damaged]) {
        let at_rest = |row: &&ContainerRow| {
            let ended = matches!(
                row.state,
                ContainerState::Created { .. } | ContainerState::Exited(_)
            );
            ended && row.intent.is_none()
        };
        for row in rows.iter().filter(|row| !at_rest(row)) {
            let names = names(&row.spec.mounts);
            let process = row.state.running().map(|running| running.init);
            self.shared.volumes.resume(&row.id, process, names);
        }
        let volumes = self.shared.volumes.clone();
        // A row that cannot be read may be of one that runs.
        let all_known = damaged.iter().all(|d| d.table != Table::Containers);
        let take_away = move || {
            volumes.settle_earlier();
            match all_known {
                true => volumes.unmount_unneeded(),
                false => volumes.take_away_parts(),
            }
            Ok(())
        };
        drop(crate::blocking(take_away).await);
    }
}

/// What the room works with.
pub(crate) fn tools(shared: &Shared) -> Tools {
    let registry = shared.registry.clone();
    let users = move || {
        let views = registry.all().into_iter().map(|handle| handle.view());
        let users = views.map(|view| VolumeUser {
            container: view.id.clone(),
            volumes: names(&view.spec.mounts).cloned().collect(),
            is_damaged: view.is_damaged(),
        });
        users.collect()
    };
    Tools {
        ledger: shared.ledger.clone(),
        volumes: shared.volumes.clone(),
        users: Arc::new(users),
        gate: shared.images.gate_lock(),
        now: shared.host.now.clone(),
        random: shared.host.random.clone(),
    }
}

fn names(mounts: &[Mount]) -> impl Iterator<Item = &VolumeName> {
    mounts.iter().filter_map(Mount::volume)
}
