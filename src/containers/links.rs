//! Those that a container is linked to: their variables, and their lines in its /etc/hosts, which follow while
//! they come and go.
//!
//! What was written last is remembered in memory, for those alone that have links: a file that is not as it
//! was written then is somebody else's, and stays as it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ContainerId, ContainerSpec, Port};
use network::Naming;

use crate::{ContainerView, Shared};

/// What was written last for running containers with links.
#[derive(Debug, Default)]
pub struct Links {
    written: Mutex<HashMap<ContainerId, Naming>>,
    /// Held by the one who rewrites.
    rewriting: tokio::sync::Mutex<()>,
}

impl Links {
    fn written(&self) -> MutexGuard<'_, HashMap<ContainerId, Naming>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files of a container that is about to run, or runs, are as they are made from `naming`.
    pub(crate) fn remember(&self, view: &ContainerView, naming: &Naming) {
        if has_links(&view.spec) {
            self.written().insert(view.id.clone(), naming.clone());
        }
    }

    /// A container runs no more.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.written().remove(id);
    }
}

fn has_links(spec: &ContainerSpec) -> bool {
    !spec.links.is_empty() || spec.endpoints.iter().any(|e| !e.config.links.is_empty())
}

impl Shared {
    /// What a container was asked to be, as it counts now: with the variables of those that it is linked to on
    /// the default network, before its own (moby `setupLinkedContainers`).
    pub(crate) fn in_force(&self, view: &ContainerView) -> Arc<ContainerSpec> {
        let spec = self.selinux.in_force(&view.spec);
        let mut env = self.link_variables(view);
        if env.is_empty() {
            return spec;
        }
        env.extend_from_slice(&spec.env);
        Arc::new(ContainerSpec {
            env,
            ..(*spec).clone()
        })
    }

    fn link_variables(&self, view: &ContainerView) -> Vec<String> {
        let mut endpoints = view.spec.endpoints.iter();
        let default = endpoints.find(|e| e.name.as_str() == "bridge");
        let Some(network) = default.and_then(|e| e.network.as_ref()) else {
            return Vec::new();
        };
        let variables = |link: &String| {
            let (other, alias) = link.split_once(':').unwrap_or((link, link));
            let other = self.registry.find(other.trim_start_matches('/')).ok()?;
            let other = other.view();
            let address = self.networks.addresses_for(&other.id, network);
            let exposed = other.spec.exposed_ports.iter();
            let mut ports: Vec<Port> = exposed.filter_map(|port| port.parse().ok()).collect();
            ports.extend(other.spec.port_bindings.iter().map(|b| b.port));
            Some(rules::link_variables(&rules::Link {
                container: view.name.as_str(),
                alias,
                address: *address.first()?,
                ports: &ports,
                env: &other.spec.env,
            }))
        };
        view.spec
            .links
            .iter()
            .filter_map(variables)
            .flatten()
            .collect()
    }

    /// Takes back those that run with links, when all containers are taken back.
    pub fn take_back_links(&self) {
        for handle in self.registry.all() {
            let view = handle.view();
            if view.state.running().is_some()
                && has_links(&view.spec)
                && let Ok(Some(naming)) = self.naming(&view)
            {
                self.links.remember(&view, &naming);
            }
        }
    }

    /// Somebody came or went: those that are linked to it are told. Nobody waits for it.
    pub(crate) fn follow_links(self: &Arc<Self>) {
        if self.links.written().is_empty() {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let _alone = engine.links.rewriting.lock().await;
            let linked: Vec<ContainerId> = engine.links.written().keys().cloned().collect();
            for id in linked {
                engine.follow_links_of(&id).await;
            }
        });
    }

    async fn follow_links_of(&self, id: &ContainerId) {
        let Ok(handle) = self.registry.find(id.as_str()) else {
            return self.links.forget(id);
        };
        let view = handle.view();
        let before = self.links.written().get(id).cloned();
        // On the default network one that does not run is an error: its line stays until it runs again.
        let (Some(before), Ok(Some(after))) = (before, self.naming(&view)) else {
            return;
        };
        // One that is still being started has the files that it is being given.
        if view.state.running().is_none() || before == after {
            return;
        }
        self.rewrite_etc(&view, Some(before)).await;
    }
}
