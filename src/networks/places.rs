//! Networks that come and go while a container runs.

use std::sync::Arc;

use failpoint::Point;
use model::{
    Action, Attachment, ContainerId, ContainerSpec, Endpoint, EndpointSpec, Error, NetworkId,
    Result, limits,
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
        drop(failpoint::reach(Point::NetworkJoining).await);
        let order = self.order(id, &before, &chosen);
        let pin = self.pin(id);
        if let Err(e) = self.inner.tools.netavark.set_up(&pin, &order).await {
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
        let torn = self
            .inner
            .tools
            .netavark
            .tear_down(&self.pin(id), &order)
            .await;
        torn.map_err(|e| networking(&e))?;
        drop(failpoint::reach(Point::NetworkParted).await);
        let attachment = Arc::new(Attachment {
            endpoints: staying.into_iter().cloned().collect(),
            ports: before.attachment.ports.clone(),
        });
        let held = self.hold(id, &attachment, spec).await;
        self.change_place(id, None);
        held?;
        self.tell_or_warn().await;
        let events = self.events(id, &going, &Action::Disconnect);
        self.inner.tools.ledger.tell_soon(events).await?;
        Ok(attachment)
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
