//! Listing: filters over published pictures; no container's task is asked.

use std::cmp::Reverse;
use std::sync::Arc;

use model::{Error, Filters, MountSource, Result};
use rules::{Candidate, Selection};

use crate::Engine;
use crate::container::{ContainerView, ListContainers, ListedContainer};

impl Engine {
    /// The containers a request selects, newest first.
    ///
    /// # Errors
    /// Docker's words for bad filters.
    pub async fn list_containers(&self, request: ListContainers) -> Result<Vec<ListedContainer>> {
        let all = request.all || request.limit.is_some();
        let selection = self.selection(request.filters)?;
        let all = all || selection.names_a_state();
        let mut views: Vec<Arc<ContainerView>> = self
            .shared
            .registry
            .all()
            .iter()
            .map(|handle| handle.view())
            .collect();
        views.retain(|v| (all || v.state.is_up()) && selects(&selection, v));
        views.sort_by_key(|v| Reverse(v.created_at));
        views.truncate(request.limit.unwrap_or(usize::MAX));
        let mut listed = Vec::with_capacity(views.len());
        for view in views {
            let sizes = if request.size {
                // One that cannot be measured, or goes meanwhile, costs nobody else the list.
                let measured = self.measure(&view).await;
                let unknown =
                    |e: &Error| tracing::debug!(id = view.id.short(), error = %e, "not measured");
                measured.inspect_err(unknown).ok()
            } else {
                None
            };
            listed.push(ListedContainer { view, sizes });
        }
        Ok(listed)
    }

    /// Checks the filters and resolves those that name other objects.
    pub(crate) fn selection(&self, filters: Filters) -> Result<Selection> {
        let mut selection = Selection::new(filters)?;
        let filters = selection.filters().clone();
        let created = |key: &str| -> Result<Option<model::Timestamp>> {
            filters
                .values(key)
                .next()
                .map(|c| Ok(self.container(c)?.created_at))
                .transpose()
        };
        selection.before = created("before")?;
        selection.since = created("since")?;
        if filters.contains("ancestor") {
            // An image nobody has selects nothing, as in Docker, and is no error.
            let ids = filters
                .values("ancestor")
                .filter_map(|name| self.shared.images.find(name).ok());
            selection.ancestors = Some(ids.map(|image| image.record.id.to_string()).collect());
        }
        Ok(selection)
    }

    /// The container a client named: full id, name with or without a leading slash, or a unique
    /// id prefix, in that order.
    ///
    /// # Errors
    /// `No such container: x`; 400 when a prefix is not unique.
    pub fn container(&self, reference: &str) -> Result<Arc<ContainerView>> {
        Ok(self.shared.registry.find(reference)?.view())
    }
}

/// Whether one container is selected.
pub(crate) fn selects(selection: &Selection, view: &ContainerView) -> bool {
    let mut mounts = Vec::with_capacity(view.spec.mounts.len() * 2);
    for mount in &view.spec.mounts {
        mounts.push(mount.destination.as_str());
        match &mount.source {
            MountSource::Volume { name, .. } => mounts.push(name.as_str()),
            MountSource::Bind { path, .. } => mounts.push(path),
            MountSource::Tmpfs { .. } => {}
        }
    }
    let mode = view.spec.network.to_docker();
    let mut networks = Vec::with_capacity(view.spec.endpoints.len() * 2);
    for endpoint in &view.spec.endpoints {
        networks.push(endpoint.name.as_str());
        networks.extend(endpoint.network.as_ref().map(model::NetworkId::as_str));
    }
    if networks.is_empty() {
        networks.push(mode.as_str());
    }
    selection.selects(&Candidate {
        id: view.id.as_str(),
        name: view.name.as_str(),
        labels: &view.spec.labels,
        state: &view.state,
        created_at: view.created_at,
        image_id: view.image_id.as_str(),
        networks: &networks,
        mounts: &mounts,
        exposed_ports: &view.spec.exposed_ports,
        port_bindings: &view.spec.port_bindings,
        published: view.attachment.as_deref().map_or(&[], |a| &a.ports),
        health: view.health.as_ref().map_or("none", |h| h.status.as_str()),
    })
}
