//! Every setting of the daemon with its default, and what file, environment and flags make of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use engine::{IdSource, LogLevel, NetworkConfig, RegistrySettings, RuntimeTraits};
use model::{LogConfig, StorageDriver};
use serde::Deserialize;

use super::cli::Options;
use super::launch::{Launch, conmon_log_level};
use super::log::LogFormat;
use super::networks;
use super::registries::Registries;
use super::runtimes::{self, Program};
use super::user_namespaces;

/// The file that is read when none is named.
const CONFIG_FILE: &str = "/etc/moored/moored.toml";
/// Longest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where the files of the Container Device Interface are (moby `DefaultSpecDirs`).
const CDI_SPEC_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Who makes the cgroups of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CgroupManager {
    /// The OCI runtime, in the cgroup file system.
    Cgroupfs,
    /// systemd, as a scope for each container.
    Systemd,
}

impl CgroupManager {
    /// The parent where none is set.
    fn usual_parent(self) -> &'static str {
        match self {
            Self::Cgroupfs => "moored",
            Self::Systemd => "moored.slice",
        }
    }
}

/// What the daemon goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) socket: PathBuf,
    /// A second one, for clients that know no other address.
    pub(crate) docker_socket: Option<PathBuf>,
    pub(crate) socket_group: Option<String>,
    pub(crate) data_root: PathBuf,
    pub(crate) run_root: PathBuf,
    pub(crate) runtime: Option<String>,
    /// Where runtimes are, by name, in the order in which to look; then `$PATH`. A default runtime
    /// that is not here is looked for on `$PATH` alone.
    pub(crate) runtimes: BTreeMap<String, Vec<PathBuf>>,
    /// What a runtime is told, and what it can do.
    pub(crate) runtime_traits: BTreeMap<String, RuntimeTraits>,
    /// Where conmon is, in the order in which to look; then `$PATH`.
    pub(crate) conmon_paths: Vec<PathBuf>,
    pub(crate) conmon_log_level: LogLevel,
    pub(crate) launch: Launch,
    pub(crate) cgroup_manager: CgroupManager,
    pub(crate) cgroup_parent: String,
    /// Where output goes where a container says nothing else.
    pub(crate) log_default: LogConfig,
    /// Where the ids of user namespaces come from.
    pub(crate) ids: IdSource,
    pub(crate) networks: NetworkConfig,
    pub(crate) registries: RegistrySettings,
    /// What the operator calls this daemon, for Docker's `info`.
    pub(crate) labels: Vec<String>,
    /// How new containers' trees are made; `None` is as they can be.
    pub(crate) storage_driver: Option<StorageDriver>,
    /// Where the files of the Container Device Interface are; none where it is off.
    pub(crate) cdi_spec_dirs: Vec<PathBuf>,
    /// Containers are to have SELinux labels.
    pub(crate) selinux_enabled: bool,
    /// Docker's clients are to offer what they call experimental.
    pub(crate) experimental: bool,
    /// Most output that waits on disk for one attached client that does not read.
    pub(crate) spill_max_bytes: u64,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    /// After how long without anybody who needs it the daemon ends; `None` is never.
    pub(crate) idle_exit: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: "/run/moored/moored.sock".into(),
            docker_socket: None,
            socket_group: None,
            data_root: "/var/lib/moored".into(),
            run_root: "/run/moored".into(),
            runtime: None,
            runtimes: BTreeMap::new(),
            runtime_traits: BTreeMap::new(),
            conmon_paths: Vec::new(),
            conmon_log_level: LogLevel::Info,
            launch: Launch::default(),
            cgroup_manager: CgroupManager::Cgroupfs,
            cgroup_parent: CgroupManager::Cgroupfs.usual_parent().to_owned(),
            log_default: LogConfig::default(),
            ids: IdSource::default(),
            networks: networks::usual(),
            registries: RegistrySettings::default(),
            labels: Vec::new(),
            storage_driver: None,
            cdi_spec_dirs: CDI_SPEC_DIRS.map(PathBuf::from).to_vec(),
            selinux_enabled: false,
            experimental: false,
            spill_max_bytes: model::limits::SPILL_BYTES_MAX,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            idle_exit: None,
        }
    }
}

/// The file: all that flags can say, and lists, which they cannot.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    socket: Option<PathBuf>,
    docker_socket: Option<PathBuf>,
    socket_group: Option<String>,
    data_root: Option<PathBuf>,
    run_root: Option<PathBuf>,
    runtime: Option<String>,
    cgroup_manager: Option<CgroupManager>,
    cgroup_parent: Option<String>,
    log_driver: Option<String>,
    log_opts: BTreeMap<String, String>,
    userns_remap: Option<String>,
    userns_auto_user: Option<String>,
    subuid: Option<PathBuf>,
    subgid: Option<PathBuf>,
    labels: Vec<String>,
    storage_driver: Option<StorageDriver>,
    cdi_spec_dirs: Option<Vec<PathBuf>>,
    selinux_enabled: bool,
    experimental: bool,
    spill_max_bytes: Option<u64>,
    log_level: Option<String>,
    log_format: Option<LogFormat>,
    idle_exit_s: Option<u64>,
    conmon: Conmon,
    launch: Launch,
    networks: networks::Networks,
    registries: Registries,
    runtimes: BTreeMap<String, Program>,
}

/// `[conmon]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Conmon {
    paths: Vec<PathBuf>,
    log_level: Option<String>,
}

impl Settings {
    /// Reads the file that `options` or the default names, and lets `options` (flags over
    /// environment) weigh more.
    ///
    /// # Errors
    /// When a named file cannot be read, or the file says something that is not a setting.
    pub(crate) fn load(options: &Options) -> Result<Self> {
        let file = match &options.config {
            Some(path) => read(path)?,
            None => match read(Path::new(CONFIG_FILE)) {
                Err(e) if is_missing(&e) => File::default(),
                read => read?,
            },
        };
        merge(options, file)
    }

    /// What no single setting tells.
    fn check(&self) -> Result<()> {
        let programs = self.runtimes.values().flatten();
        if let Some(relative) = programs
            .chain(&self.conmon_paths)
            .find(|p| !p.is_absolute())
        {
            bail!(
                "the path of a program must be absolute: {}",
                relative.display()
            );
        }
        if self.docker_socket.as_ref() == Some(&self.socket) {
            bail!("socket and docker-socket must be two paths");
        }
        if self.data_root == self.run_root {
            bail!("data root and run root must be two directories");
        }
        Ok(())
    }
}

impl Settings {
    /// The names of those that are not the same.
    pub(crate) fn differs_from(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("socket", self.socket != other.socket),
            ("docker-socket", self.docker_socket != other.docker_socket),
            ("socket-group", self.socket_group != other.socket_group),
            ("data-root", self.data_root != other.data_root),
            ("run-root", self.run_root != other.run_root),
            ("runtime", self.runtime != other.runtime),
            (
                "runtimes",
                (&self.runtimes, &self.runtime_traits) != (&other.runtimes, &other.runtime_traits),
            ),
            ("conmon.paths", self.conmon_paths != other.conmon_paths),
            (
                "conmon.log-level",
                self.conmon_log_level != other.conmon_log_level,
            ),
            ("launch", self.launch != other.launch),
            (
                "cgroup-manager",
                self.cgroup_manager != other.cgroup_manager,
            ),
            ("cgroup-parent", self.cgroup_parent != other.cgroup_parent),
            (
                "userns-remap, userns-auto-user, subuid or subgid",
                self.ids != other.ids,
            ),
            (
                "log-driver or log-opts",
                self.log_default != other.log_default,
            ),
            (
                "storage-driver",
                self.storage_driver != other.storage_driver,
            ),
            ("cdi-spec-dirs", self.cdi_spec_dirs != other.cdi_spec_dirs),
            (
                "selinux-enabled",
                self.selinux_enabled != other.selinux_enabled,
            ),
            ("networks", self.networks != other.networks),
            ("registries", self.registries != other.registries),
            ("labels", self.labels != other.labels),
            ("experimental", self.experimental != other.experimental),
            (
                "spill-max-bytes",
                self.spill_max_bytes != other.spill_max_bytes,
            ),
            ("log-level", self.log_level != other.log_level),
            ("log-format", self.log_format != other.log_format),
            ("idle-exit-s", self.idle_exit != other.idle_exit),
        ];
        let different = pairs.into_iter().filter(|(_, differs)| *differs);
        different.map(|(name, _)| name).collect()
    }
}

fn is_missing(e: &anyhow::Error) -> bool {
    e.downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn read(path: &Path) -> Result<File> {
    let said = || format!("cannot read the settings in {}", path.display());
    if fs::metadata(path).with_context(said)?.len() > CONFIG_BYTES_MAX {
        bail!("{}: it is longer than {CONFIG_BYTES_MAX} bytes", said());
    }
    let text = fs::read_to_string(path).with_context(said)?;
    toml::from_str(&text).with_context(said)
}

fn merge(options: &Options, file: File) -> Result<Settings> {
    let default = Settings::default();
    let path = |flag: &Option<PathBuf>, file: Option<PathBuf>, default: PathBuf| {
        let chosen = flag.clone().or(file).unwrap_or(default);
        std::path::absolute(&chosen).with_context(|| format!("not a path: {}", chosen.display()))
    };
    let word = |flag: &Option<String>, file: Option<String>| flag.clone().or(file);
    let log_level = word(&options.log_level, file.log_level).unwrap_or(default.log_level);
    let cgroup_manager = options
        .cgroup_manager
        .or(file.cgroup_manager)
        .unwrap_or(default.cgroup_manager);
    let mut launch = file.launch;
    launch.no_pivot |= options.no_pivot;
    launch.check()?;
    let settings = Settings {
        socket: path(&options.socket, file.socket, default.socket)?,
        docker_socket: docker_socket(options, file.docker_socket)?,
        socket_group: word(&options.socket_group, file.socket_group),
        data_root: path(&options.data_root, file.data_root, default.data_root)?,
        run_root: path(&options.run_root, file.run_root, default.run_root)?,
        runtime: word(&options.runtime, file.runtime),
        runtime_traits: runtimes::traits_by_name(&file.runtimes),
        runtimes: runtimes::paths_by_name(file.runtimes)?,
        conmon_paths: file.conmon.paths,
        conmon_log_level: conmon_log_level(file.conmon.log_level.as_deref(), &log_level)?,
        launch,
        cgroup_manager,
        cgroup_parent: word(&options.cgroup_parent, file.cgroup_parent)
            .unwrap_or_else(|| cgroup_manager.usual_parent().to_owned()),
        log_default: log_default(options, file.log_driver, file.log_opts)?,
        ids: user_namespaces::source(
            options
                .userns_remap
                .as_deref()
                .or(file.userns_remap.as_deref()),
            file.userns_auto_user,
            file.subuid,
            file.subgid,
        )?,
        networks: file.networks.settings(options)?,
        registries: file.registries.settings()?,
        labels: super::labels::checked(file.labels)?,
        storage_driver: options.storage_driver.or(file.storage_driver),
        cdi_spec_dirs: cdi_dirs(file.cdi_spec_dirs.unwrap_or(default.cdi_spec_dirs))?,
        selinux_enabled: file.selinux_enabled,
        experimental: options.experimental || file.experimental,
        spill_max_bytes: options
            .spill_max_bytes
            .or(file.spill_max_bytes)
            .unwrap_or(default.spill_max_bytes),
        log_level,
        log_format: options
            .log_format
            .or(file.log_format)
            .unwrap_or(default.log_format),
        // Nothing is never, too.
        idle_exit: options
            .idle_exit_s
            .or(file.idle_exit_s)
            .filter(|s| *s > 0)
            .map(Duration::from_secs),
    };
    settings.check()?;
    Ok(settings)
}

/// One empty word is none, too: it takes back what the file says.
fn docker_socket(options: &Options, file: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let chosen = options.docker_socket.clone().or(file);
    let chosen = chosen.filter(|path| !path.as_os_str().is_empty());
    let absolute = chosen.map(|path| {
        std::path::absolute(&path).with_context(|| format!("not a path: {}", path.display()))
    });
    absolute.transpose()
}

/// No directory at all, or Docker's one empty word, is none of the interface.
fn cdi_dirs(dirs: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if matches!(dirs.as_slice(), [only] if only.as_os_str().is_empty()) {
        return Ok(Vec::new());
    }
    if let Some(relative) = dirs.iter().find(|dir| !dir.is_absolute()) {
        bail!("cdi-spec-dirs must be absolute: {}", relative.display());
    }
    Ok(dirs)
}

fn log_default(
    options: &Options,
    driver: Option<String>,
    log_opts: BTreeMap<String, String>,
) -> Result<LogConfig> {
    let driver = options.log_driver.clone().or(driver).unwrap_or_default();
    api::log_default(&driver, log_opts).context("log-driver and log-opts")
}

#[cfg(test)]
mod tests;
