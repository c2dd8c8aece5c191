//! Values for the tests of this directory: a host with everything, a plain container.

use model::{ContainerId, ContainerSpec};

use super::*;

/// A v1 host with four CPUs and every controller, whose daemon lacks `CAP_SYS_RESOURCE` only.
pub(super) fn host() -> HostFacts {
    let list = |text| CpuList::parse(text).unwrap();
    HostFacts {
        cgroup: CgroupFacts {
            version: CgroupVersion::V1,
            memory: true,
            swap: true,
            memory_reservation: true,
            oom_kill_disable: true,
            memory_swappiness: true,
            kernel_memory: true,
            kernel_memory_tcp: true,
            cpu_shares: true,
            cpu_cfs: true,
            cpu_realtime: true,
            block_io: BlockIoFacts::all(true),
            cpuset: true,
            pids: true,
            cpuset_cpus: list("0-3"),
            cpuset_mems: list("0"),
        },
        cpus: list("0-3"),
        bounding: CapSet::from_bits(0x1ff_feff_ffff),
        sys_resource: false,
        open_files_at_start: (1024, 20_000),
        rlimits: [("nofile", (1024, 20_000)), ("core", (0, u64::MAX))].into(),
        nr_open: 1 << 20,
        oom_score_adj: 0,
        seccomp: true,
        apparmor: false,
        arch: Arch::X86_64,
        kernel: (6, 1),
        x32: true,
        recursive_read_only: true,
        default_sysctls: vec![
            DefaultSysctl::PingGroupRange,
            DefaultSysctl::UnprivilegedPortStart,
        ],
        extra_masked_paths: Vec::new(),
    }
}

/// `docker run busybox echo hi`.
pub(super) fn spec() -> ContainerSpec {
    ContainerSpec {
        cmd: Some(vec!["echo".into(), "hi".into()]),
        env: vec!["PATH=/bin".into()],
        ..ContainerSpec::default()
    }
}

pub(super) fn id() -> ContainerId {
    ContainerId::from_bytes([0xab; 32])
}

static NO_BLOCK_DEVICES: BlockDevices = BlockDevices::NONE;
static NO_EDITS: cdi::Edits = cdi::Edits::NONE;

/// The input of a plain container; tests change what they are about.
pub(super) fn input<'a>(
    id: &'a ContainerId,
    spec: &'a ContainerSpec,
    user: &'a ResolvedUser,
    host: &'a HostFacts,
) -> SpecInput<'a> {
    SpecInput {
        id,
        spec,
        rootfs: Path::new("/data/rootfs"),
        hostname: "abababababab",
        user,
        mounts: &[],
        devices: &[],
        joined: Joined::NOTHING,
        block_devices: &NO_BLOCK_DEVICES,
        edits: &NO_EDITS,
        resolv_conf: Some(Path::new("/data/resolv.conf")),
        hosts: Some(Path::new("/data/hosts")),
        hostname_file: Some(Path::new("/data/hostname")),
        notify_dir: None,
        init_binary: Some(Path::new("/usr/bin/catatonit")),
        cgroups_path: "/moored/ab",
        apparmor: None,
        knows_rro: true,
        runtime: "runc",
        console_size: None,
        host,
    }
}
