//! What is shown of networks and ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{ContainerView, ListedContainer};
use model::process::{Pid, ProcessRef};
use model::{
    Attachment, ContainerState, Endpoint, EndpointConfig, EndpointSpec, NetworkDriver, NetworkId,
    NetworkMode, NetworkRecord, Port, PortBinding, Protocol, PublishedPort, Running, Subnet,
    Timestamp,
};
use serde_json::{Value, json};

use super::super::{KnownNetworks, inspect, of_echo, request_in_force, summary};
use super::shown::cap1;
use wire::version::{ApiVersion, NEWEST};

const NONE: &str = "bef6e34243c124c8ac99499ff38b30319e835d76ef68794481f0bbbf1ca114ed";

/// The networks of a test.
#[derive(Debug)]
pub(super) struct Networks(Vec<Arc<NetworkRecord>>);

impl KnownNetworks for Networks {
    fn by_id(&self, id: &NetworkId) -> Option<Arc<NetworkRecord>> {
        self.0.iter().find(|record| record.id == *id).cloned()
    }

    fn named(&self, name: &str) -> Option<Arc<NetworkRecord>> {
        self.0.iter().find(|r| r.name.as_str() == name).cloned()
    }
}

impl Networks {
    /// `none`, as the capture has it.
    pub(super) fn predefined() -> Self {
        Self(vec![Arc::new(record(
            NONE,
            "none",
            NetworkDriver::Null,
            &[],
        ))])
    }
}

fn record(id: &str, name: &str, driver: NetworkDriver, subnets: &[(&str, &str)]) -> NetworkRecord {
    let subnet = |(subnet, gateway): &(&str, &str)| Subnet {
        subnet: subnet.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        range: None,
        reserved: BTreeMap::new(),
    };
    NetworkRecord {
        id: id.parse().unwrap(),
        name: name.parse().unwrap(),
        created_at: Timestamp::UNIX_EPOCH,
        driver,
        interface: String::new(),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        subnets: subnets.iter().map(subnet).collect(),
        ipam_options: None,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn networks() -> Networks {
    let ranges = [("10.5.0.0/16", "10.5.0.1"), ("fd00::/64", "fd00::1")];
    let mut inside = record(&id('c'), "inside", NetworkDriver::Bridge, &ranges[..1]);
    inside.internal = true;
    Networks(vec![
        Arc::new(record(
            &id('a'),
            "bridge",
            NetworkDriver::Bridge,
            &[("172.17.0.0/16", "172.17.0.1")],
        )),
        Arc::new(record(&id('b'), "net", NetworkDriver::Bridge, &ranges)),
        Arc::new(inside),
    ])
}

fn on(digit: char, name: &str, config: EndpointConfig) -> EndpointSpec {
    EndpointSpec {
        network: Some(id(digit).parse().unwrap()),
        name: name.parse().unwrap(),
        config,
    }
}

fn endpoint(network: char, ipv4: &str, ipv6: Option<&str>) -> Endpoint {
    Endpoint {
        id: id('e').parse().unwrap(),
        network: id(network).parse().unwrap(),
        interface: "eth0".to_owned(),
        mac: "02:42:0a:05:00:02".parse().unwrap(),
        ipv4: Some(ipv4.parse().unwrap()),
        ipv6: ipv6.map(|text| text.parse().unwrap()),
        metric: 100,
    }
}

/// A container named `cap1` on two networks, of which the default is one, with ports.
fn connected() -> ContainerView {
    let mut view = cap1();
    let spec = Arc::make_mut(&mut view.spec);
    spec.network = NetworkMode::Default;
    spec.hostname = "h".to_owned();
    spec.endpoints = vec![
        on('a', "bridge", EndpointConfig::default()),
        on(
            'b',
            "net",
            EndpointConfig {
                aliases: vec!["web".to_owned(), "cap1".to_owned()],
                ipv4: Some("10.5.0.9".parse().unwrap()),
                ..EndpointConfig::default()
            },
        ),
    ];
    spec.exposed_ports = vec!["90-91/udp".to_owned(), "80/tcp".to_owned()];
    spec.port_bindings = vec![PortBinding {
        port: tcp(443),
        host_ip: None,
        host_ports: None,
    }];
    view.state = ContainerState::Running(Running {
        init: ProcessRef {
            pid: Pid::new(4711).unwrap(),
            start_ticks: 1,
        },
        monitor: None,
        started_at: Timestamp::UNIX_EPOCH,
        paused: false,
        readiness: None,
        last_finished_at: None,
    });
    let published = |host_ip: &str| PublishedPort {
        port: tcp(80),
        host_ip: host_ip.parse().unwrap(),
        host_port: 8080,
    };
    view.attachment = Some(Arc::new(Attachment {
        changing: None,
        endpoints: vec![
            endpoint('a', "172.17.0.2/16", None),
            endpoint('b', "10.5.0.9/16", Some("fd00::9/64")),
        ],
        ports: vec![published("0.0.0.0"), published("::")],
    }));
    view
}

fn tcp(number: u16) -> Port {
    Port {
        number,
        protocol: Protocol::Tcp,
    }
}

fn document(view: &ContainerView, version: ApiVersion) -> Value {
    let document = inspect(view, None, &[], &Default::default(), &networks(), version);
    serde_json::to_value(document).unwrap()
}

fn settings(view: &ContainerView) -> Value {
    document(view, NEWEST)["NetworkSettings"].take()
}

fn row(view: ContainerView) -> Value {
    let listed = ListedContainer {
        view: Arc::new(view),
        sizes: None,
    };
    let now = Timestamp::UNIX_EPOCH;
    let row = summary(&listed, String::new(), now, &networks(), NEWEST);
    serde_json::to_value(row).unwrap()
}

#[test]
fn a_running_one_shows_its_addresses_and_ports() {
    let settings = settings(&connected());
    let net = json!({"IPAMConfig": {"IPv4Address": "10.5.0.9"}, "Links": null,
        "Aliases": ["web", "cap1"], "MacAddress": "02:42:0a:05:00:02", "NetworkID": id('b'),
        "EndpointID": id('e'), "Gateway": "10.5.0.1", "IPAddress": "10.5.0.9", "IPPrefixLen": 16,
        "IPv6Gateway": "fd00::1", "GlobalIPv6Address": "fd00::9", "GlobalIPv6PrefixLen": 64,
        "DriverOpts": null, "DNSNames": ["cap1", "web", "0e48e5b718f0", "h"]});
    assert_eq!(settings["Networks"]["net"], net);
    let bridge = &settings["Networks"]["bridge"];
    assert_eq!(bridge["DNSNames"], Value::Null);
    for key in [
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "MacAddress",
    ] {
        assert_eq!(settings[key], bridge[key], "{key}");
    }
    assert_eq!(settings["Gateway"], "172.17.0.1");
    assert_eq!(settings["IPAddress"], "172.17.0.2");
    assert_eq!(settings["SandboxKey"], "/proc/4711/ns/net");
    assert_eq!(settings["SandboxID"], connected().id.as_str());
    let at = |ip: &str| json!({"HostIp": ip, "HostPort": "8080"});
    assert_eq!(
        settings["Ports"],
        json!({"443/tcp": null, "80/tcp": [at("0.0.0.0"), at("::")], "90/udp": null,
            "91/udp": null})
    );
}

#[test]
fn a_stopped_one_shows_its_networks_without_addresses() {
    let mut view = connected();
    view.attachment = None;
    view.state = ContainerState::Created { failure: None };
    let settings = settings(&view);
    assert_eq!(settings["Ports"], json!({}));
    assert_eq!(
        (&settings["SandboxID"], &settings["SandboxKey"]),
        (&json!(""), &json!(""))
    );
    for name in ["bridge", "net"] {
        let endpoint = &settings["Networks"][name];
        assert_eq!(endpoint["NetworkID"].as_str().unwrap().len(), 64);
        for key in [
            "EndpointID",
            "Gateway",
            "IPAddress",
            "IPv6Gateway",
            "MacAddress",
        ] {
            assert_eq!(endpoint[key], "", "{name} {key}");
        }
    }
    assert_eq!(row(view)["Ports"], json!([]));
}

#[test]
fn a_row_leaves_out_what_was_asked_for() {
    let row = row(connected());
    let net = &row["NetworkSettings"]["Networks"]["net"];
    assert_eq!(net["IPAddress"], "10.5.0.9");
    assert_eq!(net["IPAMConfig"], json!({"IPv4Address": "10.5.0.9"}));
    assert_eq!(
        (&net["Aliases"], &net["DNSNames"]),
        (&Value::Null, &Value::Null)
    );
    let published = |ip: &str| {
        json!({"IP": ip, "PrivatePort": 80, "PublicPort": 8080,
        "Type": "tcp"})
    };
    let declared = |port: u16, kind: &str| json!({"PrivatePort": port, "Type": kind});
    assert_eq!(
        row["Ports"],
        json!([
            declared(443, "tcp"),
            published("0.0.0.0"),
            published("::"),
            declared(90, "udp"),
            declared(91, "udp")
        ])
    );
}

#[test]
fn declarations_without_end_are_shown_in_part() {
    let mut view = connected();
    let many = (1..1000).map(|first| format!("{first}-65535/tcp"));
    Arc::make_mut(&mut view.spec).exposed_ports = many.collect();
    let rows = row(view)["Ports"].as_array().unwrap().len();
    // As many as a list may have, the published one twice.
    assert_eq!(rows, model::limits::SPEC_LIST_MAX + 1);
}

#[test]
fn until_1_44_the_short_id_was_an_alias() {
    let aliases = |minor, name: &str| {
        let document = document(&connected(), ApiVersion::v1(minor));
        document["NetworkSettings"]["Networks"][name]["Aliases"].clone()
    };
    assert_eq!(
        aliases(44, "net"),
        json!(["web", "cap1", "0e48e5b718f0", "h"])
    );
    assert_eq!(aliases(45, "net"), json!(["web", "cap1"]));
    assert_eq!(aliases(44, "bridge"), Value::Null);
}

#[test]
fn out_of_an_internal_network_there_is_no_gateway() {
    let mut view = connected();
    Arc::make_mut(&mut view.spec).endpoints = vec![on('c', "inside", EndpointConfig::default())];
    view.attachment = Some(Arc::new(Attachment {
        changing: None,
        endpoints: vec![endpoint('c', "10.5.0.7/16", None)],
        ports: Vec::new(),
    }));
    let inside = settings(&view)["Networks"]["inside"].take();
    assert_eq!(
        (&inside["IPAddress"], &inside["Gateway"]),
        (&json!("10.5.0.7"), &json!(""))
    );
}

#[test]
fn anothers_namespace_is_shown_by_its_id() {
    let mut view = connected();
    let donor = id('d');
    let spec = Arc::make_mut(&mut view.spec);
    spec.network = NetworkMode::Container(donor.parse().unwrap());
    spec.endpoints = Vec::new();
    view.attachment = None;
    let document = document(&view, NEWEST);
    let mode = format!("container:{donor}");
    assert_eq!(document["HostConfig"]["NetworkMode"], mode);
    assert_eq!(document["NetworkSettings"]["Networks"], json!({}));
    assert_eq!(document["NetworkSettings"]["SandboxID"], "");
    assert_eq!(row(view)["HostConfig"]["NetworkMode"], mode);
}

#[test]
fn an_export_has_the_networks_it_is_on_now() {
    let mut view = connected();
    let spec = Arc::make_mut(&mut view.spec);
    spec.network = NetworkMode::User("bbbb".to_owned());
    spec.endpoints[1].config.mac = Some("02:42:ac:11:00:09".parse().unwrap());
    let request = request_in_force(&view).unwrap();
    let text = String::from_utf8(request).unwrap();
    let again = of_echo(&text, &Default::default()).unwrap();
    assert_eq!(again.warnings, [""; 0]);
    let names: Vec<&str> = again
        .create
        .endpoints
        .iter()
        .map(|e| e.network.as_str())
        .collect();
    assert_eq!(names, ["net", "bridge"]);
    assert_eq!(
        again.create.endpoints[0].config,
        view.spec.endpoints[1].config
    );
    assert_eq!(
        again.create.spec.network,
        NetworkMode::User("net".to_owned())
    );
}

#[test]
fn links_and_the_address_of_old_are_shown_where_docker_shows_them() {
    let mut view = connected();
    let spec = Arc::make_mut(&mut view.spec);
    spec.links = vec!["db:d".to_owned()];
    spec.endpoints[0].config.mac = Some("02:42:ac:11:00:09".parse().unwrap());
    let document = document(&view, NEWEST);
    assert_eq!(document["HostConfig"]["Links"], json!(["/db:/cap1/d"]));
    assert_eq!(document["Config"]["MacAddress"], "02:42:ac:11:00:09");
    let e = request_in_force(&view).unwrap_err();
    assert!(e.message().contains("HostConfig.Links of another"), "{e}");
}

#[test]
fn ports_are_shown_as_long_as_nobody_else_can_have_them() {
    let mut view = connected();
    let before = settings(&view)["Ports"].take();
    let attachment = view.attachment.as_mut().unwrap();
    Arc::make_mut(attachment).endpoints.clear();
    assert_eq!(settings(&view)["Ports"], before);
}
