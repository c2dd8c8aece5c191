//! Networks. What they are and what is done with them is the room `networks`'; which containers are to be
//! on which is found out here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use containers::{Host, Layout};
use ipnet::IpNet;
use model::{
    Attachment, ContainerId, ContainerSpec, EndpointConfig, EndpointSpec, EndpointWish, Error,
    NetworkId, NetworkMode, NetworkName, NetworkRecord, Result, limits,
};
use network::addresses::Pool;
use networks::{Joining, Member, Networks, Settings, Tools};

use crate::Engine;

/// What the operator says of networks. By default there is no default one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The interface of the default network; `None` where there is to be none.
    pub bridge: Option<String>,
    /// Its address and range; `None` takes one of the pools.
    pub bridge_address: Option<IpNet>,
    /// Where ranges of networks are taken from that name none; none are Docker's.
    pub pools: Vec<Pool>,
    /// The host's address that ports are published on where a client names none.
    pub publish_address: Option<IpAddr>,
    /// What `host-gateway` stands for; none is the default network's gateway.
    pub host_gateways: Vec<IpAddr>,
    /// netavark, where it is not at one of its usual places.
    pub netavark: Option<PathBuf>,
    /// aardvark-dns, the same.
    pub aardvark: Option<PathBuf>,
}

impl Engine {
    /// The networks, and what can be done with them.
    pub fn networks(&self) -> &Networks {
        &self.shared.networks
    }

    /// Connects a container to a network.
    ///
    /// # Errors
    /// 404 where either is not there; moby's words for what cannot be.
    pub async fn connect(
        &self,
        network: &str,
        container: &str,
        config: EndpointConfig,
    ) -> Result<()> {
        let handle = self.shared.registry.find(container)?;
        let network = network.to_owned();
        crate::to_the_end(async move { handle.connect(&network, config).await }).await
    }

    /// Takes a container off a network; with `force` also off one that is gone.
    ///
    /// # Errors
    /// 404 where either is not there; moby's words for what cannot be.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let handle = self.shared.registry.find(container)?;
        let network = network.to_owned();
        crate::to_the_end(async move { handle.disconnect(&network, force).await }).await
    }

    /// The running containers on a network, by name.
    pub fn network_members(&self, id: &NetworkId) -> Vec<Member> {
        self.networks().members(id)
    }

    /// Finds the networks that a new container is to be on. One that is not there is looked for again when
    /// it starts, as in moby, where a create never fails for it.
    ///
    /// # Errors
    /// moby's words for what cannot be asked for there.
    pub(crate) fn find_networks(
        &self,
        spec: &mut ContainerSpec,
        wishes: Vec<EndpointWish>,
    ) -> Result<()> {
        let own = match &spec.network {
            NetworkMode::Container(_) => return Ok(()),
            NetworkMode::Default => "bridge".to_owned(),
            other => other.to_docker(),
        };
        let mut endpoints: Vec<EndpointSpec> = Vec::new();
        // As in moby: who names networks is on those alone.
        if wishes.is_empty() {
            let wish = EndpointWish {
                network: own.clone(),
                config: EndpointConfig::default(),
            };
            endpoints.push(self.endpoint(wish, &spec.network)?);
        }
        for wish in wishes {
            let first = self.is_same(&wish.network, &own);
            let endpoint = self.endpoint(wish, &spec.network)?;
            if endpoints.iter().any(|e| e.name == endpoint.name) {
                return Err(Error::invalid(format!(
                    "network {} is asked for twice",
                    endpoint.name
                )));
            }
            match first {
                true => endpoints.insert(0, endpoint),
                false => endpoints.push(endpoint),
            }
        }
        if endpoints.len() > limits::ENDPOINTS_MAX {
            return Err(Error::invalid(format!(
                "a container can be on {} networks at most",
                limits::ENDPOINTS_MAX
            )));
        }
        if spec.network.has_endpoints() {
            spec.endpoints = endpoints;
        }
        self.check_links(spec)
    }

    /// Whom a container is linked to must be there, and on a network (moby `registerLinks`).
    fn check_links(&self, spec: &ContainerSpec) -> Result<()> {
        for link in &spec.links {
            let (name, _) = link.split_once(':').unwrap_or((link, link));
            let found = self.shared.registry.find(name).map_err(|e| {
                // In moby's status; 404 would have clients pull an image.
                Error::invalid(format!(
                    "could not get container for {name}: {}",
                    e.message()
                ))
            })?;
            if found.view().spec.network == NetworkMode::Host {
                return Err(Error::invalid(
                    "conflicting options: host type networking can't be used with links. This would \
                     result in undefined behavior",
                ));
            }
        }
        Ok(())
    }

    /// Takes back what is held by runs that no container's row tells of: what a removal could not take away
    /// is to be tried again, and a container whose row is `damaged` may run.
    pub(crate) async fn resume_leases(
        &self,
        (leases, damaged): (Vec<(ContainerId, Attachment)>, &[state::Damaged]),
        same_boot: bool,
    ) {
        let of_row =
            |d: &state::Damaged, key: &str| d.table == state::Table::Containers && d.key == key;
        let bad = damaged
            .iter()
            .filter(|d| d.table == state::Table::Attachments);
        let bad = bad.filter(|lease| !damaged.iter().any(|d| of_row(d, &lease.key)));
        for id in bad.filter_map(|lease| lease.key.parse().ok()) {
            // Nobody can say what it was, and there is no container to show.
            if let Err(e) = self.networks().forget_run(&id).await {
                tracing::warn!(id = id.short(), error = %e, "a damaged lease stays in the ledger");
            }
        }
        for (id, attachment) in leases {
            if !same_boot {
                if let Err(e) = self.networks().forget_run(&id).await {
                    tracing::warn!(id = id.short(), error = %e, "a lease stays in the ledger");
                }
                continue;
            }
            let row = damaged.iter().find(|d| of_row(d, id.as_str()));
            let name = row.and_then(|row| row.name.as_ref()?.parse().ok());
            let made_up = || id.short().parse().expect("an id may be a name");
            let joining = Joining {
                id: id.clone(),
                name: name.unwrap_or_else(made_up),
                spec: Arc::new(ContainerSpec::default()),
            };
            tracing::info!(
                id = id.short(),
                may_run = row.is_some(),
                "a lease without a row"
            );
            self.networks().resume(joining, attachment, row.is_some());
            if row.is_none() {
                self.networks().abandon(&id);
            }
        }
    }

    fn is_same(&self, a: &str, b: &str) -> bool {
        let id = |name| self.networks().get(name).map(|r| r.id.clone());
        a == b || matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
    }

    fn endpoint(&self, wish: EndpointWish, mode: &NetworkMode) -> Result<EndpointSpec> {
        let found = self.networks().get(&wish.network).ok();
        let name: NetworkName = match &found {
            Some(record) => record.name.clone(),
            None => wish.network.parse()?,
        };
        if let Some(record) = &found {
            networks::check_mode(mode, record, true)?;
            self.networks().check_addresses(record, &wish.config)?;
        }
        networks::check_config(&name, &wish.config)?;
        Ok(EndpointSpec {
            network: found.map(|record| record.id.clone()),
            name,
            config: wish.config,
        })
    }
}

/// Opens the networks of these records.
pub(crate) async fn open(
    (records, damaged, config): (Vec<NetworkRecord>, &[state::Damaged], NetworkConfig),
    (ledger, layout, host): (&state::Ledger, &Layout, &Host),
    daemon_id: &str,
) -> Networks {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let dir = layout.networks();
    let tools = Tools {
        ledger: ledger.clone(),
        netavark: network::Netavark::new(config.netavark, search_path.clone(), dir.clone()),
        names: network::names::Names::new(config.aardvark, search_path, dir),
        ports: network::ports::Ports::default(),
        pins: layout.namespaces(),
        settings: Settings {
            bridge: config.bridge,
            bridge_address: config.bridge_address,
            pools: match config.pools.is_empty() {
                true => network::addresses::default_pools(first_bytes(daemon_id)),
                false => config.pools,
            },
            publish_address: config.publish_address,
            host_gateways: config.host_gateways,
        },
        now: host.now.clone(),
        random: host.random.clone(),
    };
    let damaged = damaged.iter().filter(|d| d.table == state::Table::Networks);
    let damaged = damaged.filter_map(|d| {
        Some(networks::Damaged {
            id: d.key.parse().ok()?,
            name: d.name.clone(),
            reason: d.reason.clone(),
        })
    });
    Networks::open(records, damaged.collect(), tools).await
}

/// The operator's pools, as `info` has them.
pub(crate) fn pools_told(config: &NetworkConfig) -> Vec<(String, u8)> {
    let pools = config.pools.iter();
    pools
        .map(|pool| (pool.base.to_string(), pool.size))
        .collect()
}

/// The programs that make networks, each with its path and version, or why it cannot be used.
#[derive(Debug)]
pub struct NetworkTools {
    /// netavark.
    pub netavark: Result<String>,
    /// aardvark-dns.
    pub aardvark: Result<String>,
}

/// What an engine with this configuration would use; for `moored check`.
pub async fn look_at_networks(config: &NetworkConfig) -> NetworkTools {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    // Nothing is made: only their versions are asked for.
    let dir = PathBuf::new();
    let netavark =
        network::Netavark::new(config.netavark.clone(), search_path.clone(), dir.clone());
    let aardvark = network::names::Names::new(config.aardvark.clone(), search_path, dir);
    let told = |program: Result<PathBuf>, version: Result<network::Version>| {
        Ok(format!("{}: {}", program?.display(), version?))
    };
    NetworkTools {
        netavark: told(netavark.program(), netavark.version().await),
        aardvark: told(aardvark.program(), aardvark.version().await),
    }
}

/// What tells this daemon from others, as a number.
fn first_bytes(daemon_id: &str) -> [u8; 5] {
    let mut bytes = [0; 5];
    for (byte, digits) in bytes.iter_mut().zip(daemon_id.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    bytes
}
