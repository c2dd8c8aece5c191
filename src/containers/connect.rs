//! Networks that a container is connected to, or taken off, after it was made.
//!
//! The row says what the next run is on; what the present one has is its attachment's. That one changes
//! first: a daemon that dies in between leaves a run with a network that the row does not name, and the
//! run's end takes it away like all others.

use std::sync::Arc;

use model::{
    Attachment, ContainerSpec, ContainerState, EndpointConfig, EndpointSpec, Error, NetworkId,
    NetworkMode, NetworkRecord, Result, limits,
};
use network::Naming;

use crate::actor::{Actor, Done, answer};
use crate::handle::Reply;
use crate::{ContainerView, Shared};

/// A container that is connected or disconnected while it runs.
#[derive(Debug)]
pub(crate) struct Connected {
    /// What it is from now on, and has.
    result: Result<(ContainerSpec, Arc<Attachment>)>,
    /// The network that is new, to be taken away again where the row cannot be written.
    joined: Option<NetworkId>,
    reply: Reply<()>,
}

/// Which network, and what is asked for on it.
#[derive(Debug)]
pub(crate) struct Connect {
    /// As the client named it.
    pub(crate) network: String,
    pub(crate) config: EndpointConfig,
}

impl Actor {
    /// Connects the container to a network.
    pub(crate) async fn begin_connect(&mut self, request: Connect, reply: Reply<()>) {
        let view = self.view();
        let planned = plan_connect(&self.engine, &view, request);
        let (spec, wish) = match planned {
            Ok(planned) => planned,
            Err(e) => return answer(reply, Err(e)),
        };
        if self.task.is_none() {
            let kept = self.keep_spec(spec, None).await;
            return answer(reply, kept);
        }
        let engine = self.engine.clone();
        self.begin(async move {
            let with = Arc::new(spec);
            let before = engine.naming(&view).ok().flatten();
            let connected = engine.networks.connect(&view.id, &with, &wish).await;
            let result = match connected {
                Ok(attachment) => {
                    engine.rewrite_etc(&view, before).await;
                    Ok((Arc::unwrap_or_clone(with), attachment))
                }
                Err(e) => Err(e),
            };
            Done::Connected(Box::new(Connected {
                result,
                joined: wish.network,
                reply,
            }))
        });
    }

    /// Takes the container off a network.
    pub(crate) async fn begin_disconnect(
        &mut self,
        network: String,
        force: bool,
        reply: Reply<()>,
    ) {
        let view = self.view();
        let planned = plan_disconnect(&self.engine, &view, &network, force, self.task.is_some());
        let (spec, record) = match planned {
            Ok(planned) => planned,
            Err(e) => return answer(reply, Err(e)),
        };
        let Some(record) = record.filter(|_| self.task.is_some()) else {
            let kept = self.keep_spec(spec, None).await;
            return answer(reply, kept);
        };
        let engine = self.engine.clone();
        self.begin(async move {
            let without = Arc::new(spec);
            let before = engine.naming(&view).ok().flatten();
            let parted = engine.networks.disconnect(&view.id, &without, &record.id);
            let result = match parted.await {
                Ok(attachment) => {
                    engine.rewrite_etc(&view, before).await;
                    Ok((Arc::unwrap_or_clone(without), attachment))
                }
                Err(e) => Err(e),
            };
            Done::Connected(Box::new(Connected {
                result,
                joined: None,
                reply,
            }))
        });
    }

    /// Finishes or undoes a change that another daemon has begun.
    pub(crate) fn mend_networks(&mut self) {
        let (engine, view) = (self.engine.clone(), self.view());
        if !engine.networks.is_torn(&view.id) {
            return;
        }
        let (reply, _) = tokio::sync::oneshot::channel();
        self.begin(async move {
            let before = engine.naming(&view).ok().flatten();
            let mended = engine.networks.mend(&view.id).await;
            engine.rewrite_etc(&view, before).await;
            let result = mended.map(|attachment| ((*view.spec).clone(), attachment));
            Done::Connected(Box::new(Connected {
                result,
                joined: None,
                reply,
            }))
        });
    }

    /// Takes in what a change of networks came to.
    pub(crate) async fn conclude_connect(&mut self, connected: Connected) {
        let Connected {
            result,
            joined,
            reply,
        } = connected;
        let (spec, attachment) = match result {
            Ok(changed) => changed,
            Err(e) => return answer(reply, Err(e)),
        };
        match (self.keep_spec(spec, Some(attachment.clone())).await, joined) {
            (Ok(()), _) => {
                self.engine.networks.confirm(self.handle.id()).await;
                // Its address may be another than before.
                self.engine.follow_links();
                answer(reply, Ok(()));
            }
            (Err(e), Some(joined)) => self.part_again(joined, e, reply),
            (Err(e), None) => {
                // A client may ask for it again: then nothing but the row is left to be changed.
                self.show_attachment(attachment);
                answer(reply, Err(e));
            }
        }
    }

    /// The row does not name what the run has joined: it is taken away again.
    fn part_again(&mut self, joined: NetworkId, why: Error, reply: Reply<()>) {
        let (engine, view) = (self.engine.clone(), self.view());
        self.begin(async move {
            let before = engine.naming(&view).ok().flatten();
            let parted = engine.networks.disconnect(&view.id, &view.spec, &joined);
            if let Err(e) = parted.await {
                tracing::error!(id = view.id.short(), error = %e, "a network that nobody asked for stays");
            }
            engine.rewrite_etc(&view, before).await;
            Done::Connected(Box::new(Connected {
                result: Err(why),
                joined: None,
                reply,
            }))
        });
    }

    /// Publishes what its run has of networks, if it still runs.
    fn show_attachment(&self, attachment: Arc<Attachment>) {
        let mut view = (*self.view()).clone();
        if view.state.running().is_some() && view.attachment.as_ref() != Some(&attachment) {
            view.attachment = Some(attachment);
            self.handle.publish(view);
        }
    }

    /// Takes in which networks those are that were not there when the container was made.
    pub(crate) async fn find_networks(&mut self, endpoints: Vec<EndpointSpec>) {
        let spec = ContainerSpec {
            endpoints,
            ..(*self.view().spec).clone()
        };
        if let Err(e) = self.keep_spec(spec, None).await {
            tracing::warn!(error = %e, "the container's networks are not in the ledger");
        }
    }

    /// Writes what the container is on from now on, and publishes it.
    async fn keep_spec(
        &mut self,
        spec: ContainerSpec,
        attachment: Option<Arc<Attachment>>,
    ) -> Result<()> {
        let mut view = (*self.view()).clone();
        self.engine
            .ledger
            .update_container_spec(&view.id, &spec)
            .await?;
        view.spec = Arc::new(spec);
        // It may have ended meanwhile, and has none then.
        if view.state.running().is_some() && attachment.is_some() {
            view.attachment = attachment;
        }
        self.handle.publish(view);
        Ok(())
    }
}

/// What it is to be, and the one place that is new.
fn plan_connect(
    engine: &Shared,
    view: &ContainerView,
    request: Connect,
) -> Result<(ContainerSpec, EndpointSpec)> {
    refuse_removal(view)?;
    let record = engine.networks.get(&request.network)?;
    networks::check_config(&record.name, &request.config)?;
    networks::check_mode(&view.spec.network, &record, false)?;
    let mut spec = (*view.spec).clone();
    let is_it = |e: &EndpointSpec| {
        e.network.as_ref() == Some(&record.id) || (e.network.is_none() && e.name == record.name)
    };
    if spec.endpoints.iter().any(is_it) {
        if view.state.running().is_some() {
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                view.name, record.name
            )));
        }
        // As in moby, what is asked for last counts.
        spec.endpoints.retain(|e| !is_it(e));
    }
    if spec.endpoints.len() >= limits::ENDPOINTS_MAX {
        return Err(Error::invalid(format!(
            "a container can be on {} networks at most",
            limits::ENDPOINTS_MAX
        )));
    }
    let wish = EndpointSpec {
        network: Some(record.id.clone()),
        name: record.name.clone(),
        config: request.config,
    };
    engine.networks.check_addresses(&record, &wish.config)?;
    spec.endpoints.push(wish.clone());
    Ok((spec, wish))
}

fn plan_disconnect(
    engine: &Shared,
    view: &ContainerView,
    network: &str,
    force: bool,
    runs: bool,
) -> Result<(ContainerSpec, Option<Arc<NetworkRecord>>)> {
    refuse_removal(view)?;
    let found = engine.networks.get(network);
    let record = match found {
        Ok(record) => Some(record),
        // It may be on one that is gone.
        Err(_) if !runs || force => None,
        Err(e) => return Err(e),
    };
    let name = record.as_ref().map_or(network, |r| r.name.as_str());
    if let (NetworkMode::Host, "host") = (&view.spec.network, name) {
        return Err(Error::invalid(
            "container cannot be disconnected from host network or connected to host network",
        ));
    }
    let mut spec = (*view.spec).clone();
    let count = spec.endpoints.len();
    spec.endpoints.retain(|e| match &record {
        Some(record) => e.network.as_ref() != Some(&record.id) && e.name != record.name,
        None => e.name.as_str() != name,
    });
    if spec.endpoints.len() == count {
        return Err(Error::system(match runs && record.is_some() {
            true => format!("container {} is not connected to network {name}", view.id),
            false => format!(
                "container {} is not connected to the network {name}",
                view.id
            ),
        }));
    }
    if spec.endpoints.is_empty() && spec.network.has_endpoints() {
        // An empty list of one that may have networks stands for the default one.
        spec.network = NetworkMode::User(spec.network.to_docker());
    }
    Ok((spec, record))
}

fn refuse_removal(view: &ContainerView) -> Result<()> {
    match &view.state {
        ContainerState::Removing | ContainerState::Dead { .. } => Err(Error::system(format!(
            "Container {} is marked for removal and cannot be connected or disconnected to the \
             network",
            view.id
        ))),
        ContainerState::Lost { reason } => Err(Error::conflict(reason.clone())),
        _ => Ok(()),
    }
}

impl Shared {
    /// Lets a running container's resolver know what has changed since `before`. A file that somebody has
    /// changed inside stays as it is (moby `rebuildDNS`).
    pub(crate) async fn rewrite_etc(&self, view: &ContainerView, before: Option<Naming>) {
        let after = self.naming(view);
        let (before, after) = match (before, after) {
            (Some(before), Ok(Some(after))) => (before, after),
            (_, Err(e)) => {
                return tracing::warn!(error = %e, "the resolver's files stay as they are");
            }
            _ => return,
        };
        self.links.remember(view, &after);
        let (files, spec) = (view.paths.etc.clone(), view.spec.clone());
        let work = move || bundles::rewrite_etc(&files, &spec, &before, &after);
        if let Err(e) = crate::blocking(work).await {
            tracing::warn!(error = %e, "the resolver's files stay as they are");
        }
    }
}
