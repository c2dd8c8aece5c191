//! From a container's mounts to paths of the host.

use std::path::{Path, PathBuf};

use model::{ContainerSpec, Context, Error, IdMaps, Kind, Mount, MountSource, Result};
use spec::ResolvedMount;

use crate::Maker;

impl Maker<'_> {
    /// Finds what each mount shows, and fills new volumes from the tree at `rootfs` when `fill`.
    pub(super) fn resolve_mounts(
        &self,
        spec: &ContainerSpec,
        rootfs: &Path,
        fill: bool,
    ) -> Result<Vec<ResolvedMount>> {
        let ids = spec.id_maps.as_ref();
        let resolve = |m| self.resolve_mount(m, rootfs, fill, ids);
        spec.mounts.iter().map(resolve).collect()
    }

    fn resolve_mount(
        &self,
        mount: &Mount,
        rootfs: &Path,
        fill: bool,
        ids: Option<&IdMaps>,
    ) -> Result<ResolvedMount> {
        let source = match &mount.source {
            MountSource::Bind {
                path,
                create_missing,
                ..
            } => {
                ensure_bind_source(path, *create_missing, ids)?;
                PathBuf::from(path)
            }
            MountSource::Volume { name, no_copy, .. } => {
                let data = self.volumes.ensure_data(name)?;
                if fill && !no_copy {
                    let inside = Path::new(&mount.destination);
                    self.volumes
                        .fill(name, |data| self.images.copy_out(rootfs, inside, data))?;
                }
                data
            }
            MountSource::Tmpfs { .. } => PathBuf::new(),
        };
        Ok(ResolvedMount {
            mount: mount.clone(),
            source,
        })
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
