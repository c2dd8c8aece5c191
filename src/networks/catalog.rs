//! Which networks there are: the use cases. Nobody removes one that a running container is on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::network::{INTERFACE_BYTES_MAX, is_interface_name};
use model::{
    Action, Attachment, Error, Event, EventKind, Filters, Kind, NetworkDriver, NetworkId,
    NetworkName, NetworkRecord, Result, limits,
};
use rules::Patterns;
use sys::task::to_the_end;

use crate::held::Stage;
use crate::{Member, Networks};

/// The filters a list of networks takes.
const LIST_KEYS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// The filters a prune takes.
const PRUNE_KEYS: &[&str] = &["label", "label!", "until"];

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

impl Networks {
    /// Makes a network. No interface is made before the first container starts on it.
    ///
    /// # Errors
    /// In moby's words: a bad name, driver, option or range (400), a predefined name (403), a name in use (409),
    /// ranges that overlap with another network's (403) or are used up (400).
    pub async fn create(&self, new: NewNetwork) -> Result<Arc<NetworkRecord>> {
        let networks = self.clone();
        to_the_end(async move { networks.make(&new).await }).await
    }

    async fn make(&self, new: &NewNetwork) -> Result<Arc<NetworkRecord>> {
        // `default` is a mode's word for the default network: nobody could ever name this one.
        let is_kept = new.name == "default";
        if is_kept || model::network::PREDEFINED_NETWORKS.contains(&new.name.as_str()) {
            return Err(Error::forbidden(format!(
                "operation is not permitted on predefined {} network ",
                new.name
            )));
        }
        let name: NetworkName = new.name.parse()?;
        let driver = driver(&new.driver)?;
        let _choosing = self.inner.choosing.lock().await;
        if self.read().by_name(name.as_str()).is_some() {
            return Err(Error::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        if let Some(damaged) = self.damaged_one(name.as_str()) {
            return Err(Error::conflict(format!(
                "network with name {name} already exists: its row in the ledger is damaged ({}); remove it \
                 first",
                damaged.reason
            )));
        }
        if self.read().by_id.len() >= limits::NETWORKS_MAX {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "there are {} networks already: remove some",
                    limits::NETWORKS_MAX
                ),
            ));
        }
        let id = NetworkId::from_bytes(self.random_id());
        let interface = self.interface(driver, &id, &new.options)?;
        let subnets = self.choose_subnets(new, driver)?;
        let record = Arc::new(NetworkRecord {
            id,
            name,
            created_at: (self.inner.tools.now)(),
            driver,
            interface,
            internal: new.internal,
            attachable: new.attachable,
            enable_ipv4: new.enable_ipv4,
            enable_ipv6: new.enable_ipv6,
            subnets,
            ipam_options: new.ipam_options.clone(),
            options: new.options.clone(),
            labels: new.labels.clone(),
        });
        if driver != NetworkDriver::Bridge || !new.options.is_empty() {
            // What this netavark cannot make is refused now, and not when the first container starts.
            network::check(&record, self.inner.tools.netavark.version().await?)?;
            self.inner.tools.netavark.make_parent(&record).await?;
        }
        let event = self.event(&record, &Action::Create);
        let (networks, made) = (self.clone(), record.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || networks.insert(made.clone()));
        if let Err(e) = ledger.put_network(&record).await {
            self.remove_parent(&record).await;
            return Err(e);
        }
        Ok(record)
    }

    /// The bridge's name, or the parent.
    fn interface(
        &self,
        driver: NetworkDriver,
        id: &NetworkId,
        options: &BTreeMap<String, String>,
    ) -> Result<String> {
        let key = match driver {
            NetworkDriver::Bridge => "com.docker.network.bridge.name",
            _ => "parent",
        };
        let given = options.get(key).filter(|name| !name.is_empty());
        if let Some(name) = given {
            check_interface(name)?;
        }
        if driver != NetworkDriver::Bridge {
            return Ok(given.cloned().unwrap_or_default());
        }
        let name = given.cloned();
        let name = name.unwrap_or_else(|| format!("br-{}", id.short()));
        let records = self.read();
        let mut bridges = records.by_id.values();
        match bridges.find(|r| r.driver == driver && r.interface == name) {
            Some(other) => Err(Error::forbidden(format!(
                "cannot create network {id} ({name}): conflicts with network {} ({name}): networks \
                 have same bridge name",
                other.id
            ))),
            None => Ok(name),
        }
    }

    /// The networks that `filters` select, oldest first.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list(&self, filters: &Filters) -> Result<Vec<Arc<NetworkRecord>>> {
        filters.check_keys(LIST_KEYS)?;
        let dangling = dangling(filters)?;
        for kind in filters.values("type") {
            if !matches!(kind, "builtin" | "custom") {
                return Err(Error::invalid(format!("invalid filter: 'type'='{kind}'")));
            }
        }
        let (names, ids) = (Patterns::new(filters, "name"), Patterns::new(filters, "id"));
        let selects = |r: &Arc<NetworkRecord>| {
            let kind = match r.is_predefined() {
                true => "builtin",
                false => "custom",
            };
            names.matches(r.name.as_str())
                && ids.matches(r.id.as_str())
                && filters.any("driver", |d| d == r.driver.as_str())
                && filters.any("scope", |s| s == "local")
                && filters.any("type", |t| t == kind)
                && filters.match_labels(&r.labels)
                && dangling.is_none_or(|wanted| wanted == self.is_dangling(r))
        };
        let mut found: Vec<_> = self.all().into_iter().filter(selects).collect();
        found.sort_by_key(|r| r.created_at);
        Ok(found)
    }

    fn all(&self) -> Vec<Arc<NetworkRecord>> {
        self.read().by_id.values().cloned().collect()
    }

    fn is_dangling(&self, record: &NetworkRecord) -> bool {
        !record.is_predefined() && self.members(&record.id).is_empty()
    }

    /// The running containers on a network, by name.
    pub fn members(&self, network: &NetworkId) -> Vec<Member> {
        let stages = [Stage::Coming, Stage::Up];
        self.inner.held.members(network, &stages)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// 404; 403 where it is predefined or a running container is on it.
    pub async fn remove(&self, term: &str) -> Result<()> {
        let (networks, term) = (self.clone(), term.to_owned());
        to_the_end(async move {
            if let Some(damaged) = networks.damaged_one(&term) {
                return networks.remove_damaged(&damaged).await;
            }
            let record = networks.get(&term)?;
            if record.is_predefined() {
                return Err(Error::forbidden(format!(
                    "{} is a pre-defined network and cannot be removed",
                    record.name
                )));
            }
            networks.unmake(&record).await
        })
        .await
    }

    /// Waits for those who are leaving: a client that stopped a container removes its network next.
    async fn unmake(&self, record: &Arc<NetworkRecord>) -> Result<()> {
        let mut ends = self.inner.held.ends();
        let deadline = tokio::time::Instant::now() + limits::NETWORK_LEAVE_PATIENCE;
        let mut has_helped = false;
        loop {
            let choosing = self.inner.choosing.lock().await;
            let members = self.members(&record.id);
            if !members.is_empty() {
                return Err(in_use(record, &members));
            }
            let going = self.inner.held.members(&record.id, &[Stage::Going]);
            if going.is_empty() {
                // Somebody else may have removed it meanwhile.
                if self.by_id(&record.id).is_none() {
                    return Err(crate::not_found(record.name.as_str()));
                }
                return self.forget(record).await;
            }
            drop(choosing);
            let on_it = |a: &Attachment| a.endpoint(&record.id).is_some();
            let leaving = self.inner.held.leaving(on_it);
            if leaving.iter().any(|(_, lease)| !lease.has_failed) {
                let ended = tokio::time::timeout_at(deadline, ends.changed()).await;
                if ended.is_err() {
                    return Err(in_use(record, &going));
                }
            } else if has_helped {
                return Err(in_use(record, &going));
            } else {
                // One that could not leave is helped once, and not waited for.
                has_helped = true;
                for (id, _) in leaving {
                    drop(self.release(&id).await);
                }
            }
        }
    }

    async fn forget(&self, record: &Arc<NetworkRecord>) -> Result<()> {
        let event = self.event(record, &Action::Destroy);
        let (networks, gone) = (self.clone(), record.id.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || networks.take_out(&gone));
        ledger.delete_network(&record.id).await?;
        self.remove_parent(record).await;
        Ok(())
    }

    /// Takes away what was made for a network that is none any more. Called by who holds `choosing`.
    async fn remove_parent(&self, record: &NetworkRecord) {
        let is_shared = self
            .all()
            .iter()
            .any(|r| network::is_on(r, &record.interface));
        if !is_shared && let Err(e) = self.inner.tools.netavark.remove_parent(record).await {
            tracing::warn!(network = %record.name, error = %e, "its interface stays");
        }
    }

    /// Takes away what was made for networks that are not written down: a daemon was killed in between.
    pub(crate) async fn sweep_parents(&self) {
        let _choosing = self.inner.choosing.lock().await;
        // What one that cannot be read is on is not known.
        if self.has_damaged() {
            return;
        }
        if let Err(e) = self.inner.tools.netavark.sweep_parents(&self.all()).await {
            tracing::warn!(error = %e, "an interface of no network may be left");
        }
    }

    /// Removes all that no running container is on and `filters` select; their names.
    ///
    /// # Errors
    /// Bad filters; 409 when another is at it.
    pub async fn prune(&self, filters: Filters) -> Result<Vec<NetworkName>> {
        let networks = self.clone();
        to_the_end(async move { networks.prune_all(&filters).await }).await
    }

    async fn prune_all(&self, filters: &Filters) -> Result<Vec<NetworkName>> {
        let running = |_| Error::conflict("a prune operation is already running");
        let _only = self.inner.pruning.try_lock().map_err(running)?;
        filters.check_keys(PRUNE_KEYS)?;
        let now = (self.inner.tools.now)();
        let until = filters.until(now, sys::host::local_offset(now))?;
        let is_selected = |r: &Arc<NetworkRecord>| {
            self.is_dangling(r)
                && filters.match_labels(&r.labels)
                && until.is_none_or(|until| r.created_at <= until)
        };
        let mut pruned = Vec::new();
        for record in self.all().into_iter().filter(is_selected) {
            match self.unmake(&record).await {
                Ok(()) => pruned.push(record.name.clone()),
                // One that cannot go does not keep the others.
                Err(e) if matches!(e.kind(), Kind::Forbidden | Kind::NotFound) => {}
                Err(e) => tracing::warn!(network = %record.name, error = %e, "not pruned"),
            }
        }
        let event = Event::new(now, EventKind::Network, &Action::Prune, "");
        let event = event.with("reclaimed", "0");
        self.inner.tools.ledger.tell_soon(vec![event]).await?;
        Ok(pruned)
    }

    /// An event of a network (moby `LogNetworkEvent`).
    pub(crate) fn event(&self, record: &NetworkRecord, action: &Action) -> Event {
        let now = (self.inner.tools.now)();
        Event::new(now, EventKind::Network, action, record.id.as_str())
            .with("name", record.name.as_str())
            .with("type", record.driver.as_str())
    }
}

/// moby `ActiveEndpointsError`.
fn in_use(record: &NetworkRecord, members: &[Member]) -> Error {
    let who: Vec<String> = members
        .iter()
        .map(|m| format!("name:{:?} id:{:?}", m.name.as_str(), m.endpoint.id.short()))
        .collect();
    Error::forbidden(format!(
        "error while removing network: network {} has active endpoints ({})",
        record.name,
        who.join(", ")
    ))
}

/// The drivers there are, and in moby's words why another is none.
fn driver(name: &str) -> Result<NetworkDriver> {
    match name {
        "" | "default" | "bridge" => Ok(NetworkDriver::Bridge),
        "macvlan" => Ok(NetworkDriver::Macvlan),
        "ipvlan" => Ok(NetworkDriver::Ipvlan),
        "host" | "null" => Err(Error::forbidden(format!(
            "only one instance of {name:?} network is allowed"
        ))),
        "overlay" => Err(Error::forbidden(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
             connect this node to swarm and try again.",
        )),
        other => Err(Error::not_found(format!(
            "plugin {:?} not found",
            crate::clip(other)
        ))),
    }
}

fn check_interface(name: &str) -> Result<()> {
    match is_interface_name(name) {
        false => Err(Error::invalid(format!(
            "invalid interface name {:?}: at most {INTERFACE_BYTES_MAX} characters, without \"/\", \
             \":\" and spaces",
            crate::clip(name)
        ))),
        true => Ok(()),
    }
}

/// moby's filter of that name takes fewer words than others.
fn dangling(filters: &Filters) -> Result<Option<bool>> {
    let values: Vec<&str> = filters.values("dangling").collect();
    match values.as_slice() {
        [] => Ok(None),
        ["0" | "false"] => Ok(Some(false)),
        ["1" | "true"] => Ok(Some(true)),
        [_] => Err(Error::invalid(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        )),
        _ => Err(Error::invalid(
            "got more than one value for filter key \"dangling\"",
        )),
    }
}
