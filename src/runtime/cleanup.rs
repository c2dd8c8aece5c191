//! Leaving nothing behind: what an attempt or an ended container has on the host.

use std::path::Path;
use std::time::Duration;

use model::{ContainerId, Error, Kind, Pid, ProcessRef, Result, Signal};
use sys::pidfd::PidFd;

use crate::failure::BundleFacts;
use crate::layout::{BUNDLE_FILES, remove_dir, remove_file};
use crate::placement::directory_of;
use crate::{RuntimeName, Runtimes};

/// How long a killed conmon may take to be gone.
pub(crate) const KILLED_CONMON_GRACE: Duration = Duration::from_secs(5);

impl Runtimes {
    /// Undoes whatever a creation has left, finished or not: conmon and its runtime are killed,
    /// the runtime forgets the container, the files go. For a creation the daemon did not live
    /// to see the end of; one that returned an error has done this itself.
    pub async fn discard(&self, id: &ContainerId, runtime: &RuntimeName, bundle: &Path) {
        self.clear_attempt(id, runtime, bundle, Duration::ZERO)
            .await;
    }

    /// Whether a container has files of a run here: one that has ended and has some was not
    /// cleaned up to the end. Blocks for one stat.
    pub fn has_run_files(&self, id: &ContainerId) -> bool {
        self.inner.layout.attempt(id).dir.exists()
    }

    /// The conmon of a container by its pid file, for a start whose end the daemon did not see.
    pub fn find_monitor(&self, id: &ContainerId) -> Option<ProcessRef> {
        self.find_conmon(id).map(|conmon| conmon.process())
    }

    /// Removes the files of a container that has ended: exit file, persist dir, pid files, the
    /// runtime's log, and in the bundle attach, ctl, winsz and oom. What is missing is fine; what
    /// cannot be removed is logged.
    pub async fn forget(&self, id: &ContainerId, bundle: &Path) {
        let (this, id, bundle) = (self.clone(), id.clone(), bundle.to_owned());
        // A busy disk takes milliseconds where the run root is not on tmpfs.
        let removal = tokio::task::spawn_blocking(move || this.remove_files(&id, &bundle));
        if let Err(e) = removal.await {
            tracing::error!(error = %e, "a container's files were not removed");
        }
    }

    fn remove_files(&self, id: &ContainerId, bundle: &Path) {
        let layout = &self.inner.layout;
        let in_bundle = BUNDLE_FILES.map(|name| bundle.join(name));
        let socket = layout.sockets().join(id.as_str());
        for path in in_bundle.iter().chain([&layout.exit_file(id), &socket]) {
            if let Err(e) = remove_file(path) {
                tracing::warn!(path = %path.display(), error = %e, "cannot be removed");
            }
        }
        for dir in [layout.persist(id), layout.attempt(id).dir] {
            if let Err(e) = remove_dir(&dir) {
                tracing::warn!(path = %dir.display(), error = %e, "cannot be removed");
            }
        }
    }

    /// As [`Runtimes::discard`]; conmon has `grace` to end by itself.
    pub(crate) async fn clear_attempt(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        bundle: &Path,
        grace: Duration,
    ) {
        if let Some(conmon) = self.find_conmon(id) {
            let ended = tokio::time::timeout(grace, conmon.exited()).await;
            if ended.is_err() && conmon.signal_group(Signal::KILL).is_ok() {
                let gone = tokio::time::timeout(KILLED_CONMON_GRACE, conmon.exited()).await;
                if gone.is_err() {
                    tracing::error!(container = %id, "a killed conmon does not end");
                }
            }
        }
        if let Err(e) = self.delete(id, runtime, true).await {
            tracing::warn!(container = %id, "what a failed creation left is still there: {e}");
        }
        self.clear_cgroup(bundle).await;
        self.forget(id, bundle).await;
    }

    /// Takes away the cgroup of a container that has ended, with what lives in it, where the runtime
    /// knows nothing of the container any more, as when somebody has removed its state.
    pub async fn clear_lost(&self, id: &ContainerId, runtime: &RuntimeName, bundle: &Path) {
        if !self.is_known(id, runtime) {
            self.clear_cgroup(bundle).await;
        }
    }

    /// Kills what is in the cgroup of `bundle` and removes it: a runtime that was killed before
    /// it had written its state has forgotten the cgroup that it had made.
    pub(crate) async fn clear_cgroup(&self, bundle: &Path) {
        let (this, config) = (self.clone(), bundle.join("config.json"));
        let clear = tokio::task::spawn_blocking(move || {
            let config = std::fs::read(config).unwrap_or_default();
            match BundleFacts::parse(&config).cgroups_path {
                Some(path) => {
                    let dir = directory_of(&path).map_err(std::io::Error::other)?;
                    this.inner.placement.hierarchies.kill_and_remove(&dir)
                }
                None => Ok(()),
            }
        });
        let bundle = bundle.display();
        match clear.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(%bundle, error = %e, "its cgroup is left"),
            Err(e) => tracing::error!(%bundle, error = %e, "its cgroup is left"),
        }
    }

    /// The conmon of an attempt by its pid file.
    pub(crate) fn find_conmon(&self, id: &ContainerId) -> Option<PidFd> {
        conmon_by(&self.inner.layout.attempt(id).conmon_pidfile, id.as_str())
    }
}

/// The process of a pid file, when that pid is still a conmon of `id`: its command line names it.
pub(crate) fn conmon_by(pid_file: &Path, id: &str) -> Option<PidFd> {
    let pid = read_pid_file(pid_file).ok()?;
    let found = PidFd::open(pid).ok()??;
    let command_line = std::fs::read(format!("/proc/{}/cmdline", pid.get())).ok()?;
    let names_it = command_line
        .split(|b| *b == 0)
        .any(|arg| arg == id.as_bytes());
    // The command line was read after the open: alive still, it is this process' own.
    (names_it && !found.has_exited().unwrap_or(true)).then_some(found)
}

/// A pid file as GLib writes it: a decimal and nothing else.
pub(crate) fn read_pid_file(path: &Path) -> Result<Pid> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::new(Kind::System, format!("pid file {}: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
    let number: i64 = text
        .parse()
        .map_err(|_| unreadable(&format!("{text:?} is no pid")))?;
    Pid::new(number).ok_or_else(|| unreadable(&format!("{number} is no pid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files_are_strict() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(
            read_pid_file(&path)
                .unwrap_err()
                .message()
                .contains("No such file")
        );
        std::fs::write(&path, "42").unwrap();
        assert_eq!(read_pid_file(&path).unwrap(), Pid::new(42).unwrap());
        for bad in ["", "42\n", " 42", "0", "-1", "99999999", "x"] {
            std::fs::write(&path, bad).unwrap();
            let e = read_pid_file(&path).unwrap_err();
            assert!(e.message().contains("is no pid"), "{bad:?}: {e}");
        }
    }
}
