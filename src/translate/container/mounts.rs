//! Everything a container mounts: `Binds`, `Mounts`, `Tmpfs`, `Config.Volumes`.

use std::collections::BTreeSet;

use model::mount::Propagation;
use model::{
    AnonymousVolume, Error, Mount, MountSource, ReadOnlyReach, Result, VolumeOptions, VolumesFrom,
};

use super::binds::{self, Bind};
use super::{bounded, clean_path, tmpfs};
use wire::container::{BindOptions, ContainerConfig, HostConfig, MountSpec};

/// What is to be mounted.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Binds, named volumes, tmpfs.
    pub(super) mounts: Vec<Mount>,
    /// Volumes without a name.
    pub(super) anonymous: Vec<AnonymousVolume>,
    /// Paths that get an anonymous volume, unless a mount is there.
    pub(super) declared: Vec<String>,
    /// Containers whose mounts are taken.
    pub(super) from: Vec<VolumesFrom>,
}

/// Collects the mounts of a request. Where read-only does not reach down, it is meant of the one mount
/// (API 1.43).
///
/// # Errors
/// 400 in the words of moby `volume/mounts`.
pub(super) fn mounts(
    config: &ContainerConfig,
    host: &HostConfig,
    reaches_down: bool,
) -> Result<Mounts> {
    let mut all = Mounts::default();
    let mut taken = BTreeSet::new();
    // A mount that is spelled out is named as it was written.
    let mut take = |destination: &str, written: Option<&str>| {
        if taken.insert(destination.to_owned()) {
            Ok(())
        } else {
            Err(Error::invalid(format!(
                "Duplicate mount point: {}",
                written.unwrap_or(destination)
            )))
        }
    };
    check_bounds(config, host)?;
    let from = host.volumes_from.iter().flatten();
    all.from = from.map(|text| volumes_from(text)).collect::<Result<_>>()?;
    for (destination, options) in host.tmpfs.iter().flatten() {
        let mount = tmpfs::from_entry(destination, options)?;
        take(&mount.destination, None)?;
        all.mounts.push(mount);
    }
    let driver = host.volume_driver.as_str();
    let binds = host.binds.iter().flatten();
    let binds = binds.map(|text| (binds::parse(text, driver), None));
    let specs = host.mounts.iter().flatten();
    let specs = specs.map(|spec| (mount(spec), Some(spec.target.as_str())));
    for (bind, target) in binds.chain(specs) {
        match bind? {
            Bind::Mount(mut mount) => {
                take(&mount.destination, target)?;
                if let MountSource::Bind { reach, .. } = &mut mount.source
                    && mount.read_only
                    && !reaches_down
                {
                    *reach = ReadOnlyReach::Top;
                }
                all.mounts.push(mount);
            }
            Bind::Anonymous(volume) => {
                take(&volume.destination, target)?;
                all.anonymous.push(volume);
            }
        }
    }
    let mut declared = BTreeSet::new();
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        // Not taken: a mount there wins, and a bind may name the same path.
        // As an image's, and as moby's, a relative one counts from the root.
        let path = match path.starts_with('/') || path.is_empty() {
            true => check_destination("volume", path)?,
            false => check_destination("volume", &format!("/{path}"))?,
        };
        if declared.insert(path.clone()) {
            all.declared.push(path);
        }
    }
    Ok(all)
}

fn check_bounds(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let from = host.volumes_from.as_ref().map_or(0, Vec::len);
    bounded("HostConfig.VolumesFrom", from)?;
    bounded("HostConfig.Binds", host.binds.as_ref().map_or(0, Vec::len))?;
    let mounts = host.mounts.as_ref().map_or(0, Vec::len);
    bounded("HostConfig.Mounts", mounts)?;
    let tmpfs = host.tmpfs.as_ref().map_or(0, |t| t.len());
    bounded("HostConfig.Tmpfs", tmpfs)?;
    bounded("Volumes", config.volumes.as_ref().map_or(0, |v| v.len()))
}

/// `name[:mode]` (moby `ParseVolumesFrom`).
fn volumes_from(text: &str) -> Result<VolumesFrom> {
    if text.is_empty() {
        return Err(Error::invalid(
            "volumes-from specification cannot be an empty string",
        ));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        return Err(Error::invalid("invalid name or ID supplied: \"\""));
    }
    Ok(VolumesFrom {
        container: container.to_owned(),
        read_only: binds::mode_of_others(mode)?,
    })
}

/// One object of `HostConfig.Mounts`.
fn mount(spec: &MountSpec) -> Result<Bind> {
    let kind = spec.r#type.as_str();
    check_exclusive(spec)?;
    if spec.target.is_empty() {
        return Err(invalid(kind, "field Target must not be empty"));
    }
    let destination = check_destination(kind, &spec.target)?;
    let (source, propagation) = match kind {
        "bind" => bind(spec)?,
        "volume" => return volume(spec, destination),
        "tmpfs" if spec.source.is_empty() => {
            return tmpfs::from_mount(destination, spec.tmpfs_options.as_ref(), spec.read_only)
                .map(Bind::Mount)
                .map_err(|e| invalid(kind, e.message()));
        }
        "tmpfs" => return Err(invalid(kind, "field Source must not be specified")),
        _ => return Err(invalid(kind, "mount type unknown")),
    };
    Ok(Bind::Mount(Mount {
        source,
        destination,
        read_only: spec.read_only,
        propagation,
        mode: String::new(),
    }))
}

/// Options of another type (moby `validateExclusiveOptions`).
fn check_exclusive(spec: &MountSpec) -> Result<()> {
    let kind = spec.r#type.as_str();
    let options = [
        ("BindOptions", "bind", spec.bind_options.is_some()),
        ("VolumeOptions", "volume", spec.volume_options.is_some()),
        ("TmpfsOptions", "tmpfs", spec.tmpfs_options.is_some()),
    ];
    match options
        .iter()
        .find(|(_, of, is_there)| *is_there && *of != kind)
    {
        Some((name, ..)) => Err(invalid(
            kind,
            &format!("field {name} must not be specified"),
        )),
        None => Ok(()),
    }
}

fn bind(spec: &MountSpec) -> Result<(MountSource, Propagation)> {
    if spec.source.is_empty() {
        return Err(invalid("bind", "field Source must not be empty"));
    }
    let default = BindOptions::default();
    let options = spec.bind_options.as_ref().unwrap_or(&default);
    let propagation = match options.propagation.as_str() {
        "" => Propagation::default(),
        word => Propagation::parse(word)
            .ok_or_else(|| invalid("bind", &format!("invalid propagation mode: {word}")))?,
    };
    if !spec.source.starts_with('/') {
        return Err(invalid("bind", &not_absolute(&spec.source)));
    }
    let source = MountSource::Bind {
        path: clean_path(&spec.source),
        create_missing: options.create_mountpoint,
        non_recursive: options.non_recursive,
        reach: reach(spec.read_only, options)?,
    };
    Ok((source, propagation))
}

/// How far down a bind is read-only. Docker finds contradictions at the start (moby `setupMounts`).
fn reach(read_only: bool, options: &BindOptions) -> Result<ReadOnlyReach> {
    let (top, all) = (
        options.read_only_non_recursive,
        options.read_only_force_recursive,
    );
    let conflict = match (read_only, top, all) {
        (false, true, _) => "!ReadOnly && BindOptions.ReadOnlyNonRecursive",
        (false, _, true) => "!ReadOnly && BindOptions.ReadOnlyForceRecursive",
        (true, true, true) => "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        (_, true, false) => return Ok(ReadOnlyReach::Top),
        (_, false, true) => return Ok(ReadOnlyReach::All),
        (_, false, false) => return Ok(ReadOnlyReach::WherePossible),
    };
    Err(Error::invalid(format!(
        "mount options conflict: {conflict}"
    )))
}

fn volume(spec: &MountSpec, destination: String) -> Result<Bind> {
    let asked = spec.volume_options.clone().unwrap_or_default();
    let is_anonymous = spec.source.is_empty();
    let wrong = |why| Err(invalid("volume", why));
    if !asked.subpath.is_empty() {
        if is_anonymous {
            return wrong("must not set Subpath when using anonymous volumes");
        }
        if !is_local(&asked.subpath) {
            return wrong("subpath must be a relative path within the volume");
        }
    }
    if spec.read_only && is_anonymous {
        return wrong("must not set ReadOnly mode when using anonymous volumes");
    }
    let driver = asked.driver_config.unwrap_or_default();
    let options = VolumeOptions {
        subpath: Some(asked.subpath).filter(|path| !path.is_empty()),
        borrowed: false,
        driver: driver.name,
        driver_options: driver.options.unwrap_or_default(),
        labels: asked.labels.unwrap_or_default(),
    };
    // moby `setBindModeIfNull`.
    let mode = "z".to_owned();
    if is_anonymous {
        return Ok(Bind::Anonymous(AnonymousVolume {
            destination,
            no_copy: asked.no_copy,
            mode,
            options,
        }));
    }
    Ok(Bind::Mount(Mount {
        source: MountSource::Volume {
            name: spec.source.parse()?,
            anonymous: false,
            no_copy: asked.no_copy,
            options,
        },
        destination,
        read_only: spec.read_only,
        propagation: Propagation::default(),
        mode,
    }))
}

/// Whether a path stays where it begins, as it is written (Go's `filepath.IsLocal`).
fn is_local(path: &str) -> bool {
    let mut depth = 0_usize;
    let stays = |name: &str| {
        match name {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        true
    };
    !path.starts_with('/') && !path.contains('\0') && path.split('/').all(stays)
}

/// A clean absolute destination other than the root.
pub(super) fn check_destination(kind: &str, path: &str) -> Result<String> {
    check_tmpfs_destination(path).map_err(|e| invalid(kind, e.message()))
}

/// The same, in the words for `HostConfig.Tmpfs`.
pub(super) fn check_tmpfs_destination(path: &str) -> Result<String> {
    let clean = clean_path(path);
    if clean == "/" && path.starts_with('/') {
        return Err(Error::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::invalid(not_absolute(path)));
    }
    Ok(clean)
}

fn not_absolute(path: &str) -> String {
    format!("invalid mount path: '{path}' mount path must be absolute")
}

fn invalid(kind: &str, why: &str) -> Error {
    Error::invalid(format!("invalid mount config for type {kind:?}: {why}"))
}
