//! This process itself: its limits, its capabilities, its umask, and the lock that says that a
//! directory is its own.
//!
//! For start-up and for what a container may inherit; nothing here changes while serving.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode};
use rustix::process::{Resource, Rlimit};

/// New files are ours to write and anyone's to read, whoever started us.
pub fn set_umask() {
    rustix::process::umask(Mode::from_bits_truncate(0o022));
}

/// A resource limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far the soft limit may be raised.
    pub hard: Option<u64>,
}

impl From<Rlimit> for Limit {
    fn from(limit: Rlimit) -> Self {
        Self {
            soft: limit.current,
            hard: limit.maximum,
        }
    }
}

const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// This process's limit called `name` (Docker's spelling: `nofile`, `nproc`); `None` for a name
/// the kernel does not have.
pub fn limit(name: &str) -> Option<Limit> {
    let (_, resource) = RESOURCES.iter().find(|(n, _)| *n == name)?;
    Some(rustix::process::getrlimit(*resource).into())
}

static OPEN_FILES_AT_START: OnceLock<Limit> = OnceLock::new();

/// The limit of open files this process was started with: what containers should get, whatever
/// [`raise_open_files`] did for ourselves.
pub fn open_files_at_start() -> Limit {
    *OPEN_FILES_AT_START.get_or_init(|| rustix::process::getrlimit(Resource::Nofile).into())
}

/// Raises our own soft limit of open files to the hard one: a connection takes two, an attached
/// container some more. Children inherit it; see [`open_files_at_start`]. Returns what holds now.
pub fn raise_open_files() -> Limit {
    let started_with = open_files_at_start();
    let raised = Rlimit {
        current: started_with.hard,
        maximum: started_with.hard,
    };
    if let Err(e) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %e, "cannot raise the limit of open files");
    }
    rustix::process::getrlimit(Resource::Nofile).into()
}

/// Whether this process is root, in its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A held lock; dropping it, or dying, releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it; its pid, when the file tells.
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who holds it.
        pid: Option<u32>,
    },
    /// The file cannot be opened or locked.
    Io {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid } => {
                write!(f, "{} is held by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}"),
                    None => f.write_str("another process"),
                }
            }
            Self::Io { path, .. } => write!(f, "cannot lock {}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// How long the lock of a dead process is waited for.
const DEAD_HOLDER_PATIENCE: Duration = Duration::from_secs(2);
/// How long one is waited for that is still there: it may have been killed a moment ago.
const DYING_HOLDER_PATIENCE: Duration = Duration::from_millis(500);

/// Whether a process runs; a zombie does not.
fn is_alive(pid: u32) -> bool {
    let stat = model::Pid::new(i64::from(pid)).map(crate::proc::stat);
    !matches!(stat, Some(Ok(None))) && !matches!(stat, Some(Ok(Some(s))) if s.is_zombie())
}

impl Lock {
    /// Takes the lock at `path` for this process and writes its pid into the file. A living
    /// holder is waited for a moment, [`DYING_HOLDER_PATIENCE`]. A dead one may still hold it, by
    /// a child that was killed or has not come to its exec: at most [`DEAD_HOLDER_PATIENCE`] is
    /// waited for that.
    /// The file is made if it is missing and never removed: removing it would let two processes
    /// lock two files of one name.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source: io::Error| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(io)?;
        let begun = Instant::now();
        let give_up = begun + DEAD_HOLDER_PATIENCE;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let text = fs::read_to_string(path).ok();
                    let pid: Option<u32> = text.and_then(|p| p.trim().parse().ok());
                    if Instant::now() > give_up
                        || (pid.is_none_or(is_alive)
                            && Instant::now() > begun + DYING_HOLDER_PATIENCE)
                    {
                        let path = path.to_owned();
                        return Err(LockError::Held { path, pid });
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(e) => return Err(io(e.into())),
            }
        }
        file.set_len(0).map_err(io)?;
        fs::write(path, format!("{}\n", std::process::id())).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        let e = Lock::take(&path).unwrap_err();
        let said = e.to_string();
        assert!(
            said.ends_with(&format!("held by process {}", std::process::id())),
            "{said}"
        );
        drop(held);
        Lock::take(&path).unwrap();
    }

    /// A child between its fork and its exec has all descriptors of a parent that was killed.
    #[test]
    fn the_lock_of_a_dead_process_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        let mut dead = std::process::Command::new("/bin/true").spawn().unwrap();
        dead.wait().unwrap();
        fs::write(&path, format!("{}\n", dead.id())).unwrap();
        let child = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(held);
        });
        Lock::take(&path).unwrap();
        child.join().unwrap();
    }

    #[test]
    fn a_lock_in_a_missing_directory_is_an_io_error() {
        let e = Lock::take(Path::new("/does/not/exist/lock")).unwrap_err();
        assert!(matches!(e, LockError::Io { .. }), "{e}");
    }

    #[test]
    fn limits_are_found_by_dockers_names() {
        let files = limit("nofile").unwrap();
        assert!(files.soft.unwrap_or(u64::MAX) <= files.hard.unwrap_or(u64::MAX));
        assert_eq!(limit("NOFILE"), None);
        for (name, _) in RESOURCES {
            assert!(limit(name).is_some(), "{name}");
        }
    }
}
