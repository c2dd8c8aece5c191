//! How a container's first process ended, or that nobody can know.

use serde::{Deserialize, Serialize};

/// The end of a process, as exactly as a witness saw it.
///
/// There is no default: an exit nobody saw is [`ExitStatus::Unknown`] and shows as 255 with a
/// reason in `State.Error`, never as a made-up 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// The exit code; a death by signal N is 128+N, as conmon and Docker report it.
    Known(u8),
    /// No witness was left.
    Unknown(ExitReason),
}

/// Why an exit status is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// conmon ended without an exit file and the kernel could not tell.
    MonitorDied,
    /// The host was rebooted while the container ran.
    HostRestarted,
    /// conmon wrote something that is not an exit code.
    Unreadable,
    /// conmon's own time limit ended the process (it writes -1).
    TimedOut,
    /// The daemon found no trace of the process after a restart.
    Vanished,
}

/// The code shown for an exit nobody saw.
pub const EXIT_CODE_UNKNOWN: u8 = 255;

impl ExitStatus {
    /// The code as Docker's clients read it.
    pub fn code(&self) -> i64 {
        match self {
            Self::Known(code) => i64::from(*code),
            Self::Unknown(_) => i64::from(EXIT_CODE_UNKNOWN),
        }
    }

    /// From a raw wait status as `wait4(2)` and `PIDFD_GET_INFO` give it.
    pub fn from_wait_status(status: i32) -> Self {
        let signal = status & 0x7f;
        let code = if signal == 0 {
            (status >> 8) & 0xff
        } else {
            128 + signal
        };
        u8::try_from(code).map_or(Self::Unknown(ExitReason::Unreadable), Self::Known)
    }

    /// What to put into `State.Error` when the code is not known.
    pub fn reason(&self) -> Option<&'static str> {
        let Self::Unknown(reason) = self else {
            return None;
        };
        Some(match reason {
            ExitReason::MonitorDied => "exit status unknown: conmon died without an exit file",
            ExitReason::HostRestarted => "exit status unknown: the host was restarted",
            ExitReason::Unreadable => "exit status unknown: conmon wrote an unreadable exit file",
            ExitReason::TimedOut => "exit status unknown: ended by conmon's time limit",
            ExitReason::Vanished => {
                "exit status unknown: the process was gone after a daemon restart"
            }
        })
    }
}

/// The end of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitOutcome {
    /// The exit code.
    pub status_code: i64,
    /// Why the code means nothing, when it does not.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_become_dockers_codes() {
        assert_eq!(ExitStatus::from_wait_status(0), ExitStatus::Known(0));
        assert_eq!(ExitStatus::from_wait_status(42 << 8), ExitStatus::Known(42));
        assert_eq!(ExitStatus::from_wait_status(9), ExitStatus::Known(137));
        assert_eq!(
            ExitStatus::from_wait_status(11 | 0x80),
            ExitStatus::Known(139)
        );
    }

    #[test]
    fn an_unknown_exit_is_255_with_a_reason() {
        let lost = ExitStatus::Unknown(ExitReason::MonitorDied);
        assert_eq!(lost.code(), 255);
        assert!(lost.reason().is_some());
        assert!(ExitStatus::Known(0).reason().is_none());
    }
}
