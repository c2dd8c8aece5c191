//! What runs hold: the ledger's attachments in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{
    Attachment, ContainerId, ContainerName, ContainerSpec, Endpoint, NetworkId, PublishedPort,
};
use tokio::sync::watch;

/// A container that is on a network.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its place there.
    pub endpoint: Endpoint,
}

/// Where a run is between its lease and the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being set up, or could not be.
    Coming,
    /// Others find it.
    Up,
    /// It has ended; what it has on the host is being taken away.
    Going,
}

/// What one run holds.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// The container's name, which may change.
    pub(crate) name: ContainerName,
    /// What it was asked to be.
    pub(crate) spec: Arc<ContainerSpec>,
    /// Its addresses and ports.
    pub(crate) attachment: Arc<Attachment>,
    pub(crate) stage: Stage,
    /// The network that it is being connected to or disconnected from.
    pub(crate) changing: Option<NetworkId>,
    /// Whether netavark may have made something for it.
    pub(crate) touched: bool,
    /// Held by who takes away what it has on the host. It tells this lease from the container's next, too.
    pub(crate) releasing: Arc<tokio::sync::Mutex<()>>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Held {
    table: Mutex<Table>,
    /// Changes when a lease ends.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    leases: HashMap<ContainerId, Lease>,
    /// The address last given on a network, of each family: the next is looked for after it, so that one
    /// that was given back is not at once another's.
    last: HashMap<(NetworkId, bool), IpAddr>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }
}

impl Held {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a container's run holds.
    pub(crate) fn get(&self, id: &ContainerId) -> Option<Lease> {
        self.table().leases.get(id).cloned()
    }

    pub(crate) fn put(&self, id: &ContainerId, lease: Lease) {
        self.table().leases.insert(id.clone(), lease);
    }

    /// Forgets it, and wakes those who wait for that.
    pub(crate) fn take(&self, id: &ContainerId) {
        self.table().leases.remove(id);
        self.ended.send_modify(|count| *count += 1);
    }

    /// Changes a lease; nothing where there is none.
    pub(crate) fn change(&self, id: &ContainerId, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = self.table().leases.get_mut(id) {
            change(lease);
        }
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Vec<(ContainerId, Lease)> {
        let table = self.table();
        let all = table.leases.iter();
        all.map(|(id, lease)| (id.clone(), lease.clone())).collect()
    }

    /// Who is on a network, in one of these stages, by name.
    pub(crate) fn members(&self, network: &NetworkId, stages: &[Stage]) -> Vec<Member> {
        let table = self.table();
        let on_it = table.leases.iter().filter_map(|(id, lease)| {
            let endpoint = lease.attachment.endpoint(network)?;
            stages.contains(&lease.stage).then(|| Member {
                container: id.clone(),
                name: lease.name.clone(),
                endpoint: endpoint.clone(),
            })
        });
        let mut members: Vec<Member> = on_it.collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Whether something that is held will soon be no more.
    pub(crate) fn some_leave(&self) -> bool {
        let table = self.table();
        table.leases.values().any(|l| l.stage == Stage::Going)
    }

    /// The host's ports that are taken.
    pub(crate) fn ports(&self) -> Vec<PublishedPort> {
        let table = self.table();
        let all = table.leases.values().flat_map(|l| &l.attachment.ports);
        all.copied().collect()
    }

    /// Whoever waits on it is woken when a lease has ended.
    pub(crate) fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// The addresses that are taken on a network.
    pub(crate) fn addresses(&self, network: &NetworkId) -> std::collections::HashSet<IpAddr> {
        let table = self.table();
        let endpoints = table
            .leases
            .values()
            .filter_map(|l| l.attachment.endpoint(network));
        endpoints
            .flat_map(|e| {
                let v4 = e.ipv4.map(|net| IpAddr::V4(net.addr()));
                let v6 = e.ipv6.map(|net| IpAddr::V6(net.addr()));
                v4.into_iter().chain(v6)
            })
            .collect()
    }

    /// The address that was last given.
    pub(crate) fn last(&self, network: &NetworkId, v6: bool) -> Option<IpAddr> {
        self.table().last.get(&(network.clone(), v6)).copied()
    }

    pub(crate) fn set_last(&self, network: &NetworkId, address: IpAddr) {
        let key = (network.clone(), address.is_ipv6());
        self.table().last.insert(key, address);
    }
}
