//! Refusals of `rules` in Docker's words.

use model::{ContainerState, Error, Kind, Result};
use rules::{Operation, Refusal};

use crate::container::ContainerView;

/// Whether `operation` is legal now.
///
/// # Errors
/// Docker's sentence for the refusal, with its kind.
pub(crate) fn check(view: &ContainerView, operation: Operation) -> Result<()> {
    check_as(view, view.id.as_str(), operation)
}

/// As [`check`], with the container's name as the client `gave` it, which some of Docker's
/// sentences repeat.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_as(view: &ContainerView, gave: &str, operation: Operation) -> Result<()> {
    rules::may(&view.state, operation).map_err(|refusal| explain(view, gave, operation, refusal))
}

fn explain(view: &ContainerView, gave: &str, operation: Operation, refusal: Refusal) -> Error {
    let (id, name) = (&view.id, &view.name);
    match refusal {
        Refusal::AlreadyRunning => Error::new(
            Kind::NotModified,
            format!("container {id} is already running"),
        ),
        Refusal::AlreadyStopped => Error::new(
            Kind::NotModified,
            format!("container {id} is already stopped"),
        ),
        Refusal::NotRunning => Error::conflict(format!("container {id} is not running")),
        Refusal::Paused if operation == Operation::Attach => Error::conflict(format!(
            "container {gave} is paused, unpause the container before attach"
        )),
        Refusal::Paused if operation == Operation::Exec => Error::conflict(format!(
            "Container {gave} is paused, unpause the container before exec"
        )),
        Refusal::Paused => {
            Error::conflict("cannot start a paused container, try unpause instead".to_owned())
        }
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
        Refusal::BeingRemoved => Error::conflict(format!(
            "container is marked for removal and cannot be {}",
            participle(operation)
        )),
        Refusal::Dead => {
            let reason = match &view.state {
                ContainerState::Dead { reason } => reason.as_str(),
                _ => "unknown",
            };
            Error::conflict(format!(
                "container {id} is dead and can only be removed: {reason}"
            ))
        }
        Refusal::Lost => {
            let reason = match &view.state {
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
        Operation::Rename => "renamed",
        Operation::Remove { .. } => "removed",
    }
}
