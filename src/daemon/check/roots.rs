//! The directories: room for images, safety for exit codes.

use std::path::Path;

use engine::StorageFound;
use model::StorageDriver;

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

/// How containers' files are made of their images'; nothing where only root can find out.
pub(super) fn storage(settings: &Settings) -> Option<Finding> {
    if !sys::own::is_root() {
        return None;
    }
    let found = engine::look_at_storage(&settings.data_root);
    Some(found.map_or_else(
        |e| {
            Finding::bad(
                Verdict::Fail,
                "storage driver",
                e.message(),
                "no image can be kept there",
                "check the path and its permissions",
            )
        },
        |found| storage_driver(settings.storage_driver, found),
    ))
}

fn storage_driver(wanted: Option<StorageDriver>, found: StorageFound) -> Finding {
    const WHAT: &str = "storage driver";
    const COST: &str = "each container has a copy of all its image's files: a first start takes longer, \
                        and room on the disk where the file system cannot share it (btrfs and xfs can)";
    const TO_DO: &str = "load the module (modprobe overlay), or put the data root on ext4, xfs with ftype=1, \
                         or btrfs";
    match (wanted, found.overlay) {
        (Some(StorageDriver::Vfs), overlay) => {
            let lost = overlay.is_err() && found.overlays > 0;
            let told = "vfs, as it is set";
            match lost {
                false => Finding::ok(WHAT, told, COST),
                true => Finding::bad(
                    Verdict::Warn,
                    WHAT,
                    format!("{told}; {} containers have overlays", found.overlays),
                    "those cannot be started: overlays cannot be mounted now",
                    TO_DO,
                ),
            }
        }
        (_, Ok(())) => Finding::ok(WHAT, "overlay2", ""),
        (Some(StorageDriver::Overlay2), Err(why)) => Finding::bad(
            Verdict::Fail,
            WHAT,
            format!("overlay2 is set, and cannot be had: {why}"),
            "the daemon does not start",
            TO_DO,
        ),
        (None, Err(why)) if found.overlays > 0 => Finding::bad(
            Verdict::Fail,
            WHAT,
            format!(
                "{} containers have overlays, which cannot be mounted: {why}",
                found.overlays
            ),
            "the daemon does not start; with storage-driver = \"vfs\" it does, and those containers do not",
            TO_DO,
        ),
        (None, Err(why)) => Finding::bad(
            Verdict::Warn,
            WHAT,
            format!("vfs, for no overlay can be mounted: {why}"),
            COST,
            TO_DO,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_driver_is_reported_with_what_it_costs_and_what_to_do() {
        use StorageDriver::{Overlay2, Vfs};
        use Verdict::{Fail, Ok as Fine, Warn};
        let found = |overlay: bool, overlays| StorageFound {
            overlay: overlay.then_some(()).ok_or_else(|| "no module".to_owned()),
            overlays,
        };
        for (wanted, overlay, overlays, verdict, told) in [
            (None, true, 3, Fine, "overlay2"),
            (Some(Overlay2), true, 0, Fine, "overlay2"),
            (Some(Vfs), true, 3, Fine, "vfs, as it is set"),
            (Some(Vfs), false, 0, Fine, "vfs, as it is set"),
            (Some(Vfs), false, 3, Warn, "3 containers"),
            (Some(Overlay2), false, 0, Fail, "no module"),
            (None, false, 3, Fail, "3 containers"),
            (None, false, 0, Warn, "no module"),
        ] {
            let finding = storage_driver(wanted, found(overlay, overlays));
            assert_eq!(finding.verdict, verdict, "{finding}");
            assert!(finding.found.contains(told), "{finding}");
            let advises = !finding.means.is_empty() && !finding.to_do.is_empty();
            assert!(verdict == Fine || advises, "{finding}");
        }
    }
}
