//! From what a container was asked to be to an OCI bundle on the host: its tree mounted, its files
//! written, its mounts found, its spec made of it all.
//!
//! Everything here blocks and is done in one piece per start; every step can be done again. The room
//! is told whose tree and which directories they are. It never sees the ledger, a state or a process:
//! that a start is allowed, and what becomes of the bundle, is decided above.

mod files;
mod sources;

use std::path::{Path, PathBuf};

use model::{ContainerId, ContainerSpec, Layer, Result};
use spec::{ConsoleSize, HostFacts, SpecInput};

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
}

/// A bundle to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Whose.
    pub id: &'a ContainerId,
    /// What it was asked to be.
    pub spec: &'a ContainerSpec,
    /// Its image's layers, from the bottom up.
    pub layers: &'a [Layer],
    /// What it keeps over reboots; made when it is missing.
    pub dir: &'a Path,
    /// The bundle; made when it is missing.
    pub bundle: &'a Path,
    /// Where the files that are mounted into `/etc` are to be.
    pub files: &'a EtcFiles,
    /// The cgroup, as the runtime wants to be told.
    pub cgroups_path: &'a str,
    /// The runtime knows the mount option `rro`.
    pub knows_rro: bool,
    /// It never ran: its tree is furnished and its new volumes are filled, as Docker does when a
    /// container is made. One that was emptied since stays empty.
    pub first_run: bool,
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

impl Maker<'_> {
    /// Mounts the container's tree and writes its bundle.
    ///
    /// # Errors
    /// What of the container or the host is in the way.
    pub fn make(&self, order: &Order<'_>) -> Result<()> {
        let (key, spec) = (order.id.as_str(), order.spec);
        for dir in [order.dir, order.bundle] {
            files::make_dir(dir)?;
        }
        self.images.create_writable(key)?;
        let rootfs = self.images.mount(key, order.layers)?;
        files::write_etc(order.files, spec)?;
        let user = spec::user::resolve(&rootfs, &spec.user, &spec.group_add)?;
        if order.first_run {
            self.images.furnish(&rootfs)?;
        }
        let mounts = self.resolve_mounts(&spec.mounts, &rootfs, order.first_run)?;
        let devices = spec::resolve_devices(spec)?;
        spec::check_propagation(&mounts)?;
        let size = spec.console_size;
        let built = spec::build(&SpecInput {
            id: order.id,
            spec,
            rootfs: &rootfs,
            hostname: &spec.hostname,
            user: &user,
            mounts: &mounts,
            devices: &devices,
            resolv_conf: Some(&order.files.resolv_conf),
            hosts: Some(&order.files.hosts),
            hostname_file: Some(&order.files.hostname),
            init_binary: self.init_binary,
            cgroups_path: order.cgroups_path,
            knows_rro: order.knows_rro,
            console_size: size.map(|(height, width)| ConsoleSize { height, width }),
            host: self.host,
        })?;
        for warning in &built.warnings {
            tracing::warn!(id = order.id.short(), "{warning}");
        }
        files::write_private(&order.bundle.join("config.json"), &built.config_json)
    }
}
