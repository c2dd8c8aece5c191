//! Where the process side keeps its files, all below the run root.
//!
//! ```text
//! <run>/exits/<id>               conmon's exit file: the code, whole or absent (rename)
//! <run>/exits/persist/<id>/      conmon's persist dir: exit, oom
//! <run>/containers/<id>/         one attempt: pidfile, conmon.pid, oci-log
//! <run>/execs/<exec>/            one exec session: conmon's bundle, process.json until it is read,
//!                                pidfile, conmon.pid, oci-log
//! <run>/exits/execs/<exec>/<id>  its exit file
//! <run>/oci/<runtime>/           private root of one OCI runtime; <id>/ is a container it knows
//! <run>/socket/                  attach symlinks, only for a conmon without --full-attach
//! <run>/probe/, <run>/default-runtime.json
//! ```
//!
//! The persist dirs lie below `exits` because conmon writes there first: when that file system
//! is full it dies without an exit file, so both must be on the one that others cannot fill.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{ContainerId, Context, ExecId, Result};

/// The directory of the exit files below a run root: what the daemon gives a small file system
/// of its own where the run root has none, and before [`crate::Runtimes::open`], which starts to
/// watch it.
pub fn exit_dir(run_root: &Path) -> PathBuf {
    run_root.join("exits")
}

/// All paths of one run root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    run_root: PathBuf,
}

/// The files of one attempt to create a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptFiles {
    pub(crate) dir: PathBuf,
    /// Pid of the container's first process, written by the runtime.
    pub(crate) pidfile: PathBuf,
    /// Pid of the detached conmon.
    pub(crate) conmon_pidfile: PathBuf,
    /// The runtime's own log. It appends, so every attempt needs a fresh one.
    pub(crate) oci_log: PathBuf,
}

impl Layout {
    pub(crate) fn new(run_root: &Path) -> Self {
        Self {
            run_root: run_root.to_owned(),
        }
    }

    /// Makes the shared directories, 0750: conmon and the runtimes reach them as root.
    ///
    /// # Errors
    /// System, naming the directory; also when a file is in its place.
    pub(crate) fn create(&self, runtimes: impl Iterator<Item = impl AsRef<str>>) -> Result<()> {
        let own = [
            self.exits(),
            self.exits().join("persist"),
            self.exits().join("execs"),
            self.attempts(),
            self.run_root.join("execs"),
            self.sockets(),
        ];
        let roots = runtimes.map(|name| self.oci_root(name.as_ref()));
        for dir in own.into_iter().chain(roots) {
            make_dir(&dir)
                .and_then(|()| std::fs::metadata(&dir))
                .and_then(|found| {
                    if found.is_dir() {
                        Ok(())
                    } else {
                        Err(io::Error::from(io::ErrorKind::NotADirectory))
                    }
                })
                .context(format_args!("cannot make directory {}", dir.display()))?;
        }
        Ok(())
    }

    pub(crate) fn exits(&self) -> PathBuf {
        exit_dir(&self.run_root)
    }

    pub(crate) fn exit_file(&self, id: &ContainerId) -> PathBuf {
        self.exits().join(id.as_str())
    }

    pub(crate) fn persist(&self, id: &ContainerId) -> PathBuf {
        self.exits().join("persist").join(id.as_str())
    }

    /// All attempts' directories, by their containers' ids.
    pub(crate) fn attempts(&self) -> PathBuf {
        self.run_root.join("containers")
    }

    pub(crate) fn attempt(&self, id: &ContainerId) -> AttemptFiles {
        AttemptFiles::in_dir(self.attempts().join(id.as_str()))
    }

    /// The directory of an exec session is conmon's bundle, too.
    pub(crate) fn exec(&self, id: &ExecId) -> AttemptFiles {
        AttemptFiles::in_dir(self.run_root.join("execs").join(id.as_str()))
    }

    /// All exec sessions' directories.
    pub(crate) fn execs(&self) -> PathBuf {
        self.run_root.join("execs")
    }

    /// Where conmon writes the exit file of an exec session, by the container's id.
    pub(crate) fn exec_exit_dir(&self, id: &ExecId) -> PathBuf {
        self.exits().join("execs").join(id.as_str())
    }
}

impl AttemptFiles {
    pub(crate) fn in_dir(dir: PathBuf) -> Self {
        Self {
            pidfile: dir.join("pidfile"),
            conmon_pidfile: dir.join("conmon.pid"),
            oci_log: dir.join("oci-log"),
            dir,
        }
    }
}

impl Layout {
    /// All private roots.
    pub(crate) fn oci_roots(&self) -> PathBuf {
        self.run_root.join("oci")
    }

    pub(crate) fn oci_root(&self, runtime: &str) -> PathBuf {
        self.run_root.join("oci").join(runtime)
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.run_root.join("socket")
    }

    pub(crate) fn probe_dir(&self) -> PathBuf {
        self.run_root.join("probe")
    }

    pub(crate) fn probe_cache(&self) -> PathBuf {
        self.run_root.join("default-runtime.json")
    }
}

/// What conmon makes in the bundle and may leave there.
pub(crate) const BUNDLE_FILES: [&str; 5] = ["attach", "ctl", "winsz", "oom", "restore.log"];

/// Makes `dir` and its parents, 0750.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
}

/// Removes a file that may be missing.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How often, and how long apart, it is tried to remove a directory in which something is made
/// meanwhile.
const REMOVALS_MAX: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// Removes a directory and what is in it; it may be missing. A conmon that is about to end may make
/// one more file in it: then it is tried again, for up to five seconds (as in libpod). Blocks.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    for _ in 1..REMOVALS_MAX {
        match std::fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            other => return other,
        }
    }
    std::fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_are_made_0750_and_may_exist_already() {
        let run = tempfile::tempdir().unwrap();
        let layout = Layout::new(run.path());
        for _ in 0..2 {
            layout.create(["runc", "crun"].iter()).unwrap();
        }
        for dir in [
            "exits",
            "exits/persist",
            "containers",
            "oci/runc",
            "oci/crun",
            "socket",
        ] {
            let found = std::fs::metadata(run.path().join(dir)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o750, "{dir}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_an_error_that_names_it() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("exits"), "").unwrap();
        let e = Layout::new(run.path()).create(["runc"].iter()).unwrap_err();
        assert!(e.message().starts_with("cannot make directory /"), "{e}");
        assert!(e.message().contains("/exits: "), "{e}");
    }

    #[test]
    fn the_paths_of_one_container() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let layout = Layout::new(Path::new("/run/m"));
        assert_eq!(
            layout.exit_file(&id),
            PathBuf::from(format!("/run/m/exits/{id}"))
        );
        assert_eq!(
            layout.persist(&id),
            PathBuf::from(format!("/run/m/exits/persist/{id}"))
        );
        let files = layout.attempt(&id);
        assert_eq!(
            files.oci_log,
            PathBuf::from(format!("/run/m/containers/{id}/oci-log"))
        );
        assert_eq!(layout.oci_root("runc"), Path::new("/run/m/oci/runc"));
    }

    #[test]
    fn a_directory_in_which_files_are_made_goes_when_that_is_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("execs");
        std::fs::create_dir(&dir).unwrap();
        let (made, made_in) = std::sync::mpsc::channel();
        let maker = std::thread::spawn({
            let dir = dir.clone();
            move || {
                for n in 0..100_000 {
                    // It ends with the directory.
                    if std::fs::write(dir.join(n.to_string()), "").is_err() {
                        return;
                    }
                    let _ = made.send(());
                }
            }
        });
        made_in.recv().unwrap();
        remove_dir(&dir).unwrap();
        maker.join().unwrap();
        assert!(!dir.exists());
        remove_dir(&dir).unwrap();
    }
}
