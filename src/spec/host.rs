//! What of the host decides how a spec is built, as plain values that tests can say.
//!
//! [`HostFacts::probe`] fills them from `/proc` and `/sys`, once per daemon start; nothing else
//! in this directory but `devices` looks at the host. What cannot be read counts as not there:
//! a limit is then left out with a warning instead of failing the start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::capabilities::CapSet;
use super::cpu_list::CpuList;
use super::ulimits;

/// Largest file of `/proc` or `/sys` that is read: mountinfo of a host with 10,000 mounts fits.
const PROC_FILE_BYTES_MAX: u64 = 16 << 20;
/// CPUs whose thermal directories are looked for.
const CPUS_LOOKED_AT_MAX: usize = 8192;

/// Facts of the host and of the daemon's own process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// What the cgroups can limit.
    pub cgroup: CgroupFacts,
    /// CPUs the daemon may run on.
    pub cpus: CpuList,
    /// The capabilities the daemon may pass on.
    pub bounding: CapSet,
    /// The daemon holds `CAP_SYS_RESOURCE`: it may raise hard limits and lower OOM scores.
    pub sys_resource: bool,
    /// The daemon's own `(soft, hard)` limits by ulimit name; `u64::MAX` is unlimited.
    pub rlimits: BTreeMap<&'static str, (u64, u64)>,
    /// The `(soft, hard)` limit of open files that the daemon was started with, before it raised
    /// its own: what containers get.
    pub open_files_at_start: (u64, u64),
    /// `fs.nr_open`: above it nobody may raise `nofile`.
    pub nr_open: u64,
    /// The daemon's own `oom_score_adj`.
    pub oom_score_adj: i32,
    /// The kernel has seccomp filters.
    pub seccomp: bool,
    /// The kernel has AppArmor, and it is switched on.
    pub apparmor: bool,
    /// The machine.
    pub arch: Arch,
    /// The kernel's version, its first two numbers.
    pub kernel: (u32, u32),
    /// The kernel also answers x32 system calls, so a seccomp filter must cover them. Where it
    /// does not, leaving them out saves an eighth of the work of `runc create`.
    pub x32: bool,
    /// The kernel can make a whole tree of mounts read-only (`mount_setattr(2)`, Linux 5.12).
    pub recursive_read_only: bool,
    /// Which of Docker's default sysctls of a private network namespace the kernel has.
    pub default_sysctls: Vec<DefaultSysctl>,
    /// Paths of this machine to mask besides the common ones: the CPUs' thermal throttle
    /// counters, a side channel (GHSA-6fw5-f8r9-fgfm).
    pub extra_masked_paths: Vec<String>,
}

/// The limits that the host's cgroups can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one independent kernel feature each, as in Docker's info"
)]
pub struct CgroupFacts {
    /// The version the OCI runtimes will use.
    pub version: CgroupVersion,
    /// Memory limit.
    pub memory: bool,
    /// Swap accounting.
    pub swap: bool,
    /// Soft memory limit.
    pub memory_reservation: bool,
    /// Disabling the OOM killer (v1 only).
    pub oom_kill_disable: bool,
    /// Swappiness (v1 only).
    pub memory_swappiness: bool,
    /// Limit of kernel memory (v1 only).
    pub kernel_memory: bool,
    /// Limit of the memory of TCP buffers (v1 only).
    pub kernel_memory_tcp: bool,
    /// CPU shares (v2: weight).
    pub cpu_shares: bool,
    /// CFS quota.
    pub cpu_cfs: bool,
    /// Real-time scheduling (v1 only).
    pub cpu_realtime: bool,
    /// Block I/O.
    pub block_io: BlockIoFacts,
    /// cpuset.
    pub cpuset: bool,
    /// Number of processes.
    pub pids: bool,
    /// The CPUs a cpuset may name.
    pub cpuset_cpus: CpuList,
    /// The memory nodes a cpuset may name.
    pub cpuset_mems: CpuList,
}

/// The limits of block I/O that the host's cgroups can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one independent kernel feature each, as in Docker's info"
)]
pub struct BlockIoFacts {
    /// Weight of a cgroup.
    pub weight: bool,
    /// Weight of a cgroup on one device.
    pub weight_device: bool,
    /// On v2, the weight is that of the scheduler BFQ, which the runtimes prefer.
    pub weight_is_bfq: bool,
    /// Bytes read each second.
    pub read_bps: bool,
    /// Bytes written each second.
    pub write_bps: bool,
    /// Reads each second.
    pub read_iops: bool,
    /// Writes each second.
    pub write_iops: bool,
}

impl BlockIoFacts {
    /// Where all of them come together.
    pub fn all(there: bool) -> Self {
        Self {
            weight: there,
            weight_device: there,
            weight_is_bfq: false,
            read_bps: there,
            write_bps: there,
            read_iops: there,
            write_iops: there,
        }
    }
}

/// Legacy and hybrid hosts are V1: there the runtimes use the v1 controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own numbers")]
pub enum CgroupVersion {
    V1,
    V2,
}

/// Machines whose system call conventions the seccomp profile knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Arch {
    X86_64,
    Aarch64,
    Riscv64,
    S390x,
    Ppc64le,
    Loongarch64,
    /// Any other: the profile covers its native calls only.
    Other,
}

/// A sysctl that Docker sets in every network namespace it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultSysctl {
    /// Anyone may send ICMP echo without `CAP_NET_RAW`.
    PingGroupRange,
    /// Anyone may bind ports below 1024.
    UnprivilegedPortStart,
}

impl DefaultSysctl {
    /// Key and value.
    pub fn pair(self) -> (&'static str, &'static str) {
        match self {
            Self::PingGroupRange => ("net.ipv4.ping_group_range", "0 2147483647"),
            Self::UnprivilegedPortStart => ("net.ipv4.ip_unprivileged_port_start", "0"),
        }
    }
}

impl Arch {
    /// The machine this program was built for.
    pub fn native() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Self::X86_64,
            "aarch64" => Self::Aarch64,
            "riscv64" => Self::Riscv64,
            "s390x" => Self::S390x,
            "powerpc64" if cfg!(target_endian = "little") => Self::Ppc64le,
            "loongarch64" => Self::Loongarch64,
            _ => Self::Other,
        }
    }
}

impl HostFacts {
    /// Looks the host over. Blocking, some thirty small reads.
    pub fn probe() -> Self {
        let status = read("/proc/self/status");
        let field = |name| status_field(&status, name);
        let caps = |name| u64::from_str_radix(field(name), 16).unwrap_or(0);
        let cpus = CpuList::parse(field("Cpus_allowed_list")).unwrap_or_default();
        let kernel = kernel_version(&read("/proc/sys/kernel/osrelease"));
        Self {
            cgroup: probe_cgroup(field("Cpus_allowed_list"), field("Mems_allowed_list")),
            bounding: CapSet::from_bits(caps("CapBnd")),
            sys_resource: CapSet::from_bits(caps("CapEff")).contains("CAP_SYS_RESOURCE"),
            rlimits: ulimits::parse_proc_limits(&read("/proc/self/limits")),
            open_files_at_start: open_files_at_start(),
            nr_open: number("/proc/sys/fs/nr_open").unwrap_or(1 << 20),
            oom_score_adj: number("/proc/self/oom_score_adj").unwrap_or(0),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
                || !field("Seccomp").is_empty(),
            apparmor: sys::host::security().apparmor,
            arch: Arch::native(),
            kernel,
            x32: sys::abi::has_x32(field("Seccomp") != "0"),
            recursive_read_only: kernel >= (5, 12),
            default_sysctls: probe_default_sysctls(&read("/proc/self/uid_map")),
            extra_masked_paths: probe_thermal(&cpus_possible()),
            cpus,
        }
    }
}

/// moby's rules (`pkg/sysinfo`): a feature is there when its file is.
fn open_files_at_start() -> (u64, u64) {
    let limit = sys::own::open_files_at_start();
    let raw = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    (raw(limit.soft), raw(limit.hard))
}

fn probe_cgroup(cpus_allowed: &str, mems_allowed: &str) -> CgroupFacts {
    let mounts = read("/proc/self/mountinfo");
    let list = |path: PathBuf, fallback: &str| {
        let text = read(path);
        let text = text.trim();
        CpuList::parse(if text.is_empty() { fallback } else { text }).unwrap_or_default()
    };
    if is_unified(&mounts) {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = read(root.join("cgroup.controllers"));
        let has = |name| controllers.split_whitespace().any(|c| c == name);
        return CgroupFacts {
            version: CgroupVersion::V2,
            memory: has("memory"),
            swap: has("memory") && any_group_has(root, "memory.swap.max"),
            memory_reservation: has("memory"),
            oom_kill_disable: false,
            memory_swappiness: false,
            kernel_memory: false,
            kernel_memory_tcp: false,
            cpu_shares: has("cpu"),
            cpu_cfs: has("cpu"),
            cpu_realtime: false,
            block_io: BlockIoFacts {
                weight_is_bfq: any_group_has(root, "io.bfq.weight"),
                ..BlockIoFacts::all(has("io"))
            },
            cpuset: has("cpuset"),
            pids: has("pids"),
            cpuset_cpus: list(root.join("cpuset.cpus.effective"), cpus_allowed),
            cpuset_mems: list(root.join("cpuset.mems.effective"), mems_allowed),
        };
    }
    let mount = |controller| v1_mount(&mounts, controller);
    let has = |controller, file: &str| mount(controller).is_some_and(|dir| dir.join(file).exists());
    let cpuset = mount("cpuset").unwrap_or_default();
    CgroupFacts {
        version: CgroupVersion::V1,
        memory: has("memory", "memory.limit_in_bytes"),
        swap: has("memory", "memory.memsw.limit_in_bytes"),
        memory_reservation: has("memory", "memory.soft_limit_in_bytes"),
        oom_kill_disable: has("memory", "memory.oom_control"),
        memory_swappiness: has("memory", "memory.swappiness"),
        kernel_memory: has("memory", "memory.kmem.limit_in_bytes"),
        kernel_memory_tcp: has("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_shares: has("cpu", "cpu.shares"),
        cpu_cfs: has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime: has("cpu", "cpu.rt_period_us"),
        block_io: BlockIoFacts {
            weight: has("blkio", "blkio.weight"),
            weight_device: has("blkio", "blkio.weight_device"),
            weight_is_bfq: false,
            read_bps: has("blkio", "blkio.throttle.read_bps_device"),
            write_bps: has("blkio", "blkio.throttle.write_bps_device"),
            read_iops: has("blkio", "blkio.throttle.read_iops_device"),
            write_iops: has("blkio", "blkio.throttle.write_iops_device"),
        },
        cpuset: has("cpuset", "cpuset.cpus"),
        pids: mount("pids").is_some(),
        cpuset_cpus: list(cpuset.join("cpuset.cpus"), cpus_allowed),
        cpuset_mems: list(cpuset.join("cpuset.mems"), mems_allowed),
    }
}

/// Whether `/sys/fs/cgroup` itself is the v2 tree. On a hybrid host it is a tmpfs.
fn is_unified(mountinfo: &str) -> bool {
    let last = mountinfo
        .lines()
        .filter_map(parse_mount)
        .rfind(|m| m.mount_point == "/sys/fs/cgroup");
    last.is_some_and(|m| m.fs_type == "cgroup2")
}

/// Where a v1 controller is mounted.
fn v1_mount(mountinfo: &str, controller: &str) -> Option<PathBuf> {
    mountinfo
        .lines()
        .filter_map(parse_mount)
        .find(|m| m.fs_type == "cgroup" && m.super_options.split(',').any(|o| o == controller))
        .map(|m| PathBuf::from(m.mount_point))
}

struct MountLine<'a> {
    mount_point: &'a str,
    fs_type: &'a str,
    super_options: &'a str,
}

/// One line of mountinfo, proc_pid_mountinfo(5). Escaped paths stay escaped: cgroup mounts have
/// none.
fn parse_mount(line: &str) -> Option<MountLine<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    Some(MountLine {
        mount_point: left.split(' ').nth(4)?,
        fs_type: right.next()?,
        super_options: right.nth(1)?,
    })
}

/// The root group has no limits of its own, so the file is looked for one level below.
fn any_group_has(root: &Path, file: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else {
        return false;
    };
    root.join(file).exists()
        || entries
            .flatten()
            .any(|entry| entry.path().join(file).exists())
}

/// In a user namespace that does not map every group the range cannot be written (moby sets it
/// in the initial one only).
fn probe_default_sysctls(uid_map: &str) -> Vec<DefaultSysctl> {
    let initial_userns = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    [
        (DefaultSysctl::PingGroupRange, initial_userns),
        (DefaultSysctl::UnprivilegedPortStart, true),
    ]
    .into_iter()
    .filter(|(sysctl, wanted)| {
        let path = sysctl.pair().0.replace('.', "/");
        *wanted && Path::new("/proc/sys").join(path).exists()
    })
    .map(|(sysctl, _)| sysctl)
    .collect()
}

fn cpus_possible() -> CpuList {
    CpuList::parse(read("/sys/devices/system/cpu/possible").trim()).unwrap_or_default()
}

fn probe_thermal(cpus: &CpuList) -> Vec<String> {
    cpus.members(CPUS_LOOKED_AT_MAX)
        .map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"))
        .filter(|path| Path::new(path).exists())
        .collect()
}

/// The value of a line `Name:\tvalue` of /proc/self/status; empty when there is none.
fn status_field<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map_or("", str::trim)
}

/// The first two numbers of `6.18.0-rc1`; zeros where there are none.
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    read(path).trim().parse().ok()
}

/// A small text file of the kernel's; empty when it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    let result = File::open(path).and_then(|f| {
        f.take(PROC_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map(drop)
    });
    if result.is_err() {
        text.clear();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
33 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 33 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 33 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_is_v1_and_its_controllers_are_found() {
        assert!(!is_unified(HYBRID));
        assert_eq!(
            v1_mount(HYBRID, "cpu"),
            Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(v1_mount(HYBRID, "memory"), None);
        assert!(is_unified(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
        ));
        assert!(!is_unified("garbage\n\n- - -\n"));
    }

    #[test]
    fn kernel_releases_have_two_numbers_that_count() {
        for (release, version) in [
            ("6.18.0-rc1", (6, 18)),
            ("5.12", (5, 12)),
            ("5.9.16-1", (5, 9)),
            ("7", (7, 0)),
            ("", (0, 0)),
            ("six", (0, 0)),
        ] {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn the_probe_agrees_with_this_process() {
        let facts = HostFacts::probe();
        let status = read("/proc/self/status");
        assert_eq!(
            facts.bounding.contains("CAP_CHOWN"),
            u64::from_str_radix(status_field(&status, "CapBnd"), 16).unwrap() & 1 == 1
        );
        assert!(facts.cpus.count() >= 1);
        assert!(facts.rlimits["nofile"].1 >= facts.rlimits["nofile"].0);
        assert!(facts.nr_open >= 1024);
        assert_eq!(status_field("A:\t1\nAB:\t2\n", "AB"), "2");
    }
}
