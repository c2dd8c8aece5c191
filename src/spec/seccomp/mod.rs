//! The seccomp profile: the default one, which allows what Docker's allows, composed for one container;
//! one of the client's own is in `profile`.
//!
//! Whether a call is allowed depends on the container's bounding set and on the machine, so the
//! profile is made per container from the tables here. Rules are merged: half the time of a
//! `runc create` is compiling the filter, and one rule with many names compiles fastest.
//!
//! Source of every decision: moby/profiles, `seccomp/default_linux.go` (2026).

mod profile;

use std::borrow::Cow;

use super::capabilities::CapSet;
use super::document::{Seccomp, SyscallArg, SyscallRule};
use super::host::Arch;

pub(super) use profile::compose;

/// Calls that need nothing.
const ALLOWED: &str = include_str!("allowed.txt");

/// Calls that come with a capability.
const WITH_CAPABILITY: [(&str, &[&str]); 14] = [
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    (
        "CAP_SYS_MODULE",
        &["delete_module", "finit_module", "init_module"],
    ),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &["kcmp", "pidfd_getfd", "process_madvise"],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    (
        "CAP_SYS_NICE",
        &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `CLONE_NEWNS | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | NEWCGROUP` (`linux/sched.h`).
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// personality(2): `PER_LINUX`, `PER_LINUX32`, `UNAME26`, both, and "tell me".
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Socket families that are refused, as they reach beyond the container (`linux/socket.h`).
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// The profile of a container with this bounding set on this machine, whose kernel answers x32
/// calls or not.
pub(super) fn default_profile(bounding: CapSet, arch: Arch, x32: bool) -> Seccomp {
    let mut names: Vec<&'static str> = ALLOWED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    names.extend(native_names(arch));
    for (_, granted) in WITH_CAPABILITY.iter().filter(|(c, _)| bounding.contains(c)) {
        names.extend(granted.iter());
    }
    names.sort_unstable();
    names.dedup();

    let mut syscalls = vec![rule(names, ALLOW, None)];
    let socket = |value, op| with_arg("socket", 0, value, None, op);
    syscalls.extend([
        socket(AF_ALG, "SCMP_CMP_LT"),
        socket(AF_ALG + 1, "SCMP_CMP_EQ"),
        socket(AF_VSOCK, "SCMP_CMP_GT"),
    ]);
    syscalls
        .extend(PERSONALITIES.map(|value| with_arg("personality", 0, value, None, "SCMP_CMP_EQ")));
    if !bounding.contains("CAP_SYS_ADMIN") {
        // s390 has clone's flags in the second argument.
        let index = u32::from(arch == Arch::S390x);
        syscalls.push(with_arg(
            "clone",
            index,
            CLONE_NAMESPACES,
            Some(0),
            "SCMP_CMP_MASKED_EQ",
        ));
        // Its flags are behind a pointer a filter cannot follow; ENOSYS makes libc use clone.
        syscalls.push(rule(vec!["clone3"], ERRNO, Some(ENOSYS)));
    }
    let conventions = architectures(arch, x32).iter();
    Seccomp {
        default_action: ERRNO.into(),
        default_errno_ret: Some(EPERM),
        architectures: conventions.map(|name| Cow::Borrowed(*name)).collect(),
        flags: Vec::new(),
        listener_path: String::new(),
        listener_metadata: String::new(),
        syscalls,
    }
}

/// Calls that only this machine has.
fn native_names(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => &["arch_prctl", "modify_ldt"],
        Arch::Aarch64 => &[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "breakpoint",
            "cacheflush",
            "set_tls",
            "sync_file_range2",
        ],
        Arch::Riscv64 => &["riscv_flush_icache"],
        Arch::S390x => &[
            "s390_pci_mmio_read",
            "s390_pci_mmio_write",
            "s390_runtime_instr",
        ],
        Arch::Ppc64le => &["swapcontext", "sync_file_range2"],
        Arch::Loongarch64 | Arch::Other => &[],
    }
}

/// The native convention and those of the 32-bit programs the machine also runs. Empty leaves
/// the choice of the native one to the runtime.
///
/// Each convention is a filter of its own to compile: measured with runc 1.1.5, 9 of 71 ms of
/// CPU. One that the kernel does not answer anyway is left out.
fn architectures(arch: Arch, x32: bool) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 if x32 => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        Arch::X86_64 => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        Arch::Aarch64 => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        Arch::S390x => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        Arch::Riscv64 => &["SCMP_ARCH_RISCV64"],
        Arch::Ppc64le => &["SCMP_ARCH_PPC64LE"],
        Arch::Loongarch64 | Arch::Other => &[],
    }
}

fn rule(names: Vec<&'static str>, action: &'static str, errno_ret: Option<u32>) -> SyscallRule {
    SyscallRule {
        names: names.into_iter().map(Cow::Borrowed).collect(),
        action: action.into(),
        errno_ret,
        args: Vec::new(),
    }
}

fn with_arg(
    name: &'static str,
    index: u32,
    value: u64,
    value_two: Option<u64>,
    op: &'static str,
) -> SyscallRule {
    SyscallRule {
        args: vec![SyscallArg {
            index,
            value,
            value_two,
            op: op.into(),
        }],
        ..rule(vec![name], ALLOW, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(bounding: CapSet, arch: Arch) -> Vec<Cow<'static, str>> {
        default_profile(bounding, arch, true)
            .syscalls
            .swap_remove(0)
            .names
    }

    #[test]
    fn an_ordinary_container_makes_no_namespaces() {
        let names = allowed(CapSet::docker_default(), Arch::X86_64);
        for refused in [
            "unshare",
            "setns",
            "mount",
            "clone",
            "clone3",
            "bpf",
            "keyctl",
            "add_key",
            "userfaultfd",
            "io_uring_setup",
            "reboot",
            "socket",
            "personality",
            "kexec_load",
            "swapon",
            "open_by_handle_at",
            "perf_event_open",
        ] {
            assert!(!names.contains(&refused.into()), "{refused}");
        }
        for needed in [
            "read",
            "execve",
            "openat2",
            "ptrace",
            "chroot",
            "arch_prctl",
            "socketcall",
        ] {
            assert!(names.contains(&needed.into()), "{needed}");
        }
        let profile = default_profile(CapSet::docker_default(), Arch::X86_64, true);
        let clone3 = profile
            .syscalls
            .iter()
            .find(|s| s.names == ["clone3"])
            .unwrap();
        assert_eq!((&*clone3.action, clone3.errno_ret), (ERRNO, Some(ENOSYS)));
    }

    #[test]
    fn capabilities_bring_their_calls() {
        let admin = CapSet::from_bits(1 << 21);
        let names = allowed(admin, Arch::X86_64);
        assert!(
            names.contains(&"unshare".into())
                && names.contains(&"clone3".into())
                && names.contains(&"clone".into())
        );
        let rules = default_profile(admin, Arch::X86_64, true).syscalls;
        assert!(
            rules[1..]
                .iter()
                .all(|r| r.names != ["clone"] && r.names != ["clone3"])
        );
        assert!(
            !names.contains(&"chroot".into()),
            "CAP_SYS_CHROOT is not in the set"
        );
    }

    #[test]
    fn names_are_sorted_unique_and_well_formed() {
        let names = allowed(CapSet::named(), Arch::Aarch64);
        assert!(names.is_sorted());
        assert!(names.windows(2).all(|w| w[0] != w[1]));
        assert!(names.iter().all(|n| {
            n.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }));
        assert!(names.len() > 400);
    }

    #[test]
    fn clones_flags_are_where_the_machine_has_them() {
        let index = |arch| {
            let profile = default_profile(CapSet::docker_default(), arch, true);
            let clone = profile
                .syscalls
                .into_iter()
                .find(|s| s.names == ["clone"])
                .unwrap();
            clone.args[0].index
        };
        assert_eq!((index(Arch::X86_64), index(Arch::S390x)), (0, 1));
    }

    #[test]
    fn conventions_the_kernel_does_not_answer_are_left_out() {
        let of = |arch, x32| default_profile(CapSet::default(), arch, x32).architectures;
        assert_eq!(
            of(Arch::X86_64, true),
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        );
        assert_eq!(of(Arch::X86_64, false).len(), 2);
        assert_eq!(of(Arch::Other, false), [""; 0]);
    }
}
