//! What to do with each container the ledger names when the daemon starts.
//!
//! Truth comes in this order: the kernel, then files, then the ledger. The plan says which
//! question to ask of the kernel or the runtime; the engine asks it and acts. A second recovery
//! right after the first is a no-op: every step ends in a state whose plan is `Keep` or `Adopt`.

use model::{ContainerState, Intent, ProcessRef};

/// What recovery does with one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: it was at rest.
    Keep,
    /// It ran: look for its process, take it back or record its end.
    Adopt {
        /// Its first process.
        init: ProcessRef,
        /// Its conmon.
        monitor: Option<ProcessRef>,
    },
    /// The host was restarted: it has ended, and nobody saw how.
    EndedWithHost,
    /// A start was under way on this boot: ask the runtime whether it came to run; undo it
    /// otherwise.
    ResolveStart,
    /// A start was under way when the host went down: take its leftovers away.
    UndoStart,
    /// A removal was under way: finish it.
    FinishRemoval {
        /// Its anonymous volumes too.
        volumes: bool,
    },
}

/// The plan for one container. `same_boot` is whether the stored boot_id is the kernel's.
pub fn plan_recovery(state: &ContainerState, intent: Option<Intent>, same_boot: bool) -> Recovery {
    match (intent, state) {
        (Some(Intent::Removing { volumes }), _) => Recovery::FinishRemoval { volumes },
        (None | Some(Intent::Starting), ContainerState::Running(r)) if same_boot => {
            Recovery::Adopt {
                init: r.init,
                monitor: r.monitor,
            }
        }
        (_, ContainerState::Running(_)) => Recovery::EndedWithHost,
        (Some(Intent::Starting), _) if same_boot => Recovery::ResolveStart,
        (Some(Intent::Starting), _) => Recovery::UndoStart,
        (None, ContainerState::Removing) => Recovery::FinishRemoval { volumes: false },
        (
            None,
            ContainerState::Created { .. }
            | ContainerState::Exited(_)
            | ContainerState::Dead { .. }
            | ContainerState::Lost { .. },
        ) => Recovery::Keep,
    }
}

#[cfg(test)]
mod tests {
    use model::{Pid, Running, Timestamp};

    use super::*;

    fn running() -> ContainerState {
        let init = ProcessRef {
            pid: Pid::new(7).unwrap(),
            start_ticks: 1,
        };
        ContainerState::Running(Running {
            init,
            monitor: Some(init),
            started_at: Timestamp::UNIX_EPOCH,
            paused: false,
        })
    }

    const CREATED: ContainerState = ContainerState::Created { failure: None };

    #[test]
    fn another_boot_means_that_what_ran_has_ended() {
        assert!(matches!(
            plan_recovery(&running(), None, true),
            Recovery::Adopt { .. }
        ));
        assert_eq!(
            plan_recovery(&running(), None, false),
            Recovery::EndedWithHost
        );
    }

    #[test]
    fn a_start_cut_short_is_asked_about_or_undone() {
        let starting = Some(Intent::Starting);
        assert_eq!(
            plan_recovery(&CREATED, starting, true),
            Recovery::ResolveStart
        );
        assert_eq!(
            plan_recovery(&CREATED, starting, false),
            Recovery::UndoStart
        );
    }

    #[test]
    fn a_removal_is_always_finished() {
        let intent = Some(Intent::Removing { volumes: true });
        for state in [CREATED, running(), ContainerState::Removing] {
            for same_boot in [true, false] {
                let plan = plan_recovery(&state, intent, same_boot);
                assert_eq!(plan, Recovery::FinishRemoval { volumes: true });
            }
        }
    }

    #[test]
    fn what_is_at_rest_is_left_alone() {
        assert_eq!(plan_recovery(&CREATED, None, true), Recovery::Keep);
        assert_eq!(plan_recovery(&CREATED, None, false), Recovery::Keep);
    }
}
