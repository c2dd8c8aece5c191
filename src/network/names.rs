//! Containers find each other by name: aardvark-dns serves what is written here.
//!
//! The daemon writes the files itself, whole, from what is true ([`Names::write`]): so a container that
//! was renamed, a name that was lost, and a daemon that was killed are all mended by writing once more.
//! aardvark-dns goes on without the daemon; the next one finds it again. It ends when no network is left.
//!
//! It listens on the networks' gateways, at port 53 or, where somebody else has that at one of them, at
//! another ([`aside`]). A server that runs stays where it is until it ends or has to make way
//! ([`Names::make_way`]); at which port it is, its arguments tell.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use model::{Context, PortBinding, Protocol, Result, limits};
use sys::pidfd::PidFd;
use tokio::sync::Mutex;

pub use aside::{PORT, PORTS_ASIDE};
pub use zone::{Member, Zone};

use crate::netavark::{Cache, Version, usual_paths};
use aside::Aside;
use server::{LOOK_AGAIN, PID_FILE, Server};

mod aside;
mod listening;
mod server;
mod zone;

/// The first that keeps its sockets when it reads its files again.
const KEEPS_SOCKETS: Version = Version(1, 10, 0);

/// The name server of all networks of this daemon.
#[derive(Debug, Clone)]
pub struct Names(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    search_path: OsString,
    dir: PathBuf,
    serving: Mutex<Serving>,
    version: Cache,
}

/// The server that runs, and the way to it.
#[derive(Debug)]
struct Serving {
    server: Known,
    aside: Aside,
    /// It has read its files since they were written, as far as can be seen.
    is_told: bool,
}

/// What is known of the server.
#[derive(Debug)]
enum Known {
    /// An earlier daemon may have left one, or a start that was given up.
    Nothing,
    Nobody,
    Running(Server),
}

impl Known {
    fn running(&self) -> Option<&Server> {
        match self {
            Self::Running(server) => Some(server),
            Self::Nothing | Self::Nobody => None,
        }
    }
}

impl Names {
    /// With the aardvark-dns at `path`, or where it usually is; its files are below `dir`, which is made
    /// when it is missing. It and nft are looked for in `search_path`, too.
    pub fn new(path: Option<PathBuf>, search_path: OsString, dir: PathBuf) -> Self {
        let aside = Aside::new(&dir, search_path.clone());
        Self(Arc::new(Inner {
            paths: usual_paths(path, "aardvark-dns"),
            search_path,
            dir,
            serving: Mutex::new(Serving {
                server: Known::Nothing,
                aside,
                is_told: true,
            }),
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
        let mut serving = this.serving.lock().await;
        let written = this.write_files(zones);
        if !matches!(written, Ok(false)) {
            serving.is_told = false;
        }
        written.context("cannot write the names of networks")?;
        let servers = servers_of(zones);
        this.find(&mut serving).await?;
        let before = match serving.server.running() {
            Some(_) if serving.is_told => return Ok(()),
            Some(running) => {
                let before = listening::of(running);
                running.hang_up().await?;
                before
            }
            None => {
                serving.is_told = false;
                if servers.is_empty() {
                    serving.aside.end().await?;
                } else {
                    this.start(&mut serving, &servers).await?;
                }
                HashMap::new()
            }
        };
        let mut served = this.until_served(&mut serving, &servers, &before).await;
        if served.is_err()
            && let Some(running) = serving.server.running()
        {
            let own = listening::of(running);
            let (_, deaf): (Vec<_>, Vec<_>) = servers.iter().partition(|ip| own.contains_key(ip));
            if aside::is_taken(&deaf, running.port) {
                served = this.move_aside(&mut serving, &servers).await;
            }
        }
        serving.is_told = served.is_ok();
        served
    }

    /// Whether what was written last is served, as far as is known. What could not be may be at the next time: who
    /// is told no writes once more, now and then.
    pub async fn is_told(&self) -> bool {
        self.0.serving.lock().await.is_told
    }

    /// Leaves port 53 to a container that publishes its own at one of these addresses, if it is in the way there:
    /// names are served at another port from now on, and whoever asks at a gateway's port 53 is led there. Whether
    /// it was.
    ///
    /// # Errors
    /// System: it could not, and goes on where it is, or is started again soon.
    pub async fn make_way(&self, wanted: &[IpAddr]) -> Result<bool> {
        let this = &self.0;
        let mut serving = this.serving.lock().await;
        this.find(&mut serving).await?;
        if !is_usual(&serving) {
            return Ok(false);
        }
        let servers = this
            .servers()
            .context("cannot read the names of networks")?;
        let is_wanted = |server: &IpAddr| wanted.iter().any(|ip| covers(*ip, *server));
        if !servers.iter().any(is_wanted) {
            return Ok(false);
        }
        let moved = this.move_aside(&mut serving, &servers).await;
        serving.is_told = moved.is_ok();
        moved.map(|()| true)
    }

    /// Puts back what leads to the server, where somebody has taken it away.
    ///
    /// # Errors
    /// System: nft fails, or does not answer.
    pub async fn keep(&self) -> Result<()> {
        let look = self.0.serving.lock().await.aside.look()?;
        // Those who start containers do not wait for it.
        let Some(look) = look else { return Ok(()) };
        match look.missing().await? {
            Some(rules) => self.0.serving.lock().await.aside.put_back(&rules).await,
            None => Ok(()),
        }
    }
}

/// Whether a binding may want the port at which names are asked for, of the host, and no other.
pub fn wants_port(binding: &PortBinding) -> bool {
    binding.host_ports == Some((PORT, PORT)) && binding.port.protocol != Protocol::Sctp
}

/// Whether who listens at `ip` has the port at `server`, too.
fn covers(ip: IpAddr, server: IpAddr) -> bool {
    ip == server || (ip.is_unspecified() && ip.is_ipv4() == server.is_ipv4())
}

/// It runs, and has port 53.
fn is_usual(serving: &Serving) -> bool {
    serving.server.running().is_some_and(|s| s.port == PORT)
}

/// Where names are to be served.
fn servers_of(zones: &[Zone]) -> Vec<IpAddr> {
    let served = zones.iter().filter(|zone| zone.is_served());
    served.flat_map(|zone| zone.servers.clone()).collect()
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

    /// Where names are to be served, by the files.
    fn servers(&self) -> io::Result<Vec<IpAddr>> {
        let mut servers = Vec::new();
        for entry in std::fs::read_dir(self.zones())? {
            let entry = entry?;
            if entry.file_name() != PID_FILE {
                servers.extend(zone::servers(&std::fs::read_to_string(entry.path())?));
            }
        }
        Ok(servers)
    }

    /// Looks whether the server runs. There is one at most after that.
    async fn find(self: &Arc<Self>, serving: &mut Serving) -> Result<()> {
        match &serving.server {
            Known::Nobody => return Ok(()),
            Known::Running(known) if !known.has_ended()? => return Ok(()),
            Known::Nothing | Known::Running(_) => {}
        }
        let mut found = Server::find(&self.zones()).await?;
        serving.server = match found.pop() {
            Some(newest) => Known::Running(newest),
            None => Known::Nobody,
        };
        // A daemon that was killed may have written its files, and not told it.
        serving.is_told = false;
        self.watch(serving);
        for older in found {
            older.end().await?;
        }
        Ok(())
    }

    /// Starts the server where it can be had.
    async fn start(self: &Arc<Self>, serving: &mut Serving, servers: &[IpAddr]) -> Result<()> {
        // One that nobody knows of has the port, and tells what was true once.
        serving.server = Known::Nothing;
        Server::end_all(&self.zones()).await?;
        let port = match aside::is_taken(servers, PORT) {
            true => {
                let port = aside::free(&PORTS_ASIDE, servers)?;
                serving.aside.lead(servers, port).await?;
                port
            }
            false => {
                serving.aside.end().await?;
                PORT
            }
        };
        self.start_at(serving, port).await
    }

    async fn start_at(self: &Arc<Self>, serving: &mut Serving, port: u16) -> Result<()> {
        let path = self.program()?;
        self.version.of("aardvark-dns", &path).await?;
        let started = Server::start(&path, &self.search_path, &self.zones(), port).await?;
        serving.server = Known::Running(started);
        self.watch(serving);
        Ok(())
    }

    /// Has the running server replaced by one at another port. Nobody is led there before it is known that
    /// one can be.
    async fn move_aside(self: &Arc<Self>, serving: &mut Serving, servers: &[IpAddr]) -> Result<()> {
        let port = aside::free(&PORTS_ASIDE, servers)?;
        serving.aside.lead(servers, port).await?;
        serving.server = Known::Nothing;
        Server::end_all(&self.zones()).await?;
        self.start_at(serving, port).await?;
        tracing::info!(
            port,
            "names are served at another port, as that is somebody else's"
        );
        self.until_served(serving, servers, &HashMap::new()).await
    }

    /// Starts the server again when it ends while there are names.
    fn watch(self: &Arc<Self>, serving: &Serving) {
        let Some(server) = serving.server.running() else {
            return;
        };
        let (this, process) = (Arc::downgrade(self), server.process.clone());
        tokio::spawn(async move {
            if process.exited().await.is_ok() {
                restart(this, &process).await;
            }
        });
    }

    /// Leads those who ask to the server, and waits until it has read its files: then its sockets are there, and
    /// with an old one others than before. A later one takes no longer to read than we to look.
    ///
    /// # Errors
    /// System: it does not listen on an address of a network, and what that may come of.
    async fn until_served(
        &self,
        serving: &mut Serving,
        servers: &[IpAddr],
        before: &HashMap<IpAddr, u64>,
    ) -> Result<()> {
        let port = serving.server.running().map_or(PORT, |s| s.port);
        if port == PORT || servers.is_empty() {
            serving.aside.end().await?;
        } else {
            serving.aside.lead(servers, port).await?;
        }
        if servers.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + limits::NAME_SERVER_READ_TIMEOUT;
        let version = match self.program() {
            Ok(path) => self.version.of("aardvark-dns", &path).await,
            Err(e) => Err(e),
        };
        let keeps = version.is_ok_and(|version| version >= KEEPS_SOCKETS);
        loop {
            // Another's socket at such an address answers nobody who asks for these names.
            let now = serving.server.running().map(listening::of);
            let now = now.unwrap_or_default();
            let is_new = |ip: &IpAddr| {
                let inode = now.get(ip);
                inode.is_some() && (keeps || inode != before.get(ip))
            };
            if servers.iter().all(is_new) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let is_deaf = |ip: &&IpAddr| !now.contains_key(ip);
                return match servers.iter().find(is_deaf) {
                    Some(ip) => Err(not_listening(*ip, port)),
                    None => {
                        tracing::warn!(
                            "aardvark-dns is slow: it was told of new names, and has not read them yet"
                        );
                        Ok(())
                    }
                };
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Puts another server in the place of one that ended, and tries until it works or nobody needs it.
async fn restart(names: Weak<Inner>, ended: &Arc<PidFd>) {
    let mut delay = limits::NAME_SERVER_RESTART_DELAY;
    let began = Instant::now();
    loop {
        {
            let Some(this) = names.upgrade() else { return };
            let mut serving = this.serving.lock().await;
            let now = serving.server.running();
            if now.is_some_and(|now| !Arc::ptr_eq(&now.process, ended)) {
                return;
            }
            let started = match this.servers() {
                Ok(servers) if servers.is_empty() => {
                    serving.server = Known::Nothing;
                    return;
                }
                Ok(servers) => this.start(&mut serving, &servers).await,
                Err(e) => Err(e).context("cannot read the names of networks"),
            };
            match started {
                Ok(()) => {
                    tracing::warn!("aardvark-dns had ended and was started again");
                    // Whether it listens everywhere is looked at when it is told the next time.
                    serving.is_told = false;
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

fn not_listening(ip: IpAddr, port: u16) -> model::Error {
    model::Error::system(format!(
        "aardvark-dns does not listen on {ip}, port {port}: `ss -lnp sport = {port}` tells who else may have it, \
         and `ip address` whether the host has the address"
    ))
}

#[cfg(test)]
mod tests;
