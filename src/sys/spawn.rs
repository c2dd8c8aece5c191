//! The one place that starts programs: explicit environment, explicit descriptors, bounded output.
//!
//! A program gets exactly the environment and descriptors it is given, `/dev/null` as its input where
//! it is given none, and a process group of its own, to be killed with all it started. What it prints is kept up to a limit.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use model::{Error, Pid, limits};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::apart::Apart;

/// Marks every descriptor from 3 up close-on-exec, inherited ones too, so that none reaches a program
/// by accident. To be called once at start, after descriptors handed over by systemd were taken.
pub fn seal_descriptors() {
    // Best effort: before 5.11 only descriptors that our own parent left open can leak.
    // SAFETY: close_range with this flag only sets a flag on descriptors.
    unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
}

/// Descriptors that somebody else gets copies of. None: the default.
pub type Descriptors = std::sync::Arc<[OwnedFd]>;

/// A program to be started.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    fds: Vec<FdMapping>,
    input: Option<File>,
    output_bytes_max: usize,
    outlives: bool,
}

impl Program {
    /// The program at `path`, absolute, with an empty environment.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            fds: Vec::new(),
            input: None,
            output_bytes_max: limits::PROGRAM_OUTPUT_BYTES_MAX,
            outlives: false,
        }
    }

    /// Appends arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn env<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let pairs = variables.into_iter().map(|(k, v)| (k.into(), v.into()));
        self.env.extend(pairs);
        self
    }

    /// Sets the working directory; without it the daemon's own.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives the program `fd` as its descriptor `number`, 3 or above.
    #[must_use]
    pub fn fd(mut self, number: i32, fd: OwnedFd) -> Self {
        self.fds.push(FdMapping {
            parent_fd: fd,
            child_fd: number,
        });
        self
    }

    /// Gives the program copies of `fds`, as its descriptors from `first` up, which is 3 or above.
    ///
    /// # Errors
    /// When this process may open no more.
    pub fn fds(mut self, first: i32, fds: &Descriptors) -> io::Result<Self> {
        for (number, fd) in (first..).zip(fds.iter()) {
            self = self.fd(number, fd.try_clone()?);
        }
        Ok(self)
    }

    /// Gives the program `bytes` to read on its stdin, and their end.
    ///
    /// # Errors
    /// When there is no memory or no descriptor for them.
    pub fn input(mut self, bytes: &[u8]) -> io::Result<Self> {
        // Not a pipe: what is larger than that would need somebody to write it.
        let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        self.input = Some(file);
        Ok(self)
    }

    /// Keeps up to `bytes` of what it prints in place of
    /// [`limits::PROGRAM_OUTPUT_BYTES_MAX`], of its complaints likewise.
    #[must_use]
    pub fn output_max(mut self, bytes: usize) -> Self {
        self.output_bytes_max = bytes;
        self
    }

    /// Dropped, as at the daemon's end, it goes on. The deadline still kills it.
    #[must_use]
    pub fn outlives(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its arguments, for messages.
    pub fn command_line(&self) -> String {
        let mut line = self.path.display().to_string();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    /// Starts it and waits for its end, at most `deadline`; then it and its group are killed.
    ///
    /// # Errors
    /// [`RunError::Start`] when it cannot be started, [`RunError::TimedOut`] at the deadline. A
    /// program that fails is no error here: see [`Finished::status`].
    pub async fn run(self, deadline: Duration) -> Result<Finished, RunError> {
        self.start()?.finish(deadline).await
    }

    /// Starts it from a thread that lives [apart](crate::apart) until then. All descriptors given to it are closed on our side, whether this works or not.
    ///
    /// # Errors
    /// [`RunError::Start`], also when its mounts cannot be made.
    pub async fn start_apart(self, apart: Apart) -> Result<Started, RunError> {
        let program = self.path.clone();
        let fail = |source| RunError::Start {
            program: program.clone(),
            source,
        };
        let runtime = tokio::runtime::Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        let start = move || {
            let _runtime = runtime.enter();
            let started = match apart.enter() {
                Ok(()) => self.start(),
                Err(source) => Err(RunError::Start {
                    program: self.path,
                    source,
                }),
            };
            // Nobody waits for it any more: dropped, it is killed.
            drop(tell.send(started));
        };
        let thread = std::thread::Builder::new().name("apart".to_owned());
        thread.spawn(start).map_err(fail)?;
        let ended = || fail(io::Error::other("the thread that was to start it panicked"));
        told.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Starts it. All descriptors given to it are closed on our side, whether this works or not.
    ///
    /// # Errors
    /// [`RunError::Start`].
    pub fn start(self) -> Result<Started, RunError> {
        let Self {
            path,
            args,
            env,
            dir,
            fds,
            input,
            output_bytes_max,
            outlives,
        } = self;
        let fail = |program: &Path, source| {
            let program = program.to_owned();
            RunError::Start { program, source }
        };
        let captured = || capture(output_bytes_max).map_err(|e| fail(&path, e));
        let (stdout, stdout_end) = captured()?;
        let (stderr, stderr_end) = captured()?;
        let mut command = Command::new(&path);
        command
            .args(args)
            .env_clear()
            .envs(env)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(stdout_end)
            .stderr(stderr_end)
            .process_group(0)
            .kill_on_drop(!outlives);
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        // Without a mapping no code runs between fork and exec, and the cheaper posix_spawn does.
        if !fds.is_empty() {
            command
                .fd_mappings(fds)
                .map_err(|e| fail(&path, io::Error::other(e)))?;
        }
        let child = command.spawn().map_err(|e| fail(&path, e))?;
        let pid = child
            .id()
            .and_then(|raw| Pid::new(i64::from(raw)))
            .expect("a child that was not waited for has a pid");
        Ok(Started {
            child,
            pid,
            program: path,
            stdout,
            stderr,
            outlives,
        })
    }
}

/// A running program. Dropping it kills its whole group, unless it [outlives](Program::outlives).
#[derive(Debug)]
pub struct Started {
    child: Child,
    pid: Pid,
    program: PathBuf,
    stdout: Capture,
    stderr: Capture,
    outlives: bool,
}

impl Started {
    /// Its pid, which is also its group's; it stays its own until [`Started::finish`] returns.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end, at most `deadline`; then it and its group are killed. Output that was
    /// written before its end is complete; what its own children write later is not waited for.
    ///
    /// # Errors
    /// [`RunError::TimedOut`] with what it had printed.
    pub async fn finish(mut self, deadline: Duration) -> Result<Finished, RunError> {
        self.wait(deadline).await
    }

    /// As [`Started::finish`], of one that is kept: cancelled, it can be called again.
    ///
    /// # Errors
    /// As there.
    pub async fn wait(&mut self, deadline: Duration) -> Result<Finished, RunError> {
        let limit = tokio::time::sleep(deadline);
        tokio::pin!(limit);
        let waited = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                () = self.stdout.fill() => {}
                () = self.stderr.fill() => {}
                () = &mut limit => {
                    self.stdout.drain();
                    self.stderr.drain();
                    self.outlives = false;
                    return Err(RunError::TimedOut {
                        program: self.program.clone(),
                        after: deadline,
                        stderr: std::mem::take(&mut self.stderr.kept),
                    });
                }
            }
        };
        let status = waited.map_err(|source| RunError::Start {
            program: self.program.clone(),
            source,
        })?;
        self.stdout.drain();
        self.stderr.drain();
        Ok(Finished {
            status,
            cut: self.stdout.cut,
            stdout: std::mem::take(&mut self.stdout.kept),
            stderr: std::mem::take(&mut self.stderr.kept),
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // `id` is None once the child was waited for; until then the group's number is ours.
        if self.child.id().is_some() && !self.outlives {
            let group = nix::unistd::Pid::from_raw(self.pid.as_raw());
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it printed, at most [`Program::output_max`] bytes.
    pub stdout: Vec<u8>,
    /// It printed more than that.
    pub cut: bool,
    /// What it complained of, likewise.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Its complaint as text: trimmed, and its output instead where it complained of nothing.
    pub fn message(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match text(&self.stderr) {
            nothing if nothing.is_empty() => text(&self.stdout),
            stderr => stderr,
        }
    }
}

/// Why a program gave no result at all.
#[derive(Debug)]
pub enum RunError {
    /// It could not be started.
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it had.
        after: Duration,
        /// What it had complained of by then.
        stderr: Vec<u8>,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, source } => {
                write!(f, "cannot run {}: {source}", program.display())
            }
            Self::TimedOut {
                program,
                after,
                stderr,
            } => {
                let name = program.file_name().unwrap_or_else(|| OsStr::new("program"));
                write!(
                    f,
                    "{} did not answer within {} s and was killed",
                    name.to_string_lossy(),
                    after.as_secs_f32()
                )?;
                let stderr = String::from_utf8_lossy(stderr);
                match stderr.trim() {
                    "" => Ok(()),
                    said => write!(f, ": {said}"),
                }
            }
        }
    }
}

impl std::error::Error for RunError {}

impl From<RunError> for Error {
    fn from(e: RunError) -> Self {
        Self::system(e.to_string())
    }
}

/// The reading end of an output pipe and what came through it.
#[derive(Debug)]
struct Capture {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    bytes_max: usize,
    /// More came than is kept.
    cut: bool,
}

fn capture(bytes_max: usize) -> io::Result<(Capture, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let capture = Capture {
        pipe: Some(Receiver::from_owned_fd(read)?),
        kept: Vec::new(),
        bytes_max,
        cut: false,
    };
    Ok((capture, write))
}

impl Capture {
    /// Waits for output and takes it; never resolves again after the end. Cancel-safe.
    async fn fill(&mut self) {
        let Some(pipe) = &self.pipe else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 4096];
        match pipe
            .readable()
            .await
            .and_then(|()| pipe.try_read(&mut buffer))
        {
            Ok(0) => self.pipe = None,
            Ok(n) => self.keep(n, &buffer),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }

    /// Takes what is in the pipe now without waiting, readiness announced or not.
    fn drain(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut buffer = [0; 4096];
        // A child left behind may write faster than we read: two pipes full are enough.
        for _ in 0..32 {
            match rustix::io::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => return,
                Ok(n) => self.keep(n, &buffer),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, n: usize, buffer: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.kept.len());
        self.cut |= n > room;
        self.kept.extend_from_slice(&buffer[..n.min(room)]);
    }
}

#[cfg(test)]
mod tests;
