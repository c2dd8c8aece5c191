//! The directories: room for images, safety for exit codes.

use std::path::Path;

use super::{Finding, Verdict};
use crate::daemon::roots::{self, Exits};
use crate::daemon::settings::Settings;

/// Below this much room on the data root's file system a warning is due.
const ROOM_BYTES_MIN: u64 = 1 << 30;

pub(super) fn data_root(path: &Path) -> Finding {
    let existing = path.ancestors().find(|p| p.exists());
    let room = existing.and_then(|p| sys::host::file_system(p).ok());
    let shown = path.display();
    match room {
        Some(fs) if fs.is_memory => Finding::bad(
            Verdict::Warn,
            "data root",
            format!("{shown} is in memory"),
            "images and containers are gone after a reboot",
            "put the data root on a disk",
        ),
        Some(fs) if fs.available_bytes < ROOM_BYTES_MIN => Finding::bad(
            Verdict::Warn,
            "data root",
            format!("{shown}: {} MiB free", fs.available_bytes >> 20),
            "loading an image may fill the disk",
            "make room, or choose another data root",
        ),
        Some(fs) => Finding::ok(
            "data root",
            format!("{shown}: {} GiB free", fs.available_bytes >> 30),
            "",
        ),
        None => Finding::bad(
            Verdict::Fail,
            "data root",
            format!("{shown} cannot be looked at"),
            "the daemon cannot start",
            "check the path and its permissions",
        ),
    }
}

/// Whether the files of the data root can be shown with the ids of a user namespace.
pub(super) fn user_namespaces(settings: &Settings) -> Finding {
    let existing = settings.data_root.ancestors().find(|p| p.exists());
    match existing.map(sys::id_map::can_map) {
        Some(Ok(())) => Finding::ok("user namespaces", "yes".to_owned(), ""),
        Some(Err(e)) => Finding::bad(
            match settings.ids.remap {
                Some(_) => Verdict::Fail,
                None => Verdict::Warn,
            },
            "user namespaces",
            e.to_string(),
            "containers cannot have ids of their own",
            "they need root, Linux 5.19, a data root on ext4, xfs, btrfs or the like, and \
             user.max_user_namespaces above 0",
        ),
        // Told of with the data root.
        None => Finding::ok("user namespaces", "not looked at".to_owned(), ""),
    }
}

pub(super) fn exits(settings: &Settings) -> Finding {
    let dir = engine::exit_dir(&settings.run_root);
    let shown = dir.display();
    match roots::exits_state(settings) {
        Ok(Exits::Safe) => Finding::ok("exit codes", format!("{shown} is on a tmpfs"), ""),
        Ok(Exits::Mounted) => Finding::ok(
            "exit codes",
            format!("{shown} has a file system of its own"),
            "the run root shares a disk; a full one loses no exit code",
        ),
        Ok(Exits::Unsafe) => Finding::ok(
            "exit codes",
            format!("{shown} shares a disk"),
            "the daemon mounts a small tmpfs there when it starts",
        ),
        Err(_) => Finding::ok(
            "exit codes",
            format!("{shown} does not exist yet"),
            "the daemon makes it, on a tmpfs",
        ),
    }
}
