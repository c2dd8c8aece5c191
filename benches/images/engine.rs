//! The engines that are measured, and how each is started and asked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::{Client, until};

use crate::bed::{Bed, timed};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// This daemon.
    Moored,
    /// Debian's.
    Dockerd,
    /// Debian's, `podman system service`.
    Podman,
}

impl Engine {
    /// As it stands in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Moored => "moored",
            Self::Dockerd => "dockerd",
            Self::Podman => "podman",
        }
    }

    /// Whether its programs are here.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Moored => true,
            Self::Dockerd => peers().join("usr/sbin/dockerd").exists(),
            Self::Podman => peers().join("usr/bin/podman").exists(),
        }
    }

    /// Without networks where it can do without them.
    fn command(self, bed: &Bed, socket: &Path, networks: bool) -> Command {
        let root = bed.root();
        let at = |name: &str| root.join(name).display().to_string();
        let (program, mut args) = match self {
            Self::Moored => (
                PathBuf::from(env!("CARGO_BIN_EXE_moored")),
                vec![
                    "serve".to_owned(),
                    format!("--socket={}", socket.display()),
                    format!("--data-root={}", at("data")),
                    format!("--run-root={}", at("run")),
                    "--runtime=runc".to_owned(),
                ],
            ),
            Self::Dockerd => (
                peers().join("usr/sbin/dockerd"),
                vec![
                    format!("--host=unix://{}", socket.display()),
                    format!("--data-root={}", at("data")),
                    format!("--exec-root={}", at("run")),
                    format!("--pidfile={}", at("pid")),
                    "--storage-driver=overlay2".to_owned(),
                ],
            ),
            Self::Podman => (
                peers().join("usr/bin/podman"),
                vec![
                    format!("--root={}", at("data")),
                    format!("--runroot={}", at("run")),
                    "--storage-driver=overlay".to_owned(),
                    "--cgroup-manager=cgroupfs".to_owned(),
                    "--events-backend=file".to_owned(),
                    "--runtime=runc".to_owned(),
                    "system".to_owned(),
                    "service".to_owned(),
                    "--time=0".to_owned(),
                    format!("unix://{}", socket.display()),
                ],
            ),
        };
        let without: &[&str] = match self {
            Self::Moored => &["--bridge=none"],
            Self::Dockerd => &["--bridge=none", "--iptables=false", "--ip-masq=false"],
            Self::Podman => &[],
        };
        if !networks {
            args.extend(without.iter().map(ToString::to_string));
        }
        let mut command = bed.command(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let own = peers();
        let own = [own.join("usr/sbin"), own.join("usr/bin")].map(|p| p.display().to_string());
        command.env("PATH", format!("{}:{path}", own.join(":")));
        command.args(args);
        command
    }
}

/// Where `scripts/peers.sh` unpacks them.
fn peers() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join("peers")
}

/// An engine that answers, in its bed.
#[derive(Debug)]
pub(crate) struct Running {
    /// Whose bed it is.
    pub(crate) bed: Bed,
    engine: Engine,
    http: Client,
}

impl Running {
    /// Starts one and waits for its first answer.
    pub(crate) fn start(engine: Engine, bed: Bed) -> Self {
        Self::launch(engine, bed, false)
    }

    /// The same, with its default network.
    pub(crate) fn start_with_networks(engine: Engine, bed: Bed) -> Self {
        Self::launch(engine, bed, true)
    }

    fn launch(engine: Engine, mut bed: Bed, networks: bool) -> Self {
        let socket = bed.path("engine.sock");
        let command = engine.command(&bed, &socket, networks);
        bed.start(command, "engine.log");
        let http = Client::new(socket);
        until("the engine answers", || http.answers());
        Self { bed, engine, http }
    }

    /// The engine's socket.
    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    /// A request of curl's: what it says is thrown away, an error is one of ours.
    fn curl(&self, method: &str, path: &str, upload: Option<&Path>) -> Command {
        let mut command = self.bed.command("curl");
        let answer = self.bed.path("answer");
        command.args(["-sS", "--fail-with-body", "-o"]);
        // The bytes of archives are read and go nowhere; other answers may be needed.
        command.arg(if method == "GET" {
            Path::new("/dev/null")
        } else {
            &answer
        });
        command.arg("--unix-socket").arg(self.http.socket());
        command.args(["-X", method]);
        if let Some(upload) = upload {
            command
                .args(["-H", "Content-Type: application/x-tar", "-T"])
                .arg(upload);
        }
        command.arg(format!("http://d{path}"));
        command
    }

    /// Loads an archive.
    pub(crate) fn load(&self, archive: &Path) -> Duration {
        let spent = timed(self.curl("POST", "/images/load?quiet=1", Some(archive)));
        self.expect_no_error();
        spent
    }

    /// Pulls an image.
    pub(crate) fn pull(&self, name: &str) -> Duration {
        let path = format!("/images/create?fromImage={name}&tag=latest");
        let spent = timed(self.curl("POST", &path, None));
        self.expect_no_error();
        spent
    }

    /// Saves an image.
    pub(crate) fn save(&self, name: &str) -> Duration {
        timed(self.curl("GET", &format!("/images/{name}/get"), None))
    }

    /// Makes a container that is never started.
    pub(crate) fn create(&self, image: &str) -> String {
        let body = serde_json::json!({
            "Image": image, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"},
        });
        let made = self
            .http()
            .post_json("/containers/create", &body)
            .expect(201)
            .json();
        made["Id"].as_str().expect("an id").to_owned()
    }

    /// Unpacks a tar in a container.
    pub(crate) fn copy_in(&self, id: &str, dir: &str, tar: &Path) -> Duration {
        timed(self.curl(
            "PUT",
            &format!("/containers/{id}/archive?path={dir}"),
            Some(tar),
        ))
    }

    /// Reads a path of a container as a tar.
    pub(crate) fn copy_out(&self, id: &str, path: &str) -> Duration {
        timed(self.curl(
            "GET",
            &format!("/containers/{id}/archive?path={path}"),
            None,
        ))
    }

    /// The most memory that its processes had, MiB: the sum of their peaks.
    pub(crate) fn peak_mib(&self) -> f64 {
        let own = self.bed.pids();
        let mut all = own.clone();
        // dockerd's containerd.
        all.extend(own.iter().flat_map(|pid| {
            let file = format!("/proc/{pid}/task/{pid}/children");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        }));
        let is_registry = |pid: &u32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("docker-registr")
        };
        all.iter()
            .filter(|pid| !is_registry(pid))
            .map(|pid| peak_mib(*pid))
            .sum()
    }

    /// A stream of progress is 200 whatever becomes of it: its last line tells.
    fn expect_no_error(&self) {
        let text = std::fs::read_to_string(self.bed.path("answer")).expect("curl wrote it");
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let failed = lines.into_iter().find(|line| line.get("error").is_some());
        assert!(
            failed.is_none(),
            "{}: {failed:?}\n{}",
            self.engine.name(),
            self.bed.log("engine.log")
        );
    }
}

fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
