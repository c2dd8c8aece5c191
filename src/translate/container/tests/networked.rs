//! Requests: networks, ports, links.

use model::{EndpointConfig, EndpointWish, Kind, NetworkMode, Port, PortBinding, Protocol, Result};
use serde_json::{Value, json};

use super::super::Translated;
use super::{refusal, translate, translate_as, with};
use wire::version::{ApiVersion, NEWEST};

const PUBLISH: &str = include_str!("../fixtures/docker-cli-28.2.2/run-publish.json");

fn read(body: &Value, version: ApiVersion) -> Result<Translated> {
    translate_as(&body.to_string(), version)
}

fn on(mode: &str, endpoints: Value) -> Value {
    let mut body = json!({"Image": "x", "HostConfig": {"NetworkMode": mode}});
    body["NetworkingConfig"]["EndpointsConfig"] = endpoints;
    body
}

/// The names of the networks asked for, in order.
fn names(body: &Value) -> Vec<String> {
    let create = read(body, NEWEST).unwrap().create;
    create.endpoints.into_iter().map(|e| e.network).collect()
}

fn tcp(number: u16) -> Port {
    Port {
        number,
        protocol: Protocol::Tcp,
    }
}

#[test]
fn docker_run_p() {
    let create = translate(PUBLISH).unwrap().create;
    assert_eq!(create.spec.network, NetworkMode::Default);
    assert_eq!(create.endpoints[0].network, "bridge");
    let binding = PortBinding {
        port: tcp(80),
        host_ip: None,
        host_ports: Some((80, 80)),
    };
    assert_eq!(create.spec.port_bindings, [binding]);
    assert!(!create.spec.publish_all);
}

#[test]
fn a_mode_says_whose_namespace_and_which_network() {
    let user = NetworkMode::User("net".to_owned());
    let table = [
        ("", NetworkMode::Default, Some("bridge"), None),
        ("default", NetworkMode::Default, Some("bridge"), None),
        ("bridge", NetworkMode::Default, Some("bridge"), None),
        ("none", NetworkMode::None, None, None),
        ("host", NetworkMode::Host, None, None),
        ("net", user, Some("net"), None),
        ("container:web", NetworkMode::None, None, Some("web")),
    ];
    for (mode, network, endpoint, joined) in table {
        let create = translate(&with("HostConfig.NetworkMode", &json!(mode)));
        let create = create.unwrap().create;
        assert_eq!(create.spec.network, network, "{mode}");
        assert_eq!(create.joins.network.as_deref(), joined, "{mode}");
        let first = create.endpoints.first();
        assert_eq!(first.map(|e| e.network.as_str()), endpoint, "{mode}");
        let echo: Value = serde_json::from_slice(&create.echo).unwrap();
        let shown = match mode {
            "" | "default" => "bridge",
            other => other,
        };
        assert_eq!(echo["HostConfig"]["NetworkMode"], shown);
    }
    let disabled = json!({"Image": "x", "NetworkDisabled": true,
        "HostConfig": {"NetworkMode": "container:web"}});
    let create = read(&disabled, NEWEST).unwrap().create;
    assert_eq!(create.spec.network, NetworkMode::None);
    assert!(create.endpoints.is_empty() && create.joins.network.is_none());
}

#[test]
fn the_network_of_the_mode_comes_first() {
    let three = json!({"a": {}, "net": {"Aliases": ["web"]}, "z": null});
    assert_eq!(names(&on("net", three.clone())), ["net", "a", "z"]);
    // As in Docker, who names others only is on those only.
    assert_eq!(names(&on("", json!({"a": {}, "b": {}}))), ["a", "b"]);
    assert_eq!(
        names(&on("", json!({"a": {}, "default": {}}))),
        ["bridge", "a"]
    );
    assert_eq!(names(&on("host", json!({"host": {}}))), [""; 0]);
    assert_eq!(
        names(&on("container:x", json!({"container:x": {}}))),
        [""; 0]
    );
    let create = read(&on("net", three.clone()), NEWEST).unwrap().create;
    let wish = EndpointWish {
        network: "net".to_owned(),
        config: EndpointConfig {
            aliases: vec!["web".to_owned()],
            ..EndpointConfig::default()
        },
    };
    assert_eq!(create.endpoints[0], wish);
    let e = read(&on("net", three), ApiVersion::v1(43)).unwrap_err();
    assert_eq!(
        e.message(),
        "Container cannot be created with multiple network endpoints: a, net, z"
    );
}

#[test]
fn who_has_no_network_of_its_own_is_on_none() {
    let none = "container cannot be connected to multiple networks with one of the networks in \
        private (none) mode";
    let shared = "container sharing network namespace with another container or host cannot be \
        connected to any other network";
    let host = "container cannot be disconnected from host network or connected to host network";
    let disabled = json!({"Image": "x", "NetworkDisabled": true,
        "NetworkingConfig": {"EndpointsConfig": {"net": {}}}});
    for (body, message) in [
        (on("none", json!({"net": {}})), none),
        (on("net", json!({"none": {}})), none),
        (disabled, none),
        (on("host", json!({"net": {}})), shared),
        (on("container:x", json!({"net": {}})), shared),
        (on("net", json!({"host": {}})), host),
    ] {
        let e = read(&body, NEWEST).unwrap_err();
        assert_eq!((e.kind(), e.message()), (Kind::InvalidParameter, message));
    }
}

#[test]
fn all_that_is_wrong_with_endpoints_is_told_at_once() {
    let one = on("", json!({"bridge": {"Aliases": ["a"]}}));
    let alias = "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers \
        in user defined networks";
    let e = read(&one, NEWEST).unwrap_err();
    let expected = format!("invalid config for network bridge: {alias}");
    assert_eq!(
        (e.kind(), e.message()),
        (Kind::InvalidParameter, &*expected)
    );
    let two = on(
        "",
        json!({"a": {"MacAddress": "x"}, "b": {"MacAddress": "y"}}),
    );
    assert_eq!(
        read(&two, NEWEST).unwrap_err().message(),
        "* invalid config for network a: invalid MAC address x\n\
         * invalid config for network b: invalid MAC address y"
    );
}

#[test]
fn the_address_of_old_moves_to_the_main_network() {
    const MAC: &str = "02:42:ac:11:00:09";
    const WARNING: &str = "The container-wide MacAddress field is now deprecated. It should be \
        specified in EndpointsConfig instead.";
    let body = |mode: &str, endpoints: Value| {
        let mut body = on(mode, endpoints);
        body["MacAddress"] = json!(MAC);
        body
    };
    let mac = |translated: &Translated| {
        let main = translated.create.endpoints.first();
        main.and_then(|e| e.config.mac).map(|mac| mac.to_string())
    };
    for mode in ["", "net"] {
        let new = read(&body(mode, json!({})), NEWEST).unwrap();
        assert_eq!(
            (mac(&new).as_deref(), &*new.warnings[0]),
            (Some(MAC), WARNING)
        );
        let old = read(&body(mode, json!({})), ApiVersion::v1(43)).unwrap();
        assert_eq!((mac(&old).as_deref(), old.warnings.len()), (Some(MAC), 0));
    }
    // Then its own address was ignored, and whatever network there was got the other.
    let odd = body("net", json!({"other": {"MacAddress": "ignored"}}));
    let old = read(&odd, ApiVersion::v1(43)).unwrap();
    assert_eq!(mac(&old).as_deref(), Some(MAC));
    let host = read(&body("host", json!({})), NEWEST).unwrap();
    assert_eq!((mac(&host), &*host.warnings[0]), (None, WARNING));
    for (body, version, message) in [
        (
            body("host", json!({})),
            ApiVersion::v1(43),
            "conflicting options: mac-address and the network mode",
        ),
        (
            body("net", json!({"net": {"MacAddress": "02:42:ac:11:00:08"}})),
            NEWEST,
            "the container-wide MAC address must match the endpoint-specific MAC address for the \
             main network, or be left empty",
        ),
        (
            odd,
            NEWEST,
            "unable to migrate container-wide MAC address to a specific network: \
             HostConfig.NetworkMode must match the identity of a network in \
             NetworkSettings.Networks",
        ),
    ] {
        assert_eq!(read(&body, version).unwrap_err().message(), message);
    }
}

#[test]
fn what_another_namespace_cannot_be_asked_for() {
    let of_another = |key: &str, value: Value| {
        let mut body = json!({"Image": "x", "HostConfig": {"NetworkMode": "container:web"}});
        match key.strip_prefix("HostConfig.") {
            Some(key) => body["HostConfig"][key] = value,
            None => body[key] = value,
        }
        body
    };
    let links = "can't be used with links. This would result in undefined behavior";
    let table = [
        (
            of_another("Hostname", json!("h")),
            "hostname and the network mode".to_owned(),
        ),
        (
            of_another("HostConfig.Links", json!(["a"])),
            format!("container type network {links}"),
        ),
        (
            of_another("HostConfig.Dns", json!(["1.1.1.1"])),
            "dns and the network mode".to_owned(),
        ),
        (
            of_another("HostConfig.ExtraHosts", json!(["a:1.1.1.1"])),
            "custom host-to-IP mapping and the network mode".to_owned(),
        ),
        (
            of_another("HostConfig.PortBindings", json!({"80/tcp": null})),
            "port publishing and the container type network mode".to_owned(),
        ),
        (
            of_another("HostConfig.PublishAllPorts", json!(true)),
            "port publishing and the container type network mode".to_owned(),
        ),
        (
            of_another("ExposedPorts", json!({"80/tcp": {}})),
            "port exposing and the container type network mode".to_owned(),
        ),
        (
            json!({"Image": "x", "HostConfig": {"NetworkMode": "host", "Links": ["a"]}}),
            format!("host type networking {links}"),
        ),
    ];
    for (body, message) in table {
        let e = read(&body, NEWEST).unwrap_err();
        let expected = format!("conflicting options: {message}");
        assert_eq!(
            (e.kind(), e.message()),
            (Kind::InvalidParameter, &*expected)
        );
    }
    for mode in ["container", "container:"] {
        assert_eq!(
            refusal("HostConfig.NetworkMode", &json!(mode)).1,
            "Invalid network mode: invalid container format container:<name|id>"
        );
    }
}

#[test]
fn ports_are_read_as_docker_reads_them() {
    let bindings = |ports: Value, all: bool| {
        let body = json!({"Image": "x", "HostConfig": {"PortBindings": ports,
            "PublishAllPorts": all}});
        let spec = read(&body, NEWEST).unwrap().create.spec;
        assert_eq!(spec.publish_all, all);
        spec.port_bindings
    };
    let binding = |port, host_ip: Option<&str>, host_ports| PortBinding {
        port,
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        host_ports,
    };
    let dns = Port {
        number: 53,
        protocol: Protocol::Udp,
    };
    let table = [
        (json!({"80/tcp": [{}]}), binding(tcp(80), None, None)),
        (
            json!({"80": [{"HostPort": "0"}]}),
            binding(tcp(80), None, None),
        ),
        (
            json!({"53/UDP": [{"HostIp": "127.0.0.1", "HostPort": "5353"}]}),
            binding(dns, Some("127.0.0.1"), Some((5353, 5353))),
        ),
        (
            json!({"80/tcp": [{"HostIp": "[fd00::1]", "HostPort": "8000-8010/tcp"}]}),
            binding(tcp(80), Some("fd00::1"), Some((8000, 8010))),
        ),
    ];
    for (ports, expected) in table {
        assert_eq!(bindings(ports.clone(), false), [expected], "{ports}");
    }
    let two = json!({"80/tcp": [{"HostPort": "1"}, {"HostPort": "2"}]});
    assert_eq!(bindings(two, false).len(), 2);
    // Named without an address it is declared only.
    assert_eq!(bindings(json!({"80/tcp": null, "81/tcp": []}), false), []);
    assert_eq!(
        bindings(json!({"80/tcp": null}), true),
        [binding(tcp(80), None, None)]
    );
}

#[test]
fn what_is_no_port_is_told_in_dockers_words() {
    let at = |host: &str| json!({"80/tcp": [{"HostPort": host}]});
    for (ports, message) in [
        (json!({"x": []}), "invalid port specification: \"x\""),
        (json!({"x/tcp": []}), "invalid port specification: \"x\""),
        (json!({"0/tcp": []}), "invalid port specification: \"0\""),
        (
            json!({"80-81/tcp": []}),
            "invalid port specification: \"80-81\"",
        ),
        (
            json!({"80/icmp": []}),
            "invalid port specification: \"80/icmp\"",
        ),
        (
            json!({"65536/tcp": []}),
            "invalid port specification: \"65536\"",
        ),
        (at("9-8"), "invalid port specification: \"9-8\""),
        (at("0-8"), "invalid port specification: \"0-8\""),
        (at("x"), "invalid port specification: \"x\""),
        (
            json!({"80/tcp": [{"HostIp": "x"}]}),
            "invalid IP address: x",
        ),
    ] {
        let expected = (Kind::InvalidParameter, message.to_owned());
        assert_eq!(
            refusal("HostConfig.PortBindings", &ports),
            expected,
            "{ports}"
        );
    }
    // The kernel leads nobody from there to a container.
    for address in ["::1", "[::1]"] {
        let ports = json!({"80/tcp": [{"HostIp": address, "HostPort": "80"}]});
        let (kind, message) = refusal("HostConfig.PortBindings", &ports);
        assert_eq!(kind, Kind::NotImplemented);
        assert!(message.contains("HostIp ::1"), "{message}");
    }
}

#[test]
fn on_the_hosts_network_published_ports_are_only_warned_of() {
    let body = json!({"Image": "x", "HostConfig": {"NetworkMode": "host", "PublishAllPorts": true,
        "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}});
    let translated = read(&body, NEWEST).unwrap();
    assert_eq!(
        translated.warnings,
        ["Published ports are discarded when using host network mode"]
    );
    let spec = translated.create.spec;
    assert!(spec.port_bindings.is_empty() && !spec.publish_all);
}

#[test]
fn links_are_of_the_default_network_or_of_an_endpoint() {
    let linked = |mode: &str, endpoint: Value| {
        let mut body = on(mode, json!({"net": endpoint}));
        body["HostConfig"]["Links"] = json!(["db:d", "web"]);
        read(&body, NEWEST).unwrap()
    };
    let default = linked("", json!({}));
    assert_eq!(default.create.spec.links, ["db:d", "web:web"]);
    assert!(default.warnings.is_empty());
    // What the CLI sends.
    let user = linked("net", json!({"Links": ["db:d", "web"]}));
    assert!(user.create.spec.links.is_empty() && user.warnings.is_empty());
    assert_eq!(user.create.endpoints[0].config.links, ["db:d", "web:web"]);
    let unsaid = linked("net", json!({}));
    assert!(unsaid.create.spec.links.is_empty());
    assert_eq!(unsaid.warnings.len(), 1);
    assert_eq!(
        refusal("HostConfig.Links", &json!(["a:b:c"])).1,
        "bad format for links: a:b:c"
    );
}

#[test]
fn the_hosts_address_may_stand_for_itself() {
    let body = with(
        "HostConfig.ExtraHosts",
        &json!(["h:host-gateway", "i:1.2.3.4"]),
    );
    let spec = translate(&body).unwrap().create.spec;
    assert_eq!(spec.extra_hosts, ["h:host-gateway", "i:1.2.3.4"]);
}
