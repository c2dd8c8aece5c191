//! The engine and its host on the wire.

use std::collections::BTreeMap;

use engine::HostInfo;
use model::LogDriver;
use serde::Serialize;
use utoipa::ToSchema;

use crate::network::NetworkAddressPool;
pub use crate::system_version::{ComponentVersion, Platform, SystemVersion, VERSION};
use crate::system_version::{commit, details, version_number};
use crate::version::{ApiVersion, Options};

/// Docker Hub's address, as `docker login` and unqualified names mean it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// `GET /info`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "Docker's own form")]
#[expect(
    missing_docs,
    reason = "Docker's names; those that need words have them"
)]
pub struct SystemInfo {
    #[serde(rename = "ID")]
    pub id: String,
    pub containers: usize,
    pub containers_running: usize,
    pub containers_paused: usize,
    pub containers_stopped: usize,
    pub images: usize,
    /// The storage driver.
    pub driver: String,
    /// `null` where the driver tells nothing.
    #[schema(required)]
    pub driver_status: Option<Vec<[String; 2]>>,
    pub plugins: PluginsInfo,
    pub memory_limit: bool,
    pub swap_limit: bool,
    /// Until 1.41, and where it is true.
    #[serde(skip_serializing_if = "is_false")]
    pub kernel_memory: bool,
    /// Where it is true.
    #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_false")]
    pub kernel_memory_tcp: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether what a bridge passes on goes through iptables, as br_netfilter has it.
    pub bridge_nf_iptables: bool,
    pub bridge_nf_ip6tables: bool,
    pub debug: bool,
    /// Open descriptors of the daemon.
    pub n_fd: usize,
    pub oom_kill_disable: bool,
    /// Zero: this is not a Go program.
    pub n_goroutines: usize,
    /// The daemon's clock, RFC 3339.
    pub system_time: String,
    pub logging_driver: String,
    pub cgroup_driver: String,
    pub cgroup_version: String,
    pub n_events_listener: usize,
    pub kernel_version: String,
    pub operating_system: String,
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    #[serde(rename = "OSType")]
    pub os_type: String,
    pub architecture: String,
    pub index_server_address: String,
    pub registry_config: RegistryConfig,
    #[serde(rename = "NCPU")]
    pub n_cpu: usize,
    pub mem_total: u64,
    /// `null`: swarm's.
    #[schema(value_type = Option<Vec<Object>>, required)]
    pub generic_resources: Option<()>,
    pub docker_root_dir: String,
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    pub name: String,
    pub labels: Vec<String>,
    pub experimental_build: bool,
    pub server_version: String,
    pub runtimes: BTreeMap<String, Runtime>,
    pub default_runtime: String,
    pub swarm: SwarmInfo,
    /// True: no container notices when the daemon goes.
    pub live_restore_enabled: bool,
    pub isolation: String,
    pub init_binary: String,
    pub containerd_commit: Commit,
    pub runc_commit: Commit,
    pub init_commit: Commit,
    pub security_options: Vec<String>,
    /// The operator's; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_address_pools: Vec<NetworkAddressPool>,
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    /// Things the operator should know; `null` when there are none.
    #[schema(required)]
    pub warnings: Option<Vec<String>>,
}

/// What is built in of each kind.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Docker's names")]
pub struct PluginsInfo {
    pub volume: Vec<String>,
    pub network: Vec<String>,
    #[schema(required)]
    pub authorization: Option<Vec<String>>,
    pub log: Vec<String>,
}

/// An OCI runtime.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Runtime {
    /// Its program.
    pub path: String,
    /// What it is told before each command.
    #[serde(rename = "runtimeArgs", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// From 1.44 on: its version, and why it is or is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, String>>,
}

/// How registries are reached (moby `registry.ServiceConfig`).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Docker's names")]
pub struct RegistryConfig {
    /// Until 1.46.
    #[serde(
        rename = "AllowNondistributableArtifactsCIDRs",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_nondistributable_artifacts_cidrs: Option<Vec<String>>,
    /// Until 1.46.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_nondistributable_artifacts_hostnames: Option<Vec<String>>,
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    pub index_configs: BTreeMap<String, IndexConfig>,
    pub mirrors: Vec<String>,
}

/// One registry.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Docker's names")]
pub struct IndexConfig {
    pub name: String,
    pub mirrors: Vec<String>,
    pub secure: bool,
    pub official: bool,
}

impl RegistryConfig {
    fn new(found: &engine::RegistryFacts, version: ApiVersion) -> Self {
        const HUB: &str = "docker.io";
        // What is on this host needs no TLS, whatever the operator says.
        const OWN: [&str; 2] = ["::1/128", "127.0.0.0/8"];
        let none = (version < ApiVersion::v1(47)).then(Vec::new);
        let with_slash = |mirror: &String| format!("{}/", mirror.trim_end_matches('/'));
        let mirrors: Vec<String> = found.mirrors.iter().map(with_slash).collect();
        let index = |name: &str, official: bool| IndexConfig {
            name: name.to_owned(),
            mirrors: match official {
                true => mirrors.clone(),
                false => Vec::new(),
            },
            secure: official,
            official,
        };
        let hosts = found.insecure_hosts.iter();
        let insecure = hosts.map(|host| (host.clone(), index(host, false)));
        let own = OWN.map(str::to_owned);
        Self {
            allow_nondistributable_artifacts_cidrs: none.clone(),
            allow_nondistributable_artifacts_hostnames: none,
            insecure_registry_cidrs: found.insecure_networks.iter().cloned().chain(own).collect(),
            index_configs: insecure
                .chain([(HUB.to_owned(), index(HUB, true))])
                .collect(),
            mirrors,
        }
    }
}

/// Swarm's part: inactive.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Docker's names")]
pub struct SwarmInfo {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_addr: String,
    pub local_node_state: String,
    pub control_available: bool,
    pub error: String,
    #[schema(value_type = Option<Vec<Object>>, required)]
    pub remote_managers: Option<()>,
}

/// The version of a program, in Docker's form.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[expect(missing_docs, reason = "Docker's names")]
pub struct Commit {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Expected")]
    pub expected: String,
}

impl SystemInfo {
    /// From what the engine found, as `version` shows it.
    pub fn new(host: HostInfo, version: ApiVersion, options: &Options) -> Self {
        let runc_commit = Commit::of_runtime(&host);
        Self {
            containers: host.counts.containers,
            containers_running: host.counts.running,
            containers_paused: host.counts.paused,
            containers_stopped: host.counts.stopped,
            images: host.images,
            driver: host
                .storage_driver
                .map_or_else(String::new, |driver| driver.to_string()),
            driver_status: driver_status(&host.storage_status),
            plugins: PluginsInfo::built_in(),
            memory_limit: host.memory_limit,
            swap_limit: host.swap_limit,
            kernel_memory: host.kernel_memory && version < ApiVersion::v1(42),
            kernel_memory_tcp: host.kernel_memory_tcp,
            cpu_cfs_period: host.cpu_cfs,
            cpu_cfs_quota: host.cpu_cfs,
            cpu_shares: host.cpu_shares,
            cpu_set: host.cpuset,
            pids_limit: host.pids_limit,
            ipv4_forwarding: host.ipv4_forwarding,
            bridge_nf_iptables: host.bridge_netfilter[0],
            bridge_nf_ip6tables: host.bridge_netfilter[1],
            debug: false,
            n_fd: host.file_descriptors,
            oom_kill_disable: host.oom_kill_disable,
            n_goroutines: 0,
            system_time: host.system_time.map(|t| t.to_string()).unwrap_or_default(),
            logging_driver: host.log_driver.as_str().to_owned(),
            n_events_listener: host.event_listeners,
            os_type: "linux".to_owned(),
            index_server_address: DOCKER_HUB.to_owned(),
            registry_config: RegistryConfig::new(&host.registries, version),
            n_cpu: host.cpus,
            mem_total: host.memory_bytes,
            generic_resources: None,
            docker_root_dir: host.root_dir,
            http_proxy: host.proxies.http,
            https_proxy: host.proxies.https,
            no_proxy: host.proxies.none,
            labels: host.labels,
            experimental_build: options.experimental,
            server_version: VERSION.to_owned(),
            swarm: SwarmInfo::inactive(),
            live_restore_enabled: true,
            isolation: String::new(),
            containerd_commit: Commit::none(),
            runc_commit,
            init_commit: Commit::none(),
            cdi_spec_dirs: host.cdi_dirs,
            runtimes: runtimes(&host.runtimes, version),
            id: host.id,
            name: host.name,
            cgroup_driver: host.cgroup_driver,
            cgroup_version: host.cgroup_version,
            kernel_version: host.kernel_version,
            operating_system: host.operating_system,
            os_version: host.os_version,
            architecture: host.architecture,
            default_runtime: host.default_runtime,
            init_binary: host.init_binary,
            default_address_pools: NetworkAddressPool::all(host.address_pools),
            security_options: security_options(host.security_options, version),
            warnings: Some(host.warnings).filter(|w| !w.is_empty()),
        }
    }
}

impl PluginsInfo {
    fn built_in() -> Self {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        let drivers = [LogDriver::Journald, LogDriver::JsonFile, LogDriver::Local];
        Self {
            volume: words(&["local"]),
            // Docker's names; `none` is of the driver null.
            network: words(&["bridge", "host", "ipvlan", "macvlan", "null"]),
            authorization: None,
            log: words(&drivers.map(LogDriver::as_str)),
        }
    }
}

impl SwarmInfo {
    fn inactive() -> Self {
        Self {
            local_node_state: "inactive".to_owned(),
            ..Self::default()
        }
    }
}

impl Commit {
    /// Of the default runtime: Docker calls it runc, whichever it is.
    fn of_runtime(host: &HostInfo) -> Self {
        let mut runtimes = host.runtimes.iter();
        let default = runtimes.find(|runtime| runtime.name == host.default_runtime);
        default.map_or_else(Self::none, |runtime| Self::of(&runtime.version))
    }

    /// The commit a program was made from, or else its number.
    fn of(version: &str) -> Self {
        match commit(version) {
            "" => Self::named(&version_number(version)),
            commit => Self::named(commit),
        }
    }

    /// There is no such program, or it does not tell.
    fn none() -> Self {
        Self::named("N/A")
    }

    fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            expected: id.to_owned(),
        }
    }
}

fn driver_status(told: &[(&'static str, String)]) -> Option<Vec<[String; 2]>> {
    let pair = |(name, value): &(&str, String)| [(*name).to_owned(), value.clone()];
    (!told.is_empty()).then(|| told.iter().map(pair).collect())
}

/// Until 1.24 the names alone.
fn security_options(options: Vec<String>, version: ApiVersion) -> Vec<String> {
    if version >= ApiVersion::v1(25) {
        return options;
    }
    let name = |option: &String| {
        let first = option.split(',').next().unwrap_or_default();
        first.strip_prefix("name=").unwrap_or(first).to_owned()
    };
    options.iter().map(name).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn runtimes(found: &[engine::RuntimeInfo], version: ApiVersion) -> BTreeMap<String, Runtime> {
    let has_status = version >= ApiVersion::v1(44);
    let wire = |runtime: &engine::RuntimeInfo| Runtime {
        path: runtime.path.clone(),
        args: runtime.args.clone(),
        status: has_status.then(|| {
            details(&[
                ("moored.version", &version_number(&runtime.version)),
                ("moored.note", &runtime.note),
                ("moored.no-checkpoints", &runtime.no_checkpoints),
            ])
        }),
    };
    found.iter().map(|r| (r.name.clone(), wire(r))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use engine::{Component, Counts, RuntimeInfo};

    use super::*;

    pub(crate) fn host() -> HostInfo {
        HostInfo {
            architecture: "x86_64".to_owned(),
            kernel_version: "6.18.44".to_owned(),
            counts: Counts {
                containers: 3,
                running: 1,
                paused: 1,
                stopped: 1,
            },
            event_listeners: 0,
            cpu_cfs: true,
            conmon: Some(Component {
                path: "/usr/bin/conmon".to_owned(),
                version: "conmon version 2.1.6\ncommit: unknown".to_owned(),
                package: String::new(),
            }),
            runtimes: vec![RuntimeInfo {
                name: "runc".to_owned(),
                path: "/usr/sbin/runc".to_owned(),
                args: Vec::new(),
                version: "runc version 1.1.5+ds1\ncommit: 1.1.5".to_owned(),
                package: "runc 1.1.5".to_owned(),
                note: "the default: it runs containers here".to_owned(),
                no_checkpoints: "no criu".to_owned(),
            }],
            default_runtime: "runc".to_owned(),
            ..HostInfo::default()
        }
    }

    #[test]
    fn info_tells_what_the_engine_found() {
        let info = serde_json::to_value(SystemInfo::new(
            host(),
            ApiVersion::v1(47),
            &Options::default(),
        ))
        .unwrap();
        assert_eq!(info["ContainersPaused"], 1);
        assert_eq!(info["CpuCfsPeriod"], true);
        assert_eq!(info["RuncCommit"]["ID"], "1.1.5");
        assert_eq!(info["InitCommit"]["Expected"], "N/A");
        assert_eq!(info["Warnings"], serde_json::Value::Null);
        let runc = &info["Runtimes"]["runc"];
        assert_eq!(runc["path"], "/usr/sbin/runc");
        assert_eq!(runc["status"]["moored.version"], "1.1.5+ds1");
        assert_eq!(runc["status"]["moored.no-checkpoints"], "no criu");
        let older = SystemInfo::new(host(), ApiVersion::v1(43), &Options::default());
        assert!(older.runtimes["runc"].status.is_none());
    }

    #[test]
    fn versions_differ() {
        let at = |minor| {
            let mut host = host();
            host.kernel_memory = true;
            host.kernel_memory_tcp = true;
            host.security_options = vec!["name=seccomp,profile=builtin".to_owned()];
            let info = SystemInfo::new(host, ApiVersion::v1(minor), &Options::default());
            serde_json::to_value(info).unwrap()
        };
        assert_eq!(at(41)["KernelMemory"], true);
        assert_eq!(at(42).get("KernelMemory"), None);
        assert_eq!(at(47)["KernelMemoryTCP"], true);
        let cidrs = "AllowNondistributableArtifactsCIDRs";
        assert_eq!(at(46)["RegistryConfig"][cidrs], serde_json::json!([]));
        assert_eq!(at(47)["RegistryConfig"].get(cidrs), None);
        assert_eq!(at(24)["SecurityOptions"], serde_json::json!(["seccomp"]));
    }

    #[test]
    fn registries_are_shown_as_docker_does() {
        let mut host = host();
        host.registries = engine::RegistryFacts {
            insecure_networks: vec!["10.0.0.0/8".to_owned()],
            insecure_hosts: vec!["plain.test:5000".to_owned()],
            mirrors: vec!["https://mirror.test".to_owned()],
        };
        let info = SystemInfo::new(host, ApiVersion::v1(47), &Options::default());
        let mirrors = ["https://mirror.test/"];
        assert_eq!(
            serde_json::to_value(info.registry_config).unwrap(),
            serde_json::json!({
                "InsecureRegistryCIDRs": ["10.0.0.0/8", "::1/128", "127.0.0.0/8"],
                "IndexConfigs": {
                    "docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": true,
                        "Official": true},
                    "plain.test:5000": {"Name": "plain.test:5000", "Mirrors": [],
                        "Secure": false, "Official": false},
                },
                "Mirrors": mirrors,
            })
        );
    }
}
