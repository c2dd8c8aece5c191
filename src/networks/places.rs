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
    /// As [`Networks::attach`] and [`Networks::set_up`]; then nothing has changed, or what could not be taken away
    /// again stays held, until the run's next change of networks or its end. After that the container's
    /// row is to name it, and [`Networks::confirm`] to be called: a daemon that dies before takes it away.
    pub async fn connect(
        &self,
        id: &ContainerId,
        spec: &Arc<ContainerSpec>,
        wish: &EndpointSpec,
    ) -> Result<Arc<Attachment>> {
        self.mend_torn(id).await?;
        let choosing = self.inner.choosing.lock().await;
        let record = self.network_of(wish)?;
        let before = self.lease(id)?;
        if before.attachment.endpoints.len() >= limits::ENDPOINTS_MAX {
            return Err(Error::invalid(format!(
                "a container can be on {} networks at most",
                limits::ENDPOINTS_MAX
            )));
        }
        if before.attachment.endpoint(&record.id).is_some() {
            // moby's words.
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                before.name, record.name
            )));
        }
        let joined = record.id.clone();
        let networks = [(record, wish.clone())];
        let chosen = self.choose_endpoints(id, &networks, &before.attachment.endpoints)?;
        let mut attachment = (*before.attachment).clone();
        attachment.endpoints.extend(chosen.iter().cloned());
        let attachment = Arc::new(attachment);
        self.change_place(id, Some(joined.clone()));
        if let Err(e) = self.hold(id, &attachment, spec, Some(&joined)).await {
            self.change_place(id, None);
            return Err(e);
        }
        drop(choosing);
        let order = self.order(id, &before, &chosen);
        let pin = self.pin(id);
        let set_up = match failpoint::reach(Point::NetworkJoining).await {
            Ok(()) => self.inner.tools.netavark.set_up(&pin, &order).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = set_up {
            // Only this one of its places.
            let torn = self.inner.tools.netavark.tear_down(&pin, &order).await;
            let held = if let Err(e) = torn {
                tracing::error!(id = id.short(), error = %e, "a network was not taken away");
                // Nobody else gets its address as long as there may be rules about it.
                self.hold(id, &attachment, &before.spec, Some(&joined))
                    .await
            } else {
                let held = self.hold(id, &before.attachment, &before.spec, None).await;
                self.change_place(id, None);
                held
            };
            return held.and_then(|()| Err(networking(&e)));
        }
        self.change_place(id, None);
        self.tell_or_warn().await;
        let events = self.events(id, &chosen, &Action::Connect);
        self.inner.tools.ledger.tell_soon(events).await?;
        Ok(attachment)
    }

    /// The container's row says what its run has: there is nothing to finish or undo any more.
    pub async fn confirm(&self, id: &ContainerId) {
        let Some(lease) = self.inner.held.get(id) else {
            return;
        };
        let written = self.hold(id, &lease.attachment, &lease.spec, None).await;
        if let Err(e) = written {
            // The next daemon looks at that network alone, and finds it as it is to be.
            tracing::warn!(id = id.short(), error = %e, "a change of networks stays in the ledger");
        }
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
        self.mend_torn(id).await?;
        let before = self.lease(id)?;
        let of_network = |e: &&Endpoint| e.network == *network;
        let endpoints = before.attachment.endpoints.iter();
        let (going, staying): (Vec<_>, Vec<_>) = endpoints.partition(of_network);
        let going: Vec<Endpoint> = going.into_iter().cloned().collect();
        let order = self.order(id, &before, &going);
        let (netavark, pin) = (&self.inner.tools.netavark, self.pin(id));
        // From now on its rules are not put back.
        self.change_place(id, Some(network.clone()));
        let promised = self.hold(id, &before.attachment, &before.spec, Some(network));
        let torn = match promised.await {
            Ok(()) => netavark.tear_down(&pin, &order).await,
            Err(e) => Err(e),
        };
        if let Err(e) = torn {
            self.change_place(id, None);
            self.confirm(id).await;
            return Err(networking(&e));
        }
        let attachment = Arc::new(Attachment {
            endpoints: staying.into_iter().cloned().collect(),
            ports: before.attachment.ports.clone(),
            changing: None,
        });
        let held = match failpoint::reach(Point::NetworkParted).await {
            Ok(()) => self.hold(id, &attachment, spec, None).await,
            Err(e) => Err(e.into()),
        };
        if held.is_err()
            && let Err(e) = netavark.set_up(&pin, &order).await
        {
            tracing::error!(id = id.short(), error = %e, "a network that stays is not there");
        }
        self.change_place(id, None);
        self.tidy_soon();
        if held.is_err() {
            self.confirm(id).await;
        }
        held?;
        self.tell_or_warn().await;
        let events = self.events(id, &going, &Action::Disconnect);
        self.inner.tools.ledger.tell_soon(events).await?;
        Ok(attachment)
    }

    /// Makes right what an earlier change has left, before there is another.
    async fn mend_torn(&self, id: &ContainerId) -> Result<()> {
        match self.is_torn(id) {
            true => self.mend(id).await.map(drop).map_err(|e| networking(&e)),
            false => Ok(()),
        }
    }

    /// Whether the run has other networks than the container's row names: a daemon died while it was connected or
    /// disconnected, or what was connected could neither be made nor taken away. See [`Networks::mend`].
    pub fn is_torn(&self, id: &ContainerId) -> bool {
        self.inner
            .held
            .get(id)
            .is_some_and(|l| l.changing.is_some())
    }

    /// Makes the network that was being changed what the container's row says: it is taken away where that
    /// does not name it, and made again where it is not there any more. What the run has then.
    ///
    /// # Errors
    /// What the ledger says, or netavark: then it stays as it is, and held.
    pub async fn mend(&self, id: &ContainerId) -> Result<Arc<Attachment>> {
        if let Some(endpoint) = self.torn(id, &self.lease(id)?) {
            self.mend_place(id, &endpoint).await?;
        }
        self.change_place(id, None);
        self.confirm(id).await;
        self.tell_or_warn().await;
        Ok(self.lease(id)?.attachment)
    }

    async fn mend_place(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<()> {
        let (netavark, pin, lease) = (&self.inner.tools.netavark, self.pin(id), self.lease(id)?);
        tracing::warn!(
            id = id.short(),
            network = endpoint.network.short(),
            "the container's networks are not as they are to be"
        );
        let order = self.order(id, &lease, std::slice::from_ref(endpoint));
        if self.is_named(&lease.spec, endpoint) {
            match netavark.set_up(&pin, &order).await {
                Ok(()) => return Ok(()),
                Err(e) => tracing::error!(id = id.short(), error = %e, "a network is lost"),
            }
        }
        let torn = netavark.tear_down(&pin, &order).await;
        torn.inspect_err(|e| {
            tracing::error!(id = id.short(), error = %e, "a network was not taken away");
        })?;
        let mut attachment = (*lease.attachment).clone();
        attachment.endpoints.retain(|e| e.id != endpoint.id);
        let (attachment, network) = (Arc::new(attachment), Some(&endpoint.network));
        self.hold(id, &attachment, &lease.spec, network).await
    }

    /// The place of a run on the network that was being changed, if its row does not name it or its namespace
    /// does not have it. The others are the container's own: a router or a VPN inside may have renamed them.
    fn torn(&self, id: &ContainerId, lease: &Lease) -> Option<Endpoint> {
        let endpoint = lease.attachment.endpoint(lease.changing.as_ref()?)?;
        if !self.is_named(&lease.spec, endpoint) {
            return Some(endpoint.clone());
        }
        match sys::netns::inside(&self.pin(id), sys::links::list) {
            Ok(links) => {
                let is_there = links.iter().any(|link| link.name == endpoint.interface);
                (!is_there).then(|| endpoint.clone())
            }
            Err(e) => {
                tracing::warn!(id = id.short(), error = %e, "its networks cannot be looked at");
                None
            }
        }
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

    /// Writes what a container has from now on, and which of it is not yet as its row says.
    async fn hold(
        &self,
        id: &ContainerId,
        attachment: &Arc<Attachment>,
        spec: &Arc<ContainerSpec>,
        changing: Option<&NetworkId>,
    ) -> Result<()> {
        let written = Attachment {
            changing: changing.cloned(),
            ..(**attachment).clone()
        };
        // What is being released, as the run has ended meanwhile, is not written once more.
        let lease = self.lease(id)?;
        let _alone = lease.releasing.lock().await;
        let is_it = |now: &Lease| Arc::ptr_eq(&now.releasing, &lease.releasing);
        if !self.inner.held.get(id).as_ref().is_some_and(is_it) {
            return Err(ended());
        }
        let ledger = &self.inner.tools.ledger;
        ledger.put_attachment(id, &written).await?;
        self.inner.held.change(id, |lease| {
            lease.attachment = attachment.clone();
            lease.spec = spec.clone();
        });
        Ok(())
    }
}

fn ended() -> Error {
    Error::conflict("the container has ended")
}
