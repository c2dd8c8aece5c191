//! conmon: how it is called, what it says on its sync pipe, and a creation from start to end.
//!
//! Written for conmon 2.0.5 to 2.2.x; what differs is asked of `--version` once ([`Features`]).

mod apart;
pub(crate) mod args;
pub(crate) mod exec;
pub(crate) mod launch;
pub(crate) mod pipe;

use std::path::{Path, PathBuf};

use model::{ContainerId, Error, Result};
use sys::apart::OwnMounts;
use sys::spawn::Descriptors;

use crate::{Restore, RuntimeName};

pub(crate) use apart::monitor_label;

/// A container to be created. `bundle` has its config.json already.
#[derive(Debug, Clone)]
pub struct CreateTask {
    /// Its id; must not be in use.
    pub id: ContainerId,
    /// The OCI runtime.
    pub runtime: RuntimeName,
    /// The bundle: config.json, and where conmon makes its attach socket and fifos.
    pub bundle: PathBuf,
    /// conmon's k8s-file log; `None` keeps nothing.
    pub log_path: Option<PathBuf>,
    /// Into the journal of systemd in place of a file.
    pub journal: Option<Journal>,
    /// A terminal. config.json's `process.terminal` must say the same.
    pub tty: bool,
    /// What becomes of stdin.
    pub stdin: Stdin,
    /// Its processes come out of a checkpoint, and run at once.
    pub restore: Option<Restore>,
    /// It speaks sd_notify: there is to be a socket in the bundle's directory `notify`.
    pub notifies: bool,
    /// It has no cgroup of its own, and its conmon stays in the daemon's; for runtimes that
    /// [`Runtimes::can_do_without_cgroups`](crate::Runtimes::can_do_without_cgroups) names.
    pub no_cgroups: bool,
    /// Whose the pipes of its output are to be, as the host counts: `None` is root. What is not its
    /// process's own, that cannot open as /dev/stdout.
    pub output_owner: Option<(u32, u32)>,
    /// What its first process has open besides its streams, from 3 up.
    pub descriptors: Descriptors,
    /// Sockets that its conmon is to keep open, and nobody is to see: conmon closes them after the
    /// container's end, before its exit file is there. A host port stays taken so without the daemon,
    /// and a listening socket stays alive.
    pub held: Descriptors,
    /// What it and its conmon have mounted that the daemon has not; `None` where they live among the
    /// daemon's own mounts.
    pub mounts: Option<OwnMounts>,
}

/// How a container's entries in the journal are named, besides its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The container's name, which is `SYSLOG_IDENTIFIER`, too.
    pub name: String,
    /// `CONTAINER_TAG`.
    pub tag: String,
}

/// Where the journal of systemd listens (sd_journal_print(3)).
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

impl Journal {
    /// Whether it is there. conmon would begin without it, and lose what it is given.
    pub(crate) fn check(&self) -> Result<()> {
        match Path::new(JOURNAL_SOCKET).exists() {
            true => Ok(()),
            false => Err(Error::system(format!(
                "failed to initialize logging driver: journald is not enabled on this host: \
                 {JOURNAL_SOCKET} is not there"
            ))),
        }
    }
}

/// The standard input of a container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdin {
    /// /dev/null; with a terminal, the terminal all the same.
    #[default]
    Closed,
    /// Open whoever comes and goes (Docker's OpenStdin). It cannot be closed from outside.
    Open,
    /// Open until the first attach client half-closes or leaves (OpenStdin with StdinOnce).
    /// The engine therefore keeps one attach connection for all its clients.
    Once,
}

/// What the conmon at hand can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features {
    /// `--full-attach`, 2.0.23.
    pub(crate) full_attach: bool,
    /// `--no-sync-log`, 2.0.20.
    pub(crate) no_sync_log: bool,
    /// Refuses sizes above 1000, 2.2.0.
    pub(crate) resize_limit: bool,
}

impl Features {
    /// From the first line of `conmon --version`. An unreadable version is taken for a current
    /// one: every distribution's conmon is.
    pub(crate) fn of_version(text: &str) -> Self {
        let version = parse_version(text).unwrap_or((2, 2, 0));
        Self {
            full_attach: version >= (2, 0, 23),
            no_sync_log: version >= (2, 0, 20),
            resize_limit: version >= (2, 2, 0),
        }
    }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let rest = text.trim().strip_prefix("conmon version ")?;
    let number = rest
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?;
    let mut parts = number.split('.').map(str::parse::<u32>);
    let mut next = || parts.next().and_then(Result::ok);
    Some((next()?, next()?, next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_features() {
        let old = Features::of_version("conmon version 2.0.19\ncommit: x\n");
        assert!(!old.full_attach && !old.no_sync_log && !old.resize_limit);
        let bookworm = Features::of_version("conmon version 2.1.6\ncommit: unknown");
        assert!(bookworm.full_attach && bookworm.no_sync_log && !bookworm.resize_limit);
        let new = Features::of_version("conmon version 2.2.0-dev\n");
        assert!(new.full_attach && new.resize_limit);
        assert_eq!(Features::of_version("rubbish"), new);
    }
}
