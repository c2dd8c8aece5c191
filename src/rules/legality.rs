//! Which operation is legal in which state.
//!
//! A refusal is data: the engine adds the container's name, `api` picks the status.

use model::ContainerState;

/// What a client may ask of an existing container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Start its process.
    Start,
    /// Signal, then kill, its process.
    Stop,
    /// Stop it if it runs, then start it.
    Restart,
    /// Send one signal.
    Kill,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// Change the size of its terminal.
    Resize,
    /// List its processes.
    Top,
    /// Connect to its streams.
    Attach,
    /// Run a further process in it.
    Exec,
    /// Dump its processes.
    Checkpoint,
    /// Start its processes out of a checkpoint.
    Restore,
    /// Have its namespaces.
    Join,
    /// Look at its files, take and put some.
    Files,
    /// Give it another name.
    Rename,
    /// Give it other limits, another restart policy.
    Update,
    /// Remove it; with force it may run.
    Remove {
        /// Kill it first.
        force: bool,
    },
}

/// Why an operation is not legal now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It already runs: `start` has nothing to do (a success to clients).
    AlreadyRunning,
    /// It does not run: `stop` has nothing to do (a success to clients).
    AlreadyStopped,
    /// The operation needs a running process.
    NotRunning,
    /// The operation cannot be done while it is paused.
    Paused,
    /// It is paused already.
    AlreadyPaused,
    /// It is not paused.
    NotPaused,
    /// It runs, and is to be started out of a checkpoint.
    RunsInstead,
    /// It runs, and removal was not forced.
    StillRunning,
    /// It is paused, and removal was not forced.
    StillPaused,
    /// It is being removed.
    BeingRemoved,
    /// Its removal failed: only another one is left.
    Dead,
    /// It is between two runs.
    Restarting,
    /// It is between two runs, and removal was not forced.
    StillRestarting,
    /// Nobody knows whether it runs: only a forced removal is left.
    Lost,
}

/// Whether `operation` is legal in `state`.
///
/// # Errors
/// The reason when it is not.
pub fn may(state: &ContainerState, operation: Operation) -> Result<(), Refusal> {
    use ContainerState::{Created, Dead, Exited, Lost, Removing, Restarting, Running};
    match (state, operation) {
        (Removing, Operation::Remove { .. }) => Err(Refusal::BeingRemoved),
        (Removing, _) => Err(Refusal::BeingRemoved),
        (Dead { .. }, Operation::Remove { .. } | Operation::Rename) => Ok(()),
        (Dead { .. }, _) => Err(Refusal::Dead),
        (Lost { .. }, Operation::Remove { force: true } | Operation::Rename) => Ok(()),
        (Lost { .. }, _) => Err(Refusal::Lost),
        (Running(r), operation) => may_while_running(r.paused, operation),
        (Restarting(_), operation) => may_while_restarting(operation),
        (Created { .. } | Exited(_), operation) => may_while_stopped(operation),
    }
}

fn may_while_running(paused: bool, operation: Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Start if paused => Err(Refusal::Paused),
        Operation::Start => Err(Refusal::AlreadyRunning),
        Operation::Restore => Err(Refusal::RunsInstead),
        Operation::Pause if paused => Err(Refusal::AlreadyPaused),
        Operation::Unpause if !paused => Err(Refusal::NotPaused),
        Operation::Attach | Operation::Exec | Operation::Checkpoint if paused => {
            Err(Refusal::Paused)
        }
        Operation::Remove { force: false } if paused => Err(Refusal::StillPaused),
        Operation::Remove { force: false } => Err(Refusal::StillRunning),
        Operation::Stop
        | Operation::Restart
        | Operation::Kill
        | Operation::Pause
        | Operation::Unpause
        | Operation::Resize
        | Operation::Top
        | Operation::Attach
        | Operation::Exec
        | Operation::Checkpoint
        | Operation::Join
        | Operation::Files
        | Operation::Rename
        | Operation::Update
        | Operation::Remove { .. } => Ok(()),
    }
}

/// To clients it runs, but for what needs a process (moby `container.State`).
fn may_while_restarting(operation: Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Start => Err(Refusal::AlreadyRunning),
        Operation::Restore => Err(Refusal::RunsInstead),
        Operation::Remove { force: false } => Err(Refusal::StillRestarting),
        Operation::Pause
        | Operation::Unpause
        | Operation::Resize
        | Operation::Top
        | Operation::Attach
        | Operation::Exec
        | Operation::Checkpoint
        | Operation::Join => Err(Refusal::Restarting),
        Operation::Stop
        | Operation::Restart
        | Operation::Kill
        | Operation::Files
        | Operation::Rename
        | Operation::Update
        | Operation::Remove { .. } => Ok(()),
    }
}

fn may_while_stopped(operation: Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Stop => Err(Refusal::AlreadyStopped),
        Operation::Kill
        | Operation::Pause
        | Operation::Unpause
        | Operation::Resize
        | Operation::Exec
        | Operation::Checkpoint
        | Operation::Join
        | Operation::Top => Err(Refusal::NotRunning),
        Operation::Start
        | Operation::Restore
        | Operation::Restart
        | Operation::Attach
        | Operation::Files
        | Operation::Rename
        | Operation::Update
        | Operation::Remove { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::{ExitStatus, Exited, Pid, ProcessRef, Running, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn running(paused: bool) -> ContainerState {
        let init = ProcessRef {
            pid: Pid::new(7).unwrap(),
            start_ticks: 1,
        };
        ContainerState::Running(Running {
            init,
            monitor: None,
            started_at: Timestamp::UNIX_EPOCH,
            paused,
            readiness: None,
            last_finished_at: None,
        })
    }

    fn exited() -> ContainerState {
        ContainerState::Exited(Exited {
            status: ExitStatus::Known(0),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            oom_killed: false,
            error: String::new(),
            by_request: false,
            by_checkpoint: false,
        })
    }

    fn restarting() -> ContainerState {
        let last = exited().exited().unwrap().clone();
        ContainerState::Restarting(model::Restarting {
            last,
            delay_ms: 100,
        })
    }

    #[test]
    fn between_two_runs_it_can_be_stopped_and_waited_for() {
        let may = |operation| may(&restarting(), operation);
        assert_eq!(may(Operation::Start), Err(Refusal::AlreadyRunning));
        for operation in [Operation::Stop, Operation::Kill, Operation::Restart] {
            assert_eq!(may(operation), Ok(()));
        }
        for operation in [Operation::Exec, Operation::Attach, Operation::Pause] {
            assert_eq!(may(operation), Err(Refusal::Restarting));
        }
        let remove = |force| may(Operation::Remove { force });
        assert_eq!(remove(false), Err(Refusal::StillRestarting));
        assert_eq!(remove(true), Ok(()));
    }

    #[test]
    fn starting_what_runs_and_stopping_what_does_not_is_no_error_to_clients() {
        assert_eq!(
            may(&running(false), Operation::Start),
            Err(Refusal::AlreadyRunning)
        );
        assert_eq!(
            may(&exited(), Operation::Stop),
            Err(Refusal::AlreadyStopped)
        );
    }

    #[test]
    fn a_paused_container_can_be_stopped_and_killed_but_not_started_or_attached() {
        assert_eq!(may(&running(true), Operation::Stop), Ok(()));
        assert_eq!(may(&running(true), Operation::Kill), Ok(()));
        assert_eq!(may(&running(true), Operation::Start), Err(Refusal::Paused));
        assert_eq!(may(&running(true), Operation::Attach), Err(Refusal::Paused));
        assert_eq!(
            may(&running(true), Operation::Pause),
            Err(Refusal::AlreadyPaused)
        );
    }

    #[test]
    fn a_dead_container_can_only_be_removed_or_renamed() {
        let dead = ContainerState::Dead { reason: "x".into() };
        assert_eq!(may(&dead, Operation::Remove { force: false }), Ok(()));
        assert_eq!(may(&dead, Operation::Start), Err(Refusal::Dead));
    }

    #[test]
    fn one_that_may_run_is_not_removed_without_force() {
        let lost = ContainerState::Lost { reason: "x".into() };
        assert_eq!(
            may(&lost, Operation::Remove { force: false }),
            Err(Refusal::Lost)
        );
        assert_eq!(may(&lost, Operation::Remove { force: true }), Ok(()));
        assert_eq!(may(&lost, Operation::Start), Err(Refusal::Lost));
    }

    fn states() -> impl Strategy<Value = ContainerState> {
        prop_oneof![
            Just(ContainerState::Created { failure: None }),
            Just(running(false)),
            Just(running(true)),
            Just(exited()),
            Just(restarting()),
            Just(ContainerState::Removing),
            Just(ContainerState::Dead {
                reason: String::new()
            }),
            Just(ContainerState::Lost {
                reason: String::new()
            }),
        ]
    }

    fn operations() -> impl Strategy<Value = Operation> {
        prop_oneof![
            Just(Operation::Start),
            Just(Operation::Stop),
            Just(Operation::Restart),
            Just(Operation::Kill),
            Just(Operation::Pause),
            Just(Operation::Unpause),
            Just(Operation::Resize),
            Just(Operation::Top),
            Just(Operation::Attach),
            Just(Operation::Exec),
            Just(Operation::Join),
            Just(Operation::Files),
            Just(Operation::Rename),
            Just(Operation::Update),
            any::<bool>().prop_map(|force| Operation::Remove { force }),
        ]
    }

    proptest! {
        /// Whatever needs a process is refused where there is none, and a forced removal is legal
        /// everywhere but in a removal.
        #[test]
        fn operations_on_a_process_need_one(state in states(), operation in operations()) {
            let verdict = may(&state, operation);
            let needs_process = matches!(
                operation,
                Operation::Kill | Operation::Pause | Operation::Unpause | Operation::Resize
                    | Operation::Top | Operation::Stop | Operation::Exec | Operation::Join
            );
            // A start that is to come can be called off.
            let has_one = state.running().is_some()
                || (matches!(state, ContainerState::Restarting(_))
                    && matches!(operation, Operation::Kill | Operation::Stop));
            if needs_process && !has_one {
                prop_assert!(verdict.is_err());
            }
            if operation == (Operation::Remove { force: true }) {
                prop_assert_eq!(verdict.is_ok(), state != ContainerState::Removing);
            }
        }
    }
}
