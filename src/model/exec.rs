//! Exec sessions: a further process in a running container, under a conmon of its own.
//!
//! ```text
//!   create           start                        exit
//!  --------> Created -----> Starting ---> Running ----> Ended
//!                               +------ failed -----------^
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::process::{Pid, ProcessRef};

/// What a session was asked to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// The command and its arguments; at least one word.
    pub args: Vec<String>,
    /// Variables besides the container's own, which they replace.
    pub env: Vec<String>,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// `user[:group]`; empty is the container's.
    pub user: String,
    /// A terminal of its own.
    pub tty: bool,
    /// Its stdin is open.
    pub stdin: bool,
    /// Clients get its stdout.
    pub stdout: bool,
    /// Clients get its stderr.
    pub stderr: bool,
    /// All capabilities the daemon may pass on.
    pub privileged: bool,
    /// The keys that detach a terminal; `None` is Docker's default.
    pub detach_keys: Option<String>,
    /// Its output is kept, in a bounded log of its own.
    pub keep_output: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// It is a health check: it ends with the daemon that began it.
    pub is_probe: bool,
}

/// Where a session is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExecState {
    /// Made, not started.
    Created,
    /// conmon and the runtime are at work.
    Starting,
    /// Its process lives.
    Running(ExecRunning),
    /// It is over, or never came to run.
    Ended(ExecEnded),
}

/// A session whose process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecRunning {
    /// Its process.
    pub process: ProcessRef,
    /// Its conmon; `None` once that is known to be gone.
    pub monitor: Option<ProcessRef>,
}

/// A session that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecEnded {
    /// How its process ended, or 126 when it never came to run.
    pub status: ExitStatus,
    /// The pid it had.
    pub pid: Option<Pid>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it did not come to run; empty when it did.
    pub error: String,
}

impl ExecState {
    /// Its process lives.
    pub fn running(&self) -> Option<&ExecRunning> {
        match self {
            Self::Running(running) => Some(running),
            _ => None,
        }
    }

    /// It is over.
    pub fn ended(&self) -> Option<&ExecEnded> {
        match self {
            Self::Ended(ended) => Some(ended),
            _ => None,
        }
    }
}
