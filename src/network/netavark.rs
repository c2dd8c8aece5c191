//! netavark: the program that makes interfaces, addresses, routes and the firewall's rules.
//!
//! | | |
//! |---|---|
//! | [`Netavark::set_up`] | a namespace gets its places on networks, and ports are published; what fails is undone |
//! | [`Netavark::tear_down`] | all of that is taken away, whatever is left of it |
//! | [`Netavark::keep_rules`] | what somebody else took from the firewall is put back |
//! | [`Netavark::establish`] | a network's bridge is there without containers, too, and stays; [`Netavark::dismantle`] undoes that |
//!
//! netavark is not made to be called twice or to be interrupted: it ends its undoing at the first
//! thing that is missing, and then keeps the bridge and its rules. What it cannot undo as it is, is
//! therefore *made complete first*, on an empty namespace that stands in for the lost one (all that it
//! does on the host it does only where it is missing), and then undone in one piece.
//!
//! One netavark runs at a time. The lock is a file's, which the program holds itself: a daemon that was
//! killed may have left one running, and the next daemon waits for it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{
    ContainerId, Context, Endpoint, Error, NetworkDriver, NetworkRecord, Protocol, PublishedPort,
    Result, limits,
};
use sys::lock_file::LockFile;
use sys::spawn::Program;
use sys::tables::Tables;
use sys::{conntrack, links, netns};
use tokio::sync::Mutex;

pub use document::{check, publishes_in_both};
pub use parent::is_on;
pub use standing::stands;

pub(crate) use version::Cache;
pub use version::Version;

mod bridge;
mod document;
mod ends;
mod found;
mod guard;
mod parent;
mod rules;
mod standing;
mod version;

/// Where distributions put netavark and aardvark-dns, which are in nobody's `$PATH`.
const DIRECTORIES: [&str; 4] = [
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
];

/// How often somebody else's lock and interfaces are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What of a container is to be set up or taken away.
#[derive(Debug, Clone)]
pub struct Order {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Its places, each with its network.
    pub places: Vec<(Arc<NetworkRecord>, Endpoint)>,
    /// Its ports on the host.
    pub ports: Vec<PublishedPort>,
}

/// The program, and who may call it.
#[derive(Debug)]
pub struct Netavark {
    paths: Vec<PathBuf>,
    search_path: OsString,
    dir: PathBuf,
    alone: Mutex<()>,
    version: Cache,
    /// The rules that are always there were put there once.
    arranged: AtomicBool,
    /// That the firewall of IPv4, or of IPv6, does not work was told.
    told: [AtomicBool; 2],
    /// Tells other daemons that this one keeps a bridge.
    kept: standing::Kept,
}

/// Where `name`, a program of the Podman project, may be: the configured path alone, or the usual ones.
pub(crate) fn usual_paths(configured: Option<PathBuf>, name: &str) -> Vec<PathBuf> {
    match configured {
        Some(path) => vec![path],
        None => DIRECTORIES
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .collect(),
    }
}

impl Netavark {
    /// The one at `path`, or where it usually is; then `search_path`, where it also finds iptables. Its
    /// lock is in `dir`, which is made when it is missing and must be on a file system that a reboot empties.
    pub fn new(path: Option<PathBuf>, search_path: OsString, dir: PathBuf) -> Self {
        Self {
            paths: usual_paths(path, "netavark"),
            search_path,
            dir,
            alone: Mutex::new(()),
            version: Cache::default(),
            arranged: AtomicBool::new(false),
            told: Default::default(),
            kept: standing::Kept::default(),
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// System, naming what to install.
    pub fn program(&self) -> Result<PathBuf> {
        sys::locate::locate("netavark", &self.paths, Some(&self.search_path))
    }

    /// What it says of itself, asked again when another is installed.
    ///
    /// # Errors
    /// System: there is none, it does not answer, or it is too old.
    pub async fn version(&self) -> Result<Version> {
        let program = self.program()?;
        self.version.of("netavark", &program).await
    }

    /// Whether it can make anything: it is there, and so is what it needs.
    ///
    /// # Errors
    /// System, naming what to install.
    pub async fn ready(&self) -> Result<()> {
        match self.version().await? < guard::KNOWS_NFTABLES {
            true => self.tool("iptables").map(drop),
            false => Ok(()),
        }
    }

    /// Gives the namespace pinned at `ns` its places on networks, and publishes ports. When it
    /// fails, nothing of it stays, and it is tried once more where somebody reloaded the firewall meanwhile; what
    /// might stay (netavark fails in undoing, too) is logged, and [`Netavark::tear_down`] can be called until it
    /// works.
    ///
    /// # Errors
    /// System with netavark's words; NotImplemented for what it is too old for.
    pub async fn set_up(&self, ns: &Path, order: &Order) -> Result<()> {
        if order.places.is_empty() {
            return Ok(());
        }
        let tables = Tables::listen();
        let made = self.try_set_up(ns, order).await;
        match tables {
            Ok(tables) if made.is_err() && guard::is_reloaded(&tables).await => {
                tracing::info!(
                    id = order.id.short(),
                    "the firewall was reloaded: setting up again"
                );
                self.try_set_up(ns, order).await
            }
            _ => made,
        }
    }

    async fn try_set_up(&self, ns: &Path, order: &Order) -> Result<()> {
        let version = self.version().await?;
        for (network, _) in &order.places {
            check(network, version)?;
        }
        let alone = self.alone().await?;
        for (network, _) in order.places.iter().filter(|(n, _)| standing::is_to_stay(n)) {
            self.prepare(&alone, network, version).await?;
        }
        bridge::claim(&self.dir, order)?;
        for (network, _) in &order.places {
            parent::make(&self.dir, network)?;
        }
        // Not later: until then the operator's own rules would not count.
        if !self.arranged.load(Ordering::Relaxed) {
            self.arrange_or_warn(&alone, version, &[]).await;
        }
        // What a bridge's rules are about is there only then, and with nftables netavark's own table, too. A
        // bridge that stays is there before, but nobody may have missed its rules.
        let is_first = order
            .places
            .iter()
            .any(|(network, _)| standing::is_empty(network));
        let mut made = self.call(&alone, "setup", ns, order, version).await;
        if made.is_ok() && is_first {
            made = self.arrange_new(&alone, version, order).await;
        }
        let made = made.and_then(|()| bridge::keep(order));
        let Err(e) = made.and_then(|()| ends::attend(ns, order)) else {
            forget_flows(order);
            return Ok(());
        };
        if let Err(left) = self.take_away(alone, ns, order, version).await {
            tracing::error!(id = order.id.short(), error = %left, "a network that could not be set up is not undone");
        }
        self.arranged.store(false, Ordering::Relaxed);
        Err(e)
    }

    /// Takes away all that [`Netavark::set_up`] does, whatever is there of it: the namespace may be gone,
    /// set up half or not at all. Once it worked, doing it again changes nothing.
    ///
    /// # Errors
    /// System; then something may be left, and it can be tried again.
    pub async fn tear_down(&self, ns: &Path, order: &Order) -> Result<()> {
        if order.places.is_empty() {
            return Ok(());
        }
        let version = self.version().await?;
        let alone = self.alone().await?;
        self.take_away(alone, ns, order, version).await
    }

    /// Whether the rules that are always there are where they must be, as far as what was done here goes; the
    /// next [`Netavark::set_up`] or [`Netavark::tidy`] sees to it otherwise.
    pub fn is_tidy(&self) -> bool {
        self.arranged.load(Ordering::Relaxed)
    }

    /// Puts the rules that are always there where they must be, where a network that went has left them in
    /// disorder. Nothing where nothing was made yet.
    ///
    /// # Errors
    /// System: the firewall cannot be read or written.
    pub async fn tidy(&self) -> Result<()> {
        if self.is_tidy() || !self.dir.join("lock").exists() {
            return Ok(());
        }
        let version = self.version().await?;
        let alone = self.alone().await?;
        self.arrange(&alone, version, &[]).await.map(drop)
    }

    async fn arrange_or_warn(
        &self,
        alone: &Alone<'_>,
        version: Version,
        networks: &[&NetworkRecord],
    ) {
        if let Err(e) = self.arrange(alone, version, networks).await {
            tracing::warn!(error = %e, "the firewall's rules are not in order");
        }
    }

    /// Undoes what is there. The lock is not held while interfaces are waited for.
    async fn take_away(
        &self,
        alone: Alone<'_>,
        ns: &Path,
        order: &Order,
        version: Version,
    ) -> Result<()> {
        let mut order = order.clone();
        let mut failure = None;
        // A bridge that is not ours was refused, so there is nothing to undo: it would be deleted.
        order.places.retain(|(network, _)| {
            bridge::is_own(&self.dir, network).unwrap_or_else(|e| {
                failure = Some(e);
                false
            })
        });
        if let Some(e) = failure {
            return Err(e);
        }
        if order.places.is_empty() {
            return Ok(());
        }
        let left = self.undo(&alone, ns, &mut order, version).await?;
        self.forget_bridges(&order);
        if !left {
            return Ok(());
        }
        drop(alone);
        // The kernel may still be about to take the old interfaces from their bridges.
        let deadline = Instant::now() + limits::NETNS_END_TIMEOUT;
        for (network, place) in &order.places {
            // One that stays is left alone for ever.
            if stands(network) {
                continue;
            }
            if !bridge::waits_for_members(&network.interface, deadline).await? {
                continue;
            }
            let alone = self.alone().await?;
            // Somebody else may have come by now, or have taken it away.
            let members = links::members(&network.interface).context("cannot list interfaces")?;
            if members == Some(0) {
                let one = Order {
                    places: vec![(network.clone(), place.clone())],
                    ..order.clone()
                };
                let nothing = std::future::ready(Ok(()));
                self.by_stand_in(&alone, &one, version, nothing).await?;
                self.forget_bridges(&one);
            }
        }
        Ok(())
    }

    /// Undoes what can be now; whether bridges may be left, until the interfaces of a lost namespace are gone:
    /// those of the order then.
    async fn undo(
        &self,
        alone: &Alone<'_>,
        ns: &Path,
        order: &mut Order,
        version: Version,
    ) -> Result<bool> {
        let pinned = netns::is_pinned(ns).context(format_args!("look at {}", ns.display()))?;
        if pinned {
            let mut undone = false;
            if ends::are_named(ns, order)? {
                match self.call(alone, "teardown", ns, order, version).await {
                    Ok(()) => undone = true,
                    Err(e) => {
                        tracing::debug!(id = order.id.short(), error = %e, "undone by a stand-in")
                    }
                }
            }
            // The bridge stays while the namespace still has an interface on it; and who changed names meanwhile
            // keeps nothing.
            ends::delete(ns, order)?;
            if undone {
                return Ok(false);
            }
        }
        // Nothing of the others is outside the namespace.
        order
            .places
            .retain(|(network, _)| network.driver == NetworkDriver::Bridge);
        if order.places.is_empty() {
            return Ok(false);
        }
        let nothing = std::future::ready(Ok(()));
        self.by_stand_in(alone, order, version, nothing).await?;
        Ok(!pinned)
    }

    /// When the last has left a network.
    fn forget_bridges(&self, order: &Order) {
        let networks = order.places.iter().map(|(network, _)| network);
        let gone: Vec<_> = networks
            .filter(|network| bridge::has_none(network))
            .collect();
        for network in &gone {
            bridge::forget(&self.dir, network);
        }
        // With a network, netavark takes away a rule that keeps the others in order. Those who wait for the
        // end of this need not wait for that rule.
        if !gone.is_empty() {
            self.arranged.store(false, Ordering::Relaxed);
        }
    }

    /// Makes complete what is there, on an empty namespace, and undoes it; `meanwhile` is done in between.
    async fn by_stand_in(
        &self,
        alone: &Alone<'_>,
        order: &Order,
        version: Version,
        meanwhile: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let stand_in = self.stand_in()?;
        let mut made = self.call(alone, "setup", &stand_in, order, version).await;
        if made.is_ok() {
            made = meanwhile.await;
        }
        let undone = self
            .call(alone, "teardown", &stand_in, order, version)
            .await;
        let removed = netns::remove(&stand_in).context("cannot remove a network namespace");
        // Where it could not be made complete, undoing fails, too, and has less to say.
        made.and(undone).and(removed)
    }

    /// A namespace that is empty.
    fn stand_in(&self) -> Result<PathBuf> {
        self.clear_stand_in()?;
        let path = self.stand_in_path();
        netns::make(&path).context("cannot make a network namespace")?;
        Ok(path)
    }

    fn stand_in_path(&self) -> PathBuf {
        self.dir.join("stand-in")
    }

    /// Whether a namespace stands in just now, or one was left behind.
    fn has_stand_in(&self) -> Result<bool> {
        netns::is_pinned(&self.stand_in_path()).context("cannot look at a network namespace")
    }

    /// Takes away the namespace that a daemon before this one left behind, its interfaces first, which would
    /// keep their bridges.
    fn clear_stand_in(&self) -> Result<()> {
        if !self.has_stand_in()? {
            return Ok(());
        }
        let path = self.stand_in_path();
        let clear = || -> std::io::Result<()> {
            netns::inside(&path, || {
                let left = links::list()?.into_iter().filter(|link| link.name != "lo");
                left.into_iter()
                    .try_for_each(|link| links::delete(&link.name).map(drop))
            })?;
            netns::remove(&path)
        };
        clear().context("cannot remove a network namespace")
    }

    async fn call(
        &self,
        alone: &Alone<'_>,
        verb: &str,
        ns: &Path,
        order: &Order,
        version: Version,
    ) -> Result<()> {
        let input = document::document(order, version);
        let share = || -> std::io::Result<Program> {
            let program = Program::new(
                self.program()
                    .map_err(|e| std::io::Error::other(e.to_string()))?,
            );
            program
                .args(["--config".into(), self.dir.clone().into_os_string()])
                // It must never start one of its own: names are ours to serve.
                .args(["--aardvark-binary", "/nonexistent", verb])
                .args([ns])
                .env([("PATH", &self.search_path)])
                .fd(3, alone.file.share()?)
                .input(input.to_string().as_bytes())
        };
        let done = share()
            .context("cannot run netavark")?
            .run(limits::NETAVARK_TIMEOUT)
            .await?;
        if done.status.success() {
            return Ok(());
        }
        let said = document::error_of(&done.stdout).unwrap_or_else(|| match done.message() {
            nothing if nothing.is_empty() => {
                format!("ended with {} and without a word", done.status)
            }
            said => said,
        });
        Err(Error::system(format!("netavark {verb}: {said}")))
    }

    /// Waits until no netavark of ours runs, this daemon's or one before it.
    async fn alone(&self) -> Result<Alone<'_>> {
        let turn = self.alone.lock().await;
        let path = self.dir.join("lock");
        std::fs::create_dir_all(&self.dir)
            .context(format_args!("create {}", self.dir.display()))?;
        let file = guard::lock(&path, limits::NETAVARK_LOCK_TIMEOUT).await?;
        Ok(Alone { _turn: turn, file })
    }
}

/// Nobody else calls netavark while this lives.
#[derive(Debug)]
struct Alone<'a> {
    _turn: tokio::sync::MutexGuard<'a, ()>,
    file: LockFile,
}

/// Who sent to a port before it was published is led to the container, too: a flow keeps the target that it
/// began with (moby `bridge` clearConntrackEntries).
fn forget_flows(order: &Order) {
    let udp = order.ports.iter();
    let udp = udp.filter(|port| port.port.protocol == Protocol::Udp);
    let targets: Vec<_> = udp
        .map(|port| SocketAddr::new(port.host_ip, port.host_port))
        .collect();
    if !targets.is_empty()
        && let Err(e) = conntrack::forget_udp(&targets)
    {
        tracing::warn!(id = order.id.short(), error = %e, "who sent to its UDP ports before may not reach it");
    }
}

#[cfg(test)]
mod tests;
