//! System call conventions of the machine besides the native one.

/// Whether the kernel answers x32 system calls (`CONFIG_X86_X32_ABI`, and on Debian the boot
/// parameter `syscall.x32`).
///
/// The only sure way is to make one. That is done only when no seccomp filter covers this
/// process (`Seccomp: 0` of `/proc/self/status`), because a filter may kill for it, as systemd's
/// `SystemCallArchitectures=native` does; under a filter the answer is `true`, "perhaps".
pub fn has_x32(under_seccomp_filter: bool) -> bool {
    if !cfg!(target_arch = "x86_64") {
        return false;
    }
    under_seccomp_filter || answers_x32_getpid()
}

#[cfg(target_arch = "x86_64")]
fn answers_x32_getpid() -> bool {
    /// `__X32_SYSCALL_BIT` (`asm/unistd.h`).
    const X32_BIT: libc::c_long = 0x4000_0000;
    // SAFETY: getpid(2) takes no arguments and touches no memory; without x32 the kernel answers
    // ENOSYS and does nothing.
    let pid = unsafe { libc::syscall(X32_BIT | libc::SYS_getpid) };
    pid != -1
}

#[cfg(not(target_arch = "x86_64"))]
fn answers_x32_getpid() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_agrees_with_the_kernels_own_table() {
        // Names of x32's own entry points are in the symbol table when they are built in. A
        // kernel may still have them switched off, so only this direction can be checked.
        if cfg!(target_arch = "x86_64") && has_x32(false) {
            let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
            assert!(symbols.contains("x32_sys"));
        }
        assert_eq!(has_x32(true), cfg!(target_arch = "x86_64"));
    }
}
