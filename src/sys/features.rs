//! What this kernel can do and what this process may do: asked by trying, not by version.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};

use crate::cgroup::{Hierarchies, Layout};

/// Features of the kernel that the daemon uses when they are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernel {
    /// `PIDFD_INFO_EXIT` (Linux 6.15): the exit code of a process that is not our child.
    pub pidfd_exit_info: bool,
    /// `openat2` (5.6): paths that cannot leave a container's root.
    pub openat2: bool,
    /// The overlay file system can be mounted by this process.
    pub overlay: bool,
    /// `lowerdir+` of overlay (6.5): any number of layers.
    pub overlay_append_layers: bool,
}

/// Tries each. Forks one child that exits at once; needs root to see the overlay.
pub fn kernel() -> Kernel {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).ok();
    Kernel {
        pidfd_exit_info: exit_info_of_a_child() == Some(7 << 8),
        openat2: rustix::fs::openat2(
            rustix::fs::CWD,
            c"/",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )
        .is_ok(),
        overlay: overlay.is_some(),
        overlay_append_layers: overlay
            .is_some_and(|fs| fsconfig_set_string(&fs, c"lowerdir+", c"/").is_ok()),
    }
}

/// The wait status of a child that exits with 7, read through its pidfd after it was collected.
fn exit_info_of_a_child() -> Option<i32> {
    // SAFETY: the child calls nothing but _exit, which is async-signal-safe.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => {
            // SAFETY: ends the child at once, without running anything of the parent's.
            unsafe { libc::_exit(7) }
        }
        pid if pid > 0 => {
            let fd = open_pidfd(pid);
            // SAFETY: waits for our own child, which exits at once; no status is asked for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            fd.and_then(crate::pidfd::exit_info)
        }
        _ => None,
    }
}

fn open_pidfd(pid: libc::pid_t) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// What the host's cgroups can give a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// 1 or 2 as Docker counts: a hybrid host is 1. 0 when none is mounted.
    pub version: u8,
    /// v1 controllers are in use beside a v2 hierarchy without any.
    pub hybrid: bool,
    /// Controllers that can be used, sorted.
    pub controllers: Vec<String>,
    /// Memory can be limited.
    pub memory_limit: bool,
    /// Swap can be limited.
    pub swap_limit: bool,
    /// The OOM killer can be disabled (v1 only).
    pub oom_kill_disable: bool,
    /// CPU time can be limited.
    pub cpu_quota: bool,
    /// CPU time can be weighted.
    pub cpu_shares: bool,
    /// CPUs and memory nodes can be chosen.
    pub cpuset: bool,
    /// Processes can be limited.
    pub pids_limit: bool,
}

/// Looks at the mounted hierarchies.
pub fn cgroups() -> Cgroups {
    let layout = Hierarchies::detect().map_or(Layout::None, |h| h.layout());
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mount = Path::new("/sys/fs/cgroup");
    let (version, controllers) = match layout {
        Layout::None => (0, Vec::new()),
        Layout::V1 | Layout::Hybrid => (1, v1_controllers(&memberships)),
        Layout::V2 => (2, v2_controllers(mount)),
    };
    let has = |name: &str| controllers.iter().any(|c| c == name);
    let swap_file = match version {
        1 => mount.join("memory/memory.memsw.limit_in_bytes"),
        // The root of v2 has no limits; our own cgroup has the file when swap is accounted for.
        _ => own_v2_dir(mount, &memberships).join("memory.swap.max"),
    };
    Cgroups {
        version,
        hybrid: layout == Layout::Hybrid,
        memory_limit: has("memory"),
        swap_limit: has("memory") && swap_file.exists(),
        oom_kill_disable: version == 1 && mount.join("memory/memory.oom_control").exists(),
        cpu_quota: has("cpu") && (version == 2 || mount.join("cpu/cpu.cfs_quota_us").exists()),
        cpu_shares: has("cpu"),
        cpuset: has("cpuset"),
        pids_limit: has("pids"),
        controllers,
    }
}

/// From `12:cpu,cpuacct:/path` lines; named hierarchies (`name=systemd`) control nothing.
fn v1_controllers(memberships: &str) -> Vec<String> {
    let mut found: Vec<String> = memberships
        .lines()
        .filter_map(|l| l.split(':').nth(1))
        .flat_map(|list| list.split(','))
        .filter(|c| !c.is_empty() && !c.starts_with("name="))
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

fn v2_controllers(mount: &Path) -> Vec<String> {
    let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let mut found: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    found.sort();
    found
}

fn own_v2_dir(mount: &Path, memberships: &str) -> PathBuf {
    let own = memberships.lines().find_map(|l| l.strip_prefix("0::/"));
    mount.join(own.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_is_new_enough_for_its_own_tests() {
        let kernel = kernel();
        assert!(kernel.openat2, "Linux 5.6");
        if rustix::process::geteuid().is_root() {
            assert!(kernel.overlay && kernel.overlay_append_layers, "Linux 6.5");
        }
    }

    #[test]
    fn exit_info_agrees_with_the_release() {
        let release = crate::host::uname().release;
        let mut numbers = release.split('.').map_while(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
        if version >= (6, 15) {
            assert!(kernel().pidfd_exit_info, "{release}");
        }
    }

    #[test]
    fn controllers_of_v1_leave_named_hierarchies_out() {
        let text = "5:cpu,cpuacct:/a\n4:memory:/\n1:name=systemd:/x\n0::/x\n";
        assert_eq!(v1_controllers(text), ["cpu", "cpuacct", "memory"]);
        let own = own_v2_dir(Path::new("/c"), text);
        assert_eq!(own, Path::new("/c/x"));
    }

    #[test]
    fn the_hosts_cgroups_are_consistent() {
        let cgroups = cgroups();
        assert_eq!(cgroups.version == 0, cgroups.controllers.is_empty());
        assert!(!cgroups.swap_limit || cgroups.memory_limit);
    }
}
