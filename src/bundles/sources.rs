//! From a container's mounts to paths of the host.

use std::path::{Path, PathBuf};

use model::{Context, Error, Kind, Mount, MountSource, Result};
use spec::ResolvedMount;

use crate::Maker;

impl Maker<'_> {
    /// Finds what each mount shows, and fills new volumes from the tree at `rootfs` when `fill`.
    pub(super) fn resolve_mounts(
        &self,
        mounts: &[Mount],
        rootfs: &Path,
        fill: bool,
    ) -> Result<Vec<ResolvedMount>> {
        let resolve = |m| self.resolve_mount(m, rootfs, fill);
        mounts.iter().map(resolve).collect()
    }

    fn resolve_mount(&self, mount: &Mount, rootfs: &Path, fill: bool) -> Result<ResolvedMount> {
        let source = match &mount.source {
            MountSource::Bind {
                path,
                create_missing,
                ..
            } => {
                ensure_bind_source(path, *create_missing)?;
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
fn ensure_bind_source(path: &str, create_missing: bool) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && create_missing => {
            std::fs::create_dir_all(path).context(format_args!(
                "error while creating mount source path '{path}'"
            ))
        }
        Err(e) => Err(Error::new(
            Kind::InvalidParameter,
            format!("invalid mount config for type \"bind\": bind source path {path}: {e}"),
        )),
    }
}
