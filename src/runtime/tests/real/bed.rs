//! A place to run containers in, and the census after it.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use model::{ContainerId, ExitStatus};
use runtime::{Config, CreateTask, ExitReport, RuntimeName, Runtimes, Stdin, Task, TaskEvent};
use serde_json::{Value, json};

/// How long anything here may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(1);

/// One run root with its containers.
pub(crate) struct Bed {
    pub(crate) runtimes: Runtimes,
    pub(crate) config: Config,
    dir: tempfile::TempDir,
    ids: std::cell::RefCell<Vec<ContainerId>>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// A bed whose configuration was changed; `change` also gets the bed's directory.
    pub(crate) fn with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut config = Config::new(dir.path().join("run"));
        config.cgroup_parent = format!("moored-test-{}-{number}", std::process::id());
        change(&mut config, dir.path());
        let runtimes = Runtimes::open(config.clone()).unwrap();
        runtimes.conmon().expect("these tests need conmon");
        Self {
            runtimes,
            config,
            dir,
            ids: std::cell::RefCell::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn runc(&self) -> RuntimeName {
        let runc = self.runtimes.named("runc").unwrap();
        self.runtimes.program(&runc).expect("these tests need runc");
        runc
    }

    /// The paths a container has.
    pub(crate) fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.dir.path().join(id.as_str())
    }

    pub(crate) fn rootfs(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("rootfs")
    }

    /// A bundle that runs a shell script, and the request to create it.
    pub(crate) fn sh(&self, script: &str) -> CreateTask {
        self.container(|config| config["process"]["args"] = json!(["/bin/sh", "-c", script]))
    }

    /// A bundle with a changed config.json, and the request to create it.
    pub(crate) fn container(&self, change: impl FnOnce(&mut Value)) -> CreateTask {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0xab; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes[4..8].copy_from_slice(&std::process::id().to_be_bytes());
        let id = ContainerId::from_bytes(bytes);
        self.ids.borrow_mut().push(id.clone());
        let bin = self.rootfs(&id).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for dir in ["proc", "dev", "etc"] {
            std::fs::create_dir(self.rootfs(&id).join(dir)).unwrap();
        }
        std::fs::copy("/bin/busybox", bin.join("busybox"))
            .expect("these tests need busybox-static (Debian: apt install busybox-static)");
        for applet in [
            "sh", "sleep", "cat", "echo", "stty", "head", "tail", "true", "kill",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut config = base_config(&self.config.cgroup_parent, &id, &self.rootfs(&id));
        change(&mut config);
        std::fs::write(self.bundle(&id).join("config.json"), config.to_string()).unwrap();
        CreateTask {
            bundle: self.bundle(&id),
            log_path: Some(self.bundle(&id).join("ctr.log")),
            journal: None,
            runtime: self.runc(),
            tty: config["process"]["terminal"] == json!(true),
            stdin: Stdin::Closed,
            restore: None,
            notifies: false,
            no_cgroups: false,
            descriptors: Default::default(),
            held: Default::default(),
            output_owner: None,
            mounts: None,
            id,
        }
    }

    /// Creates and starts.
    pub(crate) async fn run(&self, request: CreateTask) -> Task {
        let task = soon(self.runtimes.create(request)).await.unwrap();
        soon(task.start()).await.unwrap();
        task
    }

    /// The container's output: its log without times, streams and marks.
    pub(crate) fn output(&self, id: &ContainerId) -> String {
        let log = std::fs::read_to_string(self.bundle(id).join("ctr.log")).unwrap_or_default();
        let text = |line: &str| {
            line.splitn(4, ' ')
                .nth(3)
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        };
        log.lines().map(text).collect::<Vec<_>>().join("\n")
    }

    /// Lets a script that waits for /go proceed.
    pub(crate) fn go(&self, id: &ContainerId) {
        std::fs::write(self.rootfs(id).join("go"), "").unwrap();
    }

    /// Waits until the container has printed `text`.
    pub(crate) async fn printed(&self, id: &ContainerId, text: &str) {
        until(|| self.output(id).contains(text)).await;
    }

    /// What a container that has ended takes, in the engine's order.
    pub(crate) async fn remove(&self, task: Task) {
        let (id, runtime) = (task.id().clone(), task.runtime().clone());
        self.runtimes.delete(&id, &runtime, false).await.unwrap();
        self.runtimes.forget(&id, &self.bundle(&id)).await;
    }

    /// Fails when anything of the container is left but what the test made.
    pub(crate) async fn assert_nothing_left(&self, id: &ContainerId) {
        // A killed process is seen in /proc until its parent has collected it.
        until(|| processes_naming(id.as_str()).is_empty()).await;
        let run = self.path("run");
        let found = walk(&run).into_iter().filter(|p| p.contains(id.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
        for name in ["attach", "ctl", "winsz", "oom"] {
            assert!(!self.bundle(id).join(name).exists(), "{name} is left");
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for id in self.ids.borrow().iter() {
            // The exit file is there a little before its conmon is gone.
            let patience = Instant::now() + Duration::from_secs(10);
            while !std::thread::panicking() && !processes_naming(id.as_str()).is_empty() {
                assert!(Instant::now() < patience, "processes of {id} are left");
                std::thread::yield_now();
            }
            for line in processes_naming(id.as_str()) {
                let pid = line.split(' ').next().unwrap().parse().unwrap();
                let pid = model::Pid::new(pid).unwrap();
                // A test failed half way; its container must not outlive it.
                let _ = std::process::Command::new("/bin/kill")
                    .args(["-KILL", &pid.get().to_string()])
                    .status();
            }
            for name in ["runc", "crun"] {
                let root = self.path("run/oci").join(name);
                if root.join(id.as_str()).exists() {
                    let _ = std::process::Command::new(name)
                        .arg("--root")
                        .arg(&root)
                        .args(["delete", "--force", id.as_str()])
                        .status();
                }
            }
        }
        self.runtimes.tidy_cgroup();
        if !std::thread::panicking() {
            let left = walk_cgroups(&self.config.cgroup_parent);
            assert_eq!(left, Vec::<PathBuf>::new(), "cgroups are left");
        }
    }
}

/// `future` within [`PATIENCE`].
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// The end of a container, and whether its conmon was lost before.
pub(crate) async fn ended(task: &mut Task) -> (ExitReport, bool) {
    let mut lost = false;
    loop {
        match soon(task.next_event()).await {
            TaskEvent::Notified(said) => panic!("it said {said:?}"),
            TaskEvent::MonitorLost => {
                assert!(!lost, "told twice");
                lost = true;
            }
            TaskEvent::Exited(report) => return (report, lost),
        }
    }
}

pub(crate) async fn exit_code(task: &mut Task) -> u8 {
    match ended(task).await.0.status {
        ExitStatus::Known(code) => code,
        ExitStatus::Unknown(reason) => panic!("unknown: {reason:?}"),
    }
}

/// Waits for a condition, looking often.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    })
    .await;
}

/// A shell script in place of a program.
pub(crate) fn script(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// `pid command line` of the processes that name `id` on theirs.
pub(crate) fn processes_naming(id: &str) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(id).then(|| format!("{pid} {line}"))
    })
    .collect()
}

fn walk(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

fn walk_cgroups(name: &str) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let below = hierarchies.map(|h| h.path().join(name));
    let root = Path::new("/sys/fs/cgroup").join(name);
    below.chain([root]).filter(|p| p.exists()).collect()
}

fn base_config(cgroup_parent: &str, id: &ContainerId, rootfs: &Path) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "args": ["/bin/true"], "cwd": "/",
            "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        },
        "root": {"path": rootfs},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        ],
        "linux": {
            "cgroupsPath": format!("/{cgroup_parent}/{id}"),
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network"},
            ],
        },
    })
}
