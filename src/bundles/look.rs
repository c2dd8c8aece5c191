//! A container's files as they are seen from outside, with what the daemon mounts in them and without
//! what the runtime or a process does: no /proc, /sys and /dev, as in Docker.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use files::{FindUser, Kept, Mounted, Place, View};
use images::{Hold, Shown};
use model::{ContainerSpec, Context as _, Error, Mount, MountSource, ProcessRef, Result};
use spec::ResolvedMount;
use sys::id_map::UserNamespace;
use sys::mount::detached_clone;
use sys::tree::live_mounts;

use volumes::{Bound, Look};

use crate::sources::{Purpose, Sources};
use crate::{EtcFiles, Maker, TreeOrder, mapped};

/// Finds a container's user and group in what is below a root; none where it was not told one.
pub fn find_user(spec: &Arc<ContainerSpec>) -> FindUser {
    let spec = spec.clone();
    Arc::new(move |root: &Path| {
        if spec.user.is_empty() {
            return Ok(None);
        }
        // Docker answers 400 to whom asks for the files of one who is not there.
        let user = spec::user::resolve(root, &spec.user, &[])
            .map_err(|e| Error::invalid(e.message().to_owned()))?;
        Ok(Some((user.uid, user.gid)))
    })
}

/// Keeps a tree mounted, and file systems of volumes.
#[derive(Debug)]
struct Held {
    tree: Hold,
    _volumes: Vec<Look>,
}

impl Kept for Held {
    fn is_gone(&self) -> bool {
        self.tree.is_doomed()
    }
}

/// A tree, and what is to be mounted in it.
struct Base {
    hold: Hold,
    rootfs: OwnedFd,
    places: Vec<Place>,
    looks: Vec<Look>,
    /// Until what they show is planted.
    parts: Vec<Bound>,
}

impl Maker<'_> {
    /// A container's files, with what is mounted in them or without; `process` is its first, when it
    /// runs. A start meanwhile shares the tree.
    ///
    /// # Errors
    /// As a start's: what of the container or the host is in the way.
    pub fn look(
        &self,
        order: &TreeOrder<'_>,
        process: Option<ProcessRef>,
        with_mounts: bool,
    ) -> Result<View> {
        let spec = order.spec;
        let ids = spec.id_maps.as_ref().map(mapped::namespace).transpose()?;
        let running = match process {
            Some(process) => self.running(order, process, with_mounts)?,
            None => None,
        };
        let Base {
            hold,
            rootfs,
            mut places,
            looks,
            parts,
        } = match running {
            Some(running) => running,
            None => self.at_rest(order, ids.as_deref(), with_mounts)?,
        };
        if with_mounts {
            places.extend(etc_places(order.etc, spec));
        }
        let held = Held {
            tree: hold,
            _volumes: looks,
        };
        let view = View::planted(
            rootfs.as_fd(),
            &places,
            ids.as_deref(),
            spec.read_only_rootfs,
            Box::new(held),
        );
        drop(parts);
        view
    }

    /// Of one that runs: its tree as it is mounted, and of its mounts what is nowhere else. `None` when
    /// it has ended.
    fn running(
        &self,
        order: &TreeOrder<'_>,
        process: ProcessRef,
        with_mounts: bool,
    ) -> Result<Option<Base>> {
        let key = order.id.as_str();
        let hold = self.images.hold_tree(key);
        let mounts: &[Mount] = match with_mounts {
            true => &order.spec.mounts,
            false => &[],
        };
        let is_live = |mount: &Mount| self.is_live(mount);
        let live: Vec<&Mount> = mounts.iter().filter(|mount| is_live(mount)).collect();
        // Mounted where the daemon does not see it, the tree is where the container has it.
        let is_mounted = self.images.is_mounted(key)?;
        let root = (!is_mounted).then_some(Path::new("/"));
        let paths = live.iter().map(|mount| Path::new(&mount.destination));
        let paths: Vec<&Path> = root.into_iter().chain(paths).collect();
        let mut found = match paths.is_empty() {
            true => Vec::new().into_iter(),
            false => {
                let found = live_mounts(process, &paths);
                let found = found.context("look at what the container has mounted")?;
                let Some(found) = found else {
                    return Ok(None);
                };
                found.into_iter()
            }
        };
        let rootfs = match is_mounted {
            true => self.mounted_root(order)?,
            false => match found.next().flatten() {
                Some(root) => root,
                None => return Ok(None),
            },
        };
        let mut places = Vec::new();
        let mut needed = Sources::default();
        for mount in mounts {
            let of_process = is_live(mount).then(|| found.next().flatten()).flatten();
            places.push(match of_process {
                Some(live) => shown(mount, Mounted::Live(live)),
                None => self.place_of(mount, order, &mut needed)?,
            });
        }
        Ok(Some(Base {
            hold,
            rootfs,
            places,
            looks: needed.looks,
            parts: needed.parts,
        }))
    }

    /// A mount of one that runs, where the daemon finds it: also one that a process has unmounted.
    fn place_of(
        &self,
        mount: &Mount,
        order: &TreeOrder<'_>,
        needed: &mut Sources,
    ) -> Result<Place> {
        let source = match &mount.source {
            MountSource::Volume { name, options, .. } => {
                let (data, look) = self.volumes.look(name)?;
                needed.looks.extend(look);
                match &options.subpath {
                    Some(subpath) => self.part(&data, subpath, order, needed)?,
                    None => data,
                }
            }
            MountSource::Bind { path, .. } => path.into(),
            MountSource::Tmpfs { .. } => Default::default(),
        };
        let resolved = ResolvedMount {
            mount: mount.clone(),
            source,
        };
        Ok(self.place(&resolved, None))
    }

    /// Whether only the container's processes have it: memory, what was removed from the host since, and
    /// of volumes those that are mounted for the run or that nobody knows any more, and parts, which may
    /// have another name by now.
    fn is_live(&self, mount: &Mount) -> bool {
        match &mount.source {
            MountSource::Tmpfs { .. } => true,
            MountSource::Bind { path, .. } => Path::new(path).symlink_metadata().is_err(),
            MountSource::Volume { name, options, .. } => {
                options.subpath.is_some()
                    || self.volumes.is_mounted_on_use(name)
                    || !self.volumes.has(name)
            }
        }
    }

    fn place(&self, resolved: &ResolvedMount, ids: Option<&UserNamespace>) -> Place {
        let (mount, source) = (&resolved.mount, &resolved.source);
        let shows = match (&mount.source, ids) {
            (MountSource::Tmpfs { .. }, _) => Mounted::Tmpfs,
            (MountSource::Volume { name, .. }, Some(ids)) if !self.can_show(name, source, ids) => {
                Mounted::Bind {
                    path: source.clone(),
                    recursive: true,
                }
            }
            (MountSource::Volume { .. }, _) => Mounted::Own(source.clone()),
            (MountSource::Bind { non_recursive, .. }, _) => Mounted::Bind {
                path: source.clone(),
                recursive: !non_recursive,
            },
        };
        shown(mount, shows)
    }

    /// Mounts the tree of one that does not run, unless somebody has, and finds its mounts.
    fn at_rest(
        &self,
        order: &TreeOrder<'_>,
        ids: Option<&UserNamespace>,
        with_mounts: bool,
    ) -> Result<Base> {
        let spec = order.spec;
        let key = order.id.as_str();
        self.images.alone(key, || {
            let (hold, sources) = if !self.images.is_held(key) && !self.images.is_mounted(key)? {
                let made = self.tree_alone(order, ids, with_mounts, Purpose::Look);
                let hold = self.images.hold_tree(key);
                // When the last one goes who looks, and also when there is nothing to be seen.
                self.images.unmount(key)?;
                let (_, sources) = made?;
                (
                    hold,
                    if with_mounts {
                        sources
                    } else {
                        Sources::default()
                    },
                )
            } else {
                let hold = self.images.hold_tree(key);
                let labels = spec.selinux.as_ref();
                let shown = Shown {
                    ids,
                    label: labels.map(|labels| labels.mount.as_str()),
                };
                let rootfs = self.images.mount_held(key, order.layers, shown)?;
                let sources = match with_mounts {
                    true => self.resolve_mounts(order, &rootfs, false, Purpose::Look)?,
                    false => Sources::default(),
                };
                (hold, sources)
            };
            let place = |mount| self.place(mount, ids);
            Ok(Base {
                hold,
                rootfs: self.mounted_root(order)?,
                places: sources.mounts.iter().map(place).collect(),
                looks: sources.looks,
                parts: sources.parts,
            })
        })
    }

    fn mounted_root(&self, order: &TreeOrder<'_>) -> Result<OwnedFd> {
        let merged = self.images.paths(order.id.as_str(), order.layers)?.merged;
        detached_clone(&merged, false).context(format_args!("open {}", merged.display()))
    }
}

fn shown(mount: &Mount, shows: Mounted) -> Place {
    Place {
        destination: mount.destination.clone(),
        read_only: mount.read_only,
        shows,
    }
}

/// The files in `/etc` that a start has made, where nothing of the user's is mounted.
fn etc_places(etc: &EtcFiles, spec: &ContainerSpec) -> Vec<Place> {
    let all = [
        ("/etc/resolv.conf", &etc.resolv_conf),
        ("/etc/hostname", &etc.hostname),
        ("/etc/hosts", &etc.hosts),
    ];
    let is_free = |destination: &str| {
        let mut mounts = spec.mounts.iter();
        !mounts.any(|mount| Path::new(&mount.destination) == Path::new(destination))
    };
    let wanted = all
        .into_iter()
        .filter(|(destination, file)| is_free(destination) && file.is_file());
    let place = wanted.map(|(destination, file)| Place {
        destination: destination.to_owned(),
        read_only: spec.read_only_rootfs,
        shows: Mounted::Own(file.clone()),
    });
    place.collect()
}
