//! The floor: overlay, conmon and the OCI runtime by hand, nothing else.
//!
//! The bundle's `config.json` is the daemon's own for a container that runs meanwhile, with
//! another root, so both sides start the same process under the same restrictions. It runs in the
//! daemon's mount namespace ([`Floor::enter`]): there the runtime finds the same cgroups.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use sys::cgroup::Hierarchies;
use sys::mount::{Overlay, OverlayApi, overlay, unmount};
use sys::seqpacket::pair;
use sys::spawn::Program;
use testkit::Daemon;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The cgroup its containers are in.
const CGROUP: &str = "moored-floor";

/// The programs and the pattern of a cycle.
pub(crate) struct Floor {
    root: tempfile::TempDir,
    runtime: PathBuf,
    conmon: PathBuf,
    config: Value,
    lower: PathBuf,
    model: String,
    model_root_arg: String,
    mount_namespace: File,
}

impl Floor {
    /// Learns the spec from a container of `daemon`, whose run root must be visible here.
    pub(crate) fn new(daemon: &Daemon, runtime: &str) -> Self {
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}});
        let made = daemon
            .http
            .post_json("/containers/create", &body)
            .expect(201)
            .json();
        let model = made["Id"].as_str().expect("an id").to_owned();
        daemon
            .http
            .post(&format!("/containers/{model}/start"))
            .expect(204);
        let bundle = daemon.root().join("run/bundles").join(&model);
        let text = fs::read(bundle.join("config.json")).expect("the model's spec");
        let mut config: Value = serde_json::from_slice(&text).expect("a spec is JSON");
        config["process"]["args"] = json!(["true"]);
        let inspect = daemon
            .http
            .get(&format!("/containers/{model}/json"))
            .expect(200)
            .json();
        let lower = inspect["GraphDriver"]["Data"]["LowerDir"]
            .as_str()
            .expect("a layer")
            .into();
        let find = |name: &str| {
            sys::host::find_program(name).unwrap_or_else(|| panic!("{name} is not installed"))
        };
        Self {
            root: tempfile::tempdir().expect("a directory"),
            runtime: find(runtime),
            conmon: find("conmon"),
            config,
            lower,
            model,
            model_root_arg: format!(
                "--root={}",
                daemon.root().join("run/oci").join(runtime).display()
            ),
            mount_namespace: File::open(format!("/proc/{}/ns/mnt", daemon.pid()))
                .expect("the daemon runs"),
        }
    }

    /// The container that runs all the time.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// The runtime's option for the place of the model's state.
    pub(crate) fn model_root_arg(&self) -> &str {
        &self.model_root_arg
    }

    /// What an exec of `true` in the model is.
    pub(crate) fn process(&self) -> &Value {
        &self.config["process"]
    }

    /// Its own directory.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// conmon.
    pub(crate) fn conmon(&self) -> &Path {
        &self.conmon
    }

    /// The OCI runtime.
    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Moves the calling thread for good into the daemon's mount namespace, where its cycles
    /// must run.
    pub(crate) fn enter(&self) {
        // A thread that shares its working directory with others cannot change its mounts.
        unshare(CloneFlags::CLONE_FS).expect("a thread may have a working directory of its own");
        setns(&self.mount_namespace, CloneFlags::CLONE_NEWNS).expect("we are root");
    }

    /// Removes the model and the cgroup. On a thread that has entered.
    pub(crate) fn end(self, daemon: &Daemon) {
        let hierarchies = Hierarchies::detect().expect("/proc is mounted");
        hierarchies
            .remove_if_empty(Path::new(CGROUP))
            .expect("it is a plain path");
        daemon
            .http
            .delete(&format!("/containers/{}?force=1", self.model))
            .expect(204);
    }

    /// One container from bundle to removal.
    pub(crate) fn cycle(&self, number: usize) {
        let id = format!("floor{}x{number}", std::process::id());
        let dir = self.root.path().join(&id);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(self.run(&id, &dir));
    }

    async fn run(&self, id: &str, dir: &Path) {
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| dir.join(name));
        for path in [&upper, &work, &merged] {
            fs::create_dir_all(path).expect("a directory");
        }
        let layers = Overlay {
            lower: std::slice::from_ref(&self.lower),
            upper: &upper,
            work: &work,
        };
        overlay(OverlayApi::Fsopen, layers, &merged).expect("an overlay");
        let mut config = self.config.clone();
        config["root"]["path"] = json!(merged);
        config["linux"]["cgroupsPath"] = json!(format!("/{CGROUP}/{id}"));
        fs::write(dir.join("config.json"), config.to_string()).expect("a spec");

        let (sync, sync_end) = pair().expect("a pair");
        let (start, start_end) = pair().expect("a pair");
        let state = self.root.path().join("state");
        let root_arg = format!("--root={}", state.display());
        let log = format!("k8s-file:{}", dir.join("log").display());
        let pid_file = dir.join("pidfile");
        let args: Vec<std::ffi::OsString> = vec![
            "--api-version".into(),
            "-c".into(),
            id.into(),
            "-u".into(),
            id.into(),
            "-r".into(),
            self.runtime.clone().into(),
            "-b".into(),
            dir.into(),
            "-p".into(),
            pid_file.into(),
            "-l".into(),
            log.into(),
            "--exit-dir".into(),
            dir.into(),
            "--full-attach".into(),
            "--no-sync-log".into(),
            "--runtime-arg".into(),
            root_arg.clone().into(),
        ];
        let env = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("_OCI_SYNCPIPE", "3"),
            ("_OCI_STARTPIPE", "4"),
        ];
        let conmon = Program::new(&self.conmon)
            .args(args)
            .env(env)
            .dir(dir)
            .fd(3, sync_end)
            .fd(4, start_end);
        let conmon = conmon.start().expect("conmon starts");
        start.send(&[0]).await.expect("conmon reads");
        assert!(
            conmon
                .finish(DEADLINE)
                .await
                .expect("conmon ends")
                .status
                .success()
        );
        let created = sync
            .receive()
            .await
            .expect("a packet")
            .expect("not the end");
        assert!(
            created.starts_with(b"{\"data\": "),
            "{}",
            String::from_utf8_lossy(&created)
        );
        self.call(&root_arg, "start", id).await;
        assert!(sync.receive().await.expect("the end").is_none());
        assert_eq!(fs::read(dir.join(id)).expect("an exit file"), b"0");
        self.call(&root_arg, "delete", id).await;
        unmount(&merged, false).expect("it is mounted");
        fs::remove_dir_all(dir).expect("it is ours");
    }

    async fn call(&self, root_arg: &str, verb: &str, id: &str) {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")];
        let done = Program::new(&self.runtime)
            .args([root_arg, verb, id])
            .env(env)
            .run(DEADLINE);
        let done = done.await.expect("the runtime runs");
        assert!(done.status.success(), "{verb}: {}", done.message());
    }
}
