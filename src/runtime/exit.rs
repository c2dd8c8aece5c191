//! conmon's exit file, and how the witnesses of an exit are weighed.

use std::io;
use std::path::Path;
use std::time::Duration;

use model::{ExitReason, ExitStatus, ProcessRef, Timestamp};
use sys::pidfd::PidFd;
use sys::proc;

/// How long the kernel's record of an exit is waited for after the end: until the process that
/// adopted the orphan has collected it.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An exit file holds at most a sign and three digits.
const EXIT_FILE_BYTES_MAX: u64 = 64;

/// How and when a container's first process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// How.
    pub status: ExitStatus,
    /// The time of the exit file, or when the kernel told us.
    pub finished_at: Timestamp,
    /// conmon saw the out-of-memory killer in the container's cgroup.
    pub oom_killed: bool,
}

/// A read exit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitFile {
    pub(crate) status: ExitStatus,
    pub(crate) written_at: Timestamp,
}

/// File times come from the kernel's coarse clock, which is up to one tick behind (10 ms at the
/// slowest HZ): a container must not end before its last line was written.
const FILE_TIME_LAG: Duration = Duration::from_millis(10);

impl ExitFile {
    /// `None` when there is none (yet).
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut text = String::new();
        let read =
            io::Read::read_to_string(&mut io::Read::take(&file, EXIT_FILE_BYTES_MAX), &mut text);
        let status = match read {
            Ok(_) => parse(&text),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                ExitStatus::Unknown(ExitReason::Unreadable)
            }
            Err(e) => return Err(e),
        };
        let written = file.metadata()?.modified()?;
        let now = Timestamp::now();
        let written = Timestamp::try_from(written).unwrap_or(now);
        let written_at = written
            .saturating_add(FILE_TIME_LAG)
            .map_or(now, |t| t.min(now));
        Ok(Some(Self { status, written_at }))
    }
}

/// conmon writes a decimal without a newline: 0 to 255, or -1 after its own time limit.
fn parse(text: &str) -> ExitStatus {
    match text.trim().parse::<i64>() {
        Ok(-1) => ExitStatus::Unknown(ExitReason::TimedOut),
        Ok(code) => u8::try_from(code).map_or(
            ExitStatus::Unknown(ExitReason::Unreadable),
            ExitStatus::Known,
        ),
        Err(_) => ExitStatus::Unknown(ExitReason::Unreadable),
    }
}

/// What counts when conmon wrote `file` and the kernel says `wait_status`.
///
/// The kernel is right where it speaks: a conmon that lost its child writes 0 without knowing
/// (ctr_exit.c, ECHILD). Such a file, found while the process still ran (`trusted` is false),
/// proves nothing at all.
pub(crate) fn weigh(file: &ExitStatus, trusted: bool, wait_status: Option<i32>) -> ExitStatus {
    match wait_status.map(ExitStatus::from_wait_status) {
        Some(kernel) => {
            if kernel != *file {
                tracing::warn!(?file, ?kernel, "conmon's exit file differs from the kernel");
            }
            kernel
        }
        None if trusted => file.clone(),
        None => ExitStatus::Unknown(ExitReason::MonitorDied),
    }
}

/// What the kernel has kept of the end of a process that is not our child (Linux 6.15).
pub(crate) fn kept_by_kernel(init: &PidFd) -> Option<i32> {
    (!failpoint::older_kernel())
        .then(|| init.wait_status())
        .flatten()
}

/// The exit status of an ended process that is not our child, from the kernel alone.
pub(crate) async fn ask_kernel(init: &PidFd) -> Option<i32> {
    if let Some(status) = kept_by_kernel(init) {
        return Some(status);
    }
    // Not collected yet. The zombie shows its status, but 0 also to readers it distrusts.
    if let Some(status) = zombie_status(init.process()) {
        return Some(status);
    }
    // A time-out means an old kernel or a parent that does not collect: then nobody knows.
    let _ = tokio::time::timeout(COLLECT_TIMEOUT, init.collected()).await;
    kept_by_kernel(init)
}

fn zombie_status(process: ProcessRef) -> Option<i32> {
    let stat = proc::stat(process.pid).ok()??;
    let same = stat.start_ticks == process.start_ticks;
    (same && stat.is_zombie() && stat.wait_status != 0).then_some(stat.wait_status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_files_are_codes_or_say_why_not() {
        for (text, want) in [
            ("0", ExitStatus::Known(0)),
            ("255", ExitStatus::Known(255)),
            ("137\n", ExitStatus::Known(137)),
            ("-1", ExitStatus::Unknown(ExitReason::TimedOut)),
            ("256", ExitStatus::Unknown(ExitReason::Unreadable)),
            ("-2", ExitStatus::Unknown(ExitReason::Unreadable)),
            ("", ExitStatus::Unknown(ExitReason::Unreadable)),
            ("7 8", ExitStatus::Unknown(ExitReason::Unreadable)),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_whole_with_its_time_or_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        assert_eq!(ExitFile::read(&path).unwrap(), None);
        std::fs::write(&path, "42").unwrap();
        let file = ExitFile::read(&path).unwrap().unwrap();
        assert_eq!(file.status, ExitStatus::Known(42));
        let age = Timestamp::now().duration_since(file.written_at);
        assert!(age.as_secs().abs() < 60);
        std::fs::write(&path, [0xff; 100]).unwrap();
        let file = ExitFile::read(&path).unwrap().unwrap();
        assert_eq!(file.status, ExitStatus::Unknown(ExitReason::Unreadable));
    }

    #[test]
    fn the_kernel_is_right_and_an_untrusted_file_proves_nothing() {
        let zero = ExitStatus::Known(0);
        assert_eq!(weigh(&zero, true, Some(9)), ExitStatus::Known(137));
        assert_eq!(weigh(&zero, true, Some(0)), ExitStatus::Known(0));
        assert_eq!(
            weigh(&ExitStatus::Known(7), true, None),
            ExitStatus::Known(7)
        );
        let lost = ExitStatus::Unknown(ExitReason::MonitorDied);
        assert_eq!(weigh(&zero, false, None), lost);
        let timed_out = ExitStatus::Unknown(ExitReason::TimedOut);
        assert_eq!(weigh(&timed_out, true, Some(9)), ExitStatus::Known(137));
    }
}
