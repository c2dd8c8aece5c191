//! A container's state: an enum with its data inside.
//!
//! ```text
//!   create            start              exit
//!  --------> Created -------> Running ----------> Exited --+
//!               ^  |            |  ^ pause/unpause   |      | start
//!               |  +-- failed --+  +--> (paused)     |      +--> Running
//!               |      start: stays Created, with the failure
//!               |                         Exited instead: Restarting, with a policy --> Running
//!               +-- any of them: remove --> Removing --> (row deleted)
//!                                           Dead: removal failed, reason kept
//!                                           Lost: nobody knows whether it runs; asked again
//! ```
//!
//! Docker's `Running`, `Paused`, `Restarting`, `Dead` booleans are derived from this by `api`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::process::ProcessRef;
use crate::readiness::Readiness;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, never started successfully.
    Created {
        /// The last start that failed, if one did.
        failure: Option<StartFailure>,
    },
    /// Its first process lives.
    Running(Running),
    /// Its first process has ended.
    Exited(Exited),
    /// Its first process has ended, and its restart policy starts it again when the pause is over.
    Restarting(Restarting),
    /// Being removed: no operation but another remove is legal.
    Removing,
    /// A removal failed half-way: it can only be removed again.
    Dead {
        /// What failed, for `State.Error`.
        reason: String,
    },
    /// The daemon has started and could not find out what became of it. It may run, so only a
    /// forced remove is legal. Never in the ledger, which keeps what was known before.
    Lost {
        /// Why not, for `State.Error`.
        reason: String,
    },
}

/// A container whose first process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The container's first process.
    pub init: ProcessRef,
    /// Its conmon; `None` once conmon is known to be gone while init lives.
    pub monitor: Option<ProcessRef>,
    /// When the runtime was told to start it.
    pub started_at: Timestamp,
    /// Frozen by `pause`.
    pub paused: bool,
    /// What it has said by sd_notify; `None` where it does not speak it.
    #[serde(default)]
    pub readiness: Option<Readiness>,
    /// When the run before ended, if there was one.
    #[serde(default)]
    pub last_finished_at: Option<Timestamp>,
}

/// A container whose first process has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// How it ended.
    pub status: ExitStatus,
    /// When it had been started.
    pub started_at: Timestamp,
    /// When it ended: the time of conmon's exit file, or when the kernel told us.
    pub finished_at: Timestamp,
    /// The kernel's out-of-memory killer ended something in its cgroup.
    pub oom_killed: bool,
    /// For `State.Error`; empty when there is nothing to say.
    pub error: String,
    /// A client had asked for it, by stop or kill.
    #[serde(default)]
    pub by_request: bool,
    /// It ended with a checkpoint, and waits to go on from there: nothing but a client starts it.
    #[serde(default)]
    pub by_checkpoint: bool,
}

/// A container between two runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restarting {
    /// How the last run ended.
    pub last: Exited,
    /// The pause from then to the next start.
    pub delay_ms: u64,
}

/// What had been begun on a container: written before the first effect on the host, cleared with
/// the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Mounting, creating and starting it.
    Starting,
    /// The same, for a client who asked for a restart: its stop is done.
    Restarting,
    /// Taking back a start that failed or was cut short: whatever is left of it never ran.
    UndoingStart {
        /// And begin anew: it was for a client's restart.
        again: bool,
    },
    /// A client wants it ended: it was or will be sent a signal, and no policy starts it again.
    /// Written only where there is a policy.
    Stopping,
    /// Removing it.
    Removing {
        /// Its anonymous volumes too.
        volumes: bool,
    },
}

/// A start that failed before the container's process ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// 126, 127 or 128, by Docker's rules.
    pub exit_code: u8,
    /// The message the client got.
    pub error: String,
}

impl ContainerState {
    /// Docker's word for it: the `State.Status` of inspect, the `State` of the list.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running(r) if r.paused => "paused",
            Self::Running(_) => "running",
            Self::Exited(_) => "exited",
            Self::Restarting(_) => "restarting",
            Self::Removing => "removing",
            Self::Dead { .. } | Self::Lost { .. } => "dead",
        }
    }

    /// Whether clients are to see it as running: its process lives, or will again by itself.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Restarting(_))
    }

    /// The running data, paused or not.
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(r) => Some(r),
            _ => None,
        }
    }

    /// How the last run ended, when it does not run now.
    pub fn exited(&self) -> Option<&Exited> {
        match self {
            Self::Exited(e) => Some(e),
            Self::Restarting(r) => Some(&r.last),
            _ => None,
        }
    }
}
