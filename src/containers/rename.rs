//! Another name for a container.

use failpoint::Point;
use model::{Action, ContainerName, Error, Result};
use rules::Operation;

use crate::actor::Actor;
use crate::refusal::check;

impl Actor {
    /// Gives the container another name.
    pub(crate) async fn rename(&mut self, name: ContainerName) -> Result<()> {
        let mut view = (*self.view()).clone();
        check(&view, Operation::Rename)?;
        if view.name == name {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.engine.registry.reserve(&name, &view.id).map_err(|e| {
            Error::new(
                e.kind(),
                format!("Error when allocating new name: {}", e.message()),
            )
        })?;
        let old = std::mem::replace(&mut view.name, name.clone());
        let event = self.engine.container_event(&view, &Action::Rename);
        let event = event.with("oldName", format!("/{old}"));
        let (handle, engine, renamed_view) =
            (self.handle.clone(), self.engine.clone(), view.clone());
        let before = old.clone();
        let ledger = self.engine.ledger.telling(vec![event]).applying(move || {
            engine.registry.release(&before, &renamed_view.id);
            handle.publish(renamed_view.clone());
        });
        let renamed = match failpoint::reach(Point::RenameBegun).await {
            Ok(()) => ledger.rename_container(&view.id, &name).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = renamed {
            self.engine.registry.release(&name, &view.id);
            return Err(e);
        }
        drop(failpoint::reach(Point::RenameWritten).await);
        self.engine.networks.rename(&view.id, &name).await;
        Ok(())
    }
}
