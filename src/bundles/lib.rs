//! From what a container was asked to be to an OCI bundle on the host: its tree mounted, its files
//! written, its mounts found, its spec made of it all.
//!
//! Everything here blocks and is done in one piece per start; every step can be done again. The room
//! is told whose tree and which directories they are. It never sees the ledger, a state or a process:
//! that a start is allowed, and what becomes of the bundle, is decided above.

mod files;
mod joined;
mod look;
mod mapped;
mod sources;

use std::path::{Path, PathBuf};

pub use files::rewrite_etc;
pub use joined::release as release_joined;
pub use look::find_user;
pub use mapped::{check_maps, make_place};

use images::Shown;
use model::{ContainerId, ContainerSpec, DeviceRequest, Donors, Layer, Result};
use sources::{Purpose, Sources};
use spec::user::ResolvedUser;
use spec::{ConsoleSize, HostFacts, SpecInput};
use sys::apart::OwnMounts;
use sys::id_map::UserNamespace;
use sys::namespace::Held;

/// What bundles are made with.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// The trees.
    pub images: &'a images::Images,
    /// The volumes.
    pub volumes: &'a volumes::Volumes,
    /// The host.
    pub host: &'a HostFacts,
    /// The packaged init, for those who want one.
    pub init_binary: Option<&'a Path>,
    /// Where the files of the Container Device Interface are; none where it is off.
    pub cdi_dirs: &'a [PathBuf],
}

/// A tree to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct TreeOrder<'a> {
    /// Whose.
    pub id: &'a ContainerId,
    /// What it was asked to be.
    pub spec: &'a ContainerSpec,
    /// Its image's layers, from the bottom up.
    pub layers: &'a [Layer],
    /// Where the files that are mounted into its `/etc` are to be.
    pub etc: &'a EtcFiles,
    /// It never ran: its tree is furnished and its new volumes are filled, as Docker does when a
    /// container is made. One that was emptied since stays empty.
    pub first_run: bool,
}

/// A bundle to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The tree it is made on.
    pub tree: TreeOrder<'a>,
    /// What it keeps over reboots; made when it is missing.
    pub dir: &'a Path,
    /// The bundle; made when it is missing.
    pub bundle: &'a Path,
    /// From [`make_place`]. There what a container in a user namespace needs
    /// is mounted, for its programs alone.
    pub place: &'a Path,
    /// The cgroup, as the runtime wants to be told.
    pub cgroups_path: &'a str,
    /// The AppArmor profile, which is in the kernel.
    pub apparmor: Option<&'a str>,
    /// The runtime knows the mount option `rro`.
    pub knows_rro: bool,
    /// The runtime's name.
    pub runtime: &'a str,
    /// Whose namespaces it is to have.
    pub donors: Donors,
    /// Its network namespace, where one was made for it already.
    pub network_namespace: Option<&'a Path>,
    /// What its resolv.conf and hosts are made from; `None` where they are another container's.
    pub naming: Option<&'a network::Naming>,
}

/// The files that are mounted into a container's `/etc`.
#[derive(Debug, Clone)]
pub struct EtcFiles {
    /// Mounted at /etc/resolv.conf.
    pub resolv_conf: PathBuf,
    /// Mounted at /etc/hostname.
    pub hostname: PathBuf,
    /// Mounted at /etc/hosts.
    pub hosts: PathBuf,
}

/// A bundle is made.
#[derive(Debug)]
pub struct Made {
    /// What a container in a user namespace needs besides it.
    pub mapped: Option<Mapped>,
    /// Namespaces of others, to be held until the container is created.
    pub joined: Vec<Held>,
    /// Parts of volumes that the bundle shows, until then, too.
    pub parts: Vec<volumes::Bound>,
}

/// What a container in a user namespace needs besides its bundle.
#[derive(Debug)]
pub struct Mapped {
    /// What is to be mounted where only its programs see it.
    pub mounts: OwnMounts,
    /// The host's ids of its first process's user and group: whose its output is to be.
    pub output_owner: (u32, u32),
}

impl Mapped {
    fn of(mounts: OwnMounts, spec: &ContainerSpec, user: &ResolvedUser) -> Self {
        let maps = spec.id_maps.as_ref();
        let owner = maps.and_then(|maps| maps.outside(user.uid, user.gid));
        Self {
            mounts,
            output_owner: owner.unwrap_or_default(),
        }
    }
}

impl Maker<'_> {
    /// Mounts the container's tree and writes its bundle. File systems of its volumes stay mounted until
    /// [`volumes::Volumes::release`], also after an error.
    ///
    /// # Errors
    /// What of the container or the host is in the way.
    pub fn make(&self, order: &Order<'_>) -> Result<Made> {
        let spec = order.tree.spec;
        for dir in [order.dir, order.bundle] {
            files::make_dir(dir)?;
        }
        if let Some(naming) = order.naming {
            files::write_etc(order.tree.etc, spec, naming)?;
        }
        let ids = spec.id_maps.as_ref().map(mapped::namespace).transpose()?;
        let (rootfs, sources) = self.tree(&order.tree, ids.as_deref())?;
        let (mut mounts, parts) = (sources.mounts, sources.parts);
        let user = spec::user::resolve(&rootfs, &spec.user, &spec.group_add)?;
        let devices = spec::resolve_devices(spec)?;
        let mut edits = self.edits(spec)?;
        spec::check_propagation(&mut mounts)?;
        let notify = notify_dir(order)?;
        let (joined, held) = joined::join(order, ids.is_some())?;
        let mut paths = Paths {
            joined,
            notify,
            rootfs,
            etc: order.tree.etc.clone(),
            init: self.init_binary.map(Path::to_owned),
        };
        let mapped = match &ids {
            Some(ids) => {
                mapped::check_reach(order.place, spec)?;
                let shown = (mounts.as_mut_slice(), &mut edits);
                let mut own = self.show(order.place, ids, &mut paths, shown);
                // Other containers' trees: this one's programs must not keep them.
                own.hide(&self.images.writable_root());
                // As in libpod: debugfs, tracing, securityfs, which a bind of /sys would show.
                own.hide(Path::new("/sys/kernel"));
                Some(Mapped::of(own, spec, &user))
            }
            None => None,
        };
        let built = spec::build(&SpecInput {
            id: order.tree.id,
            spec,
            rootfs: &paths.rootfs,
            hostname: &spec.hostname,
            user: &user,
            mounts: &mounts,
            devices: &devices,
            joined: &paths.joined,
            edits: &edits,
            block_devices: &spec::resolve_block_devices(&spec.resources.block_io)?,
            resolv_conf: Some(&paths.etc.resolv_conf),
            hosts: Some(&paths.etc.hosts),
            hostname_file: Some(&paths.etc.hostname),
            notify_dir: paths.notify.as_deref(),
            init_binary: paths.init.as_deref(),
            cgroups_path: order.cgroups_path,
            apparmor: order.apparmor,
            knows_rro: order.knows_rro,
            runtime: order.runtime,
            console_size: console_size(spec),
            host: self.host,
        })?;
        for warning in &built.warnings {
            tracing::warn!(id = order.tree.id.short(), "{warning}");
        }
        files::write_private(&order.bundle.join("config.json"), &built.config_json)?;
        Ok(Made {
            mapped,
            joined: held,
            parts,
        })
    }

    /// What the devices that it asks for by name need.
    fn edits(&self, spec: &ContainerSpec) -> Result<cdi::Edits> {
        let names = spec
            .device_requests
            .iter()
            .flat_map(|request| match request {
                DeviceRequest::Cdi { names } => names.iter().cloned(),
            });
        cdi::edits(self.cdi_dirs, &names.collect::<Vec<_>>())
    }

    /// Mounts the container's tree, and finds its mounts; both are filled in the first run.
    fn tree(
        &self,
        order: &TreeOrder<'_>,
        ids: Option<&UserNamespace>,
    ) -> Result<(PathBuf, Sources)> {
        let key = order.id.as_str();
        self.images
            .alone(key, || self.tree_alone(order, ids, true, Purpose::Run))
    }

    /// As [`Maker::tree`], for one who is alone with the tree; its mounts only if they are wanted.
    fn tree_alone(
        &self,
        order: &TreeOrder<'_>,
        ids: Option<&UserNamespace>,
        with_mounts: bool,
        purpose: Purpose,
    ) -> Result<(PathBuf, Sources)> {
        // What is to be filled is filled now: a start that finds the tree held relies on that.
        let fills = order.first_run && ids.is_some();
        let resolve = |rootfs: &Path, fill| match with_mounts || fills {
            true => self.resolve_mounts(order, rootfs, fill, purpose),
            false => Ok(Sources::default()),
        };
        let key = order.id.as_str();
        let label = order
            .spec
            .selinux
            .as_ref()
            .map(|labels| labels.mount.as_str());
        self.images.create_writable(key)?;
        if ids.is_some() && self.images.is_held(key) {
            // Who holds it has mounted it with the ids, and filled what is to be filled.
            let rootfs = self.images.mount(key, order.layers, Shown { ids, label })?;
            let mounts = resolve(&rootfs, false)?;
            return Ok((rootfs, mounts));
        }
        if ids.is_some() {
            // Whoever mounted it may not have come to the ids, or have gone beyond the first run.
            self.images.unmount(key)?;
        }
        let plain = ids.is_none() || order.first_run;
        let mut rootfs = match plain {
            true => self
                .images
                .mount(key, order.layers, Shown { ids: None, label })?,
            false => self.images.mount(key, order.layers, Shown { ids, label })?,
        };
        if order.first_run {
            self.images.furnish(&rootfs)?;
        }
        let mounts = resolve(&rootfs, order.first_run)?;
        if plain && ids.is_some() {
            // What the daemon makes, it makes with the ids that are on the disk.
            self.images.unmount(key)?;
            rootfs = self.images.mount(key, order.layers, Shown { ids, label })?;
        }
        Ok((rootfs, mounts))
    }
}

fn console_size(spec: &ContainerSpec) -> Option<ConsoleSize> {
    let size = spec.console_size;
    size.map(|(height, width)| ConsoleSize { height, width })
}

/// Makes the directory with the socket of a container that speaks sd_notify.
fn notify_dir(order: &Order<'_>) -> Result<Option<PathBuf>> {
    let spec = order.tree.spec;
    if !spec.notifies {
        return Ok(None);
    }
    let dir = order.bundle.join("notify");
    files::make_open_dir(&dir)?;
    if let Some(labels) = &spec.selinux {
        sources::relabel(&dir, &labels.mount, "z")?;
    }
    Ok(Some(dir))
}

/// Where the container's runtime finds things.
struct Paths {
    rootfs: PathBuf,
    joined: spec::Joined,
    etc: EtcFiles,
    init: Option<PathBuf>,
    /// The directory with the socket of a container that speaks sd_notify.
    notify: Option<PathBuf>,
}
