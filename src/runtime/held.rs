//! What conmons hold for others: see [`crate::CreateTask::held`].

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::cleanup::conmon_by;
use crate::layout::Layout;

/// A copy of the socket that `is_it` knows, from a conmon of that run root that has it open. It is looked
/// for before anything else is known, by the conmons' pid files.
pub fn held_socket(run_root: &Path, is_it: &dyn Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    let attempts = std::fs::read_dir(Layout::new(run_root).attempts()).ok()?;
    attempts.flatten().find_map(|attempt| {
        let id = attempt.file_name();
        let files = crate::layout::AttemptFiles::in_dir(attempt.path());
        let conmon = conmon_by(&files.conmon_pidfile, id.to_str()?)?;
        conmon
            .find_socket(is_it)
            .inspect_err(|e| {
                let id = id.display();
                tracing::warn!(container = %id, error = %e, "cannot see what its conmon holds");
            })
            .ok()?
    })
}
