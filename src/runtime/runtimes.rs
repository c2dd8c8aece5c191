//! The handle of the process side: what was found on this host and what all calls share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use model::{ContainerId, Context, Error, Pid, Result, limits};
use sys::dir_watch::Watcher;
use tokio::sync::{OnceCell, Semaphore};

use crate::conmon::Features;
use crate::conmon::monitor_label;
use crate::layout::Layout;
use crate::placement::Placement;
use crate::probe::Choice;
use crate::version::VersionCache;
use crate::{CgroupManager, Config, environment};
use sys::locate::locate;

/// The configured name of an OCI runtime.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuntimeName(Arc<str>);

impl RuntimeName {
    /// The name, as `HostConfig.Runtime` has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// conmon and the OCI runtimes of this host. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Runtimes {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) placement: Placement,
    /// Calls of runtimes at once, apart from creations: a hanging creation keeps none from
    /// being killed.
    pub(crate) calls: Semaphore,
    /// Creations at once.
    pub(crate) creations: Semaphore,
    /// Starts of execs at once: those that hang in one container keep no other from starting.
    pub(crate) exec_starts: Arc<Semaphore>,
    /// Dumps at once.
    pub(crate) dumps: Semaphore,
    pub(crate) default: OnceCell<Arc<Choice>>,
    /// When no candidate worked, and why.
    pub(crate) default_failure: Mutex<Option<(Instant, Error)>>,
    pub(crate) versions: VersionCache,
    pub(crate) supports: crate::support::SupportCache,
    /// What conmon is to have of SELinux, where that is not the daemon's own label.
    pub(crate) monitor_label: Option<String>,
    search_path: Option<OsString>,
    conmon: Found,
    programs: BTreeMap<RuntimeName, Found>,
    watcher: Option<Watcher>,
}

impl Runtimes {
    /// Finds the programs and makes the directories. A missing program is no error here: it is
    /// logged now, looked for again and told when it is used. To be called inside the runtime.
    ///
    /// # Errors
    /// What is wrong with the configuration, and a directory that cannot be made.
    pub fn open(config: Config) -> Result<Self> {
        config.check()?;
        sys::spawn::seal_descriptors();
        let placement = Placement::open(&config)?;
        let layout = Layout::new(&config.run_root);
        layout.create(config.runtimes.keys())?;
        let watcher = Watcher::new()
            .inspect_err(|e| {
                tracing::warn!(error = %e, "no inotify instance (fs.inotify.max_user_instances): \
                    exits are seen by pidfd alone");
            })
            .ok();
        let name = |name: &String| (RuntimeName(name.as_str().into()), Found::default());
        let inner = Inner {
            environment: environment::fixed(|name| std::env::var_os(name), &config.environment),
            search_path: std::env::var_os("PATH"),
            programs: config.runtimes.keys().map(name).collect(),
            layout,
            placement,
            calls: Semaphore::new(limits::RUNTIME_CALLS_MAX),
            creations: Semaphore::new(limits::RUNTIME_CALLS_MAX),
            exec_starts: Arc::new(Semaphore::new(limits::RUNTIME_CALLS_MAX)),
            dumps: Semaphore::new(limits::DUMPS_MAX),
            default: OnceCell::new(),
            default_failure: Mutex::new(None),
            versions: VersionCache::default(),
            supports: crate::support::SupportCache::default(),
            monitor_label: match config.selinux {
                true => monitor_label(&sys::selinux::current().context("read the daemon's label")?),
                false => None,
            },
            conmon: Found::default(),
            watcher,
            config,
        };
        let this = Self {
            inner: Arc::new(inner),
        };
        if let Err(e) = this.conmon() {
            tracing::warn!("{e}");
        }
        for name in this.names() {
            if let Err(e) = this.program(&name) {
                tracing::info!("{e}");
            }
        }
        Ok(this)
    }

    /// The runtime a container asked for by name, or the default one.
    ///
    /// # Errors
    /// InvalidParameter in Docker's words for a name that is not configured, and for one that cannot
    /// leave a container without cgroups, where that is asked for. Without a name as
    /// [`Runtimes::default_runtime`].
    pub async fn resolve(&self, name: Option<&str>, no_cgroups: bool) -> Result<RuntimeName> {
        let runtime = self.choose_by(name).await?;
        if no_cgroups && !self.can_do_without_cgroups(&runtime) {
            return Err(Error::invalid(format!(
                "the runtime {runtime} cannot leave a container without cgroups: crun can"
            )));
        }
        Ok(runtime)
    }

    async fn choose_by(&self, name: Option<&str>) -> Result<RuntimeName> {
        match name.filter(|n| !n.is_empty()) {
            Some(name) => self.named(name),
            None => self.default_runtime().await,
        }
    }

    /// The configured runtime `name`; also how a name from the ledger becomes a value again.
    ///
    /// # Errors
    /// InvalidParameter in Docker's words.
    pub fn named(&self, name: &str) -> Result<RuntimeName> {
        let known = self.inner.programs.keys().find(|k| k.as_str() == name);
        known
            .cloned()
            .ok_or_else(|| Error::invalid(format!("unknown or invalid runtime name: {name}")))
    }

    /// Who makes the cgroups, for `info`.
    pub fn cgroup_manager(&self) -> CgroupManager {
        self.inner.config.cgroup_manager
    }

    /// The configured names, in order.
    pub fn names(&self) -> Vec<RuntimeName> {
        self.inner.programs.keys().cloned().collect()
    }

    /// The program of a runtime.
    ///
    /// # Errors
    /// System, saying what to install.
    pub fn program(&self, name: &RuntimeName) -> Result<PathBuf> {
        let (Some(found), Some(configured)) = (
            self.inner.programs.get(name),
            self.inner.config.runtimes.get(name.as_str()),
        ) else {
            return Err(Error::invalid(format!(
                "unknown or invalid runtime name: {name}"
            )));
        };
        self.find(found, name.as_str(), configured)
    }

    /// The program of conmon.
    ///
    /// # Errors
    /// System, saying what to install.
    pub fn conmon(&self) -> Result<PathBuf> {
        let inner = &self.inner;
        self.find(&inner.conmon, "conmon", &inner.config.conmon_paths)
    }

    /// The shared inotify instance, for others that follow files. `None` when the host gave none.
    pub fn watcher(&self) -> Option<&Watcher> {
        self.inner.watcher.as_ref()
    }

    /// Whether a container is frozen now, whoever froze it; asked of the cgroup of its first
    /// process. `None` when it is gone.
    ///
    /// # Errors
    /// System, when the cgroup cannot be read.
    pub fn is_paused(&self, init: Pid) -> Result<Option<bool>> {
        let frozen = self.inner.placement.hierarchies.is_frozen(init);
        frozen.context("cannot read the freezer of the container")
    }

    /// Bytes of memory a container uses now, without what the kernel can take back, where it would kill to
    /// bring that below a new limit: on cgroup v2. `None` elsewhere, and when it is gone.
    ///
    /// # Errors
    /// System, when the cgroup cannot be read.
    pub fn memory_at_stake(&self, id: &ContainerId, init: Pid) -> Result<Option<u64>> {
        let hierarchies = &self.inner.placement.hierarchies;
        let used = hierarchies.memory_held(init, id.as_str());
        used.context("cannot read the memory of the container")
    }

    /// All processes of a container, those of its first process' cgroup and below; where it has no
    /// cgroup of its own, those of its pid namespace.
    ///
    /// # Errors
    /// System, when /proc cannot be read.
    pub fn processes(&self, init: Pid, no_cgroups: bool) -> Result<Vec<Pid>> {
        let found = match no_cgroups {
            true => sys::proc::same_pid_namespace(init),
            false => self.inner.placement.hierarchies.processes(init),
        };
        found.context("cannot read the processes of the container")
    }

    /// Where containers' cgroups are.
    pub fn hierarchies(&self) -> &sys::cgroup::Hierarchies {
        &self.inner.placement.hierarchies
    }

    /// Removes the conmons' cgroup when the last of them is gone. To be called when the daemon
    /// ends or has removed a container; what is in use stays.
    pub fn tidy_cgroup(&self) {
        if let Err(e) = self.inner.placement.tidy() {
            tracing::warn!(error = %e, "the cgroup of the conmons cannot be removed");
        }
    }

    /// Where the cgroup of a container is to be, as its `linux.cgroupsPath` has it.
    ///
    /// # Errors
    /// InvalidParameter in Docker's words for a parent that is no slice where it must be one.
    pub fn cgroups_path(&self, id: &ContainerId, parent: Option<&str>) -> Result<String> {
        self.inner.placement.of_container(id.as_str(), parent)
    }

    /// What conmon can do; asks each version of it once.
    pub(crate) async fn features(&self) -> Result<Features> {
        let program = self.program_info("conmon", &self.conmon()?).await?;
        Ok(Features::of_version(&program.version))
    }

    /// A program that was found stays where it is, until it is gone: an upgrade may move it. A
    /// missing one may be installed while we run.
    fn find(&self, found: &Found, name: &str, configured: &[PathBuf]) -> Result<PathBuf> {
        let mut found = found.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*found {
            Some(path) if path.exists() => return Ok(path.clone()),
            _ => {}
        }
        let path = locate(name, configured, self.inner.search_path.as_deref())?;
        *found = Some(path.clone());
        Ok(path)
    }
}

/// Where a program was found.
#[derive(Debug, Default)]
struct Found(Mutex<Option<PathBuf>>);

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    #[tokio::test]
    async fn missing_programs_do_not_keep_the_daemon_from_starting() {
        let run = tempfile::tempdir().unwrap();
        let mut config = Config::new(run.path());
        config.conmon_paths = vec!["/no/conmon".into()];
        config.runtimes = [("nosuchruntime".to_owned(), vec!["/no/runtime".into()])].into();
        let runtimes = Runtimes::open(config).unwrap();
        let name = runtimes.named("nosuchruntime").unwrap();
        let e = runtimes.program(&name).unwrap_err();
        assert!(e.message().contains("nosuchruntime was not found"), "{e}");
        assert!(run.path().join("oci/nosuchruntime").is_dir());
    }

    #[tokio::test]
    async fn an_unknown_name_is_refused_in_dockers_words() {
        let run = tempfile::tempdir().unwrap();
        let runtimes = Runtimes::open(Config::new(run.path())).unwrap();
        let e = runtimes.resolve(Some("x"), false).await.unwrap_err();
        assert_eq!(e.kind(), Kind::InvalidParameter);
        assert_eq!(e.message(), "unknown or invalid runtime name: x");
        assert_eq!(
            runtimes
                .resolve(Some("runc"), false)
                .await
                .unwrap()
                .as_str(),
            "runc"
        );
    }

    #[tokio::test]
    async fn a_program_that_has_moved_is_looked_for_again() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        let install = |path: &PathBuf| {
            std::fs::write(path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let mut config = Config::new(dir.path().join("run"));
        config.runtimes = [("mine".to_owned(), vec![first.clone(), second.clone()])].into();
        install(&first);
        let runtimes = Runtimes::open(config).unwrap();
        let name = runtimes.named("mine").unwrap();
        assert_eq!(runtimes.program(&name).unwrap(), first);
        install(&second);
        assert_eq!(runtimes.program(&name).unwrap(), first);
        std::fs::remove_file(&first).unwrap();
        assert_eq!(runtimes.program(&name).unwrap(), second);
    }
}
