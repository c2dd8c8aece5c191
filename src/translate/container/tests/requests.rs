//! What real clients send becomes what they mean.

use std::collections::BTreeMap;

use model::container::Seccomp;
use model::mount::Propagation;
use model::{
    Device, IpcMode, LogConfig, LogDriver, Mount, MountSource, NamespaceMode, NetworkMode, PidMode,
    ReadOnlyReach, Resources, RestartPolicy, Signal, Ulimit, VolumeOptions,
};
use serde_json::{Value, json};

use super::{create, translate, translate_as, translate_with, with};
use crate::container::log_default;
use wire::version::{ApiVersion, NEWEST};

const RUN_RM: &str = include_str!("../fixtures/docker-cli-28.2.2/run-rm.json");
const FULL: &str = include_str!("../fixtures/docker-cli-28.2.2/create-full.json");
const PRIVILEGED: &str = include_str!("../fixtures/docker-cli-28.2.2/create-privileged.json");
const RESTART: &str = include_str!("../fixtures/docker-cli-28.2.2/run-restart.json");
const DOCKER_PY: &str = include_str!("../fixtures/docker-py-7.1.0/create.json");

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn docker_run_rm() {
    let translated = translate(RUN_RM).unwrap();
    assert!(translated.warnings.is_empty());
    let create = translated.create;
    assert_eq!(create.name, None);
    assert_eq!(create.image, "busybox");
    assert_eq!(create.stop_signal, None);
    let spec = create.spec;
    assert_eq!(spec.cmd, Some(strings(&["echo", "hi"])));
    assert_eq!(spec.entrypoint, None);
    assert!(spec.auto_remove);
    assert_eq!(spec.network, NetworkMode::Default);
    assert_eq!(spec.resources, Resources::default());
    assert_eq!(spec.shm_size_bytes, None);
    assert!(
        spec.mounts.is_empty()
            && create.anonymous_volumes.is_empty()
            && create.declared_volumes.is_empty()
    );
}

#[test]
fn docker_create_with_everything() {
    let create = translate(FULL).unwrap().create;
    assert_eq!(create.stop_signal, Some("INT".parse().unwrap()));
    let asked: Vec<&str> = create
        .anonymous_volumes
        .iter()
        .map(|v| v.destination.as_str())
        .collect();
    assert_eq!(
        (asked, create.declared_volumes),
        (vec!["/mv"], strings(&["/anon"]))
    );
    let spec = create.spec;
    assert_eq!(spec.entrypoint, Some(strings(&["/bin/sh"])));
    assert_eq!(spec.env, ["A=b"]);
    assert_eq!(
        (spec.user.as_str(), spec.working_dir.as_str()),
        ("1:2", "/w")
    );
    assert_eq!(spec.group_add, ["5"]);
    assert_eq!(spec.hostname, "h");
    assert_eq!(
        spec.labels,
        BTreeMap::from([("l".to_owned(), "v".to_owned())])
    );
    assert!(spec.open_stdin && spec.stdin_once && !spec.tty);
    assert_eq!(spec.stop_timeout_s, Some(3));
    assert_eq!(spec.runtime.as_deref(), Some("crun"));
    assert_eq!(spec.network, NetworkMode::None);
    assert_eq!(spec.pid_mode, PidMode::Host);
    assert_eq!(spec.ipc_mode, IpcMode::Private);
    assert_eq!(spec.cgroupns_mode, Some(NamespaceMode::Private));
    assert!(spec.read_only_rootfs && spec.no_new_privileges && spec.init);
    assert_eq!(spec.shm_size_bytes, Some(1 << 20));
    assert_eq!(
        (spec.cap_add, spec.cap_drop),
        (strings(&["NET_ADMIN"]), strings(&["ALL"]))
    );
    assert_eq!(spec.seccomp, Seccomp::Unconfined);
    assert_eq!(spec.sysctls["net.ipv4.ip_forward"], "1");
    assert_eq!(
        spec.devices,
        [Device {
            path_on_host: "/dev/null".to_owned(),
            path_in_container: "/dev/x".to_owned(),
            permissions: "rw".to_owned(),
        }]
    );
    assert_eq!(
        spec.ulimits,
        [Ulimit {
            name: "nofile".to_owned(),
            soft: 10,
            hard: 20,
        }]
    );
    assert_eq!(
        spec.resources,
        Resources {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(-1),
            nano_cpus: Some(1_500_000_000),
            pids_limit: Some(100),
            oom_score_adj: 5,
            ..Resources::default()
        }
    );
    assert_eq!(
        (spec.extra_hosts, spec.dns),
        (strings(&["a:1.2.3.4"]), strings(&["1.1.1.1"]))
    );
    assert_eq!(spec.log.driver, LogDriver::Local);
    assert_eq!(spec.annotations["a"], "b");
}

#[test]
fn every_kind_of_mount() {
    let mounts = translate(FULL).unwrap().create.spec.mounts;
    let mount = |source, destination: &str, read_only, mode: &str| Mount {
        source,
        destination: destination.to_owned(),
        read_only,
        propagation: Propagation::Unset,
        mode: mode.to_owned(),
    };
    let bind = |path: &str, create_missing| MountSource::Bind {
        path: path.to_owned(),
        create_missing,
        non_recursive: false,
        reach: ReadOnlyReach::default(),
    };
    let tmpfs = |size_bytes, mode| MountSource::Tmpfs {
        size_bytes: Some(size_bytes),
        mode,
        options: Vec::new(),
    };
    let named = MountSource::Volume {
        name: "named".parse().unwrap(),
        anonymous: false,
        no_copy: false,
        options: VolumeOptions::default(),
    };
    assert_eq!(
        mounts,
        [
            mount(tmpfs(65_536, None), "/run", false, ""),
            mount(bind("/host", true), "/ctr", true, "ro"),
            mount(named, "/data", false, "z"),
            mount(tmpfs(1 << 20, Some(0o1770)), "/t", false, ""),
            mount(bind("/a", false), "/b", true, ""),
        ]
    );
}

#[test]
fn privileged_masks_nothing_and_is_not_labelled() {
    let create = translate(PRIVILEGED).unwrap().create;
    assert!(create.spec.privileged);
    // `systempaths=unconfined` is the CLI's spelling of two empty lists.
    assert_eq!(create.spec.masked_paths, Some(Vec::new()));
    assert_eq!(create.spec.readonly_paths, Some(Vec::new()));
    let echo: Value = serde_json::from_slice(&create.echo).unwrap();
    assert_eq!(echo["HostConfig"]["SecurityOpt"], json!(["label=disable"]));
    let plain = translate(r#"{"Image":"x","HostConfig":{"Privileged":true}}"#).unwrap();
    assert_eq!(plain.create.spec.masked_paths, None);
}

#[test]
fn restart_policies_of_every_name() {
    let policy = |name: &str, retries: u32| {
        let policy = json!({"Name": name, "MaximumRetryCount": retries});
        let body = json!({"Image": "x", "HostConfig": {"RestartPolicy": policy}});
        translate(&body.to_string())
            .unwrap()
            .create
            .spec
            .restart_policy
    };
    let on_failure = |max_retries| RestartPolicy::OnFailure { max_retries };
    for (name, retries, wanted) in [
        ("", 0, RestartPolicy::No),
        ("no", 0, RestartPolicy::No),
        ("always", 0, RestartPolicy::Always),
        ("unless-stopped", 0, RestartPolicy::UnlessStopped),
        ("on-failure", 0, on_failure(None)),
        ("on-failure", 3, on_failure(Some(3))),
    ] {
        assert_eq!(policy(name, retries), wanted, "{name}");
    }
    // What the CLI sends.
    let create = translate(RESTART).unwrap().create;
    assert_ne!(create.spec.restart_policy, RestartPolicy::No);
}

#[test]
fn docker_py_and_nulls_everywhere() {
    assert!(translate_as(DOCKER_PY, ApiVersion::v1(45)).is_ok());
    // A client that sends every field it knows, most of them `null` (docker-java).
    let mut body: Value = serde_json::from_str(FULL).unwrap();
    let nothing = |object: &mut Value| {
        for value in object.as_object_mut().unwrap().values_mut() {
            *value = Value::Null;
        }
    };
    nothing(&mut body["HostConfig"]);
    let host = body["HostConfig"].clone();
    nothing(&mut body);
    body["HostConfig"] = host;
    body["Image"] = json!("busybox");
    let nulls = translate(&body.to_string()).unwrap().create;
    let absent = translate(r#"{"Image":"busybox"}"#).unwrap().create;
    assert_eq!(nulls.spec, absent.spec);
    assert_eq!(nulls.echo, absent.echo);
}

#[test]
fn unknown_fields_are_ignored_and_a_string_is_a_list_of_one() {
    let body = r#"{"Image":"busybox","Cmd":"ls","NoSuch":{"a":[1]},"HostConfig":{"Nor":1,
        "CapAdd":"chown"},"NetworkingConfig":{"EndpointsConfig":{"bridge":null}}}"#;
    let spec = translate(body).unwrap().create.spec;
    assert_eq!(spec.cmd, Some(strings(&["ls"])));
    assert_eq!(spec.cap_add, ["CHOWN"]);
}

#[test]
fn the_operators_log_options_are_those_of_the_same_driver() {
    let options =
        BTreeMap::from([("max-size", "1m"), ("max-file", "2")].map(|(k, v)| (k.into(), v.into())));
    let default = log_default("local", options).unwrap();
    let log = |config: Value| {
        let body = with("HostConfig.LogConfig", &config);
        let created = translate_with(&body, NEWEST, &default).unwrap().create;
        let echo: Value = serde_json::from_slice(&created.echo).unwrap();
        let shown = echo["HostConfig"]["LogConfig"].clone();
        assert_eq!(shown["Type"], created.spec.log.driver.as_str());
        shown
    };
    let both = json!({"Type": "local", "Config": {"max-size": "1m", "max-file": "2"}});
    assert_eq!(log(json!({})), both);
    assert_eq!(log(json!({"Type": "local", "Config": null})), both);
    assert_eq!(
        log(json!({"Config": {"max-size": "9k"}}))["Config"]["max-size"],
        "9k"
    );
    let other = json!({"Type": "json-file", "Config": {}});
    assert_eq!(log(json!({"Type": "json-file"})), other);
    assert!(log_default("nosuch", BTreeMap::new()).is_err());
}

#[test]
fn names_and_platforms() {
    let request = || serde_json::from_str(r#"{"Image":"x"}"#).unwrap();
    let plain_log = LogConfig::default();
    let named = create(request(), Some("/web"), Some("linux"), NEWEST, &plain_log).unwrap();
    assert_eq!(
        named.create.name.as_deref(),
        Some("/web"),
        "the engine judges it"
    );
    assert_eq!(
        create(request(), Some(""), None, NEWEST, &plain_log)
            .unwrap()
            .create
            .name,
        None
    );
    let platform = |text, version| {
        let created = create(request(), None, Some(text), version, &plain_log);
        created.map(|c| c.create.platform.map(|p| p.to_string()))
    };
    let arm = platform("aarch64", NEWEST).unwrap();
    assert_eq!(arm.as_deref(), Some("linux/arm64"));
    assert_eq!(platform("", NEWEST).unwrap(), None);
    assert!(platform("linux/*", NEWEST).is_err());
    // Before 1.41 the parameter did not exist.
    assert_eq!(platform("linux/*", ApiVersion::v1(40)).unwrap(), None);
}

#[test]
fn a_field_means_what_it_meant_in_its_version() {
    let echo = |body: &str, minor| -> Value {
        let create = translate_as(body, ApiVersion::v1(minor)).unwrap().create;
        serde_json::from_slice::<Value>(&create.echo).unwrap()["HostConfig"].take()
    };
    let plain = r#"{"Image":"x"}"#;
    assert_eq!(echo(plain, 39)["IpcMode"], "shareable");
    assert_eq!(echo(plain, 40)["IpcMode"], "private");
    let sized = with("HostConfig.ConsoleSize", &json!([24, 80]));
    assert_eq!(echo(&sized, 41)["ConsoleSize"], json!([0, 0]));
    assert_eq!(echo(&sized, 42)["ConsoleSize"], json!([24, 80]));
    let noted = with("HostConfig.Annotations", &json!({"a": "b"}));
    assert_eq!(echo(&noted, 42).get("Annotations"), None);
    assert_eq!(echo(&noted, 43)["Annotations"], json!({"a": "b"}));
    let removed = with("HostConfig.AutoRemove", &json!(true));
    assert_eq!(echo(&removed, 24)["AutoRemove"], false);
    assert_eq!(echo(&removed, 25)["AutoRemove"], true);

    let misplaced = with(
        "HostConfig.Mounts",
        &json!([{"Type": "tmpfs", "Target": "/t", "VolumeOptions": {"NoCopy": true}}]),
    );
    assert!(translate_as(&misplaced, ApiVersion::v1(41)).is_ok());
    assert_eq!(
        translate(&misplaced).unwrap_err().message(),
        "VolumeOptions must not be specified on mount type \"tmpfs\""
    );
}

#[test]
fn memory_without_swap_gets_as_much_again() {
    let body = with("HostConfig.Memory", &json!(64 << 20));
    let resources = translate(&body).unwrap().create.spec.resources;
    assert_eq!(resources.memory_swap_bytes, Some(128 << 20));
    assert_eq!(Signal::default(), Signal::TERM);
}

#[test]
fn volumes_are_asked_for_with_all_their_options() {
    let options = json!({"NoCopy": true, "Labels": {"a": "b"}, "Subpath": "in/it",
        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}});
    let mut unnamed = options.clone();
    unnamed["Subpath"] = json!("");
    let body = json!({"Image": "x", "HostConfig": {
        "VolumeDriver": "other",
        "VolumesFrom": ["one", "two:ro,z"],
        "Binds": ["data:/d"],
        "Mounts": [
            {"Type": "volume", "Source": "vol", "Target": "/v", "VolumeOptions": options},
            {"Type": "volume", "Target": "/u", "VolumeOptions": unnamed},
        ],
    }});
    let create = translate(&body.to_string()).unwrap().create;
    let from = create.volumes_from.iter();
    let from: Vec<_> = from
        .map(|from| (from.container.as_str(), from.read_only))
        .collect();
    assert_eq!(from, [("one", false), ("two", true)]);
    let asked = |mount: &Mount| match &mount.source {
        MountSource::Volume {
            no_copy, options, ..
        } => (*no_copy, options.clone()),
        other => panic!("{other:?}"),
    };
    let (_, data) = asked(&create.spec.mounts[0]);
    let drivers = (data.driver.as_str(), create.volume_driver.as_str());
    assert_eq!(drivers, ("other", "other"));
    let (no_copy, vol) = asked(&create.spec.mounts[1]);
    assert!(no_copy && vol.driver == "local" && vol.labels["a"] == "b");
    assert_eq!(vol.driver_options["type"], "tmpfs");
    assert_eq!(vol.subpath.as_deref(), Some("in/it"));
    let unnamed = &create.anonymous_volumes[0];
    assert!(unnamed.no_copy && unnamed.mode == "z" && unnamed.options.subpath.is_none());
    assert_eq!(unnamed.options.labels, vol.labels);
}

#[test]
fn until_1_43_read_only_was_said_of_one_mount() {
    let body = json!({"Image": "x", "HostConfig": {"Binds": ["/a:/a:ro", "/b:/b"],
        "Mounts": [{"Type": "bind", "Source": "/c", "Target": "/c", "ReadOnly": true}]}});
    let reaches = |version| {
        let create = translate_as(&body.to_string(), version).unwrap().create;
        let reach = |mount: &Mount| match mount.source {
            MountSource::Bind { reach, .. } => reach,
            _ => panic!("{mount:?}"),
        };
        create.spec.mounts.iter().map(reach).collect::<Vec<_>>()
    };
    let (top, most) = (ReadOnlyReach::Top, ReadOnlyReach::WherePossible);
    assert_eq!(reaches(ApiVersion::v1(43)), [top, most, top]);
    assert_eq!(reaches(NEWEST), [most; 3]);
}
