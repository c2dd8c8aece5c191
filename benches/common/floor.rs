//! The floor: overlay, conmon and the OCI runtime by hand, nothing else.
//!
//! The bundle's `config.json` is the daemon's own for a container that runs meanwhile, with
//! another root, so both sides start the same process under the same restrictions. It works in the
//! daemon's mount namespace ([`enter`]): there the runtime finds the same cgroups.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use sys::cgroup::Hierarchies;
use testkit::Daemon;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The cgroup its containers are in.
pub(crate) const CGROUP: &str = "moored-floor";

/// The programs and the pattern of what is started.
#[derive(Debug)]
pub struct Floor {
    root: tempfile::TempDir,
    runtime: PathBuf,
    conmon: PathBuf,
    config: Value,
    lower: PathBuf,
    model: String,
    model_root_arg: String,
}

/// Moves the calling thread for good into the mount namespace of `daemon`, where the floor must
/// work.
///
/// # Panics
/// When we are not root.
pub fn enter(daemon: &Daemon) {
    let namespace = File::open(format!("/proc/{}/ns/mnt", daemon.pid())).expect("the daemon runs");
    // A thread that shares its working directory with others cannot change its mounts.
    unshare(CloneFlags::CLONE_FS).expect("a thread may have a working directory of its own");
    setns(&namespace, CloneFlags::CLONE_NEWNS).expect("we are root");
}

impl Floor {
    /// Starts the model, a container of `daemon`, and learns the spec from it. What it makes
    /// itself is below `dir`. The run root of the daemon must be visible here.
    ///
    /// # Panics
    /// When the daemon does not do it, or a program is not installed.
    pub fn new(daemon: &Daemon, runtime: &str, dir: &Path, binds: &[String]) -> Self {
        let body = json!({
            "Image": "busybox", "Cmd": ["sleep", "1000000"],
            "HostConfig": {"NetworkMode": "none", "Binds": binds},
        });
        let made = daemon.http.post_json("/containers/create", &body);
        let made = made.expect(201).json();
        let model = made["Id"].as_str().expect("an id").to_owned();
        let start = format!("/containers/{model}/start");
        daemon.http.post(&start).expect(204);
        let bundle = daemon.root().join("run/bundles").join(&model);
        let text = fs::read(bundle.join("config.json")).expect("the model's spec");
        let config = serde_json::from_slice(&text).expect("a spec is JSON");
        let inspect = daemon.http.get(&format!("/containers/{model}/json"));
        let inspect = inspect.expect(200).json();
        let lower = inspect["GraphDriver"]["Data"]["LowerDir"].as_str();
        let find = |name: &str| {
            sys::host::find_program(name).unwrap_or_else(|| panic!("{name} is not installed"))
        };
        Self {
            root: tempfile::tempdir_in(dir).expect("a directory"),
            runtime: find(runtime),
            conmon: find("conmon"),
            config,
            lower: lower.expect("a layer").into(),
            model,
            model_root_arg: format!(
                "--root={}",
                daemon.root().join("run/oci").join(runtime).display()
            ),
        }
    }

    /// The container that runs all the time.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The runtime's option for the place of the model's state.
    pub(crate) fn model_root_arg(&self) -> &str {
        &self.model_root_arg
    }

    pub(crate) fn config(&self) -> &Value {
        &self.config
    }

    pub(crate) fn lower(&self) -> &PathBuf {
        &self.lower
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn conmon(&self) -> &Path {
        &self.conmon
    }

    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Removes the model and the cgroup. On a thread that has entered.
    ///
    /// # Panics
    /// When a container is left.
    pub fn end(self, daemon: &Daemon) {
        let hierarchies = Hierarchies::detect().expect("/proc is mounted");
        hierarchies
            .remove_if_empty(Path::new(CGROUP))
            .expect("it is a plain path");
        let path = format!("/containers/{}?force=1", self.model);
        daemon.http.delete(&path).expect(204);
    }
}

/// A runtime for what conmon's pipes need.
pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
