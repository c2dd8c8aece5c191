//! The kernel, its limits and its cgroups.

use sys::features::{Cgroups, Kernel};

use super::{Finding, Verdict};

/// Open files below which a busy daemon runs out.
const OPEN_FILES_MIN: u64 = 16_384;

pub(super) fn root() -> Finding {
    if sys::own::is_root() {
        Finding::ok("user", "root", "")
    } else {
        Finding::bad(
            Verdict::Fail,
            "user",
            "not root",
            "mounts, namespaces and cgroups of containers need root; rootless is not built yet",
            "run moored as root",
        )
    }
}

pub(super) fn kernel(kernel: Kernel, is_root: bool) -> Vec<Finding> {
    let release = sys::host::uname();
    let mut found = vec![Finding::ok(
        "kernel",
        format!("{} {}", release.release, release.machine),
        "",
    )];
    found.push(if kernel.pidfd_exit_info {
        Finding::ok(
            "pidfd exit info",
            "yes",
            "exit codes stay exact even when a container's conmon is killed",
        )
    } else {
        Finding::bad(
            Verdict::Warn,
            "pidfd exit info",
            "no",
            "the exit code of a container whose conmon is killed is reported as 255, with the reason",
            "Linux 6.15 or later has it",
        )
    });
    found.push(if kernel.openat2 {
        Finding::ok("openat2", "yes", "")
    } else {
        Finding::bad(
            Verdict::Warn,
            "openat2",
            "no",
            "paths inside containers are resolved step by step, which is slower",
            "Linux 5.6 or later has it; a seccomp filter around the daemon may forbid it",
        )
    });
    found.push(overlay(kernel, is_root));
    found
}

fn overlay(kernel: Kernel, is_root: bool) -> Finding {
    match (kernel.overlay, kernel.overlay_append_layers) {
        (true, true) => Finding::ok("overlay", "yes, layer by layer", ""),
        (true, false) => Finding::bad(
            Verdict::Warn,
            "overlay",
            "yes, without lowerdir+",
            "images of very many layers cannot be mounted",
            "Linux 6.5 or later has it",
        ),
        (false, _) if !is_root => Finding::bad(
            Verdict::Warn,
            "overlay",
            "unknown",
            "only root can find out",
            "run this check as root",
        ),
        (false, _) => Finding::bad(
            Verdict::Warn,
            "overlay",
            "no",
            "see the storage driver",
            "load the module: modprobe overlay",
        ),
    }
}

pub(super) fn cgroups(found: &Cgroups) -> Finding {
    let version = match (found.version, found.hybrid) {
        (0, _) => {
            return Finding::bad(
                Verdict::Fail,
                "cgroups",
                "none mounted",
                "the OCI runtimes need them",
                "mount -t cgroup2 none /sys/fs/cgroup, or boot with an init that does",
            );
        }
        (1, true) => "v1 (hybrid)".to_owned(),
        (n, _) => format!("v{n}"),
    };
    let text = format!("{version}: {}", found.controllers.join(" "));
    let missing_any = !found.memory_limit || !found.cpu_quota || !found.pids_limit;
    if missing_any {
        Finding::bad(
            Verdict::Warn,
            "cgroups",
            text,
            "limits of memory, CPU or processes are refused where the controller is missing",
            "containers are put below the root of each hierarchy: have the kernel offer memory, cpu \
             and pids there (boot without cgroup_disable=; on v1 mount them; in a container with \
             cgroup v2, enable them in cgroup.subtree_control)",
        )
    } else if !found.swap_limit {
        Finding::bad(
            Verdict::Warn,
            "cgroups",
            text,
            "memory can be limited, swap cannot",
            "boot with swapaccount=1 to limit swap",
        )
    } else {
        Finding::ok("cgroups", text, "")
    }
}

pub(super) fn seccomp() -> Finding {
    if sys::host::security().seccomp {
        Finding::ok("seccomp", "yes", "")
    } else {
        Finding::bad(
            Verdict::Warn,
            "seccomp",
            "no",
            "containers may make every system call their capabilities allow",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

/// Nothing where the kernel has none.
pub(super) fn apparmor() -> Option<Finding> {
    sys::host::security().apparmor.then(|| {
        if sys::host::apparmor_parser().is_some() {
            return Finding::ok("AppArmor", "yes".to_owned(), "");
        }
        Finding::bad(
            Verdict::Warn,
            "AppArmor",
            "apparmor_parser is not there",
            "no profile confines containers",
            "install the package apparmor",
        )
    })
}

/// Nothing where the kernel has none.
pub(super) fn selinux(wanted: bool) -> Option<Finding> {
    match (sys::host::security().selinux, wanted) {
        (true, true) => Some(match engine::SeLinux::new(true) {
            Ok(_) => Finding::ok("SELinux", "yes".to_owned(), ""),
            Err(e) => Finding::bad(
                Verdict::Fail,
                "SELinux",
                e.message(),
                "the daemon does not start",
                "install the policy container-selinux, or set selinux-enabled = false",
            ),
        }),
        (true, false) => Some(Finding::bad(
            Verdict::Warn,
            "SELinux",
            "not used",
            "containers have no labels, so nothing keeps one that breaks out from the host's files",
            "install the policy container-selinux, and set selinux-enabled = true",
        )),
        (false, true) => Some(Finding::bad(
            Verdict::Warn,
            "SELinux",
            "the kernel has none",
            "selinux-enabled has no effect",
            "boot with selinux=1, or take the setting out",
        )),
        (false, false) => None,
    }
}

/// Nothing where no log goes there by itself.
pub(super) fn journal(driver: model::LogDriver) -> Option<Finding> {
    const SOCKET: &str = "/run/systemd/journal/socket";
    (driver == model::LogDriver::Journald).then(|| {
        if std::path::Path::new(SOCKET).exists() {
            return Finding::ok("journal", "yes".to_owned(), "");
        }
        Finding::bad(
            Verdict::Fail,
            "journal",
            format!("{SOCKET} is not there"),
            "log-driver is journald, so no container can be started",
            "start systemd-journald, or take another log-driver",
        )
    })
}

pub(super) fn open_files() -> Finding {
    match sys::own::limit("nofile").and_then(|l| l.hard) {
        Some(hard) if hard < OPEN_FILES_MIN => Finding::bad(
            Verdict::Warn,
            "open files",
            format!("at most {hard}"),
            "with many containers and clients the daemon runs out of descriptors",
            "raise the hard limit: LimitNOFILE= of the unit, or ulimit -Hn",
        ),
        Some(hard) => Finding::ok("open files", format!("at most {hard}"), ""),
        None => Finding::ok("open files", "unlimited", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_features_are_warnings_or_failures_with_advice() {
        let found = kernel(Kernel::default(), true);
        let verdicts: Vec<Verdict> = found.iter().map(|f| f.verdict).collect();
        use Verdict::{Fail, Ok, Warn};
        assert_eq!(verdicts, [Ok, Warn, Warn, Warn]);
        assert_eq!(cgroups(&Cgroups::default()).verdict, Fail);
        let bare = Cgroups {
            version: 2,
            ..Cgroups::default()
        };
        let without = cgroups(&bare);
        assert_eq!(without.verdict, Warn);
        // The unit's own cgroup is not where containers are.
        assert!(!without.to_do.contains("Delegate"), "{without}");
        for bad in found.iter().filter(|f| f.verdict != Ok) {
            assert!(!bad.means.is_empty() && !bad.to_do.is_empty(), "{bad}");
        }
    }
}
