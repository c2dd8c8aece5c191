//! How a test wants its daemon.

use std::path::{Path, PathBuf};

use crate::Fakes;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) program: PathBuf,
    /// `--runtime`; `None` leaves the choice to the daemon.
    pub(crate) runtime: Option<String>,
    /// Run where /sys/fs/cgroup/unified is unmounted, as crun on a hybrid host needs it.
    pub(crate) hide_unified: bool,
    /// Load busybox once it is up.
    pub(crate) image: bool,
    /// Its configuration file.
    pub(crate) config: Option<String>,
    /// Its `$PATH`; `None` is ours.
    pub(crate) path: Option<PathBuf>,
    /// Put the data root on a file system of that size.
    pub(crate) data_root_bytes: Option<u64>,
    /// That file system is on a disk that can lose its power.
    pub(crate) has_disk: bool,
    /// Containers that name no network are on the default one.
    pub(crate) networks: bool,
    /// It listens on a second socket, too.
    pub(crate) docker_socket: bool,
    /// What it is started through: a program that becomes it, and that program's arguments.
    pub(crate) through: Vec<String>,
}

impl Options {
    /// A daemon with runc and the busybox image.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            runtime: Some("runc".to_owned()),
            hide_unified: false,
            image: true,
            config: None,
            path: None,
            data_root_bytes: None,
            has_disk: false,
            networks: false,
            docker_socket: false,
            through: Vec::new(),
        }
    }

    /// Without loading an image.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.image = false;
        self
    }

    /// With a default network: without it containers that name none have loopback alone.
    #[must_use]
    pub fn networks(mut self) -> Self {
        self.networks = true;
        self
    }

    /// With a configuration file.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// With another `$PATH`.
    #[must_use]
    pub fn path(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// With a data root that can be filled: a file system of its own, seen in the daemon's mount
    /// namespace only (see [`Daemon::inside`]).
    #[must_use]
    pub fn data_root_of_bytes(mut self, size: u64) -> Self {
        self.data_root_bytes = Some(size);
        self
    }

    /// With a data root on a disk of its own; see [`crate::Daemon::lose_power`].
    #[must_use]
    pub fn data_root_on_disk_of_bytes(mut self, size: u64) -> Self {
        self.data_root_bytes = Some(size);
        self.has_disk = true;
        self
    }

    /// With a second socket, [`crate::Daemon::docker_socket`].
    #[must_use]
    pub fn docker_socket(mut self) -> Self {
        self.docker_socket = true;
        self
    }

    /// With another soft limit of open files.
    #[must_use]
    pub fn open_files(mut self, soft: u64) -> Self {
        self.through = vec!["prlimit".to_owned(), format!("--nofile={soft}:")];
        self
    }

    /// With another limit of open files, which the daemon cannot raise.
    #[must_use]
    pub fn open_files_max(mut self, hard: u64) -> Self {
        self.through = vec!["prlimit".to_owned(), format!("--nofile={hard}:{hard}")];
        self
    }

    /// With the fake conmon and runc in place of the real ones.
    #[must_use]
    pub fn fakes(mut self, fakes: &Fakes) -> Self {
        self.config = Some(format!(
            "[conmon]\npaths = [{:?}]\n[runtimes.runc]\npaths = [{:?}]\n",
            fakes.path("conmon"),
            fakes.path("runc"),
        ));
        self
    }

    /// With more lines at the end of the configuration file.
    #[must_use]
    pub fn and_config(mut self, text: &str) -> Self {
        self.config.get_or_insert_default().push_str(text);
        self
    }

    /// With another runtime; crun gets the namespace it needs.
    #[must_use]
    pub fn runtime(mut self, name: &str) -> Self {
        self.runtime = Some(name.to_owned());
        self.hide_unified = name == "crun";
        self
    }
}
