//! The table of refusals: what is not built is named, what clients send by default passes.

use model::Kind;
use serde_json::{Value, json};

use super::{refusal, translate, with};

/// Field to set, value, what the message names.
fn not_built() -> Vec<(&'static str, Value, &'static str)> {
    let log = |key: &str, value: &str| json!({"Type": "json-file", "Config": {key: value}});
    vec![
        (
            "HostConfig.Cgroup",
            json!("container:x"),
            "HostConfig.Cgroup",
        ),
        (
            "HostConfig.LogConfig",
            json!({"Type": "syslog"}),
            "HostConfig.LogConfig.Type syslog",
        ),
        (
            "HostConfig.LogConfig",
            log("tag", "x"),
            "HostConfig.LogConfig.Config tag",
        ),
        (
            "HostConfig.LogConfig",
            log("mode", "non-blocking"),
            "HostConfig.LogConfig.Config mode",
        ),
        (
            "HostConfig.Sysctls",
            json!({"net.ipv4.conf.eth0.forwarding": "1"}),
            "HostConfig.Sysctls net.ipv4.conf.eth0.forwarding",
        ),
        (
            "NetworkingConfig.EndpointsConfig",
            json!({"net": {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}}),
            "IPAMConfig.LinkLocalIPs",
        ),
    ]
}

#[test]
fn what_is_not_built_is_named() {
    for (field, value, named) in not_built() {
        let expected = format!("{named} is not implemented by moored yet");
        assert_eq!(
            refusal(field, &value),
            (Kind::NotImplemented, expected),
            "{field} {value}"
        );
    }
}

#[test]
fn what_clients_send_by_default_is_no_wish() {
    let nothing = [
        ("Config.Healthcheck", json!({})),
        ("Config.Healthcheck", json!({"Test": []})),
        ("Config.Healthcheck", json!({"Test": ["NONE"]})),
        ("HostConfig.BlkioWeightDevice", json!([])),
        ("HostConfig.IpcMode", json!("shareable")),
        ("HostConfig.IpcMode", json!("none")),
        ("HostConfig.IpcMode", json!("container:x")),
        ("HostConfig.PidMode", json!("container:x")),
        (
            "HostConfig.LogConfig",
            json!({"Type": "json-file", "Config": {"mode": "blocking"}}),
        ),
        (
            "HostConfig.LogConfig",
            json!({"Type": "none", "Config": {}}),
        ),
        ("HostConfig.MemorySwappiness", json!(-1)),
        ("HostConfig.NetworkMode", json!("bridge")),
        ("HostConfig.OomKillDisable", json!(false)),
        ("HostConfig.PidsLimit", json!(-1)),
        (
            "HostConfig.RestartPolicy",
            json!({"Name": "no", "MaximumRetryCount": 0}),
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["apparmor=unconfined", "label:disable"]),
        ),
        (
            "HostConfig.SecurityOpt",
            json!(["seccomp=builtin", "no-new-privileges=false"]),
        ),
        ("HostConfig.UsernsMode", json!("host")),
        ("HostConfig.VolumeDriver", json!("local")),
        ("HostConfig.Isolation", json!("default")),
        ("HostConfig.CpuPercent", json!(50)),
        ("NetworkingConfig.EndpointsConfig", json!({"default": null})),
        ("HostConfig.NetworkMode", json!("my-net")),
        (
            "HostConfig.Sysctls",
            json!({"net.ipv4.conf.all.forwarding": "1", "net.ipv4.ip_forward": "1"}),
        ),
        ("HostConfig.NetworkMode", json!("container:x")),
        ("HostConfig.ExtraHosts", json!(["h:host-gateway"])),
    ];
    for (field, value) in nothing {
        let result = translate(&with(field, &value));
        assert!(result.is_ok(), "{field} {value}: {:?}", result.err());
    }
}
