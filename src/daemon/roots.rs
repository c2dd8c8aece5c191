//! The two directories the daemon lives in: made, locked, and the small tmpfs that keeps exit
//! codes safe from a full disk.
//!
//! conmon writes a container's exit code into `<run root>/exits`. Where that shares a disk with
//! images and logs, a full disk loses exit codes (conmon dies at the write), so it gets a file
//! system of its own. Only the boot id decides whether the host rebooted, never what is found
//! here.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use sys::mount::MountOptions;
use sys::own::{Lock, LockError};

use super::settings::Settings;

/// Size of the tmpfs on the exit directory: files of a few bytes, a page each.
const EXITS_BYTES: u64 = 64 << 20;
const EXITS_MODE: u32 = 0o750;

/// The roots, ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Roots {
    _locks: [Lock; 2],
}

/// Makes the roots and takes their locks.
///
/// # Errors
/// When a directory cannot be made, or another daemon lives in one of the roots.
pub(crate) fn claim(settings: &Settings) -> Result<Roots> {
    // 0710 as Docker's: what is inside may belong to users of containers, the names are nobody's
    // business. Others must pass through the run root to reach the socket.
    make_dir(&settings.data_root, 0o710)?;
    make_dir(&settings.run_root, 0o711)?;
    let locks = [
        lock(&settings.data_root, "--data-root")?,
        lock(&settings.run_root, "--run-root")?,
    ];
    Ok(Roots { _locks: locks })
}

/// Makes the exit directory, and mounts a tmpfs on it where a full disk could lose an exit code.
/// The mount outlives the daemon; a later one finds it.
///
/// # Errors
/// When the directory cannot be made or looked at.
pub(crate) fn protect_exits(settings: &Settings) -> Result<()> {
    let exits = engine::exit_dir(&settings.run_root);
    make_dir(&exits, EXITS_MODE)?;
    match exits_state(settings).with_context(|| format!("look at {}", exits.display()))? {
        Exits::Safe | Exits::Mounted => {}
        Exits::Unsafe => mount_exits(&exits),
    }
    Ok(())
}

/// Whether a full disk can lose an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exits {
    /// The run root is on a tmpfs that is not the data root's.
    Safe,
    /// A file system of its own is mounted.
    Mounted,
    /// Neither.
    Unsafe,
}

/// How it stands with the exit directory. The run root must exist.
///
/// # Errors
/// When a root cannot be looked at.
pub(crate) fn exits_state(settings: &Settings) -> io::Result<Exits> {
    let exits = engine::exit_dir(&settings.run_root);
    if exits.exists() && sys::mount::is_mount_point(&exits)? {
        return Ok(Exits::Mounted);
    }
    let run = sys::host::file_system(&settings.run_root)?;
    let data = sys::host::file_system(&settings.data_root)?;
    Ok(if run.is_memory && run.device != data.device {
        Exits::Safe
    } else {
        Exits::Unsafe
    })
}

/// Mounts the tmpfs. That it cannot is no reason not to start: the daemon knows exits from more
/// than conmon's file.
fn mount_exits(exits: &Path) {
    // Files from before would be hidden under the mount, and with them exit codes.
    let is_empty = fs::read_dir(exits).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        tracing::warn!(dir = %exits.display(), "exit codes are not safe from a full disk: the directory is in use, no tmpfs is mounted on it");
        return;
    }
    let options = MountOptions {
        no_suid: true,
        no_dev: true,
        no_exec: true,
        ..MountOptions::default()
    };
    match sys::mount::tmpfs(exits, EXITS_BYTES, EXITS_MODE, options) {
        Ok(()) => tracing::info!(dir = %exits.display(), "mounted a tmpfs for exit codes"),
        Err(e) => {
            tracing::warn!(dir = %exits.display(), error = %e, "exit codes are not safe from a full disk: cannot mount a tmpfs");
        }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    let parents = path.parent().map_or(Ok(()), fs::create_dir_all);
    let made = parents.and_then(|()| fs::DirBuilder::new().mode(mode).create(path));
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.with_context(|| format!("cannot make the directory {}", path.display())),
    }
}

fn lock(root: &Path, option: &str) -> Result<Lock> {
    Lock::take(&root.join("lock")).map_err(|e| match e {
        LockError::Held { .. } => anyhow::Error::new(e).context(format!(
            "another daemon lives in {}: stop it, or give this one another {option}",
            root.display()
        )),
        e @ LockError::Io { .. } => e.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path) -> Settings {
        Settings {
            data_root: dir.join("data"),
            run_root: dir.join("run"),
            ..Settings::default()
        }
    }

    fn prepare(settings: &Settings) {
        let _roots = claim(settings).unwrap();
        protect_exits(settings).unwrap();
    }

    #[test]
    fn one_daemon_lives_in_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let roots = claim(&settings).unwrap();
        let moved = |data: &str, run: &str| Settings {
            data_root: dir.path().join(data),
            run_root: dir.path().join(run),
            ..Settings::default()
        };
        for (other, option) in [
            (moved("data", "run2"), "--data-root"),
            (moved("data2", "run"), "--run-root"),
        ] {
            let said = format!("{:#}", claim(&other).unwrap_err());
            let holder = format!("process {}", std::process::id());
            assert!(said.contains(&holder) && said.contains(option), "{said}");
        }
        drop(roots);
        claim(&settings).unwrap();
    }

    #[test]
    fn the_exit_directory_of_a_shared_disk_gets_a_tmpfs_once() {
        if !sys::own::is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let exits = engine::exit_dir(&settings.run_root);
        prepare(&settings);
        assert_eq!(exits_state(&settings).unwrap(), Exits::Mounted);
        fs::write(exits.join("id"), "7").unwrap();
        prepare(&settings);
        assert_eq!(
            fs::read_to_string(exits.join("id")).unwrap(),
            "7",
            "kept over a restart"
        );
        assert!(sys::mount::unmount(&exits, false).unwrap());
        assert!(
            !sys::mount::is_mount_point(&exits).unwrap(),
            "mounted only once"
        );
    }

    #[test]
    fn exit_codes_that_are_there_are_never_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let exits = engine::exit_dir(&settings.run_root);
        fs::create_dir_all(&exits).unwrap();
        fs::write(exits.join("id"), "7").unwrap();
        prepare(&settings);
        assert_eq!(fs::read_to_string(exits.join("id")).unwrap(), "7");
        assert!(!sys::mount::is_mount_point(&exits).unwrap());
    }
}
