//! Containers find each other by name: aardvark-dns serves what is written here.
//!
//! The daemon writes the files itself, whole, from what is true ([`Names::write`]): so a container that
//! was renamed, a name that was lost, and a daemon that was killed are all mended by writing once more.
//! aardvark-dns goes on without the daemon; the next one finds it again. It ends when no network is left.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use model::{Context, Pid, Result, Signal, limits};
use sys::pidfd::PidFd;
use sys::proc;
use sys::spawn::Program;
use tokio::sync::Mutex;

pub use zone::{Member, Zone};

use crate::netavark::{Cache, Version, usual_paths};

mod listening;
mod zone;

/// The file in which aardvark-dns tells its pid, among those of the networks.
const PID_FILE: &str = "aardvark.pid";

/// The first that keeps its sockets when it reads its files again.
const KEEPS_SOCKETS: Version = Version(1, 10, 0);

/// How often the server's state is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The name server of all networks of this daemon.
#[derive(Debug, Clone)]
pub struct Names(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    search_path: OsString,
    dir: PathBuf,
    server: Mutex<Option<Arc<PidFd>>>,
    /// The server may not have read its files since they were written.
    is_untold: AtomicBool,
    version: Cache,
}

impl Names {
    /// With the aardvark-dns at `path`, or where it usually is; its files are below `dir`, which is made
    /// when it is missing.
    pub fn new(path: Option<PathBuf>, search_path: OsString, dir: PathBuf) -> Self {
        Self(Arc::new(Inner {
            paths: usual_paths(path, "aardvark-dns"),
            search_path,
            dir,
            server: Mutex::new(None),
            is_untold: AtomicBool::new(false),
            version: Cache::default(),
        }))
    }

    /// Where aardvark-dns is.
    ///
    /// # Errors
    /// System, naming what to install.
    pub fn program(&self) -> Result<PathBuf> {
        self.0.program()
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// System: there is none, it does not answer, or it is too old.
    pub async fn version(&self) -> Result<Version> {
        self.0.version.of("aardvark-dns", &self.program()?).await
    }

    /// Has these names served, and no others. The networks' interfaces must have the servers' addresses by
    /// now. When the answer comes, a container that asks is told them.
    ///
    /// Who calls it makes sure that what is written last is what is true: one call after the other.
    ///
    /// # Errors
    /// System: files cannot be written, there is no name server, or it does not listen where it should.
    pub async fn write(&self, zones: &[Zone]) -> Result<()> {
        let this = &self.0;
        let mut server = this.server.lock().await;
        let written = this.write_files(zones);
        if !matches!(written, Ok(false)) {
            this.is_untold.store(true, Relaxed);
        }
        written.context("cannot write the names of networks")?;
        let served = zones.iter().any(Zone::is_served);
        if this.find(&mut server)? {
            // A daemon that was killed may have written its files, and not told it.
            this.is_untold.store(true, Relaxed);
            this.watch(&server);
        }
        let before = match &*server {
            Some(running) if this.is_untold.load(Relaxed) => {
                let before = listening::read();
                hang_up(running).await?;
                before
            }
            None if served => {
                *server = Some(this.start().await?);
                this.watch(&server);
                HashMap::new()
            }
            _ => return Ok(()),
        };
        let read = this.until_read(zones, &before).await;
        // What could not be served may be at the next time.
        this.is_untold.store(read.is_err(), Relaxed);
        read
    }
}

impl Inner {
    fn program(&self) -> Result<PathBuf> {
        sys::locate::locate("aardvark-dns", &self.paths, Some(&self.search_path))
    }

    /// Nothing but the networks' files, and aardvark-dns's own.
    fn zones(&self) -> PathBuf {
        self.dir.join("zones")
    }

    /// Writes what is new and removes what is no more; whether anything was.
    fn write_files(&self, zones: &[Zone]) -> io::Result<bool> {
        let (dir, aside) = (self.zones(), self.dir.join("new"));
        std::fs::create_dir_all(&dir)?;
        let served = zones.iter().filter(|zone| zone.is_served());
        let mut wanted: HashMap<_, _> = served
            .map(|zone| (OsString::from(zone.network.as_str()), zone.text()))
            .collect();
        let mut changed = false;
        for entry in std::fs::read_dir(&dir)? {
            let name = entry?.file_name();
            let path = dir.join(&name);
            match wanted.get(&name) {
                Some(text) if std::fs::read(&path)? == text.as_bytes() => {
                    drop(wanted.remove(&name))
                }
                Some(_) => {}
                None if name == PID_FILE => {}
                None => {
                    std::fs::remove_file(&path)?;
                    changed = true;
                }
            }
        }
        for (name, text) in wanted {
            // Read at any moment, a file is whole; and in the directory it would be a network's.
            std::fs::write(&aside, text)?;
            std::fs::rename(&aside, dir.join(name))?;
            changed = true;
        }
        Ok(changed)
    }

    /// Looks whether the server runs, and whether it is one that is new here: from a daemon before this one.
    fn find(&self, server: &mut Option<Arc<PidFd>>) -> Result<bool> {
        if let Some(known) = server
            && !known.has_exited().context("cannot look at aardvark-dns")?
        {
            return Ok(false);
        }
        *server = self
            .running()
            .context("cannot look for aardvark-dns")?
            .map(Arc::new);
        Ok(server.is_some())
    }

    /// The process that the pid file names, if it is an aardvark-dns on these files.
    fn running(&self) -> io::Result<Option<PidFd>> {
        let text = match std::fs::read_to_string(self.zones().join(PID_FILE)) {
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
        let zones = self.zones();
        let ours = is_aardvark(&arguments) && arguments.iter().any(|a| a == zones.as_os_str());
        // Still the same process after its arguments were read.
        Ok((ours && !found.has_exited()?).then_some(found))
    }

    /// Starts the server, which leaves for a session of its own and tells when it is about to serve.
    async fn start(&self) -> Result<Arc<PidFd>> {
        let path = self.program()?;
        self.version.of("aardvark-dns", &path).await?;
        let program = Program::new(path)
            .args(["--config".into(), self.zones().into_os_string()])
            .args(["--port", "53", "run"])
            .env([("PATH", &self.search_path)]);
        let done = program.run(limits::NAME_SERVER_START_TIMEOUT).await?;
        if !done.status.success() {
            return Err(model::Error::system(format!(
                "aardvark-dns failed ({}): {}",
                done.status,
                done.message()
            )));
        }
        let found = self.running().context("cannot look for aardvark-dns")?;
        let ended = || model::Error::system("aardvark-dns ended as soon as it was started");
        Ok(Arc::new(found.ok_or_else(ended)?))
    }

    /// Starts the server again when it ends while there are names.
    fn watch(self: &Arc<Self>, server: &Option<Arc<PidFd>>) {
        let Some(server) = server.clone() else { return };
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            if server.exited().await.is_ok() {
                restart(this, &server).await;
            }
        });
    }

    /// Waits until the server has read its files: then its sockets are there, and with an old one others than
    /// before. A later one takes no longer to read than we to look.
    ///
    /// # Errors
    /// System: it does not listen on an address of a network, and what that may come of.
    async fn until_read(&self, zones: &[Zone], before: &HashMap<IpAddr, u64>) -> Result<()> {
        let deadline = Instant::now() + limits::NAME_SERVER_READ_TIMEOUT;
        let version = match self.program() {
            Ok(path) => self.version.of("aardvark-dns", &path).await,
            Err(e) => Err(e),
        };
        let keeps = version.is_ok_and(|version| version >= KEEPS_SOCKETS);
        let served = zones.iter().filter(|zone| zone.is_served());
        let servers: Vec<_> = served.flat_map(|zone| &zone.servers).collect();
        loop {
            let now = listening::read();
            let is_new = |ip: &&IpAddr| {
                let inode = now.get(ip);
                inode.is_some() && (keeps || inode != before.get(ip))
            };
            if servers.iter().all(is_new) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let is_deaf = |ip: &&&IpAddr| !now.contains_key(ip);
                return match servers.iter().find(is_deaf) {
                    Some(ip) => Err(not_listening(**ip)),
                    // It is slow.
                    None => Ok(()),
                };
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a file of a network is there.
    fn has_zones(&self) -> bool {
        let names = std::fs::read_dir(self.zones()).into_iter().flatten();
        names
            .filter_map(io::Result::ok)
            .any(|entry| entry.file_name() != PID_FILE)
    }
}

/// Puts another server in the place of one that ended, and tries until it works or nobody needs it.
async fn restart(names: Weak<Inner>, ended: &Arc<PidFd>) {
    let mut delay = limits::NAME_SERVER_RESTART_DELAY;
    let began = Instant::now();
    loop {
        {
            let Some(this) = names.upgrade() else { return };
            let mut server = this.server.lock().await;
            if server.as_ref().is_some_and(|now| !Arc::ptr_eq(now, ended)) {
                return;
            }
            if !this.has_zones() {
                *server = None;
                return;
            }
            match this.start().await {
                Ok(started) => {
                    tracing::warn!("aardvark-dns had ended and was started again");
                    *server = Some(started);
                    this.watch(&server);
                    return;
                }
                Err(e) => {
                    tracing::error!(error = %e, after = ?began.elapsed(), "names are not served")
                }
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(limits::NAME_SERVER_RESTART_DELAY_MAX);
    }
}

/// Has the server read its files again.
async fn hang_up(server: &PidFd) -> Result<()> {
    let pid = server.process().pid;
    let deadline = Instant::now() + limits::NAME_SERVER_START_TIMEOUT;
    // Before it has a handler, the signal would end it; and it reads its files after that anyway.
    while !proc::catches(pid, Signal::HUP).context("cannot look at aardvark-dns")? {
        if server.has_exited().context("cannot look at aardvark-dns")? || Instant::now() > deadline
        {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    match server.signal(Signal::HUP) {
        // It ended, and is started again.
        Err(e) if server.has_exited().unwrap_or(false) => {
            tracing::debug!(error = %e, "aardvark-dns ended before it was told of names");
            Ok(())
        }
        sent => sent.context("cannot signal aardvark-dns"),
    }
}

fn not_listening(ip: IpAddr) -> model::Error {
    model::Error::system(format!(
        "aardvark-dns does not listen on {ip}, port 53: another name server of this host may have the port on \
         all addresses (`ss -lunp sport = 53` tells which): have it listen on its own addresses alone, as \
         with dnsmasq's bind-interfaces or unbound's interface"
    ))
}

fn is_aardvark(arguments: &[OsString]) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    program == Some(OsStr::new("aardvark-dns"))
}

#[cfg(test)]
mod tests;
