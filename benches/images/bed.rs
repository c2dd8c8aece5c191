//! Where an engine works in one round: a new file system, and namespaces of its own.
//!
//! The file system is ext4 on a file, made for the round: with many files every engine slows down on
//! one that was used before. `/run`, `/etc` and `/var/lib` of the bed forget what is written there.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Namespace, require, until};

/// Of the file system; the file is sparse.
const DISK_BYTES: u64 = 8 << 30;
/// Where the registry listens: on loopback, so that nobody asks for TLS.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// The bed.
#[derive(Debug)]
pub(crate) struct Bed {
    /// Of everything that is not measured: the disk's file, logs, sockets.
    dir: tempfile::TempDir,
    namespace: Namespace,
    others: Vec<Child>,
}

impl Bed {
    /// Makes the file system and mounts it in new namespaces.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bed = Self {
            dir,
            namespace: Namespace::new(false),
            others: Vec::new(),
        };
        let disk = bed.path("disk");
        let made = File::create(&disk).expect("a file in our dir");
        made.set_len(DISK_BYTES).expect("it is sparse");
        std::fs::create_dir(bed.root()).expect("a directory in ours");
        let mkfs = require("mkfs.ext4", "e2fsprogs");
        // All of its tables now, not by a thread of the kernel while something is measured.
        let at_once = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new(mkfs).args(["-q", "-E", at_once]).arg(&disk));
        let script = r#"
            set -e
            mount -o loop "$1" "$2"
            mount -t tmpfs tmpfs /mnt
            for place in run etc var/lib; do
                mkdir -p /mnt/$place/upper /mnt/$place/work
                mount -t overlay -o "lowerdir=/$place,upperdir=/mnt/$place/upper,workdir=/mnt/$place/work" \
                    overlay /$place
            done
            printf '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers.policy
            mkdir -p /etc/containers
            mv /etc/containers.policy /etc/containers/policy.json
            printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$3" >/etc/containers/registries.conf
        "#;
        let mut prepare = bed.command("sh");
        prepare
            .args(["-c", script, "sh"])
            .args([&disk, &bed.root()]);
        run(prepare.arg(REGISTRY));
        bed
    }

    /// A path of what is not measured; seen inside as outside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the new file system is mounted, inside.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A program inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command(program);
        command.stdin(Stdio::null());
        command
    }

    /// A shell's script inside, with arguments.
    pub(crate) fn shell(&self, script: &str, args: &[&Path]) -> Command {
        let mut command = self.command("bash");
        command
            .args(["-e", "-o", "pipefail", "-c", script, "bash"])
            .args(args);
        command
    }

    /// Starts a program that runs until the bed ends. What it says goes to a file.
    pub(crate) fn start(&mut self, mut command: Command, log: &str) {
        let log = File::create(self.path(log)).expect("a file in our dir");
        command
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        let child = command.spawn().expect("nsenter(1) of util-linux runs");
        self.others.push(child);
    }

    /// What a program said, its end.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts a registry that keeps its data in `store`.
    pub(crate) fn start_registry(&mut self, store: &Path) {
        let config = self.path("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {REGISTRY}, secret: x}}\n",
            store.display()
        );
        std::fs::write(&config, text).expect("a file in our dir");
        let mut command = self.command(require("docker-registry", "docker-registry"));
        command.arg("serve").arg(config);
        self.start(command, "registry.log");
        until("the registry answers", || {
            let mut curl = self.command("curl");
            curl.args(["-s", "-o", "/dev/null"])
                .arg(format!("http://{REGISTRY}/v2/"));
            curl.status().is_ok_and(|status| status.success())
        });
    }

    /// How long the file system needs to be on the disk.
    pub(crate) fn sync(&self) -> Duration {
        let mut command = self.command("sync");
        command.arg("-f").arg(self.root());
        timed(command)
    }

    /// The pids of the programs that it started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.others.iter().map(Child::id).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // The youngest first: an engine, then its registry.
        for child in self.others.iter_mut().rev() {
            let pid = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let start = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if start.elapsed() > Duration::from_secs(15) {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Runs it to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) {
    let status = command.status().expect("it runs");
    assert!(status.success(), "{command:?}: {status}");
}

/// How long it takes to its end, which must be a good one.
pub(crate) fn timed(mut command: Command) -> Duration {
    let start = Instant::now();
    run(&mut command);
    start.elapsed()
}
