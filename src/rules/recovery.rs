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
        /// A client had asked for its end.
        by_request: bool,
    },
    /// The host was restarted: it has ended, and nobody saw how.
    EndedWithHost {
        /// A client had asked for its end.
        by_request: bool,
    },
    /// A start was under way on this boot: ask the runtime whether it came to run; undo it
    /// otherwise.
    ResolveStart {
        /// And begin anew: a client asked for a restart, and was not told that it failed.
        again: bool,
    },
    /// A start was under way when the host went down, or was being taken back: take its leftovers
    /// away.
    UndoStart {
        /// And begin anew, as in [`Recovery::ResolveStart`].
        again: bool,
    },
    /// A removal was under way: finish it.
    FinishRemoval {
        /// Its anonymous volumes too.
        volumes: bool,
    },
}

/// The plan for one container. `same_boot` is whether the stored boot_id is the kernel's.
pub fn plan_recovery(state: &ContainerState, intent: Option<Intent>, same_boot: bool) -> Recovery {
    let by_request = intent == Some(Intent::Stopping);
    match (intent, state) {
        (Some(Intent::Removing { volumes }), _) => Recovery::FinishRemoval { volumes },
        // Whatever was begun on it.
        (_, ContainerState::Running(r)) if same_boot => Recovery::Adopt {
            init: r.init,
            monitor: r.monitor,
            by_request,
        },
        (_, ContainerState::Running(_)) => Recovery::EndedWithHost { by_request },
        (Some(intent @ (Intent::Starting | Intent::Restarting)), _) if same_boot => {
            Recovery::ResolveStart {
                again: intent == Intent::Restarting,
            }
        }
        (Some(Intent::UndoingStart { again }), _) => Recovery::UndoStart { again },
        (Some(intent @ (Intent::Starting | Intent::Restarting)), _) => Recovery::UndoStart {
            again: intent == Intent::Restarting,
        },
        (_, ContainerState::Removing) => Recovery::FinishRemoval { volumes: false },
        (
            None | Some(Intent::Stopping),
            ContainerState::Created { .. }
            | ContainerState::Exited(_)
            | ContainerState::Restarting(_)
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
            readiness: None,
            last_finished_at: None,
        })
    }

    const CREATED: ContainerState = ContainerState::Created { failure: None };

    #[test]
    fn another_boot_means_that_what_ran_has_ended() {
        assert!(matches!(
            plan_recovery(&running(), None, true),
            Recovery::Adopt { .. }
        ));
        for (intent, by_request) in [(None, false), (Some(Intent::Stopping), true)] {
            assert_eq!(
                plan_recovery(&running(), intent, false),
                Recovery::EndedWithHost { by_request }
            );
        }
    }

    #[test]
    fn a_start_cut_short_is_asked_about_or_undone() {
        let starting = Some(Intent::Starting);
        for (intent, again) in [(Intent::Starting, false), (Intent::Restarting, true)] {
            assert_eq!(
                plan_recovery(&CREATED, Some(intent), true),
                Recovery::ResolveStart { again }
            );
        }
        assert_eq!(
            plan_recovery(&CREATED, starting, false),
            Recovery::UndoStart { again: false }
        );
        // What a daemon had begun to take back is not taken for a run that has ended.
        for again in [true, false] {
            let undoing = Some(Intent::UndoingStart { again });
            let plan = plan_recovery(&CREATED, undoing, true);
            assert_eq!(plan, Recovery::UndoStart { again });
        }
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
