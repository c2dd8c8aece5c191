//! A bundle in a temporary directory and a real runtime that runs it, for the tests beside.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::user;
use crate::*;

const APPLETS: [&str; 24] = [
    "sh", "id", "cat", "grep", "env", "hostname", "unshare", "mount", "touch", "ls", "readlink",
    "wc", "echo", "head", "stty", "sysctl", "awk", "sed", "tr", "test", "mkdir", "dd", "umount",
    "mknod",
];

/// A runtime by its name; crun refuses hybrid cgroup hosts unless the v2 mount is out of sight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Runtime {
    Runc,
    Crun,
}

impl Runtime {
    fn program(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }

    /// Why it cannot be used here, if it cannot.
    fn missing(self) -> Option<String> {
        if !is_root() {
            return Some("not root".into());
        }
        if !Path::new("/bin/busybox").exists() {
            return Some("no /bin/busybox".into());
        }
        let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(self.program()).exists());
        (!found).then(|| format!("no {}", self.program()))
    }

    fn command(self) -> Command {
        // A test must not hang: no container here runs longer than a second.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]);
        match self {
            Self::Runc => {
                command.arg("runc");
            }
            Self::Crun => {
                command.args([
                    "unshare",
                    "--mount",
                    "--propagation=private",
                    "sh",
                    "-c",
                    "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"",
                    "crun",
                ]);
            }
        }
        command
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// A bundle in a temporary directory.
pub(super) struct Bundle {
    pub(super) runtime: Runtime,
    pub(super) dir: tempfile::TempDir,
    id: ContainerId,
    pub(super) host: HostFacts,
}

impl Bundle {
    pub(super) fn new(runtime: Runtime) -> Option<Self> {
        if let Some(why) = runtime.missing() {
            eprintln!("skipped: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut seed = [0; 32];
        let name = dir.path().file_name().unwrap().as_encoded_bytes().to_vec();
        let pid = std::process::id().to_le_bytes();
        for (to, from) in seed.iter_mut().zip(pid.iter().chain(&name)) {
            *to = *from;
        }
        let bundle = Self {
            runtime,
            dir,
            id: ContainerId::from_bytes(seed),
            host: HostFacts::probe(),
        };
        bundle.fill_rootfs();
        Some(bundle)
    }

    fn fill_rootfs(&self) {
        let root = self.rootfs();
        for dir in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("/bin/busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv/app:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            root.join("etc/group"),
            "root:x:0:\napp:x:1001:\nvideo:x:44:app\n",
        )
        .unwrap();
        for file in ["resolv.conf", "hosts", "hostname"] {
            fs::write(self.dir.path().join(file), format!("the {file}\n")).unwrap();
        }
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("bundle/rootfs")
    }

    /// Runs `script` in the container and gives its standard output; the command must succeed.
    pub(super) fn run(
        &self,
        spec: ContainerSpec,
        mounts: &[ResolvedMount],
        script: &str,
    ) -> String {
        let output = self.output(spec, mounts, script, false);
        assert!(
            output.status.success(),
            "{:?}: {}\n{}",
            self.runtime,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn output(
        &self,
        spec: ContainerSpec,
        mounts: &[ResolvedMount],
        script: &str,
        in_pty: bool,
    ) -> Output {
        let spec = ContainerSpec {
            cmd: Some(["sh", "-c", script].map(String::from).into()),
            env: [&spec.env[..], &["PATH=/bin".to_owned()]].concat(),
            ..spec
        };
        check(&spec, &self.host).unwrap();
        let user = user::resolve(&self.rootfs(), &spec.user, &spec.group_add).unwrap();
        let devices = resolve_devices(&spec).unwrap();
        let block_devices = resolve_block_devices(&spec.resources.block_io).unwrap();
        let rootfs = self.rootfs();
        let file = |name| self.dir.path().join(name);
        let (resolv_conf, hosts, hostname) = (file("resolv.conf"), file("hosts"), file("hostname"));
        let cgroups_path = self.cgroup();
        let built = build(&SpecInput {
            id: &self.id,
            spec: &spec,
            rootfs: &rootfs,
            hostname: "inside",
            user: &user,
            mounts,
            devices: &devices,
            joined: Joined::NOTHING,
            block_devices: &block_devices,
            edits: &cdi::Edits::NONE,
            resolv_conf: Some(&resolv_conf),
            hosts: Some(&hosts),
            hostname_file: Some(&hostname),
            init_binary: Some(Path::new("/usr/bin/catatonit")),
            apparmor: None,
            notify_dir: None,
            cgroups_path: &cgroups_path,
            knows_rro: true,
            runtime: "runc",
            console_size: None,
            host: &self.host,
        })
        .unwrap();
        fs::write(
            self.dir.path().join("bundle/config.json"),
            built.config_json,
        )
        .unwrap();
        let mut command = self.runtime.command();
        self.root(&mut command)
            .args(["run", "--bundle"])
            .arg(self.dir.path().join("bundle"))
            .arg(self.id.as_str());
        if in_pty {
            command = in_terminal(&command);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn root<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.arg("--root").arg(self.dir.path().join("state"))
    }

    fn cgroup(&self) -> String {
        format!("/moored-spec-test-{}", self.id.as_str())
    }

    pub(super) fn v1(&self) -> bool {
        self.host.cgroup.version == CgroupVersion::V1
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let mut command = self.runtime.command();
        self.root(&mut command)
            .args(["delete", "--force", self.id.as_str()]);
        // Already gone in the good case.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let left = Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name"])
            .arg(self.cgroup().trim_start_matches('/'))
            .output()
            .unwrap();
        if !std::thread::panicking() {
            let left = String::from_utf8_lossy(&left.stdout);
            assert_eq!(left, "", "a cgroup was left behind");
        }
    }
}

/// The same command under script(1), which gives it a terminal.
fn in_terminal(command: &Command) -> Command {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| format!("'{}'", w.to_str().unwrap()))
        .collect();
    let mut script = Command::new("script");
    script.args([
        "--quiet",
        "--return",
        "--command",
        &words.join(" "),
        "/dev/null",
    ]);
    script
}
