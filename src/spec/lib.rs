//! A container's OCI spec: a pure function from values and paths to `config.json`.
//!
//! Nothing here asks: users were resolved ([`user`]), devices and mount sources looked up,
//! the host's facts gathered ([`HostFacts::probe`]), and what comes out is bytes. So the same
//! input always gives the same file, and every rule of Docker's defaults can be tested without
//! a container. The daemon's own limits (bounding set, rlimits, OOM score) cut down what a
//! container asks for, because the OCI runtimes fail the whole start otherwise.
//!
//! [`check`] tells at create time what [`build`] would refuse at start.

mod annotations;
mod capabilities;
mod check;
mod cpu_list;
mod devices;
mod document;
mod edits;
mod exec;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
mod host;
#[cfg(test)]
mod live;
mod mounts;
mod process;
mod propagation;
mod resources;
mod seccomp;
mod sysctls;
mod tmpfs;
mod ulimits;
pub mod user;

use std::path::{Path, PathBuf};

use model::container::Seccomp;
use model::id_map::IdMap;
use model::{
    ContainerId, ContainerSpec, Error, IpcMode, NamespaceMode, NetworkMode, PidMode, Result,
};

pub use capabilities::CapSet;
pub use check::check;
pub use cpu_list::CpuList;
pub use devices::{DeviceKind, HostDevice, resolve as resolve_devices};
pub use document::ConsoleSize;
pub use exec::{ExecInput, exec_process};
pub use host::{Arch, BlockIoFacts, CgroupFacts, CgroupVersion, DefaultSysctl, HostFacts};
pub use mounts::{ResolvedMount, check_bind_sources};
pub use propagation::check_sources as check_propagation;
pub use resources::{
    BlockDevices, Limits, can_go_back, limits, resolve_block_devices, update_document,
    update_limits,
};

use document::{Capabilities, Document, Linux, Namespace, Process, Resources, Root, User};

use crate::user::ResolvedUser;

/// Everything a spec is made of.
#[derive(Debug, Clone, Copy)]
pub struct SpecInput<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What it was asked to be; [`check`] has passed it.
    pub spec: &'a ContainerSpec,
    /// The mounted root, absolute.
    pub rootfs: &'a Path,
    /// The hostname inside and the value of `$HOSTNAME`, after defaults.
    pub hostname: &'a str,
    /// Its user, from [`user::resolve`].
    pub user: &'a ResolvedUser,
    /// Its mounts with their sources, in any order.
    pub mounts: &'a [ResolvedMount],
    /// Its devices, from [`resolve_devices`].
    pub devices: &'a [HostDevice],
    /// What it has of other containers.
    pub joined: &'a Joined,
    /// What its devices of the Container Device Interface need, from [`cdi::edits`].
    pub edits: &'a cdi::Edits,
    /// The devices of its block I/O limits, from [`resolve_block_devices`].
    pub block_devices: &'a BlockDevices,
    /// What to bind at /etc/resolv.conf.
    pub resolv_conf: Option<&'a Path>,
    /// What to bind at /etc/hosts.
    pub hosts: Option<&'a Path>,
    /// What to bind at /etc/hostname.
    pub hostname_file: Option<&'a Path>,
    /// The directory with the socket of a container that speaks sd_notify.
    pub notify_dir: Option<&'a Path>,
    /// The packaged init on the host (catatonit, tini), for `HostConfig.Init`.
    pub init_binary: Option<&'a Path>,
    /// The cgroup, in the form the runtime's cgroup manager wants.
    pub cgroups_path: &'a str,
    /// The AppArmor profile, which is in the kernel.
    pub apparmor: Option<&'a str>,
    /// The runtime knows the mount option `rro`.
    pub knows_rro: bool,
    /// The runtime's name, for errors.
    pub runtime: &'a str,
    /// The terminal's first size, when a client told it.
    pub console_size: Option<ConsoleSize>,
    /// The host.
    pub host: &'a HostFacts,
}

/// Where a container's runtime finds what it has of other containers; all absent where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// The pid namespace.
    pub pid: Option<PathBuf>,
    /// The ipc namespace.
    pub ipc: Option<PathBuf>,
    /// The network namespace: another's, or one that was made for it.
    pub network: Option<PathBuf>,
    /// The user namespace of those that are another's.
    pub user: Option<PathBuf>,
    /// The shared memory that goes with the ipc namespace, to be bound at `/dev/shm`.
    pub shm: Option<PathBuf>,
}

impl Joined {
    /// It has nothing of others.
    pub const NOTHING: &'static Self = &Self {
        pid: None,
        ipc: None,
        network: None,
        user: None,
        shm: None,
    };
}

/// A finished spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The bytes of `config.json`.
    pub config_json: Vec<u8>,
    /// What was left out or cut down, in Docker's words where it has some.
    pub warnings: Vec<String>,
}

/// Builds the OCI spec.
///
/// # Errors
///
/// What [`check`] would refuse; also `System` when the packaged init is wanted but not
/// installed, or a path of the host is not UTF-8 (JSON cannot carry it).
pub fn build(input: &SpecInput<'_>) -> Result<Built> {
    let spec = input.spec;
    let host = input.host;
    // A path for directories, a slice and a name for systemd.
    let by_systemd = !input.cgroups_path.starts_with('/');
    let limits = limits(&spec.resources, host)?;
    let mut warnings = limits.warnings;
    let in_force = &limits.in_force;
    let caps = capabilities::resolve(
        &spec.cap_add,
        &spec.cap_drop,
        spec.privileged,
        host.bounding,
    )?;
    let mut rules = devices::rules(spec, input.devices, by_systemd);
    rules.extend(edits::rules(input.edits));
    let mut nodes = devices::nodes(input.devices);
    edits::nodes(input, &mut nodes);
    let document = Document {
        oci_version: document::OCI_VERSION,
        process: process(input, caps, &mut warnings)?,
        root: Root {
            path: utf8(input.rootfs)?,
            readonly: spec.read_only_rootfs,
        },
        hostname: (spec.uts_mode == NamespaceMode::Private).then_some(input.hostname),
        mounts: mounts::entries(input)?,
        annotations: annotations::of(spec, by_systemd),
        hooks: edits::hooks(input.edits),
        linux: Linux {
            sysctl: sysctls::sysctls(spec, host),
            resources: Resources {
                devices: rules,
                memory: resources::memory(in_force),
                cpu: resources::cpu(in_force),
                pids: resources::pids(in_force),
                block_io: resources::block_io(in_force, input.block_devices),
            },
            cgroups_path: input.cgroups_path,
            namespaces: namespaces(input)?,
            uid_mappings: id_mappings(spec.id_maps.as_ref().map(|maps| &maps.uids)),
            gid_mappings: id_mappings(spec.id_maps.as_ref().map(|maps| &maps.gids)),
            devices: nodes,
            seccomp: seccomp_profile(spec, host, caps, &mut warnings)?,
            intel_rdt: edits::intel_rdt(input.edits),
            rootfs_propagation: propagation::of_rootfs(input.mounts),
            masked_paths: masked_paths(spec, host),
            mount_label: spec.selinux.as_ref().map(|labels| labels.mount.as_str()),
            readonly_paths: readonly_paths(spec),
        },
    };
    let config_json = serde_json::to_vec(&document)
        .map_err(|e| Error::system(format!("write the OCI spec of {}: {e}", input.id)))?;
    Ok(Built {
        config_json,
        warnings,
    })
}

/// An empty one is that of whoever starts the process.
fn process_label(spec: &ContainerSpec) -> Option<&str> {
    let labels = spec.selinux.as_ref()?;
    Some(labels.process.as_str()).filter(|label| !label.is_empty())
}

fn process<'a>(
    input: &SpecInput<'a>,
    caps: CapSet,
    warnings: &mut Vec<String>,
) -> Result<Process<'a>> {
    let spec = input.spec;
    let (rlimits, ulimit_warnings) = ulimits::rlimits(&spec.ulimits, input.host);
    warnings.extend(ulimit_warnings);
    let mut env = process::first_environment(input);
    edits::environment(input.edits, &mut env);
    Ok(Process {
        terminal: spec.tty,
        console_size: input.console_size.filter(|_| spec.tty),
        user: User {
            uid: input.user.uid,
            gid: input.user.gid,
            additional_gids: edits::groups(&input.user.additional_gids, input.edits),
        },
        args: process::args(input)?,
        env,
        cwd: match spec.working_dir.as_str() {
            "" => "/",
            dir => dir,
        },
        // As in Docker the same for every user: a user other than root loses the effective and
        // permitted sets when the command is executed, since none are inheritable.
        capabilities: Capabilities {
            bounding: caps.names(),
            effective: caps.names(),
            permitted: caps.names(),
        },
        rlimits,
        no_new_privileges: spec.no_new_privileges,
        apparmor_profile: input.apparmor,
        selinux_label: process_label(spec),
        oom_score_adj: resources::oom_score_adj(spec.resources.oom_score_adj, input.host, warnings),
    })
}

fn namespaces<'a>(input: &SpecInput<'a>) -> Result<Vec<Namespace<'a>>> {
    let (spec, host, joined) = (input.spec, input.host, input.joined);
    let private = NamespaceMode::Private;
    // Docker: private on v2; on v1 the host's unless asked for.
    let cgroup = spec.cgroupns_mode.unwrap_or(match host.cgroup.version {
        CgroupVersion::V1 => NamespaceMode::Host,
        CgroupVersion::V2 => NamespaceMode::Private,
    });
    let all = [
        ("mount", true, None),
        (
            "network",
            spec.network != NetworkMode::Host,
            joined.network.as_deref(),
        ),
        ("uts", spec.uts_mode == private, None),
        ("pid", spec.pid_mode != PidMode::Host, joined.pid.as_deref()),
        ("ipc", spec.ipc_mode != IpcMode::Host, joined.ipc.as_deref()),
        ("cgroup", cgroup == private, None),
        ("user", spec.id_maps.is_some(), joined.user.as_deref()),
    ];
    let wanted = all
        .into_iter()
        .filter(|(_, is_not_the_hosts, _)| *is_not_the_hosts);
    let namespace = |(kind, _, path): (&'static str, bool, Option<&'a Path>)| {
        let path = path.map(utf8).transpose()?;
        Ok(Namespace { kind, path })
    };
    wanted.map(namespace).collect()
}

fn id_mappings(map: Option<&IdMap>) -> Vec<document::IdMapping> {
    let ranges = map.into_iter().flat_map(IdMap::ranges);
    let mapping = |range: &model::id_map::IdRange| document::IdMapping {
        container_id: range.inside,
        host_id: range.outside,
        size: range.count,
    };
    ranges.map(mapping).collect()
}

/// moby `WithSeccomp`. A profile that was asked for by name counts for a privileged container, too.
fn seccomp_profile(
    spec: &ContainerSpec,
    host: &HostFacts,
    caps: CapSet,
    warnings: &mut Vec<String>,
) -> Result<Option<document::Seccomp>> {
    let default = || Some(seccomp::default_profile(caps, host.arch, host.x32));
    match &spec.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if spec.privileged => Ok(None),
        Seccomp::Profile(_) if !host.seccomp => Err(Error::invalid(
            "seccomp is not enabled in your kernel, cannot run a custom seccomp profile",
        )),
        Seccomp::Profile(text) => seccomp::compose(text, caps, host),
        Seccomp::Default | Seccomp::Builtin if !host.seccomp => {
            warnings.push(
                "seccomp is not enabled in your kernel, running container without default profile"
                    .into(),
            );
            Ok(None)
        }
        Seccomp::Default | Seccomp::Builtin => Ok(default()),
    }
}

/// A list of the request's own counts even for a privileged container (moby `createSpec`).
fn masked_paths<'a>(spec: &'a ContainerSpec, host: &'a HostFacts) -> Vec<&'a str> {
    match &spec.masked_paths {
        Some(own) => own.iter().map(String::as_str).collect(),
        None if spec.privileged => Vec::new(),
        None => model::masks::MASKED_PATHS
            .iter()
            .copied()
            .chain(host.extra_masked_paths.iter().map(String::as_str))
            .collect(),
    }
}

fn readonly_paths(spec: &ContainerSpec) -> Vec<&str> {
    match &spec.readonly_paths {
        Some(own) => own.iter().map(String::as_str).collect(),
        None if spec.privileged => Vec::new(),
        None => model::masks::READONLY_PATHS.into(),
    }
}

/// A path as JSON can carry it.
fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::system(format!(
            "the path {} is not UTF-8 and cannot be written to an OCI spec",
            path.display()
        ))
    })
}
