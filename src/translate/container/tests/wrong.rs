//! What is wrong with a request is told in Docker's words.

use model::Kind;
use serde_json::json;

use super::{refusal, translate};

#[test]
fn what_is_wrong_is_told_in_dockers_words() {
    let table = [
        (
            "Config.Image",
            json!(""),
            "config cannot be empty in order to create a container",
        ),
        (
            "Config.Env",
            json!(["=x"]),
            "invalid environment variable: =x",
        ),
        ("Config.StopSignal", json!("NOPE"), "invalid signal: NOPE"),
        (
            "Config.WorkingDir",
            json!("a"),
            "the working directory 'a' is invalid, it needs to be an absolute path",
        ),
        (
            "Config.ExposedPorts",
            json!({"x/tcp": {}}),
            "invalid port specification: \"x/tcp\"",
        ),
        ("HostConfig.Binds", json!(["/a:/b:x"]), "invalid mode: x"),
        (
            "HostConfig.Binds",
            json!(["/a:/b", "/c:/b/"]),
            "Duplicate mount point: /b",
        ),
        (
            "HostConfig.CapAdd",
            json!(["nope"]),
            "invalid CapAdd: unknown capability: \"CAP_NOPE\"",
        ),
        (
            "HostConfig.CgroupnsMode",
            json!("x"),
            "invalid cgroup namespace mode: x",
        ),
        (
            "HostConfig.ExtraHosts",
            json!(["x"]),
            "bad format for add-host: \"x\"",
        ),
        (
            "HostConfig.ExtraHosts",
            json!(["x:y"]),
            "invalid IP address in add-host: \"y\"",
        ),
        (
            "HostConfig.IOMaximumBandwidth",
            json!(1),
            "Invalid QoS settings: linux does not support configuration of maximum bandwidth",
        ),
        ("HostConfig.IpcMode", json!("x"), "invalid IPC mode: x"),
        (
            "HostConfig.Isolation",
            json!("hyperv"),
            "Invalid isolation: \"hyperv\" - linux only supports 'default'",
        ),
        (
            "HostConfig.LogConfig",
            json!({"Type": "x"}),
            "logger: no log driver named 'x' is registered",
        ),
        (
            "HostConfig.LogConfig",
            json!({"Config": {"x": "y"}}),
            "unknown log opt 'x' for json-file log driver",
        ),
        (
            "HostConfig.CpuShares",
            json!(-1),
            "invalid CPU shares (-1): value must be a positive integer",
        ),
        (
            "HostConfig.CpuPeriod",
            json!(-1),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            "HostConfig.BlkioDeviceReadBps",
            json!([{"Path": "sda", "Rate": 1}]),
            "HostConfig.BlkioDeviceReadBps: \"sda\" is not an absolute path",
        ),
        (
            "HostConfig.DeviceRequests",
            json!([{"Count": -1, "Capabilities": [["gpu"]]}]),
            "could not select device driver \"\" with capabilities: [[gpu]]",
        ),
        (
            "HostConfig.DeviceRequests",
            json!([{"Driver": "nvidia", "Capabilities": [["gpu", "compute"], ["x"]]}]),
            "could not select device driver \"nvidia\" with capabilities: [[gpu compute] [x]]",
        ),
        (
            "HostConfig.DeviceRequests",
            json!([{"Driver": "cdi", "Count": 1}]),
            "unexpected count in CDI device request",
        ),
        (
            "HostConfig.DeviceRequests",
            json!([{"Driver": "cdi", "Options": {"a": "b"}}]),
            "unexpected options in CDI device request",
        ),
        (
            "HostConfig.DeviceCgroupRules",
            json!(["c 1:3 x"]),
            "invalid device cgroup rule format: 'c 1:3 x'",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "image", "Source": "x", "Target": "/t"}]),
            "Mount type \"Image\" needs API v1.48 or newer",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "npipe", "Source": "x", "Target": "/t"}]),
            "invalid mount config for type \"npipe\": mount type unknown",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "tmpfs", "Target": "/t/"}, {"Type": "volume", "Source": "vv", "Target": "/t/"}]),
            "Duplicate mount point: /t/",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "volume", "Source": "v1", "Target": "/t",
                "VolumeOptions": {"Subpath": "a/../../b"}}]),
            "invalid mount config for type \"volume\": subpath must be a relative path within the \
             volume",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "volume", "Source": "v1", "Target": "/t",
                "VolumeOptions": {"Subpath": "/a"}}]),
            "invalid mount config for type \"volume\": subpath must be a relative path within the \
             volume",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "volume", "Target": "/t", "VolumeOptions": {"Subpath": "a"}}]),
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous \
             volumes",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "bind", "Source": "/a", "Target": "/t",
                "BindOptions": {"ReadOnlyNonRecursive": true}}]),
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "bind", "Source": "/a", "Target": "/t", "ReadOnly": true,
                "BindOptions": {"ReadOnlyNonRecursive": true, "ReadOnlyForceRecursive": true}}]),
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        ),
        (
            "HostConfig.VolumesFrom",
            json!([""]),
            "volumes-from specification cannot be an empty string",
        ),
        (
            "HostConfig.VolumesFrom",
            json!([":ro"]),
            "invalid name or ID supplied: \"\"",
        ),
        (
            "HostConfig.VolumesFrom",
            json!(["x:nocopy"]),
            "invalid mode: nocopy",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "bind", "Target": "/t"}]),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            "HostConfig.Mounts",
            json!([{"Type": "volume", "Target": "/t", "ReadOnly": true}]),
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using \
             anonymous volumes",
        ),
        (
            "HostConfig.OomScoreAdj",
            json!(1001),
            "Invalid value 1001, range for oom score adj is [-1000, 1000]",
        ),
        ("HostConfig.PidMode", json!("x"), "invalid PID mode: x"),
        (
            "HostConfig.PortBindings",
            json!({"x": []}),
            "invalid port specification: \"x\"",
        ),
        (
            "HostConfig.RestartPolicy",
            json!({"Name": "x"}),
            "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'",
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["x"]),
            "invalid --security-opt 1: \"x\"",
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["x=y"]),
            "invalid --security-opt 2: \"x=y\"",
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["label=x"]),
            "Bad label option \"x\", valid options 'disable' or \n'user, role, level, type, filetype' \
             followed by ':' and a value",
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["label=x:y"]),
            "Bad label option \"x:y\", valid options 'disable' or \n'user, role, level, type, filetype' \
             followed by ':' and a value",
        ),
        (
            "HostConfig.ShmSize",
            json!(-1),
            "SHM size can not be less than 0",
        ),
        (
            "HostConfig.Tmpfs",
            json!({"/t": "x"}),
            "invalid tmpfs option \"x\"",
        ),
        (
            "HostConfig.Tmpfs",
            json!({"t": ""}),
            "invalid mount path: 't' mount path must be absolute",
        ),
        ("HostConfig.UTSMode", json!("x"), "invalid UTS mode: x"),
    ];
    for (field, value, message) in table {
        let expected = (Kind::InvalidParameter, message.to_owned());
        assert_eq!(refusal(field, &value), expected, "{field} {value}");
    }
}

#[test]
fn two_fields_that_contradict_each_other() {
    let table = [
        (
            json!({"Image": "x", "Hostname": "h", "HostConfig": {"UTSMode": "host"}}),
            "conflicting options: hostname and the UTS mode",
        ),
        (
            json!({"Image": "x", "HostConfig": {
                "AutoRemove": true, "RestartPolicy": {"Name": "always"}}}),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            json!({"Image": "x", "HostConfig": {"Tmpfs": {"/a": ""}, "Binds": ["v1:/a"]}}),
            "Duplicate mount point: /a",
        ),
    ];
    for (body, message) in table {
        let error = translate(&body.to_string()).unwrap_err();
        assert_eq!(error.message(), message, "{body}");
    }
}

#[test]
fn a_list_without_end_is_refused() {
    let env: Vec<String> = (0..=model::limits::SPEC_LIST_MAX)
        .map(|n| format!("A{n}=1"))
        .collect();
    let (kind, message) = refusal("Config.Env", &json!(env));
    assert_eq!(kind, Kind::InvalidParameter);
    assert!(message.starts_with("Env has 16385 entries"), "{message}");
}
