//! Calls of a runtime that a dead daemon left behind.
//!
//! A daemon that is killed leaves its calls (`start`, `delete`, ...) to end by themselves, and
//! they do; one that hangs stays for ever, and may act on its container at a bad moment. They are
//! told from everything else by their arguments: only the daemon's own calls name its private
//! root as two words, `--root DIR`; conmon passes `--root=DIR`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use model::{ContainerId, Pid, Signal};
use sys::pidfd::PidFd;

use crate::Runtimes;
use crate::checkpoint::CHECKPOINT_TIMEOUT;

impl Runtimes {
    /// Kills the calls that a daemon before this one left on our private roots; this daemon's own
    /// are its children and left alone. A dump is left alone, too: half-way through it the container
    /// cannot be had back ([`Runtimes::dump_ended`]). Blocking: one look through /proc.
    pub fn end_stray_calls(&self) {
        let roots = self.inner.layout.oci_roots();
        let probes = self.inner.layout.probe_dir();
        for pid in all_pids() {
            let stray = || {
                let line = command_line(pid);
                is_call_on(&line, &roots, &probes) && !is_dump(&line) && !is_child(pid)
            };
            if !stray() {
                continue;
            }
            // Read again after the open: still so, it is this process' own command line.
            let killed = match PidFd::open(pid) {
                Ok(Some(process)) if stray() => process.signal(Signal::KILL),
                _ => continue,
            };
            match killed {
                Ok(()) => {
                    tracing::warn!(pid = pid.get(), "killed a runtime's call of a dead daemon")
                }
                Err(e) => {
                    tracing::warn!(pid = pid.get(), error = %e, "a stray call was not killed")
                }
            }
        }
    }
}

impl Runtimes {
    /// Resolves when no dump of this container is under way that another daemon began; one that
    /// takes longer than a dump may is killed.
    pub async fn dump_ended(&self, id: &ContainerId) {
        let roots = self.inner.layout.oci_roots();
        for pid in all_pids() {
            let of_it = || {
                let line = command_line(pid);
                let names_it = line
                    .split(|b| *b == 0)
                    .any(|arg| arg == id.as_str().as_bytes());
                is_dump(&line) && names_it && is_call_on(&line, &roots, &roots) && !is_child(pid)
            };
            if !of_it() {
                continue;
            }
            let Ok(Some(process)) = PidFd::open(pid) else {
                continue;
            };
            if !of_it() {
                continue;
            }
            let ended = tokio::time::timeout(CHECKPOINT_TIMEOUT, process.exited()).await;
            if ended.is_err() {
                tracing::warn!(container = %id, "a dump of a dead daemon hangs and is killed");
                let _ = process.signal(Signal::KILL);
            }
        }
    }
}

/// Whether a command line is a runtime's `checkpoint`.
fn is_dump(command_line: &[u8]) -> bool {
    command_line
        .split(|b| *b == 0)
        .any(|arg| arg == b"checkpoint")
}

fn all_pids() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::new(entry.file_name().to_str()?.parse().ok()?))
}

/// Whether this daemon started it; what is gone is nobody's.
fn is_child(pid: Pid) -> bool {
    let stat = sys::proc::stat(pid).ok().flatten();
    stat.is_none_or(|stat| stat.parent == std::process::id())
}

/// A process' arguments, each ended by a NUL; empty when it is gone or a kernel thread.
fn command_line(pid: Pid) -> Vec<u8> {
    std::fs::read(format!("/proc/{}/cmdline", pid.get())).unwrap_or_default()
}

/// Whether a command line is `RUNTIME --root DIR ...` (or that of a script's interpreter in
/// front of it) with DIR one of `roots`, or a probe's.
fn is_call_on(command_line: &[u8], roots: &Path, probes: &Path) -> bool {
    let args: Vec<&[u8]> = command_line.split(|b| *b == 0).take(4).collect();
    args.windows(2).any(|pair| {
        let root = Path::new(std::ffi::OsStr::from_bytes(pair[1]));
        pair[0] == b"--root" && (root.parent() == Some(roots) || root.starts_with(probes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_on_our_own_roots_are_ours() {
        let ours = |line: &str| {
            let (roots, probes) = (Path::new("/run/m/oci"), Path::new("/run/m/probe"));
            is_call_on(line.as_bytes(), roots, probes)
        };
        assert!(ours("/usr/bin/runc\0--root\0/run/m/oci/runc\0start\0id\0"));
        assert!(ours("/bin/sh\0/opt/runc\0--root\0/run/m/oci/runc\0start\0"));
        assert!(ours(
            "/usr/bin/crun\0--root\0/run/m/probe/crun/state\0run\0"
        ));
        assert!(!ours(
            "/usr/bin/runc\0--root\0/run/other/oci/runc\0start\0id\0"
        ));
        assert!(
            !ours("/usr/bin/runc\0--root=/run/m/oci/runc\0create\0id\0"),
            "conmon's"
        );
        assert!(!ours("vi\0notes\0--later\0--root\0/run/m/oci/runc\0"));
        assert!(!ours(""));
    }
}
