//! Both versions from texts as the kernel writes them, and the kernel itself.

use std::fs;

use model::Pid;
use model::stats::BlockCount;

use super::*;

const ID: &str = "488c901e13b266aaf6018dd579f6a5cf340d00c927b4ced26d12a21317cf1364";

/// Files below a directory, each with its text.
fn files(dir: &Path, texts: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    for (name, text) in texts {
        fs::write(dir.join(name), text).unwrap();
    }
    dir.to_owned()
}

/// As Linux 6.18 wrote them, without most lines of `memory.stat`.
fn v1(root: &Path) -> Directories {
    let at = |name: &str, texts: &[(&str, &str)]| Some(files(&root.join(name), texts));
    Directories {
        cpu: at(
            "cpu",
            &[(
                "cpu.stat",
                "nr_periods 7\nnr_throttled 3\nthrottled_time 1200345\nnr_bursts 0\nburst_time 0\n",
            )],
        ),
        cpuacct: at(
            "cpuacct",
            &[
                ("cpuacct.stat", "user 103132\nsystem 15271\n"),
                ("cpuacct.usage", "1184046585315\n"),
                ("cpuacct.usage_percpu", "582648224347 601398360968 \n"),
            ],
        ),
        memory: at(
            "memory",
            &[
                (
                    "memory.stat",
                    "cache 11030528\nrss 10158080\nrss_huge 0\nshmem 9084928\n\
                     workingset_refault_anon 0\nhierarchical_memory_limit 9223372036854771712\n\
                     total_inactive_file 5757157376\ntotal_unevictable 17711104\n",
                ),
                ("memory.usage_in_bytes", "565248\n"),
                ("memory.max_usage_in_bytes", "4087808\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.failcnt", "4\n"),
            ],
        ),
        pids: at("pids", &[("pids.current", "1\n"), ("pids.max", "max\n")]),
        blkio: at(
            "blkio",
            &[
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "254:0 Read 16842752\n254:0 Write 16777216\n254:0 Total 33619968\nTotal 33619968\n",
                ),
                (
                    "blkio.throttle.io_serviced_recursive",
                    "254:0 Read 20\n254:0 Write 16\n254:0 Total 36\nTotal 36\n",
                ),
                ("blkio.bfq.io_service_bytes_recursive", "254:0 Read 1\n"),
            ],
        ),
    }
}

const V2: &[(&str, &str)] = &[
    (
        "cpu.stat",
        "usage_usec 2500001\nuser_usec 2000000\nsystem_usec 500001\nnice_usec 0\n\
         nr_periods 10\nnr_throttled 4\nthrottled_usec 900\nnr_bursts 0\nburst_usec 0\n",
    ),
    ("memory.current", "905216\n"),
    ("memory.max", "max\n"),
    (
        "memory.events",
        "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n",
    ),
    (
        "memory.stat",
        "anon 245760\nfile 16384\nkernel 401408\nkernel_stack 16384\npagetables 53248\n\
         sock 0\nshmem 0\nfile_mapped 0\ninactive_file 12288\nactive_file 4096\n\
         slab 194576\npgfault 1146\nthp_fault_alloc 0\n",
    ),
    ("pids.current", "3\n"),
    ("pids.max", "100\n"),
    (
        "io.stat",
        "8:0 8:16 254:0 rbytes=16842752 wbytes=16777216 rios=20 wios=16 dbytes=0 dios=0\n7:0\n",
    ),
];

fn count(operation: &str, value: u64) -> BlockCount {
    BlockCount {
        major: 254,
        minor: 0,
        operation: operation.to_owned(),
        value,
    }
}

fn detail(memory: &Memory, key: &str) -> Option<u64> {
    let found = memory.details.iter().find(|(name, _)| *name == key);
    found.map(|(_, value)| *value)
}

#[test]
fn version_1_is_read_from_a_directory_for_each_controller() {
    let root = tempfile::tempdir().unwrap();
    let accounts = Accounts::V1(Box::new(v1(root.path())));
    let usage = accounts.read().unwrap().unwrap();
    assert_eq!(usage.version, CgroupVersion::V1);
    let cpu = Cpu {
        total_ns: 1_184_046_585_315,
        user_ns: 1_031_320_000_000,
        kernel_ns: 152_710_000_000,
        by_processor_ns: vec![582_648_224_347, 601_398_360_968],
        periods: 7,
        throttled_periods: 3,
        throttled_ns: 1_200_345,
    };
    assert_eq!(usage.cpu, Some(cpu));
    let memory = usage.memory.unwrap();
    assert_eq!(memory.usage_bytes, 565_248);
    assert_eq!(memory.peak_bytes, Some(4_087_808));
    assert_eq!(memory.limit_bytes, 9_223_372_036_854_771_712);
    assert_eq!(memory.failures, 4);
    assert_eq!(memory.details.len(), 32);
    assert!(memory.details.is_sorted());
    assert_eq!(detail(&memory, "cache"), Some(11_030_528));
    assert_eq!(detail(&memory, "total_inactive_file"), Some(5_757_157_376));
    assert_eq!(detail(&memory, "writeback"), Some(0));
    assert_eq!(detail(&memory, "shmem"), None, "Docker does not show it");
    let pids = Pids {
        current: 1,
        limit: None,
    };
    assert_eq!(usage.pids, Some(pids));
    let block = usage.block.unwrap();
    let bytes = [
        ("Read", 16_842_752),
        ("Write", 16_777_216),
        ("Total", 33_619_968),
    ];
    assert_eq!(block.bytes, bytes.map(|(op, n)| count(op, n)));
    let operations = [("Read", 20), ("Write", 16), ("Total", 36)];
    assert_eq!(block.operations, operations.map(|(op, n)| count(op, n)));
}

#[test]
fn version_2_is_read_from_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = files(&root.path().join(ID), V2);
    let usage = Accounts::V2(Some(dir)).read().unwrap().unwrap();
    assert_eq!(usage.version, CgroupVersion::V2);
    let cpu = Cpu {
        total_ns: 2_500_001_000,
        user_ns: 2_000_000_000,
        kernel_ns: 500_001_000,
        by_processor_ns: vec![],
        periods: 10,
        throttled_periods: 4,
        throttled_ns: 900_000,
    };
    assert_eq!(usage.cpu, Some(cpu));
    let memory = usage.memory.unwrap();
    assert_eq!(memory.usage_bytes, 905_216);
    assert_eq!(memory.peak_bytes, None);
    assert_eq!(memory.limit_bytes, u64::MAX);
    assert_eq!(memory.failures, 2, "oom, not oom_kill and not max");
    assert_eq!(memory.details.len(), 31);
    assert!(memory.details.is_sorted());
    assert_eq!(detail(&memory, "inactive_file"), Some(12_288));
    assert_eq!(detail(&memory, "anon"), Some(245_760));
    assert_eq!(detail(&memory, "workingset_refault"), Some(0));
    let pids = Pids {
        current: 3,
        limit: Some(100),
    };
    assert_eq!(usage.pids, Some(pids));
    let block = usage.block.unwrap();
    let bytes = [("read", 16_842_752), ("write", 16_777_216)];
    assert_eq!(block.bytes, bytes.map(|(op, n)| count(op, n)));
    assert!(block.operations.is_empty());
}

#[test]
fn a_scheduler_that_counts_is_asked_where_nothing_is_throttled() {
    let root = tempfile::tempdir().unwrap();
    let dir = files(
        root.path(),
        &[
            ("blkio.throttle.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.throttle.io_serviced_recursive", "Total 0\n"),
            (
                "blkio.bfq.io_service_bytes_recursive",
                "254:0 Read 512\nTotal 512\n",
            ),
            ("blkio.bfq.io_serviced_recursive", "254:0 Read 1\nTotal 1\n"),
        ],
    );
    let dirs = Directories {
        blkio: Some(dir),
        ..Directories::default()
    };
    let usage = Accounts::V1(Box::new(dirs)).read().unwrap().unwrap();
    let block = usage.block.unwrap();
    assert_eq!(block.bytes, [count("Read", 512)]);
    assert_eq!(block.operations, [count("Read", 1)]);
    assert_eq!((usage.cpu, usage.memory, usage.pids), (None, None, None));
}

#[test]
fn what_is_not_counted_is_missing_and_a_cgroup_that_vanishes_is_none() {
    let root = tempfile::tempdir().unwrap();
    for name in ["cpu", "cpuacct", "memory", "pids", "blkio"] {
        let mut dirs = v1(root.path());
        fs::remove_dir_all(root.path().join(name)).unwrap();
        assert_eq!(Accounts::V1(Box::new(dirs.clone())).read().unwrap(), None);
        fs::create_dir(root.path().join(name)).unwrap();
        let read = Accounts::V1(Box::new(dirs.clone())).read();
        assert!(
            read.unwrap().is_some(),
            "an empty {name} is no reason to give up"
        );
        dirs.cpuacct = None;
        assert!(Accounts::V1(Box::new(dirs)).read().unwrap().is_some());
    }
    for name in [
        "cpu.stat",
        "memory.current",
        "memory.stat",
        "pids.max",
        "io.stat",
    ] {
        let dir = files(&root.path().join(ID), V2);
        fs::remove_file(dir.join(name)).unwrap();
        let usage = Accounts::V2(Some(dir)).read().unwrap().unwrap();
        assert_eq!(usage.cpu.is_none(), name == "cpu.stat");
        assert_eq!(usage.memory.is_none(), name == "memory.current");
        assert_eq!(usage.block.is_none(), name == "io.stat");
    }
    let gone = root.path().join("gone");
    assert_eq!(Accounts::V2(Some(gone)).read().unwrap(), None);
    let none = Accounts::V2(None).read().unwrap().unwrap();
    assert_eq!(none, nothing());
}

#[test]
fn a_containers_cgroup_is_the_topmost_with_its_id() {
    let member = |path: &str| Membership {
        controllers: Vec::new(),
        path: PathBuf::from(path.replace("ID", ID)),
    };
    let own = |paths: &[&str]| {
        let all = paths.iter().map(|path| member(path)).collect();
        let own = of_container(all, ID);
        let path = |own: &Membership| own.path.display().to_string().replace(ID, "ID");
        own.iter().map(path).collect::<Vec<_>>()
    };
    for (path, wanted) in [
        ("/docker/ID", "/docker/ID"),
        ("/docker/ID/init.scope", "/docker/ID"),
        ("/a.slice/moored-ID.scope/a/b", "/a.slice/moored-ID.scope"),
        ("/docker/ID/docker/other", "/docker/ID"),
        ("/docker/ID/moored/ID", "/docker/ID"),
        ("/user.slice/x", "/user.slice/x"),
    ] {
        assert_eq!(own(&[path]), [wanted]);
    }
    assert_eq!(own(&["/", "/docker/ID", "/system.slice"]), ["/docker/ID"]);
    // Of a process that has ended.
    assert!(own(&["/", "/"]).is_empty());
}

#[test]
fn a_process_that_has_ended_is_counted_nowhere() {
    let hybrid = "\
25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:24 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
29 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    let host = super::super::mounts::parse_mountinfo(hybrid);
    let member = |controllers: &[&str], path: &str| Membership {
        controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        path: PathBuf::from(path.replace("ID", ID)),
    };
    let own = |v1: &str| {
        let all = vec![
            member(&["cpu", "cpuacct"], v1),
            member(&["pids"], v1),
            // The kernel remembers this one alone.
            member(&[], "/docker/ID"),
        ];
        host.accounts_at(&of_container(all, ID))
    };
    assert_eq!(own("/"), None);
    let Some(Accounts::V1(dirs)) = own("/docker/ID") else {
        panic!("it is counted");
    };
    let dir = |name: &str| Some(PathBuf::from(format!("/sys/fs/cgroup/{name}/docker/{ID}")));
    assert_eq!(
        (dirs.cpu, dirs.cpuacct),
        (dir("cpu,cpuacct"), dir("cpu,cpuacct"))
    );
    assert_eq!((dirs.pids, dirs.memory), (dir("pids"), None));
}

/// Against the kernel: a child that burns and remembers, in a cgroup of its own with one below.
#[test]
fn a_real_process_is_counted_with_those_below() {
    let host = Hierarchies::detect().unwrap();
    let name = format!("moored-accounts-{}", std::process::id());
    let (path, below) = (PathBuf::from(&name), Path::new(&name).join("below"));
    let script = "while :; do :; done";
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .spawn()
        .unwrap();
    let pid = Pid::new(i64::from(child.id())).unwrap();
    host.place(&path, pid).unwrap();
    host.place(&below, pid).unwrap();
    let init = proc::process_ref(pid).unwrap().unwrap();
    // A process that had the pid before is not this one.
    let earlier = ProcessRef {
        start_ticks: init.start_ticks - 1,
        ..init
    };
    assert_eq!(host.accounts(&earlier, &name).unwrap(), None);
    let accounts = host.accounts(&init, &name).unwrap().unwrap();
    let used = || accounts.read().unwrap().unwrap();
    while used().cpu.unwrap().total_ns < 20_000_000 {
        std::thread::yield_now();
    }
    let usage = used();
    if let Some(pids) = usage.pids {
        assert_eq!(pids.current, 1);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    host.remove_if_empty(&below).unwrap();
    assert_eq!(accounts.read().unwrap(), None);
    assert_eq!(host.accounts(&init, &name).unwrap(), None);
}
