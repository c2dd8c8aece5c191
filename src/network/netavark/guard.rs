//! Rules that stay: what netavark takes away too early, and what somebody else takes away.
//!
//! A firewall that is reloaded flushes the rules of running containers, and netavark takes the jump to its
//! chain of isolation away with the first network that goes, whoever is left, and puts it before all others
//! with the next. [`Netavark::keep_rules`] puts all that right. What netavark made is not remembered: netavark
//! makes it again, on a stand-in, where it is missing. What we add is in [`rules`]. The host's own rules have
//! their place, as with Docker: the chain DOCKER-USER, which comes before all of ours and is never flushed.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::{Context, Error, NetworkDriver, NetworkRecord, Result, limits};
use sys::lock_file::LockFile;
use sys::spawn::Program;
use sys::tables::Tables;
use sys::{links, netns};

use super::found::Rules;
use super::rules::{self, Family};
use super::{Alone, LOOK_AGAIN, Netavark, Order, Version};
use super::{bridge, ends};

/// Published ports answer containers of other networks, too, where netavark uses nftables, whose chains do not
/// end those of others: in its own, before its jump to isolation, which it puts behind what is there.
const PUBLISHED_NFT: &str = r#"insert rule inet netavark FORWARD ct status dnat accept comment "moored: published ports are for all""#;
/// By which it is known.
const PUBLISHED_NFT_SIGN: &str = "ct status dnat accept comment \"moored: ";

/// The first netavark that may have been built to use nftables.
pub(super) const KNOWS_NFTABLES: Version = Version(1, 10, 0);

/// Who has it locked is alone in changing what all daemons share in the firewall: between the look at it and the
/// change, which flushes chains, another's rules would be lost. The lock of iptables itself is not for that: its
/// programs take it, each on its own.
const LOCK: &str = "/run/moored-firewall.lock";

impl Netavark {
    /// Sees to it that the rules of these running containers are in the firewall, and those that are always
    /// there, the bridge of `standing` being one that is; how many containers' had to be put back. To be called
    /// when the daemon starts, and now and then. `running` is asked when no other netavark can run any more: who
    /// is about to take a container's rules away no longer counts it among them by then, so none is put back
    /// that has gone.
    ///
    /// # Errors
    /// System: the firewall cannot be read or written; or some containers', whom it names, cannot be put back,
    /// while those of all others are there. As long as all stays so it has the same words.
    pub async fn keep_rules(
        &self,
        standing: Option<&NetworkRecord>,
        running: impl Fn() -> Vec<Order> + Send,
    ) -> Result<usize> {
        let version = self.version().await?;
        let alone = self.alone().await?;
        let mut lost = running();
        let networks = lost.iter().flat_map(|order| &order.places);
        let networks: Vec<_> = networks.map(|(network, _)| network.clone()).collect();
        let networks = networks.iter().map(|network| &**network);
        let networks: Vec<_> = networks.chain(standing).collect();
        let rules = self.arrange(&alone, version, &networks).await?;
        let found = rules.index();
        lost.retain(|order| !found.has(order));
        // So that what fails is told in the same order each time.
        lost.sort_by(|a, b| a.id.cmp(&b.id));
        let failed = self.put_all_back(&alone, &lost, version).await;
        if !lost.is_empty() && version >= KNOWS_NFTABLES {
            // Those had no place before netavark made one.
            self.arrange(&alone, version, &networks).await?;
        }
        match failed.is_empty() {
            true => Ok(lost.len()),
            false => Err(Error::system(failed.join("; "))),
        }
    }

    /// One that fails, for a bridge that is there no more perhaps, does not keep the others without theirs; but
    /// a netavark that does not end would keep all who start waiting. Why, and whose are not back.
    async fn put_all_back(
        &self,
        alone: &Alone<'_>,
        lost: &[Order],
        version: Version,
    ) -> Vec<String> {
        let mut failed = Vec::new();
        for order in lost {
            let began = Instant::now();
            if let Err(e) = self.put_back(alone, order, version).await {
                failed.push(format!("{} ({}): {e}", order.name, order.id.short()));
                if began.elapsed() >= limits::NETAVARK_TIMEOUT {
                    break;
                }
            }
        }
        failed
    }

    /// As [`Self::arrange`], for networks that may be new.
    ///
    /// # Errors
    /// System: nothing would keep apart who is to be apart. What else fails is only told.
    pub(super) async fn arrange_new(
        &self,
        alone: &Alone<'_>,
        version: Version,
        order: &Order,
    ) -> Result<()> {
        let networks: Vec<_> = order.places.iter().map(|(network, _)| &**network).collect();
        let arranged = self.arrange(alone, version, &networks).await;
        let mut closed = networks.into_iter().filter(|network| is_closed(network));
        let failed = match arranged {
            Ok(rules) => closed.find_map(|network| rules.failed_for(network)),
            Err(e) if closed.next().is_some() => Some(e),
            Err(e) => {
                tracing::warn!(error = %e, "the firewall's rules are not in order");
                None
            }
        };
        failed.map_or(Ok(()), Err)
    }

    /// Puts the rules that are always there where they must be, and those of these networks; what was in the
    /// firewall before. A family that fails does not keep the other from its rules, and is complained of once.
    pub(super) async fn arrange(
        &self,
        _alone: &Alone<'_>,
        version: Version,
        networks: &[&NetworkRecord],
    ) -> Result<Rules> {
        let lock = lock(Path::new(LOCK), limits::FIREWALL_LOCK_TIMEOUT).await?;
        let links = links::list().context("cannot list interfaces")?;
        let mut rules = self.rules(version).await;
        // A later one may use nftables: before it made anything, nobody knows.
        let with_netavarks = version < KNOWS_NFTABLES
            || matches!(&rules.iptables[0], Some(saved) if saved.contains("NETAVARK_"));
        // Before netavark's, so that it finds its own where it must be.
        for (index, family) in Family::BOTH.into_iter().enumerate() {
            if let Some(saved) = &rules.iptables[index] {
                let wanted = rules::Wanted {
                    family,
                    with_netavarks,
                    networks,
                    links: &links,
                };
                let restored = match wanted.missing(saved) {
                    Some(input) => self.restore(&lock, family, &input).await,
                    None => Ok(()),
                };
                if restored.is_ok() && family == Family::V4 {
                    self.arranged.store(true, Ordering::Relaxed);
                }
                rules.failed[index] = restored.err();
            }
            self.tell(family, rules.failed[index].as_ref());
        }
        if !rules.nftables.is_empty() && !rules.nftables.contains(PUBLISHED_NFT_SIGN) {
            succeed("nft", Program::new(self.tool("nft")?).args([PUBLISHED_NFT])).await?;
        }
        Ok(rules)
    }

    /// Has the program hold the lock, too: a daemon that was killed may have left one running.
    async fn restore(&self, lock: &LockFile, family: Family, input: &str) -> Result<()> {
        let name = family.restore();
        let program = Program::new(self.tool(name)?).args(["--noflush", "-w", "5"]);
        let program = program.env([("PATH", &self.search_path)]);
        let share = || program.fd(3, lock.share()?).input(input.as_bytes());
        let program = share().context("cannot run iptables")?;
        succeed(name, program).await.map(drop)
    }

    /// A failure is told once, until it works again.
    fn tell(&self, family: Family, failed: Option<&Error>) {
        let was_told = self.told[family as usize].swap(failed.is_some(), Ordering::Relaxed);
        if let Some(error) = failed.filter(|_| !was_told) {
            tracing::error!(%error, "the firewall's rules of a family are not in order");
        }
    }

    /// Has netavark make all that is missing on the host, for a namespace that then goes alone.
    async fn put_back(&self, alone: &Alone<'_>, order: &Order, version: Version) -> Result<()> {
        let mut order = order.clone();
        order
            .places
            .retain(|(network, _)| network.driver == NetworkDriver::Bridge);
        bridge::claim(&self.dir, &order)?;
        let stand_in = self.stand_in()?;
        let made = self.call(alone, "setup", &stand_in, &order, version).await;
        let made = made.and_then(|()| bridge::keep(&order));
        let gone = ends::delete(&stand_in, &order);
        let removed = netns::remove(&stand_in).context("cannot remove a network namespace");
        made.and(gone).and(removed)
    }

    async fn rules(&self, version: Version) -> Rules {
        let (mut iptables, mut failed) = ([None, None], [None, None]);
        for (index, family) in Family::BOTH.into_iter().enumerate() {
            let saved = async {
                let program = Program::new(self.tool(family.save())?);
                succeed(family.save(), program.env([("PATH", &self.search_path)])).await
            };
            match saved.await {
                Ok(text) => iptables[index] = Some(text),
                Err(e) => failed[index] = Some(e),
            }
        }
        let mut nftables = String::new();
        if version >= KNOWS_NFTABLES
            && let Ok(nft) = self.tool("nft")
        {
            // Without the table it fails: then netavark made nothing by nftables.
            let program = Program::new(nft).args(["list", "table", "inet", "netavark"]);
            nftables = succeed("nft", program).await.unwrap_or_default();
        }
        Rules {
            iptables,
            failed,
            nftables,
        }
    }

    /// A program of the firewall.
    pub(super) fn tool(&self, name: &str) -> Result<std::path::PathBuf> {
        let found = sys::locate::locate(name, &[], Some(&self.search_path));
        let package = if name == "nft" {
            "nftables"
        } else {
            "iptables"
        };
        found.map_err(|_| {
            Error::system(format!(
                "{name}, which netavark needs, was not found in $PATH: install the package {package}"
            ))
        })
    }
}

/// Whether somebody has taken tables of the firewall away, who is left time then to put his own there.
pub(super) async fn is_reloaded(tables: &Tables) -> bool {
    let patience = limits::FIREWALL_RELOAD_PATIENCE;
    let deleted = tokio::time::timeout(patience, tables.deleted()).await;
    let is_reloaded = matches!(deleted, Ok(Ok(())));
    if is_reloaded {
        tokio::time::sleep(patience).await;
    }
    is_reloaded
}

/// Only rules of ours keep apart who is on such a network, and who is not to be reached from there.
fn is_closed(network: &NetworkRecord) -> bool {
    network.driver == NetworkDriver::Bridge && (network.internal || ends::are_apart(network))
}

/// Takes a lock that others have for a short time.
pub(super) async fn lock(path: &Path, patience: Duration) -> Result<LockFile> {
    let deadline = Instant::now() + patience;
    loop {
        let taken = LockFile::try_take(path).context(format_args!("lock {}", path.display()))?;
        if let Some(file) = taken {
            return Ok(file);
        }
        if Instant::now() > deadline {
            return Err(Error::system(format!(
                "{} is held by a program that does not end",
                path.display()
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub(super) async fn succeed(name: &str, program: Program) -> Result<String> {
    let program = program.output_max(limits::FIREWALL_BYTES_MAX);
    let done = program.run(limits::NETAVARK_TIMEOUT).await?;
    if !done.status.success() {
        return Err(Error::system(format!(
            "{name} failed ({}): {}",
            done.status,
            done.message()
        )));
    }
    if done.cut {
        return Err(Error::system(format!(
            "{name} prints more than can be read"
        )));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
