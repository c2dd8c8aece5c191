//! The host as `info` and `version` show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Error, LogDriver, Result, StorageDriver, Timestamp};
use runtime::{Choice, Program, Programs, RuntimeName, Runtimes};
use spec::{CgroupVersion, HostFacts};

use crate::support::{self, Proxies};

/// How long `info` and `version` wait for the default runtime to be chosen.
const CHOICE_PATIENCE: Duration = Duration::from_secs(1);

/// What `info` tells. Everything is what was really found.
#[derive(Debug, Clone, Default)]
pub struct HostInfo {
    /// A stable id of this daemon, kept in its data root.
    pub id: String,
    /// The host's name.
    pub name: String,
    /// How many of what.
    pub counts: Counts,
    /// Images.
    pub images: usize,
    /// How new containers' trees are made.
    pub storage_driver: Option<StorageDriver>,
    /// What there is to tell of that, name and value.
    pub storage_status: Vec<(&'static str, String)>,
    /// How registries are reached.
    pub registries: RegistryFacts,
    /// Proxies for them.
    pub proxies: Proxies,
    /// The operator's labels, `KEY=VALUE`.
    pub labels: Vec<String>,
    /// How many clients follow events.
    pub event_listeners: usize,
    /// Kernel release.
    pub kernel_version: String,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// `VERSION_ID` of os-release.
    pub os_version: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// CPUs the daemon may use.
    pub cpus: usize,
    /// Memory of the host.
    pub memory_bytes: u64,
    /// Data root.
    pub root_dir: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Limits the host's cgroups can give.
    pub memory_limit: bool,
    /// Limit of the kernel's memory.
    pub kernel_memory: bool,
    /// Limit of the memory of TCP buffers.
    pub kernel_memory_tcp: bool,
    /// Swap accounting.
    pub swap_limit: bool,
    /// CFS quota.
    pub cpu_cfs: bool,
    /// CPU shares.
    pub cpu_shares: bool,
    /// cpuset.
    pub cpuset: bool,
    /// pids.
    pub pids_limit: bool,
    /// Disabling the OOM killer.
    pub oom_kill_disable: bool,
    /// IPv4 forwarding.
    pub ipv4_forwarding: bool,
    /// What a bridge passes on goes through iptables: IPv4, IPv6.
    pub bridge_netfilter: [bool; 2],
    /// Where ranges of networks come from, as the operator says; a range, and the prefix of a part.
    pub address_pools: Vec<(String, u8)>,
    /// Docker's security option words: `name=seccomp,profile=builtin`, ...
    pub security_options: Vec<String>,
    /// The driver of logs where a container names none.
    pub log_driver: LogDriver,
    /// The default runtime's name.
    pub default_runtime: String,
    /// The runtimes that were found.
    pub runtimes: Vec<RuntimeInfo>,
    /// conmon.
    pub conmon: Option<Component>,
    /// The packaged init, if one was found.
    pub init_binary: String,
    /// Where the files of the Container Device Interface are looked for.
    pub cdi_dirs: Vec<String>,
    /// Open descriptors of the daemon.
    pub file_descriptors: usize,
    /// The daemon's clock now.
    pub system_time: Option<Timestamp>,
    /// Things the operator should know.
    pub warnings: Vec<String>,
}

/// Containers by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub containers: usize,
    /// Running and not paused.
    pub running: usize,
    /// Paused.
    pub paused: usize,
    /// The rest.
    pub stopped: usize,
}

/// One OCI runtime.
#[derive(Debug, Clone, Default)]
pub struct RuntimeInfo {
    /// Its configured name.
    pub name: String,
    /// Its program.
    pub path: String,
    /// What the operator has it told before each command.
    pub args: Vec<String>,
    /// What its `--version` says; all lines.
    pub version: String,
    /// The distribution's package that owns it, when one does.
    pub package: String,
    /// Why it is or is not the default.
    pub note: String,
    /// Why it cannot checkpoint containers here; empty when it can.
    pub no_checkpoints: String,
}

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RegistryFacts {
    /// Networks in which any certificate will do, or none.
    pub insecure_networks: Vec<String>,
    /// The same of single registries, `HOST[:PORT]`.
    pub insecure_hosts: Vec<String>,
    /// Asked before Docker Hub.
    pub mirrors: Vec<String>,
}

/// A program the engine drives.
#[derive(Debug, Clone, Default)]
pub struct Component {
    /// Its path.
    pub path: String,
    /// What its `--version` says.
    pub version: String,
    /// The distribution's package that owns it, when one does.
    pub package: String,
}

/// What the engine knows of itself.
#[derive(Debug)]
pub struct Own<'a> {
    /// A stable id of this daemon.
    pub id: &'a str,
    /// Containers by state.
    pub counts: Counts,
    /// Images.
    pub images: usize,
    /// How new containers' trees are made.
    pub storage_driver: StorageDriver,
    /// How registries are reached.
    pub registries: RegistryFacts,
    /// The operator's labels.
    pub labels: Vec<String>,
    /// Where ranges of networks come from, as the operator says.
    pub address_pools: Vec<(String, u8)>,
    /// How many clients follow events.
    pub event_listeners: usize,
    /// The driver of logs where a container names none.
    pub log_driver: LogDriver,
    /// Containers that wish nothing have a user namespace.
    pub remaps_ids: bool,
    /// Containers have SELinux labels.
    pub selinux: bool,
    /// Where it keeps all that lasts.
    pub data_root: &'a Path,
    /// The packaged init, if one was found.
    pub init_binary: Option<&'a Path>,
    /// Where the files of the Container Device Interface are.
    pub cdi_dirs: &'a [PathBuf],
    /// Its clock.
    pub now: Timestamp,
    /// What it has to warn of.
    pub warnings: Vec<String>,
}

impl HostInfo {
    /// Looks.
    pub async fn find(runtimes: &Runtimes, facts: &HostFacts, own: Own<'_>) -> Self {
        let (uname, os) = (sys::host::uname(), sys::host::os_release());
        let cgroup = &facts.cgroup;
        let programs = runtimes.programs().await;
        let (choice, no_checkpoints) =
            tokio::join!(choice_soon(runtimes), no_checkpoints(runtimes, &programs));
        let security_options = security_options(facts, &own);
        let ipv4_forwarding = sys::host::ipv4_forwarding();
        let mut warnings = support::warnings(cgroup, ipv4_forwarding);
        warnings.extend(own.warnings);
        warnings.extend(missing(&programs, &choice));
        warnings.extend(broken(runtimes, &programs));
        let choice = choice.ok();
        Self {
            id: own.id.to_owned(),
            name: uname.node,
            counts: own.counts,
            images: own.images,
            storage_driver: Some(own.storage_driver),
            storage_status: storage_status(own.storage_driver, own.data_root),
            registries: own.registries,
            proxies: Proxies::find(|name| std::env::var(name).ok()),
            labels: own.labels,
            event_listeners: own.event_listeners,
            kernel_version: uname.release,
            operating_system: os.pretty_name,
            os_version: os.version_id,
            architecture: uname.machine,
            cpus: sys::host::cpus(),
            memory_bytes: sys::host::memory().map_or(0, |m| m.total_bytes),
            root_dir: own.data_root.display().to_string(),
            cgroup_driver: runtimes.cgroup_manager().as_str().to_owned(),
            cgroup_version: match cgroup.version {
                CgroupVersion::V1 => "1".to_owned(),
                CgroupVersion::V2 => "2".to_owned(),
            },
            memory_limit: cgroup.memory,
            kernel_memory: cgroup.kernel_memory,
            kernel_memory_tcp: cgroup.kernel_memory_tcp,
            swap_limit: cgroup.swap,
            cpu_cfs: cgroup.cpu_cfs,
            cpu_shares: cgroup.cpu_shares,
            cpuset: cgroup.cpuset,
            pids_limit: cgroup.pids,
            oom_kill_disable: cgroup.oom_kill_disable,
            ipv4_forwarding,
            bridge_netfilter: sys::host::bridge_netfilter(),
            address_pools: own.address_pools,
            security_options,
            log_driver: own.log_driver,
            default_runtime: choice
                .as_ref()
                .map(|c| c.runtime.to_string())
                .unwrap_or_default(),
            runtimes: runtime_infos(runtimes, &programs, choice.as_deref(), &no_checkpoints),
            conmon: programs.conmon.ok().map(component),
            cdi_dirs: shown(own.cdi_dirs),
            init_binary: own
                .init_binary
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            file_descriptors: sys::host::open_descriptors().unwrap_or(0),
            system_time: Some(own.now),
            warnings,
        }
    }
}

fn shown(dirs: &[PathBuf]) -> Vec<String> {
    dirs.iter().map(|dir| dir.display().to_string()).collect()
}

/// The default runtime, if it is chosen soon: a probe that hangs holds up no `version`.
async fn choice_soon(runtimes: &Runtimes) -> Result<Arc<Choice>> {
    let runtimes = runtimes.clone();
    // In a task of its own: the probe goes on when we go.
    let choice = tokio::spawn(async move { runtimes.default_choice().await });
    match tokio::time::timeout(CHOICE_PATIENCE, choice).await {
        Ok(Ok(choice)) => choice,
        Ok(Err(e)) => Err(Error::system(format!("the probe ended early: {e}"))),
        Err(_) => Err(Error::system("the default runtime is still being chosen")),
    }
}

/// Why runtimes that are there cannot checkpoint containers; those that can are left out. CRIU is not
/// waited for longer than the choice.
async fn no_checkpoints(runtimes: &Runtimes, programs: &Programs) -> BTreeMap<RuntimeName, String> {
    let found = programs.runtimes.iter().filter(|(_, p)| p.is_ok());
    let asked: Vec<_> = found
        .map(|(name, _)| {
            let (runtimes, name) = (runtimes.clone(), name.clone());
            let of = name.clone();
            // In a task of its own: the next who asks finds what this one is told too late.
            let ask = tokio::spawn(async move { runtimes.checkpoint_support(&of).await });
            (name, tokio::time::timeout(CHOICE_PATIENCE, ask))
        })
        .collect();
    let mut why = BTreeMap::new();
    for (name, asked) in asked {
        let reason = match asked.await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(e))) => e.to_string(),
            Ok(Err(e)) => format!("asking ended early: {e}"),
            Err(_) => "criu is still looking at the kernel".to_owned(),
        };
        why.insert(name, reason);
    }
    why
}

/// What no container can be started without.
fn missing(programs: &Programs, choice: &Result<Arc<Choice>>) -> Vec<String> {
    let missing = [programs.conmon.as_ref().err(), choice.as_ref().err()];
    let missing = missing.into_iter().flatten();
    missing.map(|e| format!("WARNING: {e}")).collect()
}

/// Runtimes that are there and cannot even tell their version.
fn broken(runtimes: &Runtimes, programs: &Programs) -> Vec<String> {
    let mut told = Vec::new();
    for (name, program) in &programs.runtimes {
        if let (Err(e), Ok(_)) = (program, runtimes.program(name)) {
            told.push(format!("WARNING: runtime {name} cannot be used: {e}"));
        }
    }
    told
}

/// What moby's driver tells of itself; its vfs tells nothing.
fn storage_status(driver: StorageDriver, data_root: &Path) -> Vec<(&'static str, String)> {
    if driver == StorageDriver::Vfs {
        return Vec::new();
    }
    let magic = sys::space::file_system_type(data_root).unwrap_or_default();
    let on = support::file_system_name(magic).to_owned();
    vec![
        ("Backing Filesystem", on),
        // An overlay could not be had without.
        ("Supports d_type", "true".to_owned()),
        ("Using metacopy", "false".to_owned()),
        ("Native Overlay Diff", "true".to_owned()),
        ("userxattr", "false".to_owned()),
    ]
}

fn security_options(facts: &HostFacts, own: &Own<'_>) -> Vec<String> {
    let mut options = Vec::new();
    if facts.apparmor {
        options.push("name=apparmor".to_owned());
    }
    if facts.seccomp {
        options.push("name=seccomp,profile=builtin".to_owned());
    }
    if own.selinux {
        options.push("name=selinux".to_owned());
    }
    if own.remaps_ids {
        options.push("name=userns".to_owned());
    }
    if facts.cgroup.version == CgroupVersion::V2 {
        options.push("name=cgroupns".to_owned());
    }
    options
}

/// The runtimes that were found, each with why it is or is not the default.
fn runtime_infos(
    runtimes: &Runtimes,
    programs: &Programs,
    choice: Option<&Choice>,
    no_checkpoints: &BTreeMap<RuntimeName, String>,
) -> Vec<RuntimeInfo> {
    let note = |name: &str| -> String {
        let Some(choice) = choice else {
            return String::new();
        };
        if choice.runtime.as_str() == name {
            return choice.reason.clone();
        }
        let verdict = choice.verdicts.iter().find(|v| v.runtime == name);
        verdict.and_then(|v| v.failure.clone()).unwrap_or_default()
    };
    let found = programs
        .runtimes
        .iter()
        .filter_map(|(name, p)| Some((name, p.as_ref().ok()?)));
    found
        .map(|(name, program)| RuntimeInfo {
            name: name.to_string(),
            path: program.path.display().to_string(),
            args: runtimes.own_args(name).to_vec(),
            version: program.version.clone(),
            package: program.package.clone(),
            note: note(name.as_str()),
            no_checkpoints: no_checkpoints.get(name).cloned().unwrap_or_default(),
        })
        .collect()
}

pub(crate) fn component(program: Program) -> Component {
    Component {
        path: program.path.display().to_string(),
        version: program.version,
        package: program.package,
    }
}
