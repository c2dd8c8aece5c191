//! The process of aardvark-dns: found again, started, told to read its files again, ended.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Context, Pid, Result, Signal, limits};
use sys::pidfd::PidFd;
use sys::proc;
use sys::spawn::Program;

/// The file in which aardvark-dns tells its pid, among those of the networks.
pub(super) const PID_FILE: &str = "aardvark.pid";

/// How often the server's state is looked at.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One that runs.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) process: Arc<PidFd>,
    /// At which it listens.
    pub(super) port: u16,
}

impl Server {
    /// The process that the pid file names, if it is an aardvark-dns on these files.
    pub(super) fn find(zones: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(zones.join(PID_FILE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let Some(pid) = text.trim().parse().ok().and_then(Pid::new) else {
            return Ok(None);
        };
        let Some(found) = PidFd::open(pid)? else {
            return Ok(None);
        };
        let arguments = proc::arguments(pid)?.unwrap_or_default();
        let port = arguments.iter().skip_while(|a| *a != "--port").nth(1);
        let port = port.and_then(|port| port.to_str()?.parse().ok());
        let Some(port) = port.filter(|_| is_on(&arguments, zones)) else {
            return Ok(None);
        };
        // Still the same process after its arguments were read.
        let runs = !found.has_exited()?;
        Ok(runs.then(|| Self {
            process: Arc::new(found),
            port,
        }))
    }

    /// Starts the one at `program`, which leaves for a session of its own and tells when it is about to serve.
    pub(super) async fn start(
        program: &Path,
        search_path: &OsStr,
        zones: &Path,
        port: u16,
    ) -> Result<Self> {
        let program = Program::new(program)
            .args(["--config".into(), zones.as_os_str().to_owned()])
            .args(["--port".into(), port.to_string(), "run".into()])
            .env([("PATH", search_path)]);
        let done = program.run(limits::NAME_SERVER_START_TIMEOUT).await?;
        if !done.status.success() {
            return Err(model::Error::system(format!(
                "aardvark-dns failed ({}): {}",
                done.status,
                done.message()
            )));
        }
        let found = Self::find(zones).context("cannot look for aardvark-dns")?;
        found.ok_or_else(|| model::Error::system("aardvark-dns ended as soon as it was started"))
    }

    pub(super) fn has_ended(&self) -> Result<bool> {
        self.process
            .has_exited()
            .context("cannot look at aardvark-dns")
    }

    /// Has it read its files again.
    pub(super) async fn hang_up(&self) -> Result<()> {
        let pid = self.process.process().pid;
        let deadline = Instant::now() + limits::NAME_SERVER_START_TIMEOUT;
        // Before it has a handler, the signal would end it; and it reads its files after that anyway.
        while !proc::catches(pid, Signal::HUP).context("cannot look at aardvark-dns")? {
            if self.has_ended()? || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        match self.process.signal(Signal::HUP) {
            // It ended, and is started again.
            Err(e) if self.has_ended().unwrap_or(false) => {
                tracing::debug!(error = %e, "aardvark-dns ended before it was told of names");
                Ok(())
            }
            sent => sent.context("cannot signal aardvark-dns"),
        }
    }

    /// Ends it: it has nothing to lose.
    pub(super) async fn end(&self) -> Result<()> {
        match self.process.signal(Signal::KILL) {
            Err(_) if self.has_ended()? => return Ok(()),
            sent => sent.context("cannot end aardvark-dns")?,
        }
        let ended =
            tokio::time::timeout(limits::NAME_SERVER_START_TIMEOUT, self.process.exited()).await;
        let ended = ended.map_err(|_| model::Error::system("aardvark-dns does not end"))?;
        ended.context("cannot wait for aardvark-dns")
    }
}

fn is_on(arguments: &[OsString], zones: &Path) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    let is_aardvark = program == Some(OsStr::new("aardvark-dns"));
    is_aardvark && arguments.iter().any(|a| a == zones.as_os_str())
}
