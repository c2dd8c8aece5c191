//! Whether a container may be asked something now.

use model::{Error, Result};
use rules::{Asked, Operation};

use crate::ContainerView;

/// Whether `operation` is legal now.
///
/// # Errors
/// Docker's sentence for the refusal, with its kind.
pub fn check(view: &ContainerView, operation: Operation) -> Result<()> {
    check_as(view, view.id.as_str(), operation)
}

/// As [`check`], with the container's name as the client `gave` it, which some of Docker's
/// sentences repeat.
///
/// # Errors
/// As [`check`].
pub fn check_as(view: &ContainerView, gave: &str, operation: Operation) -> Result<()> {
    let asked = Asked {
        id: &view.id,
        name: &view.name,
        state: &view.state,
        gave,
    };
    rules::check(&asked, operation)?;
    match operation {
        Operation::Pause | Operation::Checkpoint if view.spec.no_cgroups => {
            Err(Error::conflict(format!(
                "container {} has no cgroup, without which nothing can freeze it",
                view.id
            )))
        }
        _ => Ok(()),
    }
}
