//! From the ledger's row to the published picture.

use std::sync::Arc;

use bundles::EtcFiles;
use model::{Health, HealthStatus, Layer, MountSource, WaitOutcome};
use state::ContainerRow;

use crate::Shared;
use crate::wait::Lifecycle;
use crate::{ContainerPaths, ContainerView, MountView};

/// The picture of a row; `layers` are its image's.
pub(crate) fn view(engine: &Shared, row: &ContainerRow, layers: &[Layer]) -> ContainerView {
    let dir = engine.layout.container(&row.id);
    let tree = engine.images.store().paths(row.id.as_str(), layers);
    let tree = tree.expect("a container's id is a valid key");
    let log = row
        .spec
        .log
        .driver
        .has_files()
        .then(|| engine.layout.log(&row.id));
    ContainerView {
        id: row.id.clone(),
        name: row.name.clone(),
        created_at: row.created_at,
        image_id: row.image_id.clone(),
        image_name: row.image_name.clone(),
        spec: Arc::new(row.spec.clone()),
        echo: row.echo.clone().into(),
        state: row.state.clone(),
        restart_count: row.restart_count,
        health: row.health.as_ref().map(|health| shown(row, health)),
        runtime: row.runtime.clone(),
        attachment: match row.state.running() {
            Some(_) => row.attachment.clone().map(Arc::new),
            None => None,
        },
        paths: ContainerPaths {
            etc: EtcFiles {
                resolv_conf: dir.join("resolv.conf"),
                hostname: dir.join("hostname"),
                hosts: dir.join("hosts"),
            },
            log,
            tree,
        },
        mounts: row
            .spec
            .mounts
            .iter()
            .map(|m| mount_view(engine, m))
            .collect(),
    }
}

/// One that is not looked after is shown unhealthy (moby `CloseMonitorChannel`).
fn shown(row: &ContainerRow, health: &Health) -> Arc<Health> {
    let mut health = health.clone();
    if row.state.running().is_none_or(|running| running.paused) {
        health.status = HealthStatus::Unhealthy;
    }
    Arc::new(health)
}

/// What waiters of a row that was just read back see.
pub(crate) fn lifecycle(row: &ContainerRow) -> Lifecycle {
    let last = match &row.state {
        model::ContainerState::Exited(e)
        | model::ContainerState::Restarting(model::Restarting { last: e, .. }) => {
            Some(e.status.code())
        }
        model::ContainerState::Created { failure: Some(f) } => Some(i64::from(f.exit_code)),
        _ => None,
    };
    Lifecycle {
        running: row.state.is_up(),
        health: row.state.running().and_then(|running| {
            let health = row.health.as_ref()?;
            (health.run_started_at == running.started_at).then_some(health.status)
        }),
        last: last.map(|status_code| WaitOutcome {
            status_code,
            error: None,
        }),
        ..Lifecycle::default()
    }
}

fn mount_view(engine: &Shared, mount: &model::Mount) -> MountView {
    let (kind, name, source, propagation) = match &mount.source {
        MountSource::Bind { path, .. } => ("bind", None, path.clone(), mount.propagation.as_str()),
        MountSource::Volume { name, .. } => {
            let data = engine.volumes.data(name);
            ("volume", Some(name.clone()), data.display().to_string(), "")
        }
        MountSource::Tmpfs { .. } => ("tmpfs", None, String::new(), ""),
    };
    MountView {
        kind,
        name,
        source,
        destination: mount.destination.clone(),
        mode: mount.mode.clone(),
        read_write: !mount.read_only,
        propagation,
    }
}
