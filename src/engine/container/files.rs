//! A container's files: what `files` serves them with.

use std::sync::Arc;

use files::{Files, Layers, Tools, View};
use model::{ContainerId, ContainerState, Result};
use rules::Operation;

use crate::Engine;
use crate::container::{check, check_as};

impl Engine {
    /// The files of a container, whether it runs or not.
    ///
    /// # Errors
    /// 404; 409 when it is being removed, or nobody knows whether it runs.
    pub fn container_files(&self, reference: &str) -> Result<Files> {
        let view = self.container(reference)?;
        check_as(&view, reference, Operation::Files)?;
        let (opening, opened) = (self.clone(), view.id.clone());
        let (telling, told) = (self.shared.clone(), view.clone());
        Ok(Files::new(Tools {
            container: reference.to_owned(),
            spec: view.spec.clone(),
            user: bundles::find_user(&view.spec),
            layers: Layers {
                changed: view.paths.tree.changed.clone(),
                lower: view.paths.tree.lower.clone(),
                has_run: !matches!(view.state, ContainerState::Created { .. }),
            },
            id: view.id.clone(),
            gates: self.inner.files.clone(),
            open: Arc::new(move |mounts| opening.open_files(&opened, mounts)),
            tell: Arc::new(move |action| {
                let (shared, event) = (telling.clone(), telling.container_event(&told, &action));
                Box::pin(async move { shared.tell(event).await })
            }),
        }))
    }
}

impl Engine {
    fn open_files(&self, id: &ContainerId, mounts: bool) -> Result<View> {
        // As a start: nobody removes what it needs.
        let _start = self.shared.starts.blocking_read();
        // As it is now: whoever asked may have waited for his turn.
        let view = self.shared.registry.find(id.as_str())?.view();
        check(&view, Operation::Files)?;
        let process = view.state.running().map(|running| running.init);
        let opened = self
            .shared
            .with_tree(&view, |maker, tree| maker.look(tree, process, mounts));
        let now = self
            .shared
            .registry
            .find(id.as_str())
            .map(|handle| handle.view());
        let still = now.and_then(|now| match now.state {
            ContainerState::Removing | ContainerState::Dead { .. } => check(&now, Operation::Files),
            _ => Ok(()),
        });
        // What was made of a tree that was removed meanwhile is nobody's.
        let gone = |_: &_| drop(self.shared.images.store().remove_writable(id.as_str()));
        still.inspect_err(gone).and(opened)
    }
}
