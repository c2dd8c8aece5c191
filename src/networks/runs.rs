//! Around a run of a container: what it is to have is chosen and written, set up, and taken away again.
//!
//! One job of the container's task at a time calls these for it. Each can be done again: a release that
//! was cut short begins anew, in the same daemon or the next.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use failpoint::Point;
use model::{
    Action, Attachment, ContainerId, ContainerName, ContainerSpec, Context, Endpoint, EndpointSpec,
    Error, Event, Kind, NetworkRecord, Port, PortBinding, ProcessRef, PublishedPort, Result,
    limits,
};
use network::Order;
use network::names;
use network::ports::{Request as PortRequest, Reserved};
use sys::task::blocking;
use tokio::sync::MutexGuard;
use tokio::time::timeout_at;

use crate::Networks;
use crate::held::{Lease, Stage};
use crate::lease;

/// A container that is about to run.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// What it was asked to be.
    pub spec: Arc<ContainerSpec>,
}

/// What a run is to have is chosen, and written.
#[derive(Debug)]
pub struct Attached {
    /// What it is.
    pub attachment: Arc<Attachment>,
    /// The container's networks, where some of them were not known when it was made.
    pub endpoints: Option<Vec<EndpointSpec>>,
    /// Bound to the host's ports: they are the run's as long as one of these is open.
    pub sockets: Vec<OwnedFd>,
}

/// Who may have what a run asks for.
struct Rival {
    /// Those who have it, and are leaving.
    leaving: Vec<(ContainerId, Lease)>,
    /// The name server, at one of these addresses of the host.
    names_at: Vec<IpAddr>,
}

impl Networks {
    /// Chooses what a run is to have, and writes it down; `None` where it has no networks. What an
    /// earlier run left is taken away first.
    ///
    /// # Errors
    /// In moby's words: a network that is gone, no address left, a port that is taken.
    pub async fn attach(&self, joining: &Joining) -> Result<Option<Attached>> {
        self.release(&joining.id).await?;
        let networks = self.networks_of(&joining.spec)?;
        if networks.is_empty() {
            return Ok(None);
        }
        let (_choosing, endpoints, reserved) = self.choose_free(joining, &networks).await?;
        let attachment = Arc::new(Attachment {
            endpoints,
            ports: reserved.ports,
            changing: None,
        });
        self.inner
            .tools
            .ledger
            .put_attachment(&joining.id, &attachment)
            .await?;
        let found = |(record, wish): &(Arc<NetworkRecord>, EndpointSpec)| EndpointSpec {
            network: Some(record.id.clone()),
            name: record.name.clone(),
            config: wish.config.clone(),
        };
        let found: Vec<EndpointSpec> = networks.iter().map(found).collect();
        let is_known = joining.spec.endpoints.iter().all(|e| e.network.is_some());
        let spec = match is_known {
            true => joining.spec.clone(),
            false => Arc::new(ContainerSpec {
                endpoints: found.clone(),
                ..(*joining.spec).clone()
            }),
        };
        let lease = Lease {
            name: joining.name.clone(),
            spec,
            attachment: attachment.clone(),
            stage: Stage::Coming,
            changing: None,
            touched: false,
            has_failed: false,
            is_abandoned: false,
            releasing: Arc::default(),
        };
        self.inner.held.put(&joining.id, lease);
        failpoint::reach(Point::NetworkPromised).await?;
        Ok(Some(Attached {
            attachment,
            endpoints: (!is_known).then_some(found),
            sockets: reserved.sockets,
        }))
    }

    /// Chooses addresses and ports; nobody else does while the first of the answer lives. Waits for those who
    /// are leaving where they have what is wanted: a client that stopped one container starts another in its
    /// place next. One that could not leave is helped once, and not waited for; the name server is asked once.
    async fn choose_free(
        &self,
        joining: &Joining,
        networks: &[(Arc<NetworkRecord>, EndpointSpec)],
    ) -> Result<(MutexGuard<'_, ()>, Vec<Endpoint>, Reserved)> {
        let mut ends = self.inner.held.ends();
        let version = self.inner.tools.netavark.version().await;
        let both = version.is_ok_and(network::publishes_in_both);
        let deadline = tokio::time::Instant::now() + limits::NETWORK_LEAVE_PATIENCE;
        let (mut has_helped, mut has_asked) = (false, false);
        loop {
            let choosing = self.inner.choosing.lock().await;
            // None can be removed any more: who removes one holds it, too.
            if let Some((gone, _)) = networks.iter().find(|(r, _)| self.by_id(&r.id).is_none()) {
                return Err(crate::not_found(gone.name.as_str()));
            }
            let (e, rival) = match self.choose_now(joining, networks, both) {
                Ok((endpoints, reserved)) => return Ok((choosing, endpoints, reserved)),
                Err(taken) => taken,
            };
            drop(choosing);
            // Not what somebody has asked for wrongly.
            if e.kind() == Kind::InvalidParameter {
                return Err(e);
            }
            if !has_asked && !rival.names_at.is_empty() {
                has_asked = true;
                let moved = self.inner.tools.names.make_way(&rival.names_at).await;
                match moved {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // Who starts a container learns what it wants and cannot have.
                    Err(e) => tracing::error!(error = %e, "the name server keeps port 53"),
                }
            }
            let leaving = rival.leaving;
            if leaving.is_empty() {
                return Err(e);
            }
            if leaving.iter().any(|(_, lease)| !lease.has_failed) {
                if timeout_at(deadline, ends.changed()).await.is_err() {
                    return Err(e);
                }
            } else if has_helped {
                return Err(e);
            } else {
                has_helped = true;
                for (id, _) in leaving {
                    drop(self.release(&id).await);
                }
            }
        }
    }

    /// Chooses addresses and ports as things are. Called by who holds `choosing`.
    fn choose_now(
        &self,
        joining: &Joining,
        networks: &[(Arc<NetworkRecord>, EndpointSpec)],
        both: bool,
    ) -> std::result::Result<(Vec<Endpoint>, Reserved), (Error, Rival)> {
        let held = &self.inner.held;
        let endpoints = self.choose_endpoints(&joining.id, networks, &[]);
        let endpoints = endpoints.map_err(|e| {
            let leaving = held.leaving(|a| lease::share_networks(a, networks));
            let names_at = Vec::new();
            (e, Rival { leaving, names_at })
        })?;
        let bindings = &joining.spec.port_bindings;
        let reserve = |bindings: &[PortBinding]| {
            self.reserve_ports(joining, networks, &endpoints, bindings, both)
        };
        match reserve(bindings) {
            Ok(reserved) => Ok((endpoints, reserved)),
            Err(e) => {
                let leaving = held.leaving(|a| lease::share_ports(a, &joining.spec));
                let (names, others): (Vec<_>, Vec<_>) =
                    bindings.iter().cloned().partition(names::wants_port);
                // The server makes way where that is all that is missing; else what is missing besides is told.
                let (e, names_at) = match reserve(&others) {
                    Ok(_) => {
                        let default = self.default_address(networks);
                        (e, lease::addresses(&names, default))
                    }
                    Err(other) => (other, Vec::new()),
                };
                Err((e, Rival { leaving, names_at }))
            }
        }
    }

    /// The host's address of ports that are published at none.
    fn default_address(&self, networks: &[(Arc<NetworkRecord>, EndpointSpec)]) -> Option<IpAddr> {
        let mut options = networks.iter().map(|(record, _)| &record.options);
        let of_network = options.find_map(lease::binding_address);
        of_network.or(self.inner.tools.settings.publish_address)
    }

    /// Binds the host's ports that are to lead to it.
    fn reserve_ports(
        &self,
        joining: &Joining,
        networks: &[(Arc<NetworkRecord>, EndpointSpec)],
        endpoints: &[Endpoint],
        bindings: &[PortBinding],
        both: bool,
    ) -> Result<Reserved> {
        if !lease::publishes(networks) {
            return Ok(Reserved::default());
        }
        let exposed = joining.spec.exposed_ports.iter();
        // An image may say what is no port.
        let exposed: Vec<Port> = exposed.filter_map(|port| port.parse().ok()).collect();
        let (v4, v6) = lease::families(endpoints);
        let request = PortRequest {
            bindings,
            exposed: &exposed,
            publish_all: joining.spec.publish_all,
            default_ip: self.default_address(networks),
            ipv4: v4,
            ipv6: v6,
            both,
            held: &self.inner.held.ports(),
        };
        self.inner.tools.ports.reserve(&request).map_err(|e| {
            let endpoint = endpoints.first().map(|e| e.id.to_string());
            Error::new(
                e.kind(),
                format!(
                    "failed to set up container networking: driver failed programming external \
                     connectivity on endpoint {} ({}): {}",
                    joining.name,
                    endpoint.unwrap_or_default(),
                    e.message()
                ),
            )
        })
    }

    /// Where a container's network namespace is pinned.
    pub fn pin(&self, id: &ContainerId) -> PathBuf {
        self.inner.tools.pins.join(id.as_str())
    }

    /// Makes a network namespace for a run.
    ///
    /// # Errors
    /// What the host says.
    pub async fn make_namespace(&self, id: &ContainerId) -> Result<PathBuf> {
        let pin = self.pin(id);
        let made = pin.clone();
        self.pin_if_held(id, move || {
            let shown = made.display();
            sys::netns::make(&made).context(format_args!("make the network namespace {shown}"))
        })
        .await?;
        failpoint::reach(Point::NetworkPinned).await?;
        Ok(pin)
    }

    /// Pins the network namespace that the runtime has made for `process`.
    ///
    /// # Errors
    /// What the host says.
    pub async fn pin_namespace(&self, id: &ContainerId, process: ProcessRef) -> Result<PathBuf> {
        let pin = self.pin(id);
        let made = pin.clone();
        self.pin_if_held(id, move || {
            let shown = made.display();
            let pinned = sys::netns::pin(process, &made);
            match pinned.context(format_args!("keep the network namespace {shown}"))? {
                true => Ok(()),
                false => Err(ended_early()),
            }
        })
        .await?;
        Ok(pin)
    }

    /// Does what pins a namespace for a run that still holds its lease. Who asked for it may have given up,
    /// and the work goes on: it comes before the release that takes the pin away, or not at all.
    async fn pin_if_held(
        &self,
        id: &ContainerId,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let lease = self.inner.held.get(id).ok_or_else(ended_early)?;
        let (networks, id) = (self.clone(), id.clone());
        blocking(move || {
            let _alone = lease.releasing.blocking_lock();
            let is_it = |now: Lease| Arc::ptr_eq(&now.releasing, &lease.releasing);
            match networks.inner.held.get(&id).is_some_and(is_it) {
                true => work(),
                false => Err(ended_early()),
            }
        })
        .await
    }

    /// Makes interfaces and rules, and lets others find it.
    ///
    /// # Errors
    /// What netavark says; [`Networks::release`] takes away what it made by then.
    pub async fn set_up(&self, id: &ContainerId) -> Result<()> {
        let Some(held) = self.inner.held.get(id) else {
            return Ok(());
        };
        let netavark = &self.inner.tools.netavark;
        // One that is missing makes nothing, and cannot take it away.
        netavark.ready().await.map_err(|e| networking(&e))?;
        self.inner.held.change(id, |lease| lease.touched = true);
        let order = self.order(id, &held, &self.known(&held.attachment.endpoints));
        let set_up = netavark.set_up(&self.pin(id), &order).await;
        set_up.map_err(|e| networking(&e))?;
        failpoint::reach(Point::NetworkSetUp).await?;
        self.inner.held.change(id, |lease| lease.stage = Stage::Up);
        self.tell_or_warn().await;
        drop(failpoint::reach(Point::NetworkTold).await);
        let events = self.events(id, &held.attachment.endpoints, &Action::Connect);
        self.inner.tools.ledger.tell_soon(events).await
    }

    /// A run has ended: nobody is to find it any more. What it has on the host is still to be released.
    pub fn leave(&self, id: &ContainerId) {
        self.inner
            .held
            .change(id, |lease| lease.stage = Stage::Going);
    }

    /// Takes away what a run has on the host, then lets others have its addresses and ports.
    ///
    /// # Errors
    /// netavark could not take it away. It stays held then, and is tried again: now and then, and whenever
    /// this is called.
    pub async fn release(&self, id: &ContainerId) -> Result<()> {
        let Some(held) = self.inner.held.get(id) else {
            return self.unpin(&self.pin(id)).await;
        };
        let _alone = held.releasing.lock().await;
        let is_it = |now: Lease| Arc::ptr_eq(&now.releasing, &held.releasing);
        if !self.inner.held.get(id).is_some_and(is_it) {
            // Somebody else has released it meanwhile.
            return Ok(());
        }
        self.take_away(id, &held)
            .await
            .inspect_err(|_| self.inner.held.fail(id))
    }

    async fn take_away(&self, id: &ContainerId, held: &Lease) -> Result<()> {
        let pin = self.pin(id);
        self.leave(id);
        let tell = async {
            self.tell_or_warn().await;
            drop(failpoint::reach(Point::NetworkLeft).await);
        };
        let tear_down = async {
            if !held.touched {
                return Ok(());
            }
            let order = self.order(id, held, &held.attachment.endpoints);
            let torn = self.inner.tools.netavark.tear_down(&pin, &order).await;
            self.tidy_soon();
            torn.inspect_err(|e| {
                tracing::error!(id = id.short(), error = %e, "networks were not taken away");
            })
        };
        // Nobody has its address before both are done.
        let ((), torn) = tokio::join!(tell, tear_down);
        torn?;
        failpoint::reach(Point::NetworkTornDown).await?;
        self.unpin(&pin).await?;
        self.inner.tools.ledger.delete_attachment(id).await?;
        self.inner.held.take(id);
        drop(failpoint::reach(Point::NetworkReleased).await);
        if held.stage != Stage::Coming {
            let events = self.events(id, &held.attachment.endpoints, &Action::Disconnect);
            self.inner.tools.ledger.tell_soon(events).await?;
        }
        Ok(())
    }

    async fn unpin(&self, pin: &Path) -> Result<()> {
        let pin = pin.to_owned();
        blocking(move || {
            let shown = pin.display();
            sys::netns::remove(&pin).context(format_args!("remove the network namespace {shown}"))
        })
        .await
    }

    /// A container is removed. What could not be taken away of its last run stays held, so that nobody gets
    /// its addresses, and is tried again.
    pub fn abandon(&self, id: &ContainerId) {
        if let Some(lease) = self.inner.held.get(id) {
            tracing::error!(id = id.short(), attachment = ?lease.attachment,
                "the container is removed, and what it had of networks is still on the host");
            self.leave(id);
        }
        self.inner.held.forget(id);
    }

    /// The container is called otherwise.
    pub async fn rename(&self, id: &ContainerId, name: &ContainerName) {
        self.inner
            .held
            .change(id, |lease| lease.name = name.clone());
        self.tell_or_warn().await;
    }

    /// What a container's run holds.
    pub fn attachment(&self, id: &ContainerId) -> Option<Arc<Attachment>> {
        self.inner.held.get(id).map(|lease| lease.attachment)
    }

    /// What is to be made or taken away of a run, whatever has become of its networks' records.
    pub(crate) fn order(&self, id: &ContainerId, held: &Lease, endpoints: &[Endpoint]) -> Order {
        let place = |e: &Endpoint| (self.record_or_guess(id, e), e.clone());
        let ports: &[PublishedPort] = &held.attachment.ports;
        Order {
            id: id.clone(),
            name: held.name.to_string(),
            places: endpoints.iter().map(place).collect(),
            ports: ports.to_vec(),
        }
    }

    /// Those whose networks have records.
    pub(crate) fn known(&self, endpoints: &[Endpoint]) -> Vec<Endpoint> {
        let is_known = |e: &&Endpoint| self.by_id(&e.network).is_some();
        endpoints.iter().filter(is_known).cloned().collect()
    }

    pub(crate) fn events(
        &self,
        id: &ContainerId,
        endpoints: &[Endpoint],
        action: &Action,
    ) -> Vec<Event> {
        let event = |endpoint: &Endpoint| {
            let record = self.by_id(&endpoint.network)?;
            let event = self.event(&record, action);
            Some(event.with("container", id.as_str()))
        };
        endpoints.iter().filter_map(event).collect()
    }
}

fn ended_early() -> Error {
    Error::system("the container has ended before it was started")
}

/// In moby's words.
pub(crate) fn networking(e: &Error) -> Error {
    Error::new(
        e.kind(),
        format!("failed to set up container networking: {}", e.message()),
    )
}
