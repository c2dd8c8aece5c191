//! A container's view as inspect shows it (moby `daemon/inspect.go`).

use std::collections::BTreeMap;
use std::path::Path;

use engine::{Changed, ContainerView, MountView, Sizes};
use model::{ContainerId, ContainerState, ExecId, NamespaceMode, Restarting, Result, Signal};

use super::phrase::{ZERO_TIME, time};
use super::{KnownNetworks, connected};
use wire::container::{
    ContainerConfig, ContainerInspect, CreateRequest, Empty, GraphDriver, GraphDriverData, Health,
    HealthConfig, HostConfig, LogFaults, MountPoint, Readiness, State, StrSlice,
};
use wire::version::ApiVersion;

/// The whole document.
pub fn inspect(
    view: &ContainerView,
    sizes: Option<Sizes>,
    execs: &[ExecId],
    log_faults: &model::LogFaults,
    networks: &dyn KnownNetworks,
    version: ApiVersion,
) -> ContainerInspect {
    let request = echo(view);
    let labels = view.spec.selinux.clone().unwrap_or_default();
    let mut args = view.spec.args();
    let path = if args.is_empty() {
        String::new()
    } else {
        args.remove(0)
    };
    ContainerInspect {
        id: view.id.to_string(),
        created: time(view.created_at),
        path,
        args,
        state: State {
            health: view.health.as_deref().map(Health::from),
            readiness: view
                .state
                .running()
                .and_then(|r| r.readiness.as_ref())
                .map(Readiness::from),
            ..state(&view.state)
        },
        image: view.image_id.to_string(),
        resolv_conf_path: text(&view.paths.etc.resolv_conf),
        hostname_path: text(&view.paths.etc.hostname),
        hosts_path: text(&view.paths.etc.hosts),
        log_path: view.paths.log.as_deref().map(text).unwrap_or_default(),
        name: format!("/{}", view.name),
        restart_count: view.restart_count,
        driver: view.paths.tree.driver().to_string(),
        platform: "linux".to_owned(),
        mount_label: labels.mount,
        process_label: labels.process,
        app_armor_profile: view.spec.apparmor.clone().unwrap_or_default(),
        exec_ids: (!execs.is_empty()).then(|| execs.iter().map(ToString::to_string).collect()),
        graph_driver: graph_driver(view),
        size_rw: sizes.map(|s| s.rw_bytes),
        size_root_fs: sizes.map(|s| s.root_fs_bytes),
        mounts: mounts(view),
        network_settings: connected::settings(view, networks, version),
        config: config(view, request.config),
        host_config: host_config(view, request.host_config.unwrap_or_default()),
        log_faults: LogFaults::of(log_faults),
    }
}

/// What the client sent. An echo that cannot be read (the ledger of another version) leaves the
/// defaults, under which the spec's values are laid.
fn echo(view: &ContainerView) -> CreateRequest {
    serde_json::from_slice(&view.echo).unwrap_or_else(|e| {
        tracing::warn!(container = %view.id, error = %e, "cannot read a stored create request");
        CreateRequest::default()
    })
}

/// Docker's booleans, derived.
fn state(state: &ContainerState) -> State {
    let mut shown = State {
        status: state.status().to_owned(),
        started_at: ZERO_TIME.to_owned(),
        finished_at: ZERO_TIME.to_owned(),
        ..State::default()
    };
    match state {
        ContainerState::Created { failure: None } | ContainerState::Removing => {}
        ContainerState::Created {
            failure: Some(failure),
        } => {
            shown.exit_code = i64::from(failure.exit_code);
            shown.error.clone_from(&failure.error);
        }
        ContainerState::Running(running) => {
            shown.running = true;
            shown.paused = running.paused;
            shown.pid = running.init.pid.get();
            shown.started_at = time(running.started_at);
            if let Some(last) = running.last_finished_at {
                shown.finished_at = time(last);
            }
        }
        ContainerState::Exited(exited)
        | ContainerState::Restarting(Restarting { last: exited, .. }) => {
            // To clients it runs between two runs, too.
            shown.running = state.is_up();
            shown.restarting = state.is_up();
            shown.exit_code = exited.status.code();
            shown.error = match (exited.error.as_str(), exited.status.reason()) {
                ("", Some(reason)) => reason.to_owned(),
                (error, _) => error.to_owned(),
            };
            shown.oom_killed = exited.oom_killed;
            shown.started_at = time(exited.started_at);
            shown.finished_at = time(exited.finished_at);
        }
        ContainerState::Dead { reason } | ContainerState::Lost { reason } => {
            shown.dead = true;
            shown.error.clone_from(reason);
        }
    }
    shown
}

/// What was sent, with the image's values merged in.
fn config(view: &ContainerView, sent: ContainerConfig) -> ContainerConfig {
    let spec = &view.spec;
    let hostname = if spec.hostname.is_empty() {
        view.id.short().to_owned()
    } else {
        spec.hostname.clone()
    };
    let list = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let ports = spec.exposed_ports.iter();
    ContainerConfig {
        hostname,
        // One that is off is shown as it was asked for.
        healthcheck: match &spec.health_check {
            Some(check) => Some(HealthConfig::from(check)),
            None => sent.healthcheck.clone(),
        },
        user: spec.user.clone(),
        exposed_ports: Some(ports.map(|port| (port.clone(), Empty {})).collect()),
        env: list(&spec.env),
        cmd: spec.cmd.clone().map(StrSlice),
        entrypoint: spec.entrypoint.clone().map(StrSlice),
        volumes: volumes(view, &sent),
        working_dir: spec.working_dir.clone(),
        labels: Some(spec.labels.clone()),
        stop_signal: stop_signal(view, &sent),
        mac_address: mac_address(view),
        ..sent
    }
}

/// As the client wrote it, or the image's: nothing where neither said one.
fn stop_signal(view: &ContainerView, sent: &ContainerConfig) -> String {
    if sent.stop_signal.is_empty() && view.spec.stop_signal != Signal::TERM {
        view.spec.stop_signal.name()
    } else {
        sent.stop_signal.clone()
    }
}

/// The paths asked for and the image's: those with an anonymous volume that no bind made.
fn volumes(view: &ContainerView, sent: &ContainerConfig) -> Option<BTreeMap<String, Empty>> {
    let mut paths = sent.volumes.clone().unwrap_or_default();
    for mount in &view.spec.mounts {
        if mount.is_declared() {
            paths.insert(mount.destination.clone(), Empty {});
        }
    }
    Some(paths).filter(|paths| !paths.is_empty())
}

/// What was sent and filled in at create, with what the engine decided.
fn host_config(view: &ContainerView, sent: HostConfig) -> HostConfig {
    let cgroupns_mode = match view.spec.cgroupns_mode {
        Some(NamespaceMode::Private) => "private".to_owned(),
        Some(NamespaceMode::Host) => "host".to_owned(),
        None => sent.cgroupns_mode,
    };
    // What was named is shown by its id, as Docker does: it counts whatever becomes of the name.
    let joined = |donor: Option<&ContainerId>, sent: String| match donor {
        Some(id) => format!("container:{id}"),
        None => sent,
    };
    let mut shown = HostConfig {
        pid_mode: joined(view.spec.pid_mode.donor(), sent.pid_mode),
        ipc_mode: joined(view.spec.ipc_mode.donor(), sent.ipc_mode),
        network_mode: joined(view.spec.network.donor(), sent.network_mode),
        links: links(view),
        cgroupns_mode,
        runtime: view.runtime.clone(),
        ..sent
    };
    show_updatable(view, &mut shown);
    shown
}

/// As Docker shows them, with the name of the container that has them.
fn links(view: &ContainerView) -> Option<Vec<String>> {
    let shown = |link: &String| {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        format!("/{name}:/{}/{alias}", view.name)
    };
    let links: Vec<String> = view.spec.links.iter().map(shown).collect();
    Some(links).filter(|links| !links.is_empty())
}

/// The hardware address asked for on the network that the mode names, where clients of old look for it.
fn mac_address(view: &ContainerView) -> String {
    let mode = view.spec.network.to_docker();
    let mut endpoints = view.spec.endpoints.iter();
    let main = endpoints.find(|endpoint| endpoint.name.as_str() == mode);
    let mac = main.and_then(|endpoint| endpoint.config.mac);
    mac.map(|mac| mac.to_string()).unwrap_or_default()
}

/// Lays what an update may have changed over what was sent at create.
fn show_updatable(view: &ContainerView, host: &mut HostConfig) {
    super::resources::show(&view.spec.resources, host);
    host.restart_policy = super::restart_policy::shown(&view.spec.restart_policy);
}

/// A create request that would make the container as it is now, for another daemon.
///
/// # Errors
/// 501 for one that has something of other containers, which are not there.
pub fn request_in_force(view: &ContainerView) -> Result<Vec<u8>> {
    let mut request = echo(view);
    let host = request.host_config.get_or_insert_default();
    let of_others = [
        (
            "VolumesFrom",
            host.volumes_from.iter().flatten().next().is_some(),
        ),
        ("PidMode", host.pid_mode.starts_with("container:")),
        ("IpcMode", host.ipc_mode.starts_with("container:")),
        ("NetworkMode", host.network_mode.starts_with("container:")),
        ("Links", !view.spec.links.is_empty()),
    ];
    if let Some((field, _)) = of_others.iter().find(|(_, is_set)| *is_set) {
        return Err(super::not_built(&format!(
            "the export of a container with HostConfig.{field} of another"
        )));
    }
    show_updatable(view, host);
    connected::lay(view, &mut request);
    Ok(serde_json::to_vec(&request).expect("wire types have string keys"))
}

fn graph_driver(view: &ContainerView) -> GraphDriver {
    let tree = &view.paths.tree;
    let lower: Vec<String> = tree.lower.iter().map(text).collect();
    GraphDriver {
        data: match &tree.changed {
            Changed::Upper(upper) => Some(GraphDriverData {
                lower_dir: lower.join(":"),
                merged_dir: text(&tree.merged),
                upper_dir: text(upper),
                work_dir: text(&tree.work),
            }),
            // moby's vfs driver: "does not currently have any meta data".
            Changed::Copy(_) => None,
        },
        name: tree.driver().to_string(),
    }
}

/// The mounts that Docker shows. It leaves out those of `HostConfig.Tmpfs`, and so does this.
pub(super) fn mounts(view: &ContainerView) -> Vec<MountPoint> {
    let request = echo_tmpfs(view);
    view.mounts
        .iter()
        .filter(|m| !(m.kind == "tmpfs" && request.contains(&m.destination)))
        .map(mount_point)
        .collect()
}

/// Clean destinations of `HostConfig.Tmpfs`; the echo is read only where there is a tmpfs.
fn echo_tmpfs(view: &ContainerView) -> Vec<String> {
    if view.mounts.iter().all(|m| m.kind != "tmpfs") {
        return Vec::new();
    }
    let host = echo(view).host_config.unwrap_or_default();
    let entries = host.tmpfs.unwrap_or_default();
    entries.keys().map(|path| super::clean_path(path)).collect()
}

fn mount_point(mount: &MountView) -> MountPoint {
    let is_volume = mount.kind == "volume";
    MountPoint {
        kind: mount.kind.to_owned(),
        name: mount
            .name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: if is_volume { "local" } else { "" }.to_owned(),
        mode: mount.mode.clone(),
        rw: mount.read_write,
        propagation: mount.propagation.to_owned(),
    }
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}
