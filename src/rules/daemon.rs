//! Whether the daemon may end while nobody is connected.

use model::{ContainerSpec, ContainerState, RestartPolicy};

use crate::restart::starts_with_daemon;

/// Why a container needs the daemon to be there, said of it; `None` when all there is to know can be
/// found out later.
pub fn needs_daemon(spec: &ContainerSpec, state: &ContainerState) -> Option<&'static str> {
    match state {
        ContainerState::Restarting(_) => Some("is to be started again"),
        ContainerState::Removing | ContainerState::Lost { .. } => Some("is not at rest"),
        ContainerState::Running(_) if spec.restart_policy != RestartPolicy::No => {
            Some("has a restart policy")
        }
        ContainerState::Running(_) if spec.auto_remove => Some("is to be removed at its end"),
        ContainerState::Running(_) if spec.health_check.is_some() => Some("has a health check"),
        ContainerState::Running(_) if spec.log.limits().is_ok_and(|limits| limits.is_some()) => {
            Some("has a log with limits")
        }
        // It would be started by the next daemon, against a client's wish.
        ContainerState::Exited(_) if starts_with_daemon(&spec.restart_policy, state) => {
            Some("starts with the daemon")
        }
        ContainerState::Running(_)
        | ContainerState::Created { .. }
        | ContainerState::Exited(_)
        | ContainerState::Dead { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_never_started_needs_nobody() {
        let spec = ContainerSpec {
            restart_policy: RestartPolicy::Always,
            ..ContainerSpec::default()
        };
        let created = ContainerState::Created { failure: None };
        assert_eq!(needs_daemon(&spec, &created), None);
        let lost = ContainerState::Lost {
            reason: String::new(),
        };
        assert_eq!(needs_daemon(&spec, &lost), Some("is not at rest"));
    }
}
