//! From a container's mounts to paths of the host.

use std::path::{Path, PathBuf};

use model::{Context, Error, IdMaps, Kind, Mount, MountSource, Result, SelinuxLabel};
use spec::ResolvedMount;

use crate::{Maker, TreeOrder};

/// What mounts are found for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A container's run: its volumes are mounted until it is over.
    Run,
    /// Somebody looks at its files: they are mounted as long as he does.
    Look,
}

/// A container's mounts, and what they need.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) mounts: Vec<ResolvedMount>,
    /// Parts of volumes, until somebody has mounted them.
    pub(super) parts: Vec<volumes::Bound>,
    pub(super) looks: Vec<volumes::Look>,
}

impl Maker<'_> {
    /// Finds what each mount shows, and fills new volumes from the tree at `rootfs` when `fill`.
    pub(super) fn resolve_mounts(
        &self,
        order: &TreeOrder<'_>,
        rootfs: &Path,
        fill: bool,
        purpose: Purpose,
    ) -> Result<Sources> {
        let mut found = Sources::default();
        for mount in &order.spec.mounts {
            let source = self.resolve_mount(mount, order, rootfs, fill, purpose, &mut found)?;
            found.mounts.push(ResolvedMount {
                mount: mount.clone(),
                source,
            });
        }
        Ok(found)
    }

    fn resolve_mount(
        &self,
        mount: &Mount,
        order: &TreeOrder<'_>,
        rootfs: &Path,
        fill: bool,
        purpose: Purpose,
        found: &mut Sources,
    ) -> Result<PathBuf> {
        let spec = order.spec;
        let ids = spec.id_maps.as_ref();
        let source = match &mount.source {
            MountSource::Bind {
                path,
                create_missing,
                ..
            } => {
                ensure_bind_source(path, *create_missing, ids)?;
                PathBuf::from(path)
            }
            MountSource::Volume {
                name,
                no_copy,
                options,
                ..
            } => {
                if fill && mount.is_declared() {
                    refuse_file(rootfs, &mount.destination)?;
                }
                let data = match purpose {
                    Purpose::Run => self.volumes.use_in_run(name, order.id)?,
                    Purpose::Look => {
                        let (data, look) = self.volumes.look(name)?;
                        found.looks.extend(look);
                        data
                    }
                };
                let source = match &options.subpath {
                    Some(subpath) => self.part(&data, subpath, order, found)?,
                    None => data,
                };
                if fill && !no_copy && source.is_dir() {
                    let inside = Path::new(&mount.destination);
                    let copy = || self.images.copy_out(rootfs, inside, &source);
                    self.volumes.fill(name, copy)?;
                }
                source
            }
            MountSource::Tmpfs { .. } => return Ok(PathBuf::new()),
        };
        if let Some(labels) = &spec.selinux {
            // Docker shares volumes that say nothing, binds it leaves alone.
            let mode = match &mount.source {
                MountSource::Volume { .. } if mount.mode.is_empty() => "z",
                _ => mount.mode.as_str(),
            };
            relabel(&source, &labels.mount, mode)?;
        }
        Ok(source)
    }
}

impl Maker<'_> {
    /// What is at `subpath` of a volume, at a place of its own.
    pub(super) fn part(
        &self,
        data: &Path,
        subpath: &str,
        order: &TreeOrder<'_>,
        found: &mut Sources,
    ) -> Result<PathBuf> {
        let part = self.volumes.bind_part(data, subpath, order.id)?;
        let place = part.path().to_owned();
        found.parts.push(part);
        Ok(place)
    }
}

/// A volume that is only declared takes no file's place (moby `createContainerVolumesOS`, which looks when
/// the container is made).
fn refuse_file(rootfs: &Path, destination: &str) -> Result<()> {
    let tree = sys::beneath::Dir::open(rootfs);
    let tree = tree.context(format_args!("open {}", rootfs.display()))?;
    let found = tree.handle_in_root(Path::new(destination));
    let kind = found.and_then(|found| sys::beneath::file_metadata(&found));
    match kind {
        Ok(found) if found.kind != sys::beneath::Kind::Dir => Err(Error::system(format!(
            "cannot mount volume over existing file, file exists {}{destination}",
            rootfs.display()
        ))),
        // Nothing is there, or what is in the way is told by the mount.
        _ => Ok(()),
    }
}

/// Directories of the host that lose their meaning for it with another label (go-selinux `Chcon`).
const NEVER_RELABELLED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Gives what is mounted with the mode `Z` the container's label, and with `z` one that all containers
/// can use; with neither it keeps its own.
pub(super) fn relabel(source: &Path, label: &str, mode: &str) -> Result<()> {
    let label = match mode.split(',').find(|word| matches!(*word, "z" | "Z")) {
        None => return Ok(()),
        Some("z") => shared(label),
        Some(_) => label.to_owned(),
    };
    // Links in the way are the operator's: what counts is where they lead.
    let path = std::fs::canonicalize(source).context(format_args!("find {}", source.display()))?;
    if NEVER_RELABELLED.iter().any(|kept| path == Path::new(kept)) {
        return Err(Error::invalid(format!(
            "SELinux relabeling of {} is not allowed",
            path.display()
        )));
    }
    sys::selinux::relabel(&path, &label)
        .context(format_args!("give {} the label {label}", path.display()))
}

/// Without the categories of one container.
fn shared(label: &str) -> String {
    match SelinuxLabel::parse(label) {
        Some(mut parsed) => {
            parsed.level = parsed.level.map(|_| "s0".to_owned());
            parsed.to_string()
        }
        None => label.to_owned(),
    }
}

/// `-v` makes a missing directory (moby `createIfMissing`), `--mount` does not.
/// It is the container's root's then (moby `MkdirAllAndChownNew`).
fn ensure_bind_source(path: &str, create_missing: bool, ids: Option<&IdMaps>) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && create_missing => {
            let path = Path::new(path);
            let missing = path.ancestors().take_while(|dir| !dir.exists());
            let made: Vec<&Path> = missing.collect();
            let root = ids.and_then(|ids| ids.outside(0, 0));
            let done = std::fs::create_dir_all(path).and_then(|()| {
                let Some((uid, gid)) = root else {
                    return Ok(());
                };
                let give = |dir: &&Path| std::os::unix::fs::lchown(dir, Some(uid), Some(gid));
                made.iter().try_for_each(give)
            });
            done.context(format_args!(
                "error while creating mount source path '{}'",
                path.display()
            ))
        }
        Err(e) => Err(Error::new(
            Kind::InvalidParameter,
            format!("invalid mount config for type \"bind\": bind source path {path}: {e}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    #[test]
    fn what_the_host_lives_of_keeps_its_label() {
        for kept in ["/", "/etc", "/usr/../var", "/proc/self/root"] {
            let e = relabel(Path::new(kept), LABEL, "ro,Z").unwrap_err();
            assert!(e.message().starts_with("SELinux relabeling of /"), "{e}");
        }
        relabel(Path::new("/etc"), LABEL, "ro").expect("nothing is asked for");
        assert_eq!(shared(LABEL), "system_u:object_r:container_file_t:s0");
    }
}
