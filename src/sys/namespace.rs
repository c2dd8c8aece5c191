//! Namespaces of processes, held open: they are found again whatever becomes of the process and its
//! number.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use model::ProcessRef;

use crate::proc;

/// Which of a process's namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own words, namespaces(7)")]
pub enum Kind {
    Pid,
    Ipc,
    User,
    Net,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::User => "user",
            Self::Net => "net",
        }
    }
}

/// A namespace, which lives at least as long as this.
#[derive(Debug)]
pub struct Held(OwnedFd);

impl Held {
    /// A path that leads to it for every process of the daemon's pid namespace, as long as this lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

/// Takes hold of a process's namespace; `None` when the process is gone.
///
/// # Errors
/// What /proc says.
pub fn hold(process: ProcessRef, kind: Kind) -> io::Result<Option<Held>> {
    let opened = File::open(format!("/proc/{}/ns/{}", process.pid.get(), kind.file()));
    // It had its number before this was opened, and nobody else can have it while it lives.
    let now = proc::stat(process.pid)?;
    if now.is_none_or(|now| now.start_ticks != process.start_ticks) {
        return Ok(None);
    }
    match opened {
        // Ended, and not collected yet.
        Err(e) if proc::is_gone(&e) => Ok(None),
        opened => Ok(Some(Held(opened?.into()))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_link;

    use model::Pid;

    use super::*;

    #[test]
    fn a_namespace_is_held_and_a_strangers_is_not() {
        let pid = Pid::new(std::process::id().into()).unwrap();
        let own = proc::process_ref(pid).unwrap().unwrap();
        for (kind, file) in [
            (Kind::Pid, "pid"),
            (Kind::Ipc, "ipc"),
            (Kind::User, "user"),
            (Kind::Net, "net"),
        ] {
            let held = hold(own, kind).unwrap().unwrap();
            let is = read_link(format!("/proc/self/ns/{file}")).unwrap();
            assert_eq!(read_link(held.path()).unwrap(), is);
        }
        let stranger = ProcessRef {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(hold(stranger, Kind::Pid).unwrap().is_none());
    }
}
