//! Networks whose records cannot be read: their names stay taken, and they can be removed. What a run has
//! on one is taken away all the same.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};

use ipnet::IpNet;
use model::{
    ContainerId, Endpoint, Error, NetworkDriver, NetworkId, NetworkRecord, Result, Subnet,
};

use crate::Networks;

/// A network whose record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its id.
    pub id: NetworkId,
    /// Its name, where that much could be read.
    pub name: Option<String>,
    /// What is wrong with the record.
    pub reason: String,
}

impl Damaged {
    fn is_called(&self, term: &str) -> bool {
        self.id.as_str() == term || self.name.as_deref() == Some(term)
    }
}

impl Networks {
    fn damaged(&self) -> MutexGuard<'_, Vec<Damaged>> {
        let damaged = self.inner.damaged.lock();
        damaged.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is any.
    pub(crate) fn has_damaged(&self) -> bool {
        !self.damaged().is_empty()
    }

    /// The one of that name or id.
    pub(crate) fn damaged_one(&self, term: &str) -> Option<Damaged> {
        self.damaged().iter().find(|d| d.is_called(term)).cloned()
    }

    /// Why there is none of that name or id: in Docker's words, or what is wrong with its record.
    pub(crate) fn missing(&self, term: &str) -> Error {
        match self.damaged_one(term) {
            None => crate::not_found(term),
            Some(damaged) => Error::conflict(format!(
                "network {} cannot be used: its row in the ledger is damaged ({}); remove the network and \
                 make it again",
                crate::clip(term),
                damaged.reason
            )),
        }
    }

    /// Forgets one for good.
    ///
    /// # Errors
    /// 403 where a run still has a place on it; what the ledger says.
    pub(crate) async fn remove_damaged(&self, damaged: &Damaged) -> Result<()> {
        let _choosing = self.inner.choosing.lock().await;
        let all = self.inner.held.all();
        let user = all
            .iter()
            .find(|(_, l)| l.attachment.endpoint(&damaged.id).is_some());
        if let Some((_, lease)) = user {
            return Err(Error::forbidden(format!(
                "error while removing network: network {} has active endpoints (name:{:?})",
                damaged.name.as_deref().unwrap_or(damaged.id.as_str()),
                lease.name.as_str()
            )));
        }
        self.forget_damaged(&damaged.id).await
    }

    async fn forget_damaged(&self, id: &NetworkId) -> Result<()> {
        self.inner.tools.ledger.delete_network(id).await?;
        self.damaged().retain(|d| d.id != *id);
        Ok(())
    }

    /// Makes room for a network that is always there; the id of the one whose place it takes.
    pub(crate) async fn replace_damaged(&self, name: &str) -> Result<Option<NetworkId>> {
        let Some(damaged) = self.damaged_one(name) else {
            return Ok(None);
        };
        tracing::error!(
            network = name,
            reason = damaged.reason,
            "its damaged row is replaced"
        );
        self.forget_damaged(&damaged.id).await?;
        Ok(Some(damaged.id))
    }

    /// Enough of the network of a run's place to take the place away: of one without a record, what follows
    /// from the place. It may have been made otherwise, and something may stay.
    pub(crate) fn record_or_guess(
        &self,
        id: &ContainerId,
        endpoint: &Endpoint,
    ) -> Arc<NetworkRecord> {
        if let Some(record) = self.by_id(&endpoint.network) {
            return record;
        }
        tracing::error!(
            id = id.short(),
            network = %endpoint.network,
            "a run is on a network without a record; something of it may stay on the host"
        );
        let v4 = endpoint.ipv4.map(IpNet::V4);
        let ranges = v4.into_iter().chain(endpoint.ipv6.map(IpNet::V6));
        let subnets = ranges.map(|net| Subnet {
            subnet: net.trunc(),
            gateway: first_address(net),
            range: None,
            reserved: BTreeMap::new(),
        });
        Arc::new(NetworkRecord {
            id: endpoint.network.clone(),
            name: endpoint.network.as_str().parse().expect("an id is a name"),
            created_at: (self.inner.tools.now)(),
            driver: NetworkDriver::Bridge,
            interface: format!("br-{}", endpoint.network.short()),
            internal: false,
            attachable: false,
            enable_ipv4: endpoint.ipv4.is_some(),
            enable_ipv6: endpoint.ipv6.is_some(),
            subnets: subnets.collect(),
            ipam_options: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        })
    }
}

/// Where the gateway is if nobody has said otherwise.
fn first_address(net: IpNet) -> Option<IpAddr> {
    net.trunc().hosts().next()
}
