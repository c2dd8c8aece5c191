//! Networks that come and go while a container runs.

use std::sync::Arc;

use failpoint::Point;
use model::{
    Action, Attachment, ContainerId, ContainerSpec, Endpoint, EndpointSpec, Error, NetworkId,
    NetworkMode, Result, limits,
};

use crate::Networks;
use crate::held::Lease;
use crate::runs::networking;

impl Networks {
    /// Connects a container that runs to one more network; what it has of networks then.
    ///
    /// # Errors
    /// As [`Networks::attach`] and [`Networks::set_up`]; then nothing has changed.
    pub async fn connect(
        &self,
        id: &ContainerId,
        spec: &Arc<ContainerSpec>,
        wish: &EndpointSpec,
    ) -> Result<Arc<Attachment>> {
        let choosing = self.inner.choosing.lock().await;
        let record = self.network_of(wish)?;
        let before = self.lease(id)?;
        if before.attachment.endpoints.len() >= limits::ENDPOINTS_MAX {
            return Err(Error::invalid(format!(
                "a container can be on {} networks at most",
                limits::ENDPOINTS_MAX
            )));
        }
        let networks = [(record, wish.clone())];
        let chosen = self.choose_endpoints(&networks, &before.attachment.endpoints)?;
        let mut attachment = (*before.attachment).clone();
        attachment.endpoints.extend(chosen.iter().cloned());
        let attachment = Arc::new(attachment);
        let joined = networks[0].0.id.clone();
        self.change_place(id, Some(joined));
        if let Err(e) = self.hold(id, &attachment, spec).await {
            self.change_place(id, None);
            return Err(e);
        }
        drop(choosing);
        let order = self.order(id, &before, &chosen);
        let pin = self.pin(id);
        let joined = match failpoint::reach(Point::NetworkJoining).await {
            Ok(()) => self.inner.tools.netavark.set_up(&pin, &order).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = joined {
            // Only this one of its places.
            let torn = self.inner.tools.netavark.tear_down(&pin, &order).await;
            if let Err(e) = torn {
                tracing::error!(id = id.short(), error = %e, "a network was not taken away");
            }
            let held = self.hold(id, &before.attachment, &before.spec).await;
            self.change_place(id, None);
            return held.and_then(|()| Err(networking(&e)));
        }
        self.change_place(id, None);
        self.tell_or_warn().await;
        let events = self.events(id, &chosen, &Action::Connect);
        self.inner.tools.ledger.tell_soon(events).await?;
        Ok(attachment)
    }

    /// Takes a container that runs off a network; what it has of networks then.
    ///
    /// # Errors
    /// What netavark says; it is held until it is done again.
    pub async fn disconnect(
        &self,
        id: &ContainerId,
        spec: &Arc<ContainerSpec>,
        network: &NetworkId,
    ) -> Result<Arc<Attachment>> {
        let before = self.lease(id)?;
        let of_network = |e: &&Endpoint| e.network == *network;
        let endpoints = before.attachment.endpoints.iter();
        let (going, staying): (Vec<_>, Vec<_>) = endpoints.partition(of_network);
        let going: Vec<Endpoint> = going.into_iter().cloned().collect();
        let order = self.order(id, &before, &going);
        let (netavark, pin) = (&self.inner.tools.netavark, self.pin(id));
        // From now on its rules are not put back.
        self.change_place(id, Some(network.clone()));
        if let Err(e) = netavark.tear_down(&pin, &order).await {
            self.change_place(id, None);
            return Err(networking(&e));
        }
        let attachment = Arc::new(Attachment {
            endpoints: staying.into_iter().cloned().collect(),
            ports: before.attachment.ports.clone(),
        });
        let held = match failpoint::reach(Point::NetworkParted).await {
            Ok(()) => self.hold(id, &attachment, spec).await,
            Err(e) => Err(e.into()),
        };
        if held.is_err()
            && let Err(e) = netavark.set_up(&pin, &order).await
        {
            tracing::error!(id = id.short(), error = %e, "a network that stays is not there");
        }
        self.change_place(id, None);
        self.tidy_soon();
        held?;
        self.tell_or_warn().await;
        let events = self.events(id, &going, &Action::Disconnect);
        self.inner.tools.ledger.tell_soon(events).await?;
        Ok(attachment)
    }

    /// Whether a daemon that died while the container was connected or disconnected has left its run with
    /// other networks than its row names: see [`Networks::mend`].
    pub fn is_torn(&self, id: &ContainerId) -> bool {
        self.inner
            .held
            .get(id)
            .is_some_and(|l| l.changing.is_some())
    }

    /// Makes a run's networks those that its row names: one that it does not name is taken away, and one that
    /// is not there any more is made again. What it has then.
    ///
    /// # Errors
    /// What the ledger says.
    pub async fn mend(&self, id: &ContainerId) -> Result<Arc<Attachment>> {
        let (netavark, pin) = (&self.inner.tools.netavark, self.pin(id));
        for endpoint in self.torn(id, &self.lease(id)?) {
            let lease = self.lease(id)?;
            tracing::warn!(
                id = id.short(),
                network = endpoint.network.short(),
                "the container was being connected or disconnected when the daemon died"
            );
            self.change_place(id, Some(endpoint.network.clone()));
            let order = self.order(id, &lease, std::slice::from_ref(&endpoint));
            if self.is_named(&lease.spec, &endpoint) {
                match netavark.set_up(&pin, &order).await {
                    Ok(()) => continue,
                    Err(e) => tracing::error!(id = id.short(), error = %e, "a network is lost"),
                }
            }
            if let Err(e) = netavark.tear_down(&pin, &order).await {
                tracing::error!(id = id.short(), error = %e, "a network was not taken away");
            }
            let mut attachment = (*lease.attachment).clone();
            attachment.endpoints.retain(|e| e.id != endpoint.id);
            self.hold(id, &Arc::new(attachment), &lease.spec).await?;
        }
        self.change_place(id, None);
        self.tell_or_warn().await;
        Ok(self.lease(id)?.attachment)
    }

    /// The places of a run that its row does not name, or that its namespace does not have.
    pub(crate) fn torn(&self, id: &ContainerId, lease: &Lease) -> Vec<Endpoint> {
        let links = match sys::netns::inside(&self.pin(id), sys::links::list) {
            Ok(links) => links,
            Err(e) => {
                tracing::warn!(id = id.short(), error = %e, "its networks cannot be looked at");
                return Vec::new();
            }
        };
        let is_there = |e: &Endpoint| links.iter().any(|link| link.name == e.interface);
        let endpoints = lease.attachment.endpoints.iter();
        let torn = endpoints.filter(|e| !is_there(e) || !self.is_named(&lease.spec, e));
        torn.cloned().collect()
    }

    fn is_named(&self, spec: &ContainerSpec, endpoint: &Endpoint) -> bool {
        // One that was made before there were networks names none, and is on the default one.
        let names_none = spec.endpoints.is_empty() && spec.network == NetworkMode::Default;
        let of_network = |e: &EndpointSpec| {
            // By name, where none was there when it was made.
            let found = self.network_of(e);
            found.is_ok_and(|record| record.id == endpoint.network)
        };
        names_none || spec.endpoints.iter().any(of_network)
    }

    fn lease(&self, id: &ContainerId) -> Result<Lease> {
        let lease = self.inner.held.get(id);
        lease.ok_or_else(|| Error::conflict(format!("container {id} has no networks of its own")))
    }

    /// While one of its places comes or goes, nobody else counts on it.
    fn change_place(&self, id: &ContainerId, network: Option<NetworkId>) {
        self.inner.held.change(id, |lease| lease.changing = network);
    }

    /// Writes what a container has from now on.
    async fn hold(
        &self,
        id: &ContainerId,
        attachment: &Arc<Attachment>,
        spec: &Arc<ContainerSpec>,
    ) -> Result<()> {
        let ledger = &self.inner.tools.ledger;
        ledger.put_attachment(id, attachment).await?;
        self.inner.held.change(id, |lease| {
            lease.attachment = attachment.clone();
            lease.spec = spec.clone();
        });
        Ok(())
    }
}
