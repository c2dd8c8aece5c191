//! What the host is: kernel, memory, CPUs, capabilities, limits, file systems, features.
//!
//! Facts only, read when asked and never guessed from a version number where the kernel can be
//! asked by trying. What a fact means for containers is said by those who ask.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// This boot's id: another value means that no process of ours can have survived.
///
/// # Errors
/// When /proc is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// What uname(2) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uname {
    /// Host name.
    pub node: String,
    /// `6.1.0-18-amd64`.
    pub release: String,
    /// Build of the kernel.
    pub version: String,
    /// `x86_64`, `aarch64`.
    pub machine: String,
}

/// The running kernel and the host's name.
pub fn uname() -> Uname {
    let u = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    Uname {
        node: text(u.nodename()),
        release: text(u.release()),
        version: text(u.version()),
        machine: text(u.machine()),
    }
}

/// The level of the x86-64 instruction set that the processor has (psABI): 1 is the baseline.
/// `None` on other architectures.
pub fn amd64_level() -> Option<u8> {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! all {
            ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
        }
        let v2 = all!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
        let v3 = v2 && all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
        let v4 = v3 && all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
        Some(1 + u8::from(v2) + u8::from(v3) + u8::from(v4))
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Memory of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it that the kernel manages.
    pub total_bytes: u64,
    /// What a new process could have without swapping.
    pub available_bytes: u64,
    /// Swap.
    pub swap_total_bytes: u64,
}

/// # Errors
/// When /proc is not mounted.
pub fn memory() -> io::Result<Memory> {
    Ok(parse_meminfo(&fs::read_to_string("/proc/meminfo")?))
}

fn parse_meminfo(text: &str) -> Memory {
    let bytes = |key: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|v| v.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
            .map_or(0, |kib| kib << 10)
    };
    Memory {
        total_bytes: bytes("MemTotal"),
        available_bytes: bytes("MemAvailable"),
        swap_total_bytes: bytes("SwapTotal"),
    }
}

/// CPUs this process may run on; at least one.
pub fn cpus() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    usize::try_from(allowed).unwrap_or(1).max(1)
}

/// The distribution, from os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `debian`.
    pub id: String,
    /// `12`; rolling distributions have none.
    pub version_id: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: String,
}

/// The distribution; `Linux` when it does not say.
pub fn os_release() -> OsRelease {
    ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .map_or_else(|| parse_os_release(""), |text| parse_os_release(&text))
}

fn parse_os_release(text: &str) -> OsRelease {
    let value = |key: &str| {
        let raw = text
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
        let raw = raw.trim();
        let quoted = |q| raw.strip_prefix(q).and_then(|r: &str| r.strip_suffix(q));
        Some(
            quoted('"')
                .or_else(|| quoted('\''))
                .unwrap_or(raw)
                .to_owned(),
        )
    };
    OsRelease {
        id: value("ID").unwrap_or_else(|| "linux".to_owned()),
        version_id: value("VERSION_ID").unwrap_or_default(),
        pretty_name: value("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
    }
}

/// What kind of file system a path is on, and how much room it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// `st_dev`: equal for two paths on the same file system.
    pub device: u64,
    /// Whether it lives in memory (tmpfs or ramfs) and is empty after a boot.
    pub is_memory: bool,
    /// Size.
    pub total_bytes: u64,
    /// Room for an unprivileged user.
    pub available_bytes: u64,
}

/// # Errors
/// When `path` does not exist or cannot be reached.
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    let device = fs::metadata(path)?.dev();
    let st = rustix::fs::statfs(path)?;
    // The field's type differs between architectures.
    let kind = st.f_type as i64;
    let block_bytes = u64::try_from(st.f_bsize).unwrap_or(0);
    Ok(FileSystem {
        device,
        is_memory: kind == TMPFS_MAGIC || kind == RAMFS_MAGIC,
        total_bytes: st.f_blocks.saturating_mul(block_bytes),
        available_bytes: st.f_bavail.saturating_mul(block_bytes),
    })
}

/// Descriptors this process has open, without the one that counts them.
///
/// # Errors
/// When /proc is not mounted.
pub fn open_descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
}

/// Whether the host forwards IPv4 packets.
pub fn ipv4_forwarding() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|v| v.trim() == "1")
}

/// Whether IPv4 and IPv6 packets that a bridge passes on go through iptables; nowhere without the module
/// br_netfilter.
pub fn bridge_netfilter() -> [bool; 2] {
    ["iptables", "ip6tables"].map(|tool| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{tool}");
        fs::read_to_string(path).is_ok_and(|v| v.trim() == "1")
    })
}

/// Security modules that confine containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Security {
    /// The kernel filters system calls.
    pub seccomp: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
}

/// What the kernel has switched on.
pub fn security() -> Security {
    Security {
        seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
        apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|v| v.trim() == "Y"),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

/// The host's group of that name or number, as its name service knows it.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is none.
pub fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    match nix::unistd::Group::from_name(name)? {
        Some(group) => Ok(group.gid.as_raw()),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the host has no group {name:?}"),
        )),
    }
}

/// The program called `name`: itself when it has a slash, else the first executable file of that
/// name in `PATH`, and in the system's directories that a service's `PATH` may lack.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|p| is_program(p));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    std::env::split_paths(&path)
        .chain(usual.iter().map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|p| is_program(p))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
}

/// The program that loads AppArmor's profiles: on `$PATH`, or where it is usually installed.
pub fn apparmor_parser() -> Option<PathBuf> {
    const NAME: &str = "apparmor_parser";
    let usual = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(NAME));
    find_program(NAME).or_else(|| usual.into_iter().find(|path| path.is_file()))
}

/// How far the host's time zone is from UTC at `now`.
pub fn local_offset(now: jiff::Timestamp) -> jiff::tz::Offset {
    jiff::tz::TimeZone::system().to_offset(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(!uname().release.is_empty() && !uname().machine.is_empty());
        let memory = memory().unwrap();
        assert!(memory.total_bytes >= memory.available_bytes && memory.available_bytes > 0);
        assert!(cpus() >= 1);
        assert!(open_descriptors().unwrap() >= 3);
    }

    #[test]
    fn meminfo_is_read_in_bytes_and_gaps_are_zero() {
        let text = "MemTotal:        4028440 kB\nMemAvailable:       1 kB\n";
        let memory = parse_meminfo(text);
        assert_eq!(memory.total_bytes, 4_028_440 << 10);
        assert_eq!(memory.available_bytes, 1024);
        assert_eq!(memory.swap_total_bytes, 0);
    }

    #[test]
    fn os_release_is_unquoted() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID='12'\nID=debian\n";
        let os = parse_os_release(text);
        assert_eq!(os.pretty_name, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!((os.version_id.as_str(), os.id.as_str()), ("12", "debian"));
        assert_eq!(parse_os_release("").pretty_name, "Linux");
    }

    #[test]
    fn file_systems_are_told_apart() {
        let proc = file_system(Path::new("/proc")).unwrap();
        let shm = file_system(Path::new("/dev/shm")).unwrap();
        assert!(shm.is_memory && !proc.is_memory);
        assert_ne!(shm.device, proc.device);
        assert!(file_system(Path::new("/does/not/exist")).is_err());
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        let sh = find_program("sh").unwrap();
        assert!(sh.is_absolute());
        assert_eq!(find_program("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program("/etc/passwd"), None, "not executable");
        assert_eq!(find_program("no-such-program-of-moored"), None);
    }

    #[test]
    fn groups_are_numbers_or_names() {
        assert_eq!(group_id("4711").unwrap(), 4711);
        assert_eq!(group_id("root").unwrap(), 0);
        let none = group_id("no-such-group-of-moored").unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
