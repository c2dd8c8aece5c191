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
    /// What it has on the host could not be taken away at the last try.
    pub(crate) has_failed: bool,
    /// Its container is removed.
    pub(crate) is_abandoned: bool,
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
    /// The places that containers had when they ran last: they get the same addresses where those are free.
    last: HashMap<ContainerId, Vec<Endpoint>>,
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
        let mut table = self.table();
        if let Some(lease) = table.leases.remove(id)
            && !lease.is_abandoned
        {
            let places = lease.attachment.endpoints.clone();
            table.last.insert(id.clone(), places);
        }
        drop(table);
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

    /// Those that are leaving and hold what `is_wanted`.
    pub(crate) fn leaving(
        &self,
        is_wanted: impl Fn(&Attachment) -> bool,
    ) -> Vec<(ContainerId, Lease)> {
        let mut all = self.all();
        all.retain(|(_, l)| l.stage == Stage::Going && is_wanted(&l.attachment));
        all
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

    /// The address that a container had on a network when it ran last.
    pub(crate) fn last(&self, id: &ContainerId, network: &NetworkId, v6: bool) -> Option<IpAddr> {
        let table = self.table();
        let mut places = table.last.get(id)?.iter();
        let place = places.find(|e| e.network == *network)?;
        match v6 {
            true => place.ipv6.map(|net| IpAddr::V6(net.addr())),
            false => place.ipv4.map(|net| IpAddr::V4(net.addr())),
        }
    }

    /// A container is gone, and runs no more.
    pub(crate) fn forget(&self, id: &ContainerId) {
        let mut table = self.table();
        table.last.remove(id);
        if let Some(lease) = table.leases.get_mut(id) {
            lease.is_abandoned = true;
        }
    }

    /// What a run has could not be taken away; those who wait for it need not.
    pub(crate) fn fail(&self, id: &ContainerId) {
        self.change(id, |lease| lease.has_failed = true);
        self.ended.send_modify(|count| *count += 1);
    }
}
