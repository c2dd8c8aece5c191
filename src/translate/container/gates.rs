//! What a create request meant in the API version it was sent with (moby v27.5.1
//! `api/server/router/container/container_routes.go`, `postContainersCreate`).

use model::{Error, Result};

use super::endpoints;
use wire::container::{CreateRequest, HostConfig};
use wire::version::ApiVersion;

/// Rewrites the request to what it means in the newest version; adds to `warnings` what it should say
/// otherwise.
///
/// # Errors
/// 400 for a combination that this version forbids.
pub(super) fn apply(
    request: &mut CreateRequest,
    version: ApiVersion,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let before = |minor| version < ApiVersion::v1(minor);
    let host = request.host_config.get_or_insert_default();
    if before(25) {
        // Then the client was the one to remove it.
        host.auto_remove = false;
    }
    if before(40) {
        for bind in host.mounts.iter_mut().flatten() {
            if let Some(options) = &mut bind.bind_options {
                options.non_recursive = false;
            }
        }
        host.kernel_memory_tcp = 0;
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
    }
    if before(42) {
        drop_misplaced_mount_options(host);
        host.console_size = [0, 0];
    } else {
        host.kernel_memory = 0;
        refuse_misplaced_mount_options(host)?;
    }
    if before(43) {
        host.annotations = None;
    }
    if before(44) {
        before_start_intervals(request)?;
    }
    endpoints::settle(request, version, warnings)?;
    if before(45) {
        let asks_subpath = request
            .host_config
            .iter()
            .flat_map(|host| host.mounts.iter().flatten())
            .filter_map(|mount| mount.volume_options.as_ref())
            .any(|options| !options.subpath.is_empty());
        if asks_subpath {
            return Err(Error::invalid(
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ));
        }
    }
    let mut mounts = request.host_config.iter().flat_map(|host| &host.mounts);
    if mounts.any(|mounts| mounts.iter().any(|mount| mount.r#type == "image")) {
        return Err(Error::invalid(
            "Mount type \"Image\" needs API v1.48 or newer",
        ));
    }
    Ok(())
}

/// Whether a read-only bind is read-only with all that is mounted in it.
pub(super) fn reaches_down(version: ApiVersion) -> bool {
    version >= ApiVersion::v1(44)
}

/// Until 1.41 options of another mount type were not looked at.
fn drop_misplaced_mount_options(host: &mut HostConfig) {
    for mount in host.mounts.iter_mut().flatten() {
        if let Some(options) = &mut mount.bind_options {
            options.create_mountpoint = false;
        }
        if mount.r#type != "volume" {
            mount.volume_options = None;
        }
        if mount.r#type != "tmpfs" {
            mount.tmpfs_options = None;
        }
    }
}

fn refuse_misplaced_mount_options(host: &HostConfig) -> Result<()> {
    for mount in host.mounts.iter().flatten() {
        let kind = mount.r#type.as_str();
        let misplaced = [
            (
                "VolumeOptions",
                mount.volume_options.is_some() && kind != "volume",
            ),
            (
                "BindOptions",
                mount.bind_options.is_some() && kind != "bind",
            ),
            (
                "TmpfsOptions",
                mount.tmpfs_options.is_some() && kind != "tmpfs",
            ),
        ];
        if let Some((name, _)) = misplaced.iter().find(|(_, is_misplaced)| *is_misplaced) {
            return Err(Error::invalid(format!(
                "{name} must not be specified on mount type {kind:?}"
            )));
        }
    }
    Ok(())
}

fn before_start_intervals(request: &mut CreateRequest) -> Result<()> {
    if let Some(health) = &mut request.config.healthcheck {
        health.start_interval = 0;
    }
    let forces_read_only = request
        .host_config
        .iter()
        .flat_map(|host| host.mounts.iter().flatten())
        .filter_map(|mount| mount.bind_options.as_ref())
        .any(|options| options.read_only_force_recursive);
    if forces_read_only {
        return Err(Error::invalid(
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ));
    }
    Ok(())
}
