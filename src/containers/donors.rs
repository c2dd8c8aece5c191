//! Whose namespaces a container has that is being started.

use std::sync::Arc;

use model::{ContainerId, ContainerSpec, Donors, Error, ProcessRef, Result};
use rules::Operation;

use crate::{ContainerView, Shared, check};

impl Shared {
    /// The first processes of the containers whose namespaces one has (moby `getPIDContainer`,
    /// `getIPCContainer`).
    ///
    /// # Errors
    /// One is gone, does not run, or is not to be joined.
    pub(crate) fn donors(&self, spec: &ContainerSpec) -> Result<Donors> {
        let init_of = |id: &ContainerId| -> Result<(ProcessRef, Arc<ContainerView>)> {
            let gone = |e: Error| Error::invalid(e.message());
            let view = self.registry.find(id.as_str()).map_err(gone)?.view();
            check(&view, Operation::Join)?;
            let running = view
                .state
                .running()
                .ok_or_else(|| Error::conflict(format!("container {id} is not running")))?;
            Ok((running.init, view))
        };
        let ipc = match spec.ipc_mode.donor() {
            Some(id) => {
                let (init, view) = init_of(id)?;
                if !view.spec.ipc_mode.may_be_joined() {
                    return Err(Error::invalid(format!(
                        "container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor \
                         container)"
                    )));
                }
                Some(init)
            }
            None => None,
        };
        let pid = spec.pid_mode.donor().map(init_of).transpose()?;
        let network = spec.network.donor().map(init_of).transpose()?;
        Ok(Donors {
            pid: pid.map(|(init, _)| init),
            ipc,
            network: network.map(|(init, _)| init),
        })
    }
}
