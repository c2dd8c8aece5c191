//! Whole specs against files in `golden/`, and against the oci-spec crate's idea of the format.
//!
//! A changed default shows up here as a diff to be judged. To accept it:
//! `UPDATE_GOLDEN=1 cargo test -p moored-runtime golden`.

use std::path::PathBuf;

use model::mount::Propagation;
use model::{Device, Mount, MountSource, Resources, Ulimit};
use serde_json::Value;

use super::*;

fn built(
    spec: &ContainerSpec,
    host: &HostFacts,
    devices: &[HostDevice],
    mounts: &[ResolvedMount],
) -> Built {
    let id = fixture::id();
    let user = ResolvedUser {
        uid: 0,
        gid: 0,
        additional_gids: vec![0, 10],
        home: "/root".into(),
    };
    let size = ConsoleSize {
        height: 24,
        width: 80,
    };
    let input = SpecInput {
        devices,
        mounts,
        // Only a terminal has a size: without one it is left out.
        console_size: Some(size),
        apparmor: spec.apparmor.as_deref(),
        ..fixture::input(&id, spec, &user, host)
    };
    build(&input).unwrap()
}

/// Compares with `golden/<name>.json`. The seccomp profile has a file of its own.
fn agrees(name: &str, built: &Built) {
    let mut spec: Value = serde_json::from_slice(&built.config_json).unwrap();
    assert_oci_spec_reads_it(&spec);
    if let Some(seccomp) = spec.pointer_mut("/linux/seccomp") {
        let profile = seccomp.take();
        if name == "plain" {
            same("seccomp", &profile);
        }
    }
    same(name, &spec);
}

fn same(name: &str, value: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(
        golden == text,
        "{} differs from what is built now:\n{text}",
        path.display()
    );
}

/// Everything we wrote must come back from the crate that models the specification.
fn assert_oci_spec_reads_it(ours: &Value) {
    let parsed: oci_spec::runtime::Spec = serde_json::from_value(ours.clone()).unwrap();
    let theirs = serde_json::to_value(parsed).unwrap();
    contained(ours, &theirs, "");
}

fn contained(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                let at = format!("{at}/{key}");
                let found = theirs.get(key).unwrap_or_else(|| panic!("{at} is lost"));
                contained(value, found, &at);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if at.starts_with("/process/capabilities") => {
            assert_eq!(ours.len(), theirs.len(), "{at}");
            assert!(ours.iter().all(|v| theirs.contains(v)), "{at}");
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{at}");
            for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                contained(ours, theirs, &format!("{at}/{i}"));
            }
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

#[test]
fn a_plain_container() {
    let built = built(&fixture::spec(), &fixture::host(), &[], &[]);
    assert_eq!(built.warnings, [""; 0]);
    agrees("plain", &built);
    assert!(
        !built.config_json.contains(&b'\n'),
        "compact: nobody reads it but a program"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (spec, host) = (fixture::spec(), fixture::host());
    assert_eq!(built(&spec, &host, &[], &[]), built(&spec, &host, &[], &[]));
}

#[test]
fn a_privileged_container() {
    let spec = ContainerSpec {
        privileged: true,
        cap_drop: vec!["CHOWN".into()],
        apparmor: Some("unconfined".into()),
        ..fixture::spec()
    };
    let host = fixture::host();
    let devices = [HostDevice {
        path: "/dev/sda".into(),
        kind: DeviceKind::Block,
        major: 8,
        minor: 0,
        mode: 0o660,
        uid: 0,
        gid: 6,
        permissions: "rwm".into(),
    }];
    agrees("privileged", &built(&spec, &host, &devices, &[]));
}

#[test]
fn ids_of_its_own_and_what_follows_from_them() {
    let maps = match model::UserNamespace::parse("u:0:100:10,g:0:200:5").unwrap() {
        model::UserNamespace::Mapped(maps) => maps,
        other => panic!("{other:?}"),
    };
    let spec = ContainerSpec {
        id_maps: Some(maps),
        ..fixture::spec()
    };
    let built = built(&spec, &fixture::host(), &[], &[]);
    let json: Value = serde_json::from_slice(&built.config_json).unwrap();
    assert_oci_spec_reads_it(&json);
    let linux = &json["linux"];
    let map = |host, size| serde_json::json!([{"containerID": 0, "hostID": host, "size": size}]);
    assert_eq!(linux["uidMappings"], map(100, 10));
    assert_eq!(linux["gidMappings"], map(200, 5));
    let kinds = linux["namespaces"].as_array().unwrap().iter();
    assert!(kinds.map(|n| &n["type"]).any(|kind| kind == "user"));
    // No group of terminals among so few, and no groups of pings.
    assert!(!json["mounts"].to_string().contains("gid=5"));
    assert!(!linux["sysctl"].to_string().contains("ping_group_range"));
}

#[test]
fn a_terminal_with_an_init_and_mounts() {
    let mount = |source, destination: &str, read_only, propagation| Mount {
        source,
        destination: destination.into(),
        read_only,
        propagation,
        mode: String::new(),
    };
    let bind = |path: &str| MountSource::Bind {
        path: path.into(),
        create_missing: true,
        non_recursive: false,
        reach: model::ReadOnlyReach::default(),
    };
    let tmpfs = MountSource::Tmpfs {
        size_bytes: Some(1 << 20),
        mode: Some(0o700),
        options: vec!["exec".into()],
    };
    let mounts = [
        (
            mount(bind("/srv/deep"), "/a/b/c", true, Propagation::RPrivate),
            "/srv/deep",
        ),
        (
            mount(bind("/srv"), "/a", false, Propagation::RSlave),
            "/srv",
        ),
        (mount(tmpfs, "/run", false, Propagation::RPrivate), ""),
        (
            mount(
                bind("/srv/hosts"),
                "/etc/hosts",
                true,
                Propagation::RPrivate,
            ),
            "/srv/hosts",
        ),
    ]
    .map(|(mount, source)| ResolvedMount {
        mount,
        source: source.into(),
    });
    let spec = ContainerSpec {
        tty: true,
        init: true,
        read_only_rootfs: true,
        working_dir: "/srv/app".into(),
        domainname: "nis.example".into(),
        shm_size_bytes: Some(1 << 20),
        no_new_privileges: true,
        annotations: [("org.example.a".to_owned(), "1".to_owned())].into(),
        ..fixture::spec()
    };
    let mut host = fixture::host();
    host.recursive_read_only = false;
    agrees("terminal", &built(&spec, &host, &[], &mounts));
}

fn limited() -> ContainerSpec {
    ContainerSpec {
        resources: Resources {
            memory_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids_limit: Some(100),
            oom_score_adj: -500,
            oom_kill_disable: true,
            ..Resources::default()
        },
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 100,
            hard: 1_000_000,
        }],
        devices: vec![Device {
            path_on_host: "/dev/full".into(),
            path_in_container: "/dev/x".into(),
            permissions: "r".into(),
        }],
        ..fixture::spec()
    }
}

#[test]
fn limits_on_cgroup_v1() {
    let spec = limited();
    let devices = resolve_devices(&spec).unwrap();
    let built = built(&spec, &fixture::host(), &devices, &[]);
    agrees("limits-v1", &built);
    assert_eq!(
        built.warnings,
        [
            "The ulimit nofile=100:1000000 is above what this daemon may set. Limited to 20000.",
            "The OOM score adjustment -500 is below the daemon's own and cannot be set. Raised \
             to 0.",
        ]
    );
    assert_eq!(
        built.warnings.len(),
        check(&spec, &fixture::host()).unwrap().warnings.len(),
        "create warns of what start cuts"
    );
}

#[test]
fn limits_on_cgroup_v2_without_swap_accounting() {
    let spec = limited();
    let devices = resolve_devices(&spec).unwrap();
    let mut host = fixture::host();
    host.cgroup.version = CgroupVersion::V2;
    host.cgroup.oom_kill_disable = false;
    host.cgroup.swap = false;
    host.sys_resource = true;
    let built = built(&spec, &host, &devices, &[]);
    agrees("limits-v2", &built);
    assert_eq!(
        built.warnings,
        [
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. \
             Memory limited without swap.",
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        ]
    );
}

#[test]
fn the_hosts_namespaces() {
    let host_mode = NamespaceMode::Host;
    let spec = ContainerSpec {
        network: NetworkMode::Host,
        pid_mode: PidMode::Host,
        ipc_mode: IpcMode::Host,
        uts_mode: host_mode,
        cgroupns_mode: Some(NamespaceMode::Private),
        init: true,
        seccomp: Seccomp::Unconfined,
        masked_paths: Some(vec!["/secret".into()]),
        readonly_paths: Some(Vec::new()),
        ..fixture::spec()
    };
    agrees("host-namespaces", &built(&spec, &fixture::host(), &[], &[]));
}

#[test]
fn what_cannot_be_built_is_told() {
    let (id, user, host) = (fixture::id(), ResolvedUser::default(), fixture::host());
    let mut spec = ContainerSpec {
        init: true,
        ..fixture::spec()
    };
    let mut input = fixture::input(&id, &spec, &user, &host);
    input.init_binary = None;
    let e = build(&input).unwrap_err();
    assert!(e.message().starts_with("exec: \"docker-init\""), "{e}");

    spec = ContainerSpec::default();
    let e = build(&fixture::input(&id, &spec, &user, &host)).unwrap_err();
    assert_eq!(e.message(), "no command specified");
}

#[test]
fn labels_are_of_the_process_and_of_what_is_mounted() {
    let labels = |process: &str| {
        let spec = ContainerSpec {
            selinux: Some(model::SelinuxLabels {
                process: process.to_owned(),
                mount: "u:object_r:f_t:s0:c1,c2".to_owned(),
            }),
            cmd: Some(vec!["sh".to_owned()]),
            ..ContainerSpec::default()
        };
        let built = built(&spec, &fixture::host(), &[], &[]);
        let spec: Value = serde_json::from_slice(&built.config_json).unwrap();
        assert_oci_spec_reads_it(&spec);
        assert_eq!(spec["linux"]["mountLabel"], "u:object_r:f_t:s0:c1,c2");
        spec["process"]["selinuxLabel"].clone()
    };
    assert_eq!(labels("u:r:c_t:s0:c1,c2"), "u:r:c_t:s0:c1,c2");
    assert_eq!(labels(""), Value::Null);
}
