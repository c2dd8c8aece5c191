//! The process of aardvark-dns: found again, started, told to read its files again, ended.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Context, Pid, Result, Signal, limits};
use sys::pidfd::PidFd;
use sys::proc;
use sys::spawn::Program;
use sys::task::blocking;

/// The file in which aardvark-dns tells its pid, among those of the networks. Nobody here reads it.
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
    /// All that serve these files, the newest last. A pid file tells of one, and late; a start that was given up
    /// halfway leaves another.
    pub(super) async fn find(zones: &Path) -> Result<Vec<Self>> {
        let zones = zones.to_owned();
        blocking(move || find_all(&zones).context("cannot look for aardvark-dns")).await
    }

    /// Ends all that serve these files: they have nothing to lose.
    pub(super) async fn end_all(zones: &Path) -> Result<()> {
        for server in Self::find(zones).await? {
            server.end().await?;
        }
        Ok(())
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
        let found = Self::find(zones).await?.pop();
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

fn find_all(zones: &Path) -> io::Result<Vec<Server>> {
    let own = owner("self").unwrap_or_default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::new) else {
            continue;
        };
        let Some(port) = port_of(pid, zones) else {
            continue;
        };
        let Some(process) = PidFd::open(pid)? else {
            continue;
        };
        // Still the same process after its arguments were read; and they are no proof, anybody may write them.
        let is_it =
            port_of(pid, zones).is_some() && owner(&pid.get().to_string()).as_ref() == Some(&own);
        if is_it && !process.has_exited()? {
            let process = Arc::new(process);
            found.push(Server { process, port });
        }
    }
    found.sort_by_key(|server| server.process.process().start_ticks);
    Ok(found)
}

/// The port at which a process serves these files, if that is what its arguments say. What the program is called
/// does not count: an operator may have it under another name, or in a script.
pub(super) fn port_of(pid: Pid, zones: &Path) -> Option<u16> {
    // Those that end meanwhile, or are not to be looked at, are no concern of ours.
    let arguments = proc::arguments(pid).ok()??;
    match arguments.as_slice() {
        [_, .., config, dir, option, port, run]
            if config == "--config" && dir == zones && option == "--port" && run == "run" =>
        {
            port.to_str()?.parse().ok()
        }
        _ => None,
    }
}

/// Whose a process is: its users, and how many pid namespaces it is below (`Uid` and `NSpid` of
/// proc_pid_status(5)). Another user's is not as the daemon's, nor is a container's, but for one that shares the
/// host's processes: its root may end any of them anyhow.
fn owner(process: &str) -> Option<(String, usize)> {
    let text = std::fs::read(format!("/proc/{process}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = |key| text.lines().find_map(|line| line.strip_prefix(key));
    let depth = line("NSpid:")?.split_ascii_whitespace().count();
    Some((line("Uid:")?.to_owned(), depth))
}
