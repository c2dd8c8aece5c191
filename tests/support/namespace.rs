//! Network and mount namespaces of a daemon under test, kept over its restarts.
//!
//! A daemon of its own namespaces cannot meet another test's mounts or interfaces, and whatever a
//! failed test leaves mounted goes when the last process inside does. The namespaces are pinned by
//! a keeper process that ends with the test, however that ends: its stdin is our pipe.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::require;

/// The pinned namespaces.
#[derive(Debug)]
pub struct Namespace {
    keeper: Child,
}

impl Namespace {
    /// Makes them. `hide_unified` unmounts /sys/fs/cgroup/unified inside: crun refuses a hybrid
    /// host where it finds that.
    ///
    /// # Panics
    /// When we are not root, or a program is not installed.
    pub fn new(hide_unified: bool) -> Self {
        let hide = if hide_unified {
            "if grep -q ' /sys/fs/cgroup/unified ' /proc/self/mountinfo; then \
               umount /sys/fs/cgroup/unified || exit 1; fi;"
        } else {
            ""
        };
        let script = format!("{hide} ip link set lo up 2>/dev/null; echo ready; exec cat");
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .args(["sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) of package util-linux runs");
        let out = keeper.stdout.take().expect("it is a pipe");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the keeper's pipe is readable");
        assert_eq!(
            line, "ready\n",
            "the tests make namespaces and need root (CAP_SYS_ADMIN)"
        );
        Self { keeper }
    }

    /// A process inside.
    pub(crate) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// A command that runs `program` inside, as the same process, and dies with the thread that
    /// spawned it: a test run that is killed leaves no daemon.
    ///
    /// # Panics
    /// When util-linux is not installed.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(require("nsenter", "util-linux"));
        for kind in ["net", "mount"] {
            let file = if kind == "mount" { "mnt" } else { kind };
            command.arg(format!("--{kind}=/proc/{}/ns/{file}", self.pid()));
        }
        command.arg("--").arg(require("setpriv", "util-linux"));
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Closing its stdin ends it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census;

    #[test]
    fn the_census_sees_what_is_inside_and_nothing_else() {
        let namespace = Namespace::new(false);
        let dir = tempfile::tempdir().unwrap();
        let keeper = namespace.pid();
        let inside = || census::processes("moored-no-such-mark", Some(keeper), &[keeper]);
        assert_eq!(inside(), []);
        let mut child = namespace.command("sleep").arg("1000").spawn().unwrap();
        crate::until("the child is inside", || inside().len() == 1);
        assert_eq!(inside()[0].pid, child.id());
        let mark = dir.path().display().to_string();
        assert!(census::mounts(&mark, Some(keeper)).is_empty());
        let mounted = namespace
            .command("mount")
            .args(["-t", "tmpfs", "tmpfs", &mark])
            .status()
            .unwrap();
        assert!(mounted.success());
        let found = census::mounts(&mark, Some(keeper));
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [format!("{mark} (tmpfs)")]
        );
        assert!(census::mounts(&mark, None).is_empty(), "it is not ours");
        child.kill().unwrap();
        child.wait().unwrap();
        crate::until("nothing is left", || inside().is_empty());
    }
}
