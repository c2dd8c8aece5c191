//! Refusals in Docker's words.

use model::{ContainerId, ContainerName, ContainerState, Error, Kind, Result};

use crate::legality::{Operation, Refusal, may};

/// The container an operation is asked of.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its id.
    pub id: &'a ContainerId,
    /// Its name.
    pub name: &'a ContainerName,
    /// Its state now.
    pub state: &'a ContainerState,
    /// What the client called it; some of Docker's sentences repeat that.
    pub gave: &'a str,
}

/// Whether `operation` is legal now.
///
/// # Errors
/// Docker's sentence for the refusal, with its kind.
pub fn check(asked: &Asked<'_>, operation: Operation) -> Result<()> {
    may(asked.state, operation).map_err(|refusal| explain(asked, operation, refusal))
}

fn explain(asked: &Asked<'_>, operation: Operation, refusal: Refusal) -> Error {
    let (id, name, gave) = (asked.id, asked.name, asked.gave);
    match refusal {
        Refusal::AlreadyRunning => Error::new(
            Kind::NotModified,
            format!("container {id} is already running"),
        ),
        Refusal::AlreadyStopped => Error::new(
            Kind::NotModified,
            format!("container {id} is already stopped"),
        ),
        Refusal::RunsInstead => Error::conflict(format!(
            "container {id} is running: stop it before it is restored"
        )),
        Refusal::NotRunning => Error::conflict(format!("container {id} is not running")),
        Refusal::Paused => paused(operation, gave),
        Refusal::AlreadyPaused => Error::conflict(format!("Container {id} is already paused")),
        Refusal::NotPaused => Error::conflict(format!("Container {id} is not paused")),
        Refusal::StillRunning => Error::conflict(format!(
            "cannot remove container \"/{name}\": container is running: stop the container before \
             removing or force remove"
        )),
        Refusal::StillPaused => Error::conflict(format!(
            "cannot remove container \"/{name}\": container is paused and must be unpaused first"
        )),
        Refusal::BeingRemoved if matches!(operation, Operation::Remove { .. }) => Error::conflict(
            format!("removal of container {name} is already in progress"),
        ),
        // Docker's status, too: it has no kind for it.
        Refusal::BeingRemoved | Refusal::Dead if operation == Operation::Update => {
            Error::system("container is marked for removal and cannot be \"update\"")
        }
        Refusal::BeingRemoved => Error::conflict(format!(
            "container is marked for removal and cannot be {}",
            participle(operation)
        )),
        Refusal::Restarting if operation == Operation::Attach => Error::conflict(format!(
            "container {gave} is restarting, wait until the container is running"
        )),
        Refusal::Restarting => Error::conflict(format!(
            "Container {id} is restarting, wait until the container is running"
        )),
        Refusal::StillRestarting => Error::conflict(format!(
            "cannot remove container \"/{name}\": container is restarting: stop the container \
             before removing or force remove"
        )),
        Refusal::Dead => {
            let reason = match asked.state {
                ContainerState::Dead { reason } => reason.as_str(),
                _ => "unknown",
            };
            Error::conflict(format!(
                "container {id} is dead and can only be removed: {reason}"
            ))
        }
        Refusal::Lost => {
            let reason = match asked.state {
                ContainerState::Lost { reason } => reason.as_str(),
                _ => "unknown",
            };
            Error::conflict(format!(
                "container {id} may be running, but what became of it cannot be found out: \
                 {reason}. Try again later, or remove it by force"
            ))
        }
    }
}

/// Each of Docker's handlers has a sentence of its own.
fn paused(operation: Operation, gave: &str) -> Error {
    Error::conflict(match operation {
        Operation::Attach => {
            format!("container {gave} is paused, unpause the container before attach")
        }
        Operation::Exec => format!("Container {gave} is paused, unpause the container before exec"),
        Operation::Checkpoint => {
            format!("Container {gave} is paused, unpause the container before checkpoint")
        }
        _ => "cannot start a paused container, try unpause instead".to_owned(),
    })
}

fn participle(operation: Operation) -> &'static str {
    match operation {
        Operation::Start | Operation::Restart => "started",
        Operation::Stop => "stopped",
        Operation::Kill => "killed",
        Operation::Pause => "paused",
        Operation::Unpause => "unpaused",
        Operation::Resize => "resized",
        Operation::Top => "listed",
        Operation::Attach => "attached to",
        Operation::Exec => "executed in",
        Operation::Checkpoint => "checkpointed",
        Operation::Restore => "restored",
        Operation::Join => "joined",
        Operation::Files => "looked into",
        Operation::Rename => "renamed",
        Operation::Update => "updated",
        Operation::Remove { .. } => "removed",
    }
}
