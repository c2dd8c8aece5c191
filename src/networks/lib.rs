//! Which networks there are, and what containers that run have of them.
//!
//! | file | |
//! |---|---|
//! | `catalog` | the use cases: create, list, inspect, remove, prune |
//! | `subnets` | the ranges of a new network: what a client may ask for, what it gets |
//! | `lease` | what a run is to have: addresses, hardware addresses, ports of the host |
//! | `held` | the leases in memory |
//! | `runs` | around a run: attached, set up, left, released |
//! | `places` | networks that come and go while it runs |
//! | `damaged` | records that cannot be read |
//! | `predefined` | those that are always there; the default network follows what the operator says |
//! | `keep` | taken back after a restart; rules, and the default network's bridge, put back that others took away |
//! | `naming` | who is called what on which network; resolv.conf and hosts |
//! | `settings` | what the operator says of it all |
//!
//! What a network does to the host is the room `network`'s. This one decides and writes: a network's record
//! when it is made, and an [`model::Attachment`], the addresses and ports that a run holds, before the first
//! effect on the host and until all of it is taken away.
//!
//! ```text
//!   attach: chosen, in the ledger --> set up (netavark) --> told (names) --> the process starts
//!     |                                    |                    |
//!     +------------------------------------+--------------------+--> release: names, netavark, pin,
//!                                                                    then the ledger
//! ```
//!
//! [`Held`] is the ledger's table of attachments in memory, and the one answer to which addresses are
//! taken. Choosing and holding are one step under one lock, so that no two runs get the same address and no
//! network is removed between the look and the hold.

mod catalog;
mod damaged;
mod held;
mod keep;
mod lease;
mod naming;
mod places;
mod predefined;
mod runs;
mod settings;
mod subnets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use catalog::{NewNetwork, NewSubnet};
pub use damaged::Damaged;
use held::Held;
pub use held::Member;
pub use lease::{check_config, check_mode};
use model::{Error, NetworkId, NetworkRecord, Result, Timestamp};
pub use runs::{Attached, Joining};
pub use settings::Settings;

/// What the room works with.
pub struct Tools {
    /// Where records and attachments are.
    pub ledger: state::Ledger,
    /// netavark.
    pub netavark: network::Netavark,
    /// aardvark-dns.
    pub names: network::names::Names,
    /// The host's ports.
    pub ports: network::ports::Ports,
    /// Where namespaces are pinned.
    pub pins: PathBuf,
    /// What the operator says.
    pub settings: Settings,
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// For ids.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// The networks of the daemon: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Networks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    records: RwLock<Records>,
    /// Those whose records cannot be read.
    damaged: Mutex<Vec<Damaged>>,
    held: Held,
    /// Held from the choice of what is free to the moment it is taken, and by who removes a network.
    choosing: tokio::sync::Mutex<()>,
    /// Held by the one prune there may be.
    pruning: tokio::sync::Mutex<()>,
    /// How often somebody wanted what is true to be written for the name server.
    asked: AtomicU64,
    /// Held while it is written; how many of those it has been written for.
    telling: tokio::sync::Mutex<u64>,
    /// Asks for a look at the firewall.
    look: tokio::sync::Notify,
    /// What is wrong with the default network's bridge, as it was told.
    told_of_bridge: Mutex<Option<String>>,
    /// What is wrong with the firewall's rules.
    told_of_rules: Mutex<Option<String>>,
    /// Why containers may not find each other by name.
    told_of_names: Mutex<Option<String>>,
    /// Why the default network is not as the operator says, as it was told.
    told_of_settings: Mutex<Option<String>>,
}

/// The networks by id; names are unique.
#[derive(Debug, Default)]
struct Records {
    by_id: BTreeMap<NetworkId, Arc<NetworkRecord>>,
}

impl Records {
    fn by_name(&self, name: &str) -> Option<&Arc<NetworkRecord>> {
        self.by_id.values().find(|r| r.name.as_str() == name)
    }
}

impl Networks {
    /// The networks of these records; `damaged` are those whose records cannot be read. Those that are
    /// always there are made where they are missing.
    pub async fn open(records: Vec<NetworkRecord>, damaged: Vec<Damaged>, tools: Tools) -> Self {
        let records = records.into_iter().map(|r| (r.id.clone(), Arc::new(r)));
        let networks = Self {
            inner: Arc::new(Inner {
                tools,
                records: RwLock::new(Records {
                    by_id: records.collect(),
                }),
                damaged: Mutex::new(damaged),
                held: Held::default(),
                choosing: tokio::sync::Mutex::default(),
                pruning: tokio::sync::Mutex::default(),
                asked: AtomicU64::new(0),
                telling: tokio::sync::Mutex::default(),
                look: tokio::sync::Notify::new(),
                told_of_bridge: Mutex::default(),
                told_of_rules: Mutex::default(),
                told_of_names: Mutex::default(),
                told_of_settings: Mutex::default(),
            }),
        };
        networks.make_missing().await;
        networks
    }

    /// A network by its id.
    pub fn by_id(&self, id: &NetworkId) -> Option<Arc<NetworkRecord>> {
        self.read().by_id.get(id).cloned()
    }

    /// A network by its name, its id, or the beginning of its id (moby `FindNetwork`).
    ///
    /// # Errors
    /// `network x not found`; 400 where more than one begins so.
    pub fn get(&self, term: &str) -> Result<Arc<NetworkRecord>> {
        let records = self.read();
        let mut ids = records.by_id.values();
        let exact = ids.find(|r| r.id.as_str() == term);
        if let Some(found) = exact.or_else(|| records.by_name(term)) {
            return Ok(found.clone());
        }
        let begin = |r: &&Arc<NetworkRecord>| !term.is_empty() && r.id.as_str().starts_with(term);
        let mut begun = records.by_id.values().filter(begin);
        match (begun.next(), begun.next()) {
            (Some(found), None) => Ok(found.clone()),
            (None, _) => Err(self.missing(term)),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "network {} is ambiguous ({} matches found based on ID prefix)",
                clip(term),
                begun.count() + 2
            ))),
        }
    }

    /// The default network, unless the operator wants none.
    pub fn default_network(&self) -> Option<Arc<NetworkRecord>> {
        let found = self.read().by_name("bridge").cloned();
        found.filter(|_| self.inner.tools.settings.bridge.is_some())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Records> {
        let records = self.inner.records.read();
        records.unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, record: Arc<NetworkRecord>) {
        let records = self.inner.records.write();
        let mut records = records.unwrap_or_else(PoisonError::into_inner);
        records.by_id.insert(record.id.clone(), record);
    }

    fn take_out(&self, id: &NetworkId) {
        let records = self.inner.records.write();
        let mut records = records.unwrap_or_else(PoisonError::into_inner);
        records.by_id.remove(id);
    }

    fn random_id(&self) -> [u8; 32] {
        (self.inner.tools.random)()
    }
}

/// Docker's words.
fn not_found(term: &str) -> Error {
    Error::not_found(format!("network {} not found", clip(term)))
}

/// Enough of what a client wrote to know it again.
fn clip(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests;
