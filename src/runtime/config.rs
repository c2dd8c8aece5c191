//! What the process side needs to know, with the defaults of a Debian or Fedora host.
//!
//! Plain values: reading files, flags or the environment is the daemon's business. [`Config::check`]
//! looks whether the host has what is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::{Error, Result, limits};

/// conmon drains at most a pipe full; a slow disk under its log is what takes time.
const EXIT_FILE_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything configurable about conmon and the OCI runtimes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where conmon may be, in order; `$PATH` comes last.
    pub conmon_paths: Vec<PathBuf>,
    /// Runtimes by name and where each may be, in order; `$PATH` comes last.
    pub runtimes: BTreeMap<String, Vec<PathBuf>>,
    /// What is to be known of a runtime beyond its name.
    pub traits: BTreeMap<String, RuntimeTraits>,
    /// The runtime of containers that name none; `None` probes crun, then runc.
    pub default_runtime: Option<String>,
    /// Who makes cgroups.
    pub cgroup_manager: CgroupManager,
    /// What must not survive a reboot: exit files, pid files, the runtimes' state.
    pub run_root: PathBuf,
    /// Parent of the cgroups of containers that name none, and of the conmons': a path below each
    /// hierarchy's root, or a slice where systemd is the manager.
    pub cgroup_parent: String,
    /// What conmon tells syslog, its only voice after it has detached.
    pub log_level: LogLevel,
    /// Tell the runtime not to use pivot_root (a root file system on a ramdisk).
    pub no_pivot: bool,
    /// Containers have SELinux labels.
    pub selinux: bool,
    /// Tell the runtime not to make a session keyring.
    pub no_new_keyring: bool,
    /// Further environment variables of conmon and the runtimes.
    pub environment: Vec<(String, String)>,
    /// How long creating a container may take.
    pub create_timeout: Duration,
    /// How long any other call of a runtime may take.
    pub call_timeout: Duration,
    /// How long conmon may take from the end of a container to its exit file, in which it drains
    /// the last output; one that is stopped or hangs writes none.
    pub exit_file_timeout: Duration,
}

impl Config {
    /// The defaults, on `run_root`.
    pub fn new(run_root: impl Into<PathBuf>) -> Self {
        let runtimes = ["crun", "runc"].map(|name| (name.to_owned(), usual_paths(name)));
        let mut conmon_paths: Vec<PathBuf> =
            ["/usr/libexec", "/usr/local/libexec", "/usr/local/lib"]
                .iter()
                .map(|dir| PathBuf::from(dir).join("podman/conmon"))
                .collect();
        conmon_paths.extend(usual_paths("conmon"));
        Self {
            conmon_paths,
            runtimes: runtimes.into(),
            traits: BTreeMap::new(),
            default_runtime: None,
            cgroup_manager: CgroupManager::Cgroupfs,
            run_root: run_root.into(),
            cgroup_parent: "moored".to_owned(),
            log_level: LogLevel::Error,
            no_pivot: false,
            no_new_keyring: false,
            selinux: false,
            environment: Vec::new(),
            create_timeout: limits::CREATE_TIMEOUT,
            call_timeout: limits::RUNTIME_CALL_TIMEOUT,
            exit_file_timeout: EXIT_FILE_TIMEOUT,
        }
    }

    /// Refuses what cannot work here, before anything is touched.
    ///
    /// # Errors
    /// InvalidParameter naming the setting.
    pub fn check(&self) -> Result<()> {
        if self.cgroup_manager == CgroupManager::Systemd {
            if !units::is_booted() {
                return Err(Error::invalid(
                    "cgroup manager \"systemd\" needs systemd as the host's init, and \
                     /run/systemd/system is not there: use \"cgroupfs\"",
                ));
            }
            self.cgroup_parent.parse::<units::Slice>()?;
        }
        if !self.run_root.is_absolute() {
            let shown = self.run_root.display();
            return Err(Error::invalid(format!(
                "run root {shown} is not an absolute path"
            )));
        }
        for name in self.runtimes.keys() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            // The name becomes a directory of the runtime's private state.
            if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                return Err(Error::invalid(format!(
                    "invalid runtime name {name:?}: only [a-zA-Z0-9_.-] are allowed"
                )));
            }
        }
        if let Some(name) = &self.default_runtime
            && !self.runtimes.contains_key(name)
        {
            return Err(Error::invalid(format!(
                "unknown or invalid runtime name: {name}"
            )));
        }
        Ok(())
    }
}

/// What a runtime is told, and what it can do where neither its name nor its program's tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeTraits {
    /// Arguments before the command of each call.
    pub args: Vec<String>,
    /// It has the options of a log in JSON.
    pub json_errors: Option<bool>,
    /// It can leave a container without a cgroup, with crun's `--cgroup-manager=disabled`.
    pub without_cgroups: Option<bool>,
}

/// Who makes the cgroups of containers and conmons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupManager {
    /// Directories in the cgroup file systems.
    #[default]
    Cgroupfs,
    /// Scopes asked of systemd over D-Bus.
    Systemd,
}

impl CgroupManager {
    /// Docker's word, `CgroupDriver` of info.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

impl std::str::FromStr for CgroupManager {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "cgroupfs" => Ok(Self::Cgroupfs),
            "systemd" => Ok(Self::Systemd),
            _ => Err(Error::invalid(format!(
                "invalid cgroup manager {word:?}: it is \"cgroupfs\" or \"systemd\""
            ))),
        }
    }
}

/// conmon's log levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the words of conmon's --log-level")]
pub enum LogLevel {
    #[default]
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of an exec's conmon. From `debug` on, its child writes two lines to what is
    /// already the session's stderr (measured with 2.1.6: "exec with attach is waiting ...").
    pub(crate) fn quiet_in_sessions(self) -> Self {
        match self {
            Self::Debug | Self::Trace => Self::Info,
            other => other,
        }
    }
}

fn usual_paths(program: &str) -> Vec<PathBuf> {
    [
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/sbin",
        "/bin",
        "/run/current-system/sw/bin",
    ]
    .iter()
    .map(|dir| PathBuf::from(dir).join(program))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    #[test]
    fn the_defaults_are_accepted() {
        Config::new("/run/moored").check().unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::new("/run/moored");
            change(&mut config);
            config.check().unwrap_err()
        };
        assert!(
            refused(|c| c.run_root = "run".into())
                .message()
                .contains("run root run")
        );
        for bad in ["", "..", "a/b", "a b"] {
            let mut config = Config::new("/run/moored");
            config.runtimes.insert(bad.into(), vec![]);
            assert_eq!(
                config.check().unwrap_err().kind(),
                Kind::InvalidParameter,
                "{bad:?}"
            );
        }
        let e = refused(|c| c.default_runtime = Some("x".into()));
        assert_eq!(e.message(), "unknown or invalid runtime name: x");
        assert!("none".parse::<CgroupManager>().is_err());
    }
}
