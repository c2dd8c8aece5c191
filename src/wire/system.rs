//! The engine and its host on the wire.

use std::collections::BTreeMap;

use engine::HostInfo;
use model::LogDriver;
use model::platform::go_architecture;
use serde::Serialize;
use utoipa::ToSchema;

use crate::version::{ApiVersion, Options};

/// The daemon's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Docker Hub's address, as `docker login` and unqualified names mean it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// `GET /version`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SystemVersion {
    /// The product.
    pub platform: Platform,
    /// The engine and the programs it drives.
    pub components: Vec<ComponentVersion>,
    /// The engine's version.
    pub version: String,
    /// The newest API version.
    pub api_version: String,
    /// The oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Empty: a release is named by its version.
    pub git_commit: String,
    /// Empty: this is not a Go program.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub arch: String,
    /// The kernel's release.
    pub kernel_version: String,
}

/// The product.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// Its name.
    pub name: String,
}

/// One program.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ComponentVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// More about it.
    pub details: BTreeMap<String, String>,
}

impl SystemVersion {
    /// From what the engine found.
    pub fn new(host: &HostInfo, options: &Options) -> Self {
        let mut components = vec![engine_component(host, options)];
        components.extend(host.conmon.iter().map(|conmon| ComponentVersion {
            name: "conmon".to_owned(),
            version: version_number(&conmon.version),
            details: details(&[("Path", &conmon.path), ("Package", &conmon.package)]),
        }));
        components.extend(host.runtimes.iter().map(|runtime| ComponentVersion {
            name: runtime.name.clone(),
            version: version_number(&runtime.version),
            details: details(&[
                ("Path", &runtime.path),
                ("Package", &runtime.package),
                ("Note", &runtime.note),
            ]),
        }));
        Self {
            platform: Platform {
                name: "Moored".to_owned(),
            },
            components,
            version: VERSION.to_owned(),
            api_version: options.max_version.to_string(),
            min_api_version: options.min_version.to_string(),
            git_commit: String::new(),
            go_version: String::new(),
            os: "linux".to_owned(),
            arch: go_architecture(&host.architecture).to_owned(),
            kernel_version: host.kernel_version.clone(),
        }
    }
}

fn engine_component(host: &HostInfo, options: &Options) -> ComponentVersion {
    ComponentVersion {
        // Docker's name for it; clients look the component up by it.
        name: "Engine".to_owned(),
        version: VERSION.to_owned(),
        details: details(&[
            ("ApiVersion", &options.max_version.to_string()),
            ("Arch", go_architecture(&host.architecture)),
            ("Experimental", &options.experimental.to_string()),
            ("KernelVersion", &host.kernel_version),
            ("MinAPIVersion", &options.min_version.to_string()),
            ("Os", "linux"),
        ]),
    }
}

fn details(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The number in `conmon version 2.1.6` or `runc version 1.1.5+ds1\ncommit: …`; the whole first
/// line where there is none.
fn version_number(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    line.split_whitespace()
        .find(is_number)
        .unwrap_or(line)
        .trim_end_matches(',')
        .to_owned()
}

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
    pub driver_status: Vec<[String; 2]>,
    pub plugins: PluginsInfo,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether bridged traffic passes iptables; false while there are no bridges of ours.
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
    /// `null`: registries are not built.
    #[schema(value_type = Option<Object>, required)]
    pub registry_config: Option<()>,
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
    /// From 1.44 on: its version, and why it is or is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, String>>,
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
        let runc = host.runtimes.iter().find(|r| r.name == "runc");
        Self {
            containers: host.counts.containers,
            containers_running: host.counts.running,
            containers_paused: host.counts.paused,
            containers_stopped: host.counts.stopped,
            images: host.images,
            driver: host
                .storage_driver
                .map_or_else(String::new, |driver| driver.to_string()),
            driver_status: Vec::new(),
            plugins: PluginsInfo::built_in(),
            memory_limit: host.memory_limit,
            swap_limit: host.swap_limit,
            cpu_cfs_period: host.cpu_cfs,
            cpu_cfs_quota: host.cpu_cfs,
            cpu_shares: host.cpu_shares,
            cpu_set: host.cpuset,
            pids_limit: host.pids_limit,
            ipv4_forwarding: host.ipv4_forwarding,
            bridge_nf_iptables: false,
            bridge_nf_ip6tables: false,
            debug: false,
            n_fd: host.file_descriptors,
            oom_kill_disable: host.oom_kill_disable,
            n_goroutines: 0,
            system_time: host.system_time.map(|t| t.to_string()).unwrap_or_default(),
            logging_driver: host.log_driver.as_str().to_owned(),
            n_events_listener: host.event_listeners,
            os_type: "linux".to_owned(),
            index_server_address: DOCKER_HUB.to_owned(),
            registry_config: None,
            n_cpu: host.cpus,
            mem_total: host.memory_bytes,
            generic_resources: None,
            docker_root_dir: host.root_dir,
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            labels: Vec::new(),
            experimental_build: options.experimental,
            server_version: VERSION.to_owned(),
            swarm: SwarmInfo {
                local_node_state: "inactive".to_owned(),
                ..SwarmInfo::default()
            },
            live_restore_enabled: true,
            isolation: String::new(),
            containerd_commit: Commit::default(),
            runc_commit: runc.map(|r| Commit::of(&r.version)).unwrap_or_default(),
            init_commit: Commit::default(),
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
            security_options: host.security_options,
            warnings: Some(host.warnings).filter(|w| !w.is_empty()),
        }
    }
}

impl PluginsInfo {
    fn built_in() -> Self {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        let drivers = [
            LogDriver::Journald,
            LogDriver::JsonFile,
            LogDriver::Local,
            LogDriver::None,
        ];
        Self {
            volume: words(&["local"]),
            // Docker's names of the drivers behind `--network host` and `none`.
            network: words(&["host", "null"]),
            authorization: None,
            log: words(&drivers.map(LogDriver::as_str)),
        }
    }
}

impl Commit {
    fn of(version: &str) -> Self {
        let number = version_number(version);
        Self {
            id: number.clone(),
            expected: number,
        }
    }
}

fn runtimes(found: &[engine::RuntimeInfo], version: ApiVersion) -> BTreeMap<String, Runtime> {
    let has_status = version >= ApiVersion::v1(44);
    let wire = |runtime: &engine::RuntimeInfo| Runtime {
        path: runtime.path.clone(),
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
mod tests {
    use engine::{Component, Counts, RuntimeInfo};

    use super::*;

    fn host() -> HostInfo {
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
    fn version_names_the_programs_it_drives() {
        let version = SystemVersion::new(&host(), &Options::default());
        assert_eq!(version.arch, "amd64");
        let named: Vec<_> = version
            .components
            .iter()
            .map(|c| (c.name.as_str(), c.version.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("Engine", VERSION),
                ("conmon", "2.1.6"),
                ("runc", "1.1.5+ds1")
            ]
        );
        // What is not known is not there, rather than empty.
        assert_eq!(version.components[1].details.get("Package"), None);
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
        assert_eq!(info["RuncCommit"]["ID"], "1.1.5+ds1");
        assert_eq!(info["Warnings"], serde_json::Value::Null);
        let runc = &info["Runtimes"]["runc"];
        assert_eq!(runc["path"], "/usr/sbin/runc");
        assert_eq!(runc["status"]["moored.version"], "1.1.5+ds1");
        assert_eq!(runc["status"]["moored.no-checkpoints"], "no criu");
        let older = SystemInfo::new(host(), ApiVersion::v1(43), &Options::default());
        assert!(older.runtimes["runc"].status.is_none());
    }

    #[test]
    fn a_version_without_a_number_is_shown_as_it_is() {
        assert_eq!(version_number("crun 1.8.1\nspec: 1.0.0"), "1.8.1");
        assert_eq!(version_number("something else"), "something else");
        assert_eq!(version_number(""), "");
    }
}
