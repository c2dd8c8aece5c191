//! A real daemon on roots, a cgroup parent and namespaces of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::leftovers::Baseline;
use crate::namespace::Namespace;
use crate::{Client, DEADLINE, Docker, Image, Options, census, network, until};

/// A daemon under test. End it with [`Daemon::finish`]: dropped in another way it fails the test,
/// and takes everything with it that the daemon made.
#[derive(Debug)]
pub struct Daemon {
    options: Options,
    root: tempfile::TempDir,
    pub(crate) namespace: Namespace,
    pub(crate) child: Option<Child>,
    /// The client of its socket.
    pub http: Client,
    pub(crate) start: Baseline,
    finished: bool,
    /// Of the next start.
    failpoints: String,
    /// Of the next start: seconds that its clock is off.
    clock: i64,
    older_kernel: bool,
}

impl Daemon {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn start(options: Options) -> Self {
        let root = tempfile::Builder::new()
            .prefix(census::PREFIX)
            .tempdir()
            .expect("a directory for the daemon");
        let http = Client::new(root.path().join("moored.sock"));
        let mut daemon = Self {
            namespace: Namespace::new(options.hide_unified),
            options,
            http,
            root,
            child: None,
            start: Baseline::default(),
            finished: false,
            failpoints: String::new(),
            clock: 0,
            older_kernel: false,
        };
        if let Some(config) = &daemon.options.config {
            fs::write(daemon.root.path().join("moored.toml"), config).expect("a file in our dir");
        }
        if let Some(size) = daemon.options.data_root_bytes {
            match daemon.options.has_disk {
                true => daemon.make_disk(size),
                false => daemon.mount_data_root(size),
            }
        }
        daemon.restart();
        if daemon.options.networks {
            daemon.wait_default_bridge();
        }
        if daemon.options.image {
            daemon.load(&Image::busybox());
        }
        daemon.start = daemon.look();
        daemon.start.rules = network::firewall(&daemon.namespace);
        daemon
    }

    /// Nobody waits for it but tests, so that what there is before the first container is always the same.
    fn wait_default_bridge(&self) {
        // It is made, or told why it is not.
        let is_told = || self.log().contains("the default network's bridge");
        until("the default network's bridge", is_told);
    }

    fn mount_data_root(&self, size: u64) {
        let data = self.root.path().join("data");
        fs::create_dir(&data).expect("a directory in ours");
        let mounted = self
            .namespace
            .command("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0710"),
                "tmpfs",
            ])
            .arg(&data)
            .status();
        assert!(
            mounted.is_ok_and(|s| s.success()),
            "mounting {}",
            data.display()
        );
    }

    /// Its flags, the same at each start.
    fn args(&self) -> Vec<String> {
        let path = |name: &str| self.root.path().join(name).display().to_string();
        let mut args = vec!["serve".to_owned()];
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        flag("--socket", path("moored.sock"));
        flag("--data-root", path("data"));
        flag("--run-root", path("run"));
        flag("--cgroup-parent", self.mark());
        flag("--log-level", "debug".to_owned());
        if !self.options.networks {
            flag("--bridge", "none".to_owned());
        }
        if self.options.docker_socket {
            flag("--docker-socket", path("docker.sock"));
        }
        if let Some(runtime) = &self.options.runtime {
            flag("--runtime", runtime.clone());
        }
        if self.options.config.is_some() {
            flag("--config", path("moored.toml"));
        }
        args
    }

    /// Replaces the configuration file of a daemon that was started with one; for the next start.
    ///
    /// # Panics
    /// When it has none.
    pub fn reconfigure(&mut self, text: &str) {
        assert!(self.options.config.is_some(), "started with a file");
        fs::write(self.root.path().join("moored.toml"), text).expect("a file in our dir");
    }

    /// Starts it again, on the same roots and in the same namespaces.
    ///
    /// # Panics
    /// When it still runs, or does not answer in time.
    pub fn restart(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// From the next start on it is started through a program that becomes it, as prlimit(1) does.
    pub fn set_through(&mut self, words: &[&str]) {
        self.options.through = words.iter().map(ToString::to_string).collect();
    }

    /// What the test build is to do at its failpoints, from the next start on.
    pub fn set_failpoints(&mut self, plan: &str) {
        plan.clone_into(&mut self.failpoints);
    }

    /// How many seconds the clock of the test build is off, from the next start on.
    pub fn set_clock(&mut self, offset_s: i64) {
        self.clock = offset_s;
    }

    /// From the next start on the test build takes the kernel for one that keeps no exit codes.
    pub fn set_older_kernel(&mut self) {
        self.older_kernel = true;
    }

    /// Waits for the end of a daemon that ends by itself; false when it does not within `patience`.
    ///
    /// # Panics
    /// When it was not started.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        let child = self.child.as_mut().expect("the daemon runs");
        while child.try_wait().expect("it is our child").is_none() {
            if start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child = None;
        true
    }

    /// Starts it again without waiting for an answer.
    ///
    /// # Panics
    /// When it still runs.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file in our dir");
        let mut command = match self.options.through.split_first() {
            None => self.namespace.command(&self.options.program),
            Some((first, more)) => {
                let mut through = self.namespace.command(first);
                through.args(more).arg(&self.options.program);
                through
            }
        };
        if let Some(path) = &self.options.path {
            command.env("PATH", path);
        }
        // Of the test build; see the room `failpoint`.
        command.env("MOORED_FAILPOINTS", &self.failpoints);
        command.env("MOORED_CLOCK_OFFSET_S", self.clock.to_string());
        if self.older_kernel {
            command.env("MOORED_OLDER_KERNEL", "1");
        }
        let child = command
            .args(self.args())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("nsenter(1) of util-linux runs");
        self.child = Some(child);
    }

    /// Waits until it knows its containers: before that it answers nothing but pings.
    ///
    /// # Panics
    /// When it ends or stays silent.
    pub fn wait_ready(&mut self) {
        let start = Instant::now();
        loop {
            let knows = || self.http.attempt("GET", "/volumes", "", b"");
            if self.http.answers() && knows().is_some_and(|said| said.status == 200) {
                return;
            }
            let child = self.child.as_mut().expect("it was spawned");
            if let Some(status) = child.try_wait().expect("it is our child") {
                self.child = None;
                panic!("the daemon ended at start: {status}\n{}", self.log());
            }
            assert!(
                start.elapsed() < DEADLINE,
                "the daemon does not answer\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it between any two instructions.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Asks it to end and checks that it does so within a second (a loaded machine gets five),
    /// with code 0.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it is our child");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            if start.elapsed() > Duration::from_secs(5) {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the daemon did not end on SIGTERM\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(
            status.success(),
            "the daemon ended: {status}\n{}",
            self.log()
        );
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The directory of all its roots: `data`, `run`, the socket.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its second socket, where it is to have one.
    pub fn docker_socket(&self) -> PathBuf {
        self.root.path().join("docker.sock")
    }

    /// A path of its mount namespace, seen from here.
    pub fn inside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let below = path.strip_prefix("/").unwrap_or(path);
        Path::new(&format!("/proc/{}/root", self.namespace.pid())).join(below)
    }

    /// Runs a program in its namespaces.
    pub fn command_inside(&self, program: impl AsRef<OsStr>) -> std::process::Command {
        self.namespace.command(program)
    }

    /// What all it makes is named after: its cgroup parent and the last part of its root.
    pub fn mark(&self) -> String {
        let name = self.root.path().file_name().expect("it was made by us");
        name.to_string_lossy().into_owned()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines of its log that name a container.
    pub fn log_of(&self, id: &str) -> String {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(&id[..12]));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// The docker CLI for it.
    pub fn docker(&self) -> Docker {
        Docker::new(self.http.socket())
    }

    /// Ends the test: removes every container through the API, then checks that nothing of any of
    /// them is left, that the daemon never panicked, and that it ends on SIGTERM.
    ///
    /// # Panics
    /// Saying what is left.
    pub fn finish(mut self) {
        if self.child.is_none() {
            self.restart();
        }
        let all = self.http.get("/containers/json?all=1").expect(200).json();
        for container in all.as_array().expect("a list") {
            let id = container["Id"].as_str().expect("an id");
            let gone = self.http.delete(&format!("/containers/{id}?force=1&v=1"));
            assert!(matches!(gone.status, 204 | 404), "{}", gone.text());
        }
        self.expect_nothing_left();
        self.stop();
        let left = census::processes(&self.mark(), Some(self.namespace.pid()), &self.not_left());
        assert!(left.is_empty(), "left after SIGTERM: {left:#?}");
        if let Some(panic) = census::panic_in(&self.log()) {
            panic!("the daemon panicked:\n{panic}");
        }
        self.finished = true;
    }

    /// The process that keeps its namespaces.
    pub(crate) fn keeper(&self) -> u32 {
        self.namespace.pid()
    }

    pub(crate) fn not_left(&self) -> Vec<u32> {
        let daemon = self.child.iter().map(Child::id);
        daemon.chain([self.namespace.pid()]).collect()
    }

    /// Takes everything away by force.
    pub(crate) fn purge(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let mark = self.mark();
        let start = Instant::now();
        loop {
            let cgroups = census::cgroups(&mark);
            for cgroup in &cgroups {
                let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
                let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
            }
            let left = census::processes(&mark, Some(self.namespace.pid()), &self.not_left());
            for process in &left {
                let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            let stuck = cgroups.iter().filter(|c| fs::remove_dir(c).is_err());
            if stuck.count() == 0 && left.is_empty() || start.elapsed() > Duration::from_secs(10) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("the end of the daemon's log:\n{}", tail.join("\n"));
        }
        self.purge();
        assert!(
            self.finished || std::thread::panicking(),
            "the test did not call finish()"
        );
    }
}
