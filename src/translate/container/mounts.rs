//! Everything a container mounts: `Binds`, `Mounts`, `Tmpfs`, `Config.Volumes`.

use std::collections::BTreeSet;

use model::mount::Propagation;
use model::{Error, Mount, MountSource, Result};

use super::binds::{self, Bind};
use super::{bounded, clean_absolute, not_built, tmpfs};
use wire::container::{BindOptions, ContainerConfig, HostConfig, MountSpec, VolumeOptions};

/// What is to be mounted.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Binds, named volumes, tmpfs.
    pub(super) mounts: Vec<Mount>,
    /// Paths that get an anonymous volume, unless a mount is there.
    pub(super) anonymous_volumes: Vec<String>,
}

/// Collects the mounts of a request.
///
/// # Errors
/// 400 in the words of moby `volume/mounts`; 501 for options that are not built.
pub(super) fn mounts(config: &ContainerConfig, host: &HostConfig) -> Result<Mounts> {
    let mut all = Mounts::default();
    let mut taken = BTreeSet::new();
    let mut take = |destination: &str| {
        if taken.insert(destination.to_owned()) {
            Ok(())
        } else {
            Err(Error::invalid(format!(
                "Duplicate mount point: {destination}"
            )))
        }
    };
    bounded("HostConfig.Binds", host.binds.as_ref().map_or(0, Vec::len))?;
    bounded(
        "HostConfig.Mounts",
        host.mounts.as_ref().map_or(0, Vec::len),
    )?;
    bounded(
        "HostConfig.Tmpfs",
        host.tmpfs.as_ref().map_or(0, |t| t.len()),
    )?;
    bounded("Volumes", config.volumes.as_ref().map_or(0, |v| v.len()))?;
    for (destination, options) in host.tmpfs.iter().flatten() {
        let mount = tmpfs::from_entry(destination, options)?;
        take(&mount.destination)?;
        all.mounts.push(mount);
    }
    let binds = host.binds.iter().flatten().map(|text| binds::parse(text));
    let specs = host.mounts.iter().flatten().map(mount);
    for bind in binds.chain(specs) {
        match bind? {
            Bind::Mount(mount) => {
                take(&mount.destination)?;
                all.mounts.push(mount);
            }
            Bind::Anonymous(path) => {
                take(&path)?;
                all.anonymous_volumes.push(path);
            }
        }
    }
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        // Not taken: a mount there wins, and a bind may name the same path.
        let path = check_destination("volume", path)?;
        if !all.anonymous_volumes.contains(&path) {
            all.anonymous_volumes.push(path);
        }
    }
    Ok(all)
}

/// One object of `HostConfig.Mounts`.
fn mount(spec: &MountSpec) -> Result<Bind> {
    let kind = spec.r#type.as_str();
    if spec.target.is_empty() {
        return Err(invalid(kind, "field Target must not be empty"));
    }
    let destination = check_destination(kind, &spec.target)?;
    let (source, propagation) = match kind {
        "bind" => bind(spec)?,
        "volume" => match volume(spec)? {
            Some(source) => (source, Propagation::default()),
            None => return Ok(Bind::Anonymous(destination)),
        },
        "tmpfs" if spec.source.is_empty() => {
            return tmpfs::from_mount(destination, spec.tmpfs_options.as_ref(), spec.read_only)
                .map(Bind::Mount)
                .map_err(|e| invalid(kind, e.message()));
        }
        "tmpfs" => return Err(invalid(kind, "field Source must not be specified")),
        _ => return Err(invalid(kind, "mount type unknown")),
    };
    let mode = if kind == "volume" { "z" } else { "" };
    Ok(Bind::Mount(Mount {
        source,
        destination,
        read_only: spec.read_only,
        propagation,
        mode: mode.to_owned(),
    }))
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
    // A read-only bind is so all the way down where the kernel can: neither less nor a promise.
    let wishes = [
        ("ReadOnlyForceRecursive", options.read_only_force_recursive),
        ("ReadOnlyNonRecursive", options.read_only_non_recursive),
    ];
    if let Some((name, _)) = wishes.iter().find(|(_, is_wished)| *is_wished) {
        return Err(not_built(&format!("HostConfig.Mounts.BindOptions.{name}")));
    }
    let source = MountSource::Bind {
        path: clean_absolute(&spec.source),
        create_missing: options.create_mountpoint,
        non_recursive: options.non_recursive,
    };
    Ok((source, propagation))
}

/// `None` is an anonymous volume.
fn volume(spec: &MountSpec) -> Result<Option<MountSource>> {
    let default = VolumeOptions::default();
    let options = spec.volume_options.as_ref().unwrap_or(&default);
    let is_anonymous = spec.source.is_empty();
    if spec.read_only && is_anonymous {
        return Err(invalid(
            "volume",
            "must not set ReadOnly mode when using anonymous volumes",
        ));
    }
    let driver = options.driver_config.clone().unwrap_or_default();
    let wishes = [
        (
            "DriverConfig.Name",
            !matches!(driver.name.as_str(), "" | "local"),
        ),
        (
            "DriverConfig.Options",
            driver.options.is_some_and(|o| !o.is_empty()),
        ),
        (
            "Labels",
            options.labels.as_ref().is_some_and(|l| !l.is_empty()),
        ),
        ("NoCopy", options.no_copy && is_anonymous),
        ("Subpath", !options.subpath.is_empty()),
    ];
    if let Some((name, _)) = wishes.iter().find(|(_, is_wished)| *is_wished) {
        return Err(not_built(&format!(
            "HostConfig.Mounts.VolumeOptions.{name}"
        )));
    }
    if is_anonymous {
        return Ok(None);
    }
    Ok(Some(MountSource::Volume {
        name: spec.source.parse()?,
        anonymous: false,
        no_copy: options.no_copy,
    }))
}

/// A clean absolute destination other than the root.
pub(super) fn check_destination(kind: &str, path: &str) -> Result<String> {
    check_tmpfs_destination(path).map_err(|e| invalid(kind, e.message()))
}

/// The same, in the words for `HostConfig.Tmpfs`.
pub(super) fn check_tmpfs_destination(path: &str) -> Result<String> {
    let clean = clean_absolute(path);
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
