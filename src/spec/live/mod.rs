//! Built specs, run by real OCI runtimes on a busybox root, looked at from inside.
//!
//! Needs root, `/bin/busybox` (static) and runc or crun; tests say so and pass where they are
//! missing. Everything lives in a temporary directory and one cgroup per container, which the
//! runtime removes; a guard deletes the container should a test fail halfway.

mod bundle;

use std::fs;
use std::path::{Path, PathBuf};

use bundle::{Bundle, Runtime};
use model::mount::Propagation;
use model::{Device, Mount, MountSource, Resources, Ulimit};

use super::*;

fn plain() -> ContainerSpec {
    ContainerSpec::default()
}

fn value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|l| l.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in:\n{text}"))
        .trim()
}

fn bind(source: &Path, destination: &str, read_only: bool) -> ResolvedMount {
    ResolvedMount {
        mount: Mount {
            source: MountSource::Bind {
                path: source.to_str().unwrap().into(),
                create_missing: false,
                non_recursive: false,
                reach: model::ReadOnlyReach::default(),
            },
            destination: destination.into(),
            read_only,
            propagation: Propagation::RPrivate,
            mode: String::new(),
        },
        source: source.into(),
    }
}

fn plain_container_is_confined(runtime: Runtime) {
    let Some(bundle) = Bundle::new(runtime) else {
        return;
    };
    let out = bundle.run(
        plain(),
        &[],
        "id; cat /proc/self/status; hostname; env; cat /etc/resolv.conf /etc/hostname /etc/hosts
         unshare -U true 2>/dev/null && echo UNSHARED
         mount -t tmpfs t /tmp 2>/dev/null && echo MOUNTED
         echo kcore $(head -c 8 /proc/kcore | wc -c)
         p=$(cat /proc/sys/kernel/panic)
         (echo $p >/proc/sys/kernel/panic) 2>/dev/null && echo WROTE-PROC-SYS
         mkdir /sys/fs/cgroup/*/x 2>/dev/null && echo WROTE-CGROUP
         touch /sys/x 2>/dev/null && echo WROTE-SYS
         dd if=/dev/mem of=/dev/null count=1 2>/dev/null && echo READ-MEM
         echo null >/dev/null && echo NULL-WORKS
         echo pids $(ls /proc | grep -c '^[0-9]')
         grep -c . /proc/net/dev",
    );
    assert!(
        out.contains("uid=0(root) gid=0(root) groups=0(root)"),
        "{out}"
    );
    let default = CapSet::docker_default().names();
    let caps = |key| CapSet::from_bits(u64::from_str_radix(value(&out, key), 16).unwrap());
    for key in ["CapBnd:", "CapEff:", "CapPrm:"] {
        assert_eq!(caps(key).names(), default, "{key}");
    }
    assert!(caps("CapInh:").names().is_empty() && caps("CapAmb:").names().is_empty());
    assert_eq!(value(&out, "Seccomp:"), "2");
    assert_eq!(value(&out, "NoNewPrivs:"), "0");
    for line in [
        "inside",
        "PATH=/bin",
        "HOSTNAME=inside",
        "HOME=/root",
        "the resolv.conf",
        "the hosts",
        "the hostname",
        "kcore 0",
        "NULL-WORKS",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in:\n{out}");
    }
    for forbidden in ["UNSHARED", "MOUNTED", "WROTE-", "READ-MEM", "TERM="] {
        assert!(!out.contains(forbidden), "{forbidden} in:\n{out}");
    }
}

#[test]
fn a_plain_container_is_confined_by_runc() {
    plain_container_is_confined(Runtime::Runc);
}

#[test]
fn a_plain_container_is_confined_by_crun() {
    plain_container_is_confined(Runtime::Crun);
}

fn user_and_groups(runtime: Runtime) {
    let Some(bundle) = Bundle::new(runtime) else {
        return;
    };
    let spec = ContainerSpec {
        user: "app".into(),
        group_add: vec!["77".into()],
        no_new_privileges: true,
        working_dir: "/srv/app".into(),
        ..plain()
    };
    let out = bundle.run(
        spec,
        &[],
        "id -u; id -g; id -G; pwd; env; cat /proc/self/status",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..4],
        ["1000", "1001", "1001 44 77", "/srv/app"],
        "{out}"
    );
    assert!(lines.contains(&"HOME=/srv/app"));
    assert_eq!(value(&out, "CapEff:"), "0000000000000000");
    assert_eq!(value(&out, "CapPrm:"), "0000000000000000");
    assert_eq!(value(&out, "NoNewPrivs:"), "1");
    assert_eq!(value(&out, "Seccomp:"), "2");
}

#[test]
fn a_named_user_with_groups_has_no_capabilities_under_runc() {
    user_and_groups(Runtime::Runc);
}

#[test]
fn a_named_user_with_groups_has_no_capabilities_under_crun() {
    user_and_groups(Runtime::Crun);
}

fn privileged(runtime: Runtime) {
    let Some(bundle) = Bundle::new(runtime) else {
        return;
    };
    let spec = ContainerSpec {
        privileged: true,
        ..plain()
    };
    let out = bundle.run(
        spec,
        &[],
        "cat /proc/self/status; unshare -m true && echo UNSHARED
         mount -t tmpfs t /tmp && echo MOUNTED
         grep -E ' /sys(/fs/cgroup)? ' /proc/mounts | awk '{print \"mount\", $2, $4}'
         test -c /dev/mem && echo HAS-MEM; test -c /dev/fuse && echo HAS-FUSE
         echo kcore $(ls -l /proc/kcore | grep -c '^c')",
    );
    let bounding = u64::from_str_radix(value(&out, "CapEff:"), 16).unwrap();
    assert_eq!(CapSet::from_bits(bounding), bundle.host.bounding);
    assert_eq!(value(&out, "Seccomp:"), "0");
    assert!(out.contains("UNSHARED") && out.contains("MOUNTED"), "{out}");
    assert!(value(&out, "mount /sys ").starts_with("rw"), "{out}");
    assert!(out.contains("kcore 0"), "masked: {out}");
    for (word, path) in [("HAS-MEM", "/dev/mem"), ("HAS-FUSE", "/dev/fuse")] {
        assert_eq!(
            out.contains(word),
            Path::new(path).exists(),
            "{path}: {out}"
        );
    }
}

#[test]
fn privileged_is_all_the_daemon_has_under_runc() {
    privileged(Runtime::Runc);
}

#[test]
fn privileged_is_all_the_daemon_has_under_crun() {
    privileged(Runtime::Crun);
}

fn limits(runtime: Runtime) {
    let Some(bundle) = Bundle::new(runtime) else {
        return;
    };
    let spec = ContainerSpec {
        resources: Resources {
            memory_bytes: Some(64 << 20),
            pids_limit: Some(50),
            nano_cpus: Some(500_000_000),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".into()),
            oom_score_adj: 300,
            ..Resources::default()
        },
        ulimits: vec![
            Ulimit {
                name: "nofile".into(),
                soft: 123,
                hard: -1,
            },
            Ulimit {
                name: "core".into(),
                soft: 0,
                hard: 0,
            },
        ],
        shm_size_bytes: Some(1 << 20),
        ..plain()
    };
    let files = if bundle.v1() {
        "memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares \
         cpuset/cpuset.cpus"
    } else {
        "memory.max pids.max cpu.max cpu.weight cpuset.cpus"
    };
    let script = format!(
        "ulimit -n; ulimit -c; cat /proc/self/oom_score_adj; grep ' /dev/shm ' /proc/mounts
         cd /sys/fs/cgroup; cat {files}"
    );
    let out = bundle.run(spec, &[], &script);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["123", "0", "300"], "{out}");
    assert!(lines[3].contains("size=1024k"), "{out}");
    let limits = if bundle.v1() {
        ["67108864", "50", "50000", "512", "0"]
    } else {
        ["67108864", "50", "50000 100000", "20", "0"]
    };
    assert_eq!(lines[4..], limits, "{out}");
}

#[test]
fn limits_reach_the_cgroup_under_runc() {
    limits(Runtime::Runc);
}

#[test]
fn limits_reach_the_cgroup_under_crun() {
    limits(Runtime::Crun);
}

#[test]
fn mounts_are_where_and_how_they_were_asked_for() {
    let Some(bundle) = Bundle::new(Runtime::Runc) else {
        return;
    };
    let source = bundle.dir.path().join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("file"), "bound\n").unwrap();
    let tmpfs = ResolvedMount {
        mount: Mount {
            source: MountSource::Tmpfs {
                size_bytes: Some(1 << 20),
                mode: Some(0o710),
                options: vec!["exec".into()],
            },
            ..bind(&source, "/scratch", false).mount
        },
        source: PathBuf::new(),
    };
    let spec = ContainerSpec {
        read_only_rootfs: true,
        init: true,
        ..plain()
    };
    let out = bundle.run(
        spec,
        &[
            bind(&source.join("file"), "/rw/below/file", true),
            bind(&source, "/ro", true),
            bind(&source, "/rw", false),
            tmpfs,
        ],
        "cat /ro/file /rw/below/file; touch /ro/x 2>/dev/null && echo WROTE-RO
         touch /x 2>/dev/null && echo WROTE-ROOT; touch /rw/made && echo WROTE-RW
         touch /rw/below/file 2>/dev/null && echo WROTE-FILE
         ls -ld /scratch; grep ' /scratch ' /proc/mounts; head -c 28 /proc/1/cmdline | tr '\\0' ' '; echo
         touch /etc/hosts 2>/dev/null && echo WROTE-HOSTS; exit 0",
    );
    assert!(source.join("made").exists());
    assert_eq!(out.matches("bound").count(), 2, "{out}");
    for forbidden in [
        "WROTE-RO\n",
        "WROTE-ROOT",
        "WROTE-FILE",
        "WROTE-HOSTS",
        "noexec",
    ] {
        assert!(!out.contains(forbidden), "{forbidden} in:\n{out}");
    }
    assert!(
        out.contains("drwx--x---") && out.contains("size=1024k"),
        "{out}"
    );
    assert!(out.contains("/sbin/docker-init -- sh -c "), "{out}");
}

#[test]
fn shared_namespaces_are_the_hosts() {
    let Some(bundle) = Bundle::new(Runtime::Runc) else {
        return;
    };
    let script = "for n in pid ipc uts net mnt; do readlink /proc/self/ns/$n; done";
    let own: Vec<String> = ["pid", "ipc", "uts", "net", "mnt"]
        .map(|n| {
            let link = fs::read_link(format!("/proc/self/ns/{n}")).unwrap();
            link.to_str().unwrap().to_owned()
        })
        .into();
    let private = bundle.run(plain(), &[], script);
    assert!(private.lines().zip(&own).all(|(inside, own)| inside != own));
    let shared = bundle.run(
        ContainerSpec {
            pid_mode: PidMode::Host,
            ipc_mode: IpcMode::Host,
            uts_mode: NamespaceMode::Host,
            network: NetworkMode::Host,
            ..plain()
        },
        &[],
        script,
    );
    let shared: Vec<&str> = shared.lines().collect();
    assert_eq!(shared[..4], own[..4]);
    assert_ne!(shared[4], own[4], "mounts are always the container's own");
}

#[test]
fn a_cgroup_namespace_is_made_where_docker_makes_one() {
    let Some(bundle) = Bundle::new(Runtime::Runc) else {
        return;
    };
    let own = fs::read_link("/proc/self/ns/cgroup").unwrap();
    let inside = |mode| {
        let spec = ContainerSpec {
            cgroupns_mode: mode,
            ..plain()
        };
        let out = bundle.run(spec, &[], "readlink /proc/self/ns/cgroup");
        Path::new(out.trim()) == own
    };
    assert_eq!(inside(None), bundle.v1());
    assert!(!inside(Some(NamespaceMode::Private)));
    assert!(inside(Some(NamespaceMode::Host)));
}

#[test]
fn devices_and_sysctls_are_given() {
    let Some(bundle) = Bundle::new(Runtime::Runc) else {
        return;
    };
    let spec = ContainerSpec {
        devices: vec![Device {
            path_on_host: "/dev/full".into(),
            path_in_container: "/dev/brim".into(),
            permissions: "r".into(),
        }],
        sysctls: [("kernel.shmmni".to_owned(), "77".to_owned())].into(),
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["MKNOD".into()],
        ..plain()
    };
    let out = bundle.run(
        spec,
        &[],
        "head -c 3 /dev/brim | wc -c; (echo x >/dev/brim) 2>/dev/null && echo WROTE
         cat /proc/sys/kernel/shmmni; cat /proc/self/status
         mknod /dev/y c 1 3 2>/dev/null && echo MADE-NODE
         echo port $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)",
    );
    assert!(out.starts_with("3\n77\n"), "{out}");
    assert!(
        !out.contains("WROTE") && !out.contains("MADE-NODE"),
        "{out}"
    );
    let caps = CapSet::from_bits(u64::from_str_radix(value(&out, "CapEff:"), 16).unwrap());
    assert!(caps.contains("CAP_NET_ADMIN") && !caps.contains("CAP_MKNOD"));
    if bundle
        .host
        .default_sysctls
        .contains(&DefaultSysctl::UnprivilegedPortStart)
    {
        assert_eq!(value(&out, "port "), "0");
    }
}

#[test]
fn a_terminal_is_one() {
    let Some(bundle) = Bundle::new(Runtime::Runc) else {
        return;
    };
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("skipped: no script(1)");
        return;
    }
    let spec = ContainerSpec {
        tty: true,
        ..plain()
    };
    let output = bundle.output(
        spec,
        &[],
        "echo $TERM; test -t 0 && test -t 1 && echo TTY",
        true,
    );
    let out = String::from_utf8_lossy(&output.stdout);
    for word in ["xterm", "TTY"] {
        assert!(out.contains(word), "{word} in:\n{out}");
    }
}
