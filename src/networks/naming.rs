//! Who is called what, and by whom: the name server's zones, and what a container's resolv.conf and hosts
//! are made from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{
    ContainerId, Endpoint, EndpointSpec, NetworkDriver, NetworkId, NetworkName, NetworkRecord,
    Result,
};
use network::Naming;
use network::names::{Member, Zone};

use crate::Networks;
use crate::held::{Lease, Stage};

impl Networks {
    /// Writes for the name server what is true now. Who waits for this finds all that was so when it was
    /// called.
    ///
    /// # Errors
    /// The name server could not be told.
    pub(crate) async fn tell(&self) -> Result<()> {
        let mine = self.inner.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut told = self.inner.telling.lock().await;
        if *told >= mine {
            // Whoever had the lock has written what is true for all that waited.
            return Ok(());
        }
        let all = self.inner.asked.load(Ordering::SeqCst);
        self.inner.tools.names.write(&self.zones()).await?;
        *told = all;
        Ok(())
    }

    /// A failure costs names, and no container.
    pub(crate) async fn tell_or_warn(&self) {
        if let Err(e) = self.tell().await {
            tracing::error!(error = %e, "containers may not find each other by name");
        }
    }

    fn zones(&self) -> Vec<Zone> {
        let mut leases = self.inner.held.all();
        // The same text for the same names, or the server would be told of nothing new.
        leases.sort_by(|(a, _), (b, _)| a.cmp(b));
        let with_names = self.all_records().into_iter().filter(|r| r.has_dns());
        let zones = with_names.filter_map(|record| {
            let members: Vec<Member> = leases
                .iter()
                .filter(|(_, l)| l.stage == Stage::Up && l.changing.as_ref() != Some(&record.id))
                .filter_map(|(id, lease)| self.member(id, lease, &record))
                .collect();
            (!members.is_empty()).then(|| Zone {
                network: record.id.clone(),
                servers: gateways(&record).collect(),
                members,
            })
        });
        zones.collect()
    }

    fn all_records(&self) -> Vec<Arc<NetworkRecord>> {
        self.read().by_id.values().cloned().collect()
    }

    fn member(&self, id: &ContainerId, lease: &Lease, record: &NetworkRecord) -> Option<Member> {
        let endpoint = lease.attachment.endpoint(&record.id)?;
        let mut endpoints = lease.spec.endpoints.iter();
        let names = endpoints.find(|e| is_of(e, &record.id));
        let names = names.map(|wish| wish.config.clone()).unwrap_or_default();
        let servers = lease.spec.dns.iter().filter_map(|s| s.parse().ok());
        let leads_out = |e: &Endpoint| self.by_id(&e.network).is_some_and(|r| !r.internal);
        Some(Member {
            id: id.clone(),
            ipv4: endpoint.ipv4.map(|net| net.addr()),
            ipv6: endpoint.ipv6.map(|net| net.addr()),
            names: with_network(
                names.dns_names(&lease.name, id, &lease.spec.hostname),
                &record.name,
            ),
            upstream: servers.collect(),
            outside: lease.attachment.endpoints.iter().any(leads_out),
        })
    }

    /// What a container's resolv.conf and hosts are made from, but for those it is linked to.
    pub fn naming(&self, id: &ContainerId) -> Naming {
        let lease = self.inner.held.get(id);
        let endpoints = lease.iter().flat_map(|l| &l.attachment.endpoints);
        let (mut own, mut name_servers) = (Vec::new(), Vec::new());
        let is_served = self.inner.tools.names.program().is_ok();
        for endpoint in endpoints {
            own.extend(addresses(endpoint));
            let record = self.by_id(&endpoint.network).filter(|r| r.has_dns());
            // Without a name server there are no names, and the host's servers know the outside at least.
            let record = record.filter(|_| is_served);
            name_servers.extend(record.iter().flat_map(|r| gateways(r)));
        }
        let settings = &self.inner.tools.settings;
        let host_gateway = match settings.host_gateways.as_slice() {
            [] => self
                .default_network()
                .iter()
                .flat_map(|r| gateways(r))
                .collect(),
            given => given.to_vec(),
        };
        Naming {
            name_servers,
            own,
            host_gateway,
            linked: Vec::new(),
        }
    }

    /// A running container's addresses on a network that `other` is on, too.
    pub fn addresses_for(&self, other: &ContainerId, network: &NetworkId) -> Vec<IpAddr> {
        let lease = self.inner.held.get(other);
        let lease = lease.filter(|lease| lease.stage != Stage::Going);
        let endpoint = lease.as_ref().and_then(|l| l.attachment.endpoint(network));
        endpoint.map(addresses).unwrap_or_default()
    }
}

/// Each name with the network's behind it, too (moby `Sandbox.ResolveName`). The first that an address leads
/// back to is the container's own with that (`Network.ResolveIP`).
fn with_network(names: Vec<String>, network: &NetworkName) -> Vec<String> {
    let mut longer = names.iter().map(|name| format!("{name}.{network}"));
    let first: Vec<String> = longer.by_ref().take(1).collect();
    let last: Vec<String> = longer.collect();
    [first, names, last].concat()
}

/// The host's ends of a network.
fn gateways(record: &NetworkRecord) -> impl Iterator<Item = IpAddr> + '_ {
    let is_bridge = record.driver == NetworkDriver::Bridge;
    let gateways = record.subnets.iter().filter_map(|s| s.gateway);
    gateways.filter(move |_| is_bridge)
}

fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    let v4 = endpoint.ipv4.map(|net| IpAddr::V4(net.addr()));
    let v6 = endpoint.ipv6.map(|net| IpAddr::V6(net.addr()));
    v4.into_iter().chain(v6).collect()
}

fn is_of(endpoint: &EndpointSpec, network: &NetworkId) -> bool {
    endpoint.network.as_ref() == Some(network)
}
