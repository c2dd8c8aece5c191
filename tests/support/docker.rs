//! The real docker CLI against a daemon under test.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::{DEADLINE, Pty};

/// Fails the test when a program the tests need is missing.
///
/// # Panics
/// Naming the program and the package that has it.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
        .unwrap_or_else(|| panic!("{program} is not on $PATH: install the package {package}"))
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// `docker run ...`, for messages.
    pub command: String,
    /// Its exit code; 128 and the number for a signal.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// Fails the test unless it ended with this code; gives the output back for more.
    ///
    /// # Panics
    /// When it ended with another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        );
        self
    }

    /// Its stdout without white space around it.
    pub fn trimmed(&self) -> &str {
        self.stdout.trim()
    }
}

/// The CLI, with a configuration of its own.
#[derive(Debug)]
pub struct Docker {
    program: PathBuf,
    host: String,
    config: tempfile::TempDir,
}

impl Docker {
    /// For the daemon behind `socket`.
    ///
    /// # Panics
    /// When there is no docker CLI.
    pub fn new(socket: &Path) -> Self {
        Self {
            program: require(
                "docker",
                "docker-cli (or docker.io, its daemon not started)",
            ),
            host: format!("unix://{}", socket.display()),
            config: tempfile::tempdir().expect("a directory for DOCKER_CONFIG"),
        }
    }

    /// The command, ready to be run by the caller.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        self.prepare(command.args(args));
        command
    }

    /// Another program, which finds the CLI on `$PATH` and this daemon in its environment.
    pub fn beside(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.prepare(command.stdin(Stdio::null()));
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_API_VERSION")
            .env_remove("DOCKER_TLS_VERIFY")
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_CONFIG", self.config.path());
    }

    /// Runs it to its end, without stdin.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.run_with(args, b"")
    }

    /// Runs it to its end with `input` on stdin.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run_with<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Output {
        let shown = shown(args);
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("docker was found and runs");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        let input = input.to_vec();
        // It may end without reading all of it.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let readers = [
            drain(child.stdout.take().expect("it is a pipe")),
            drain(child.stderr.take().expect("it is a pipe")),
        ];
        let code = wait(&mut child, &shown);
        let _ = feeder.join();
        let [stdout, stderr] = readers.map(|r| r.join().expect("reading a pipe does not panic"));
        Output {
            command: shown,
            code,
            stdout,
            stderr,
        }
    }

    /// Runs it in a terminal of its own, of that many rows and columns.
    ///
    /// # Panics
    /// When there is no pseudo-terminal to be had.
    pub fn pty<S: AsRef<OsStr>>(&self, args: &[S], rows: u16, columns: u16) -> Pty {
        Pty::spawn(&self.program, args, rows, columns, |c| self.prepare(c))
    }
}

/// `docker run --rm ...`.
fn shown<S: AsRef<OsStr>>(args: &[S]) -> String {
    let words = args.iter().map(|a| a.as_ref().to_string_lossy());
    format!("docker {}", words.collect::<Vec<_>>().join(" "))
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The exit code of a child, or a failed test and a dead child at the deadline.
pub(crate) fn wait(child: &mut Child, shown: &str) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            let signal = status.signal().map(|s| 128 + s);
            return status
                .code()
                .or(signal)
                .expect("it ended in one of both ways");
        }
        if start.elapsed() > DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{shown} did not end in {DEADLINE:?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
