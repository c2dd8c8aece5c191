//! Which networks there are: the use cases. Nobody removes one that a running container is on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::{Error, Filters, NetworkId, NetworkName, NetworkRecord, Result};

/// A range of addresses of a network to be made.
#[derive(Debug, Clone, Default)]
pub struct NewSubnet {
    /// All of it; `None` takes one of the default pools.
    pub subnet: Option<IpNet>,
    /// Where containers' addresses are taken from; `None` is all of it.
    pub range: Option<IpNet>,
    /// The host's end; `None` takes the first that is free.
    pub gateway: Option<IpAddr>,
    /// Addresses that no container gets (`AuxiliaryAddresses`).
    pub reserved: BTreeMap<String, IpAddr>,
}

/// A network to be made.
#[derive(Debug, Clone, Default)]
pub struct NewNetwork {
    /// As the client wrote it.
    pub name: String,
    /// As the client wrote it; empty is `bridge`.
    pub driver: String,
    /// Nothing is routed out of it.
    pub internal: bool,
    /// Kept for clients.
    pub attachable: bool,
    /// Containers get IPv4 addresses.
    pub enable_ipv4: bool,
    /// Containers get IPv6 addresses.
    pub enable_ipv6: bool,
    /// Its ranges, in the client's order.
    pub subnets: Vec<NewSubnet>,
    /// Options of the address manager.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The networks of the daemon: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct NetworkCatalog {}

impl NetworkCatalog {
    /// Makes a network. No interface is made before the first container starts on it.
    ///
    /// # Errors
    /// In moby's words: a bad name, driver, option or range (400), a predefined name (403), a name in use (409),
    /// ranges that overlap with another network's (403) or are used up (500).
    pub async fn create(&self, new: NewNetwork) -> Result<Arc<NetworkRecord>> {
        Err(Error::not_implemented(new.name))
    }

    /// The networks that `filters` select, the newest first.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list(&self, filters: &Filters) -> Result<Vec<Arc<NetworkRecord>>> {
        filters.check_keys(&[])?;
        Ok(Vec::new())
    }

    /// A network by its id, its name, or the beginning of its id, in this order.
    ///
    /// # Errors
    /// `network x not found`; 400 where more than one begins so.
    pub fn get(&self, name: &str) -> Result<Arc<NetworkRecord>> {
        Err(Error::not_found(format!("network {name} not found")))
    }

    /// A network by its id.
    pub fn by_id(&self, id: &NetworkId) -> Option<Arc<NetworkRecord>> {
        let _ = id;
        None
    }

    /// Removes a network.
    ///
    /// # Errors
    /// 404; 403 where it is predefined or a running container is on it.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.get(name).map(drop)
    }

    /// Removes all that no container is on and `filters` select; their names.
    ///
    /// # Errors
    /// Bad filters; 409 when another is at it.
    pub async fn prune(&self, filters: Filters) -> Result<Vec<NetworkName>> {
        filters.check_keys(&[])?;
        Ok(Vec::new())
    }
}
