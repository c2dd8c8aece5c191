//! What a start has of networks: chosen first, made beside the bundle and the runtime's create, there
//! before the process runs.
//!
//! ```text
//!   attach --> namespace --+--> netavark (a task of its own) ----------+--> start
//!                          +--> bundle, create (in that namespace) ----+
//! ```
//! In a user namespace the runtime makes the network namespace, so that it belongs to that one, and
//! netavark comes after the create.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::EtcFiles;
use model::{
    Attachment, ContainerId, ContainerSpec, EndpointSpec, Error, Intent, NetworkId, ProcessRef,
    Result,
};
use network::Naming;
use networks::Joining;
use state::ContainerRow;
use tokio::task::JoinHandle;

use crate::{ContainerView, Shared};

/// What a start has of networks.
#[derive(Debug, Default)]
pub(crate) struct Networking {
    /// What it is to have; `None` where it has no networks.
    pub(crate) attachment: Option<Arc<Attachment>>,
    /// The networks, where some of them were not known when the container was made.
    pub(crate) endpoints: Option<Vec<EndpointSpec>>,
    /// The host's ports, for conmon to keep.
    pub(crate) held: Vec<OwnedFd>,
    /// Its namespace, where the daemon has made it.
    namespace: Option<PathBuf>,
    /// netavark at work.
    set_up: Option<JoinHandle<Result<()>>>,
    /// It has done its work.
    is_made: bool,
}

impl Networking {
    /// Chooses what a run is to have, and begins to make it.
    ///
    /// # Errors
    /// As [`networks::Networks::attach`].
    pub(crate) async fn begin(engine: &Arc<Shared>, view: &ContainerView) -> Result<Self> {
        let joining = joining(view);
        let Some(attached) = engine.networks.attach(&joining).await? else {
            return Ok(Self::default());
        };
        let mut begun = Self {
            attachment: Some(attached.attachment),
            endpoints: attached.endpoints,
            held: attached.sockets,
            ..Self::default()
        };
        if view.spec.id_maps.is_none() {
            begun.namespace = Some(engine.networks.make_namespace(&view.id).await?);
            let (engine, id) = (engine.clone(), view.id.clone());
            begun.set_up = Some(tokio::spawn(
                async move { engine.networks.set_up(&id).await },
            ));
        }
        Ok(begun)
    }

    /// Its namespace, where it is not the runtime's to make.
    pub(crate) fn namespace(&self) -> Option<&Path> {
        self.namespace.as_deref()
    }

    /// Waits until what is made in a namespace of the daemon's is there; nothing where the runtime makes it.
    ///
    /// # Errors
    /// What netavark says.
    pub(crate) async fn made(&mut self) -> Result<()> {
        let Some(set_up) = &mut self.set_up else {
            return Ok(());
        };
        let done = set_up.await;
        self.set_up = None;
        self.is_made = true;
        done.unwrap_or_else(|e| {
            Err(Error::system(format!(
                "setting up networks ended early: {e}"
            )))
        })
    }

    /// Waits until all of it is there; `init` is the container's first process, which does not run yet.
    ///
    /// # Errors
    /// What netavark says.
    pub(crate) async fn finish(
        &mut self,
        engine: &Shared,
        id: &ContainerId,
        init: ProcessRef,
    ) -> Result<()> {
        self.made().await?;
        if self.is_made || self.attachment.is_none() {
            return Ok(());
        }
        engine.networks.pin_namespace(id, init).await?;
        engine.networks.set_up(id).await
    }

    /// Waits for what is at work, so that what is undone is not made afterwards; what somebody has given up
    /// is ended.
    pub(crate) async fn settle(&mut self, given_up: bool) {
        if let Some(set_up) = self.set_up.take() {
            if given_up {
                set_up.abort();
            }
            drop(set_up.await);
        }
    }
}

/// A container, as far as networks go.
pub(crate) fn joining(view: &ContainerView) -> Joining {
    Joining {
        id: view.id.clone(),
        name: view.name.clone(),
        spec: view.spec.clone(),
    }
}

impl Shared {
    /// What a container's resolv.conf and hosts are made from; `None` where they are another's.
    ///
    /// # Errors
    /// One that it is linked to does not run.
    pub(crate) fn naming(&self, view: &ContainerView) -> Result<Option<Naming>> {
        if view.spec.network.donor().is_some() {
            return Ok(None);
        }
        let mut naming = self.networks.naming(&view.id);
        naming.linked = self.linked(&view.spec)?;
        Ok(Some(naming))
    }

    /// The lines of /etc/hosts for those it is linked to (moby `addLegacyLinks`): on the default network
    /// they must run, elsewhere they are found when they do.
    fn linked(&self, spec: &ContainerSpec) -> Result<Vec<(IpAddr, Vec<String>)>> {
        let mut lines = Vec::new();
        for endpoint in &spec.endpoints {
            let Some(network) = &endpoint.network else {
                continue;
            };
            let is_default = endpoint.name.as_str() == "bridge";
            let legacy = spec.links.iter().filter(|_| is_default);
            for link in legacy.chain(&endpoint.config.links) {
                let (other, alias) = link.split_once(':').unwrap_or((link, link));
                let found = self.link(other, alias, network);
                if found.is_empty() && is_default {
                    return Err(Error::conflict(format!(
                        "Cannot link to a non running container: /{other} AS {alias}"
                    )));
                }
                lines.extend(found);
            }
        }
        Ok(lines)
    }

    fn link(&self, other: &str, alias: &str, network: &NetworkId) -> Vec<(IpAddr, Vec<String>)> {
        let Ok(other) = self.registry.find(other.trim_start_matches('/')) else {
            return Vec::new();
        };
        let view = other.view();
        let mut names = vec![alias.to_owned()];
        for name in [view.spec.hostname.as_str(), view.name.as_str()] {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let addresses = self.networks.addresses_for(&view.id, network);
        addresses.into_iter().map(|a| (a, names.clone())).collect()
    }

    /// The files in its `/etc`: those of the container whose network namespace it has (moby
    /// `initializeNetworkingPaths`).
    pub(crate) fn etc_of(&self, view: &ContainerView) -> EtcFiles {
        let donor = view.spec.network.donor();
        let donor = donor.and_then(|id| self.registry.find(id.as_str()).ok());
        donor.map_or_else(
            || view.paths.etc.clone(),
            |donor| donor.view().paths.etc.clone(),
        )
    }

    /// Takes away what a run has of networks. A failure was logged; the next start tries again.
    pub(crate) async fn release_networks(&self, id: &ContainerId) {
        drop(self.networks.release(id).await);
    }

    /// Takes back what a run holds that another daemon has begun. One of another boot holds nothing.
    pub(crate) async fn resume_networks(&self, row: &mut ContainerRow, same_boot: bool) {
        let Some(attachment) = row.attachment.clone() else {
            return;
        };
        if !same_boot {
            row.attachment = None;
            if let Err(e) = self.networks.forget_run(&row.id).await {
                // The next start writes over it.
                tracing::warn!(id = row.id.short(), error = %e, "a lease stays in the ledger");
            }
            return;
        }
        let joining = Joining {
            id: row.id.clone(),
            name: row.name.clone(),
            spec: Arc::new(row.spec.clone()),
        };
        let is_over = match row.intent {
            // It may run.
            Some(Intent::Starting | Intent::Restarting) => false,
            Some(Intent::UndoingStart { .. } | Intent::Removing { .. }) => true,
            Some(Intent::Stopping) | None => row.state.running().is_none(),
        };
        self.networks.resume(joining, attachment, !is_over);
    }
}
