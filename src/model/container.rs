//! What a container was asked to be: the request after defaults and the image's values are in.
//!
//! Fixed at create, but for what an update changes: the limits and the restart policy. What else
//! changes afterwards is [`crate::ContainerState`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::HealthCheck;
use crate::id::ContainerId;
use crate::id_map::IdMaps;
use crate::log::LogConfig;
use crate::mount::Mount;
use crate::namespace::{IpcMode, PidMode};
use crate::network::{EndpointSpec, PortBinding};
use crate::resources::{Device, DeviceRequest, DeviceRule, Resources, Ulimit};
use crate::selinux::{SelinuxLabels, SelinuxWish};
use crate::signal::Signal;

/// Everything the engine needs to start this container, again and again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Command line prefix; `None` shows as `null` in inspect.
    pub entrypoint: Option<Vec<String>>,
    /// Command, appended to the entrypoint; `None` shows as `null`.
    pub cmd: Option<Vec<String>>,
    /// `KEY=value`: the image's, overridden by the request's.
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers, resolved inside the rootfs at start; empty is root.
    pub user: String,
    /// Additional groups, names or numbers.
    pub group_add: Vec<String>,
    /// Working directory inside; empty is `/`.
    pub working_dir: String,
    /// The container's hostname; empty means the default (short id, or the host's on host net).
    pub hostname: String,
    /// The container's NIS domain name.
    pub domainname: String,
    /// Labels: the image's, overridden by the request's.
    pub labels: BTreeMap<String, String>,
    /// Declared ports, `80/tcp`: the image's and the request's. Publishing is another matter.
    pub exposed_ports: Vec<String>,
    /// A terminal for the first process.
    pub tty: bool,
    /// The terminal's first size, rows and columns, when the client told it.
    pub console_size: Option<(u16, u16)>,
    /// Keep stdin open for clients.
    pub open_stdin: bool,
    /// Close stdin when the first client that wrote to it leaves.
    pub stdin_once: bool,
    /// What `stop` sends first.
    pub stop_signal: Signal,
    /// How long `stop` waits; -1 waits forever, `None` is Docker's ten seconds.
    pub stop_timeout_s: Option<i64>,

    /// The configured runtime asked for by name; `None` is the daemon's default.
    pub runtime: Option<String>,
    /// Whose network namespace.
    pub network: NetworkMode,
    /// The networks it is on, by name. Changes when it is connected and disconnected.
    #[serde(default)]
    pub endpoints: Vec<EndpointSpec>,
    /// The ports that are published.
    #[serde(default)]
    pub port_bindings: Vec<PortBinding>,
    /// All ports that it exposes are published, too.
    #[serde(default)]
    pub publish_all: bool,
    /// `container:alias` of the default network (`HostConfig.Links`).
    #[serde(default)]
    pub links: Vec<String>,
    /// The pid namespace.
    pub pid_mode: PidMode,
    /// The ipc namespace.
    pub ipc_mode: IpcMode,
    /// The uts namespace.
    pub uts_mode: NamespaceMode,
    /// The cgroup namespace; `None` is the host's on v1 and a private one on v2, as in Docker.
    pub cgroupns_mode: Option<NamespaceMode>,
    /// What stands behind its ids when it has a user namespace of its own.
    #[serde(default)]
    pub id_maps: Option<IdMaps>,
    /// The mounts: binds, volumes, tmpfs. The image's volumes are among them.
    pub mounts: Vec<Mount>,
    /// Mount the root read-only.
    pub read_only_rootfs: bool,
    /// Size of /dev/shm; `None` is 64 MiB.
    pub shm_size_bytes: Option<u64>,
    /// All capabilities and devices (within the daemon's own bounding set), nothing masked.
    pub privileged: bool,
    /// Capabilities on top of the default, upper case without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, upper case without `CAP_`, or `ALL`.
    pub cap_drop: Vec<String>,
    /// The seccomp choice.
    pub seccomp: Seccomp,
    /// The AppArmor profile; `None` is the default one.
    #[serde(default)]
    pub apparmor: Option<String>,
    /// What it is to have of SELinux.
    #[serde(default)]
    pub selinux_wish: SelinuxWish,
    /// What it has of it; `None` where that is off.
    #[serde(default)]
    pub selinux: Option<SelinuxLabels>,
    /// `no_new_privs` of the first process.
    pub no_new_privileges: bool,
    /// The cgroup file system can be written to inside; `None` is only when privileged.
    #[serde(default)]
    pub writable_cgroups: Option<bool>,
    /// Paths masked inside; `None` is Docker's default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths made read-only inside; `None` is Docker's default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Kernel parameters set inside.
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Rules of the device cgroup besides those that its devices bring.
    #[serde(default)]
    pub device_rules: Vec<DeviceRule>,
    /// Devices that a driver finds when it starts.
    #[serde(default)]
    pub device_requests: Vec<DeviceRequest>,
    /// Process limits.
    pub ulimits: Vec<Ulimit>,
    /// Cgroup limits.
    pub resources: Resources,
    /// It has no cgroup of its own: no limits, no pause, and no rules for devices. It is privileged.
    #[serde(default)]
    pub no_cgroups: bool,
    /// Parent cgroup; `None` is the daemon's.
    pub cgroup_parent: Option<String>,
    /// It speaks sd_notify.
    #[serde(default)]
    pub notifies: bool,
    /// Run a small init as pid 1.
    pub init: bool,
    /// Lines for /etc/hosts, `name:ip`.
    pub extra_hosts: Vec<String>,
    /// Name servers in place of the host's.
    pub dns: Vec<String>,
    /// Search domains in place of the host's.
    pub dns_search: Vec<String>,
    /// Resolver options in place of the host's.
    pub dns_options: Vec<String>,
    /// Where output goes.
    pub log: LogConfig,
    /// Remove the container when it exits.
    pub auto_remove: bool,
    /// How to find out whether it is well; `None` when nothing is to be run.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// What the image runs shell forms with; empty is `/bin/sh -c`.
    #[serde(default)]
    pub health_shell: Vec<String>,
    /// What to do when it exits.
    pub restart_policy: RestartPolicy,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// An update whose outcome is not written.
    #[serde(default)]
    pub pending_update: Option<Box<PendingUpdate>>,
}

/// What may hold in place of a spec's limits and restart policy: an update was begun, and a daemon
/// that is killed now leaves its cgroup somewhere between the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingUpdate {
    /// Those limits.
    pub resources: Resources,
    /// That policy.
    pub restart_policy: RestartPolicy,
    /// Whether it is the spec's that are new, so that clients are to be told when they hold.
    pub is_news: bool,
}

impl ContainerSpec {
    /// The whole command line: entrypoint, then command. Never empty in a created container.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint
            .iter()
            .chain(&self.cmd)
            .flatten()
            .cloned()
            .collect()
    }
}

/// The seccomp profile of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The daemon's default profile; no filter when privileged.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// The daemon's default profile by its name: when privileged, too.
    Builtin,
    /// The client's own, JSON in the form of Docker's profiles.
    Profile(String),
}

/// How a namespace is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// Whose network namespace a container has. The networks it is on are its
/// [`ContainerSpec::endpoints`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// `default` or `bridge`: one of its own, on the default network.
    #[default]
    Default,
    /// One of its own with loopback only.
    None,
    /// The host's.
    Host,
    /// That of another container, which must run when it is started.
    Container(ContainerId),
    /// One of its own, on the network that the client named so: a name, an id, or the beginning of one.
    User(String),
}

impl NetworkMode {
    /// Docker's word for it in `HostConfig.NetworkMode`.
    pub fn to_docker(&self) -> String {
        match self {
            Self::Default => "bridge".to_owned(),
            Self::None => "none".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Container(id) => format!("container:{id}"),
            Self::User(name) => name.clone(),
        }
    }

    /// The container whose namespace it is.
    pub fn donor(&self) -> Option<&ContainerId> {
        match self {
            Self::Container(id) => Some(id),
            _ => None,
        }
    }

    /// Whether it is on networks, or may be.
    pub fn has_endpoints(&self) -> bool {
        matches!(self, Self::Default | Self::User(_))
    }
}

/// What to do when a container exits by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// Start it again, whatever happened.
    Always,
    /// Start it again unless a client stopped it.
    UnlessStopped,
    /// Start it again when its code was not zero.
    OnFailure {
        /// At most this often; `None` is forever.
        max_retries: Option<u32>,
    },
}
