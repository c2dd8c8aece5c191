//! A container's files as they are seen from outside, when no process of it shows them.

use std::path::Path;
use std::sync::Arc;

use files::{FindUser, Kept, Mounted, Place, View};
use images::Shown;
use model::{ContainerSpec, Context as _, Error, MountSource, ProcessRef, Result};
use spec::ResolvedMount;
use sys::beneath::Dir;

use crate::{EtcFiles, Maker, TreeOrder, mapped};

/// Finds a container's user and group in what is below a root; none where it was not told one.
pub fn find_user(spec: &Arc<ContainerSpec>) -> FindUser {
    let spec = spec.clone();
    Arc::new(move |root: &Path| {
        let user = spec::user::resolve(root, &spec.user, &[])?;
        Ok((!spec.user.is_empty()).then_some((user.uid, user.gid)))
    })
}

impl Maker<'_> {
    /// A container's files, with what is mounted in them, `etc` too, or without; `process` is its first,
    /// when it runs. A start meanwhile shares the tree.
    ///
    /// # Errors
    /// As a start's: what of the container or the host is in the way.
    pub fn look(
        &self,
        order: &TreeOrder<'_>,
        etc: &EtcFiles,
        process: Option<ProcessRef>,
        with_mounts: bool,
    ) -> Result<View> {
        let key = order.id.as_str();
        if let Some(process) = process {
            let hold = self.images.hold_tree(key);
            if !with_mounts && self.images.is_mounted(key)? {
                return self.bare(order, Box::new(hold));
            }
            if with_mounts && let Some(view) = View::of_process(process, Box::new(hold))? {
                return Ok(view);
            }
        }
        let view = self.planted(order, etc)?;
        match with_mounts {
            true => Ok(view),
            false => self.bare(order, Box::new(view)),
        }
    }

    fn bare(&self, order: &TreeOrder<'_>, kept: Box<dyn Kept>) -> Result<View> {
        let merged = self.images.paths(order.id.as_str(), order.layers)?.merged;
        let root = Dir::open(&merged).context(format_args!("open {}", merged.display()))?;
        Ok(View::bare(root, kept))
    }

    /// Mounts the tree of one that does not run, unless somebody has, and its mounts in it.
    fn planted(&self, order: &TreeOrder<'_>, etc: &EtcFiles) -> Result<View> {
        let spec = order.spec;
        let ids = spec.id_maps.as_ref().map(mapped::namespace).transpose()?;
        let key = order.id.as_str();
        let (hold, rootfs, mounts) = self.images.alone(key, || {
            if !self.images.is_held(key) && !self.images.is_mounted(key)? {
                let (rootfs, mounts) = self.tree_alone(order, ids.as_deref())?;
                let hold = self.images.hold_tree(key);
                // When the last one goes who looks.
                self.images.unmount(key)?;
                return Ok::<_, Error>((hold, rootfs, mounts));
            }
            let hold = self.images.hold_tree(key);
            let labels = spec.selinux.as_ref();
            let shown = Shown {
                ids: ids.as_deref(),
                label: labels.map(|labels| labels.mount.as_str()),
            };
            let rootfs = self.images.mount_held(key, order.layers, shown)?;
            let mounts = self.resolve_mounts(spec, &rootfs, false)?;
            Ok((hold, rootfs, mounts))
        })?;
        let mut places = mounts.iter().map(place).collect::<Vec<_>>();
        for file in etc_places(etc, spec) {
            if !places.iter().any(|p| p.destination == file.destination) {
                places.push(file);
            }
        }
        View::planted(&rootfs, &places, ids.as_deref(), Box::new(hold))
    }
}

/// What its last start put into `/etc`; nothing of one that was never started.
fn etc_places(etc: &EtcFiles, spec: &ContainerSpec) -> Vec<Place> {
    [
        ("/etc/resolv.conf", &etc.resolv_conf),
        ("/etc/hostname", &etc.hostname),
        ("/etc/hosts", &etc.hosts),
    ]
    .into_iter()
    .filter(|(_, path)| path.is_file())
    .map(|(destination, path)| Place {
        destination: destination.to_owned(),
        read_only: spec.read_only_rootfs,
        shows: Mounted::Bind {
            path: path.clone(),
            recursive: false,
        },
    })
    .collect()
}

fn place(resolved: &ResolvedMount) -> Place {
    let mount = &resolved.mount;
    Place {
        destination: mount.destination.clone(),
        read_only: mount.read_only,
        shows: match &mount.source {
            MountSource::Tmpfs { .. } => Mounted::Tmpfs,
            MountSource::Volume { .. } => Mounted::Volume(resolved.source.clone()),
            MountSource::Bind { non_recursive, .. } => Mounted::Bind {
                path: resolved.source.clone(),
                recursive: !non_recursive,
            },
        },
    }
}
