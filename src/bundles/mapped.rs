//! What a container in a user namespace of its own finds on the host.
//!
//! Its ids are strangers there: our directories, and many of the host's, are closed to them. So all it
//! needs is mounted at one place that is open, in the mount namespace of its conmon and runtime, where
//! nobody else sees it; nobody's directory is opened to the world. Its tree, its volumes and its files
//! in `/etc` show its ids and have on the disk those inside, so that they are the same whatever the map
//! is. A bind shows what is on the disk, as in Docker: what the container makes there belongs to its
//! ids of the host.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use model::{ContainerSpec, Context, Error, IdMaps, MountSource, Result, VolumeName};
use spec::ResolvedMount;
use sys::apart::OwnMounts;
use sys::id_map::{UserNamespace, mapped_clone};

use crate::{Maker, Paths};

/// Others may pass through, and not look.
const PLACE_MODE: u32 = 0o711;

/// A user namespace with these maps.
pub(super) fn namespace(maps: &IdMaps) -> Result<Arc<UserNamespace>> {
    let made = UserNamespace::new(maps).context(
        "a user namespace of its own cannot be made (is user.max_user_namespaces 0, or does the \
         daemon run in a namespace without these ids?)",
    )?;
    Ok(Arc::new(made))
}

/// Looks whether containers can have ids of their own with this data root.
///
/// # Errors
/// Why not, and what to do.
pub fn check_maps(data_root: &Path) -> Result<()> {
    sys::id_map::can_map(data_root).context(format_args!(
        "user namespaces cannot be had with the data root {}: they need Linux 5.19, ext4, xfs, btrfs or \
         the like, and user.max_user_namespaces above 0",
        data_root.display()
    ))
}

/// Makes the place where what containers in user namespaces need is mounted.
///
/// # Errors
/// When it cannot be made.
pub fn make_place(place: &Path) -> Result<()> {
    // Where the first of the mounts is, an exec finds an empty directory: runc goes to the root file
    // system's path before it goes into the container.
    for dir in [place, &place.join(OwnMounts::FIRST)] {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(PLACE_MODE)
            .create(dir)
            .and_then(|()| std::fs::set_permissions(dir, PermissionsExt::from_mode(PLACE_MODE)));
        made.context(format_args!("create {}", dir.display()))?;
    }
    Ok(())
}

/// Checks that the container's root can get to the place.
pub(super) fn check_reach(place: &Path, spec: &ContainerSpec) -> Result<()> {
    let maps = spec.id_maps.as_ref();
    let root = maps.and_then(|maps| Some((maps.uids.outside(0)?, maps.gids.outside(0)?)));
    for dir in place.ancestors() {
        let found = std::fs::metadata(dir).context(format_args!("look at {}", dir.display()))?;
        let passable = match root {
            Some((uid, _)) if uid == found.uid() => found.mode() & 0o100,
            Some((_, gid)) if gid == found.gid() => found.mode() & 0o010,
            _ => found.mode() & 0o001,
        };
        if passable == 0 {
            return Err(Error::system(format!(
                "a container in a user namespace cannot reach the run root: {} is closed to it \
                 (mode {:o}). Run `chmod o+x {}`, or give the daemon another --run-root",
                dir.display(),
                found.mode() & 0o7777,
                dir.display(),
            )));
        }
    }
    Ok(())
}

impl Maker<'_> {
    /// What is to be mounted at `place`; `paths` and the sources of `mounts` and of what its devices bind
    /// are there then.
    pub(super) fn show(
        &self,
        place: &Path,
        ids: &Arc<UserNamespace>,
        paths: &mut Paths,
        (mounts, edits): (&mut [ResolvedMount], &mut cdi::Edits),
    ) -> OwnMounts {
        let mut own = OwnMounts::at(place.to_owned());
        // It shows the ids already.
        paths.rootfs = own.show(&paths.rootfs, None);
        for file in [
            &mut paths.etc.resolv_conf,
            &mut paths.etc.hosts,
            &mut paths.etc.hostname,
        ] {
            *file = own.show(file, Some(ids));
        }
        let bound = [&mut paths.init, &mut paths.notify, &mut paths.joined.shm];
        for path in bound.into_iter().flatten() {
            *path = own.show(path, None);
        }
        for mount in mounts {
            let shows = match &mount.mount.source {
                MountSource::Tmpfs { .. } => continue,
                MountSource::Volume { name, .. } => {
                    self.can_show(name, &mount.source, ids).then_some(ids)
                }
                MountSource::Bind { .. } => None,
            };
            mount.source = own.show(&mount.source, shows);
        }
        for bind in edits.mounts.iter_mut().filter(|bind| bind.is_bind()) {
            let shown = own.show(Path::new(&bind.source), None);
            bind.source = shown.display().to_string();
        }
        own
    }

    /// Whether a volume can show other ids: our directories can, the file system of one with options as
    /// it may be. One of the network that cannot shows what is on its disk, as a bind does; and so does one
    /// that is a bind (`o=bind`), or the container's root would be the host's in there.
    pub(super) fn can_show(&self, name: &VolumeName, source: &Path, ids: &UserNamespace) -> bool {
        let can = || !self.volumes.is_bind(name) && mapped_clone(source, ids).is_ok();
        !self.volumes.is_mounted_on_use(name) || can()
    }
}
