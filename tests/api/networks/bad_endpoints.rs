//! What a container cannot ask for of a network, when it is connected and when it is created. Whose words these
//! are: see `bad_input`.

use serde_json::{Value, json};

use super::bad_input::refused;
use super::{daemon, make, stays, subnet};

#[test]
fn endpoints_that_cannot_be_are_refused_in_dockers_words() {
    let d = daemon();
    make(&d, "net", subnet("10.204.0.0/24"));
    make(&d, "far", subnet("10.205.0.0/24"));
    d.create("rests", stays("bridge"));
    d.create("none", stays("none"));
    d.create("host", stays("host"));
    d.create("guest", stays("container:rests"));
    let id = d.inspect("rests")["Id"].as_str().expect("text").to_owned();
    let wish = |fields: Value| json!({"Container": "rests", "EndpointConfig": fields});
    let fixed = |fields: Value| wish(json!({"IPAMConfig": fields}));
    let shared = "container sharing network namespace with another container or host cannot be \
                  connected to any other network";
    let host = "container cannot be disconnected from host network or connected to host network";
    let none = "container cannot be connected to multiple networks with one of the networks in private \
                (none) mode";
    let named = "invalid name or ID supplied: \"\"";
    let list = "invalid endpoint settings:\n";
    let v4 = |address: &str| format!("{list}invalid IPv4 address: {address}");
    let v6 = |address: &str| format!("{list}invalid IPv6 address: {address}");
    refused(
        &d,
        "/networks/net/connect",
        &[
            (json!({}), 400, named),
            (json!({"Container": ""}), 400, named),
            (
                json!({"Container": "nosuch"}),
                404,
                "No such container: nosuch",
            ),
            (json!({"Container": "none"}), 400, none),
            (json!({"Container": "host"}), 400, shared),
            // Docker keeps it, and the container's next start fails.
            (json!({"Container": "guest"}), 400, shared),
            (fixed(json!({"IPv4Address": "x"})), 400, &v4("x")),
            (
                fixed(json!({"IPv4Address": "0.0.0.0"})),
                400,
                &v4("0.0.0.0"),
            ),
            (
                fixed(json!({"IPv4Address": "fd00::1"})),
                400,
                &v4("fd00::1"),
            ),
            (fixed(json!({"IPv6Address": "x"})), 400, &v6("x")),
            (
                fixed(json!({"IPv6Address": "10.204.0.3"})),
                400,
                &v6("10.204.0.3"),
            ),
            (
                fixed(json!({"IPv4Address": "10.8.0.3"})),
                400,
                &format!("{list}no configured subnet or ip-range contain the IP address 10.8.0.3"),
            ),
            (
                wish(json!({"MacAddress": "x"})),
                400,
                "invalid MAC address x",
            ),
            (
                wish(json!({"MacAddress": "02:42:ac:11:00"})),
                400,
                "invalid MAC address 02:42:ac:11:00",
            ),
            (
                wish(json!({"Links": ["a:b:c"]})),
                400,
                "bad format for links: a:b:c",
            ),
            (
                wish(json!({"Links": [""]})),
                400,
                "empty string specified for links",
            ),
            // Docker keeps it, and a name server's answer is odd.
            (
                wish(json!({"Aliases": ["a b"]})),
                400,
                "invalid alias: \"a b\"",
            ),
            (
                fixed(json!({"LinkLocalIPs": ["169.254.1.1"]})),
                501,
                "IPAMConfig.LinkLocalIPs is not implemented by moored yet",
            ),
        ],
    );
    refused(
        &d,
        "/networks/bridge/connect",
        &[
            (
                fixed(json!({"IPv4Address": "172.17.0.9"})),
                400,
                &format!(
                    "{list}user specified IP address is supported on user defined networks only"
                ),
            ),
            (
                wish(json!({"Aliases": ["x"]})),
                400,
                &format!(
                    "{list}network-scoped alias is supported only for containers in user defined networks"
                ),
            ),
        ],
    );
    let rests = json!({"Container": "rests"});
    refused(&d, "/networks/host/connect", &[(rests.clone(), 400, host)]);
    refused(&d, "/networks/none/connect", &[(rests.clone(), 400, none)]);
    // For one that rests Docker keeps the name, and its next start fails.
    refused(
        &d,
        "/networks/nosuch/connect",
        &[(rests.clone(), 404, "network nosuch not found")],
    );
    let not_on =
        |network: &str| format!("container {id} is not connected to the network {network}");
    refused(
        &d,
        "/networks/net/disconnect",
        &[
            (json!({}), 400, named),
            (
                json!({"Container": "nosuch"}),
                404,
                "No such container: nosuch",
            ),
            (rests.clone(), 500, &not_on("net")),
            (
                json!({"Container": "rests", "Force": true}),
                500,
                &not_on("net"),
            ),
        ],
    );
    refused(
        &d,
        "/networks/nosuch/disconnect",
        &[(rests, 500, &not_on("nosuch"))],
    );
    // One that runs.
    d.start_container("rests");
    let rests = json!({"Container": "rests"});
    refused(
        &d,
        "/networks/nosuch/disconnect",
        &[
            (rests.clone(), 404, "network nosuch not found"),
            (
                json!({"Container": "rests", "Force": true}),
                500,
                &not_on("nosuch"),
            ),
        ],
    );
    let runs_not_on = format!("container {id} is not connected to network far");
    refused(
        &d,
        "/networks/far/disconnect",
        &[(rests.clone(), 500, &runs_not_on)],
    );
    refused(&d, "/networks/host/connect", &[(rests.clone(), 400, host)]);
    // The network's own address, its first, its last, and one that another has.
    super::connect(
        &d,
        "net",
        "rests",
        &json!({"IPAMConfig": {"IPv4Address": "10.204.0.9"}}),
    );
    d.run_detached("other", stays("bridge"));
    for address in ["10.204.0.1", "10.204.0.0", "10.204.0.255", "10.204.0.9"] {
        let body = json!({"Container": "other",
            "EndpointConfig": {"IPAMConfig": {"IPv4Address": address}}});
        let said = d.http.post_json("/networks/net/connect", &body).error(403);
        assert!(
            said.ends_with("Address already in use"),
            "{address}: {said}"
        );
    }
    assert_eq!(super::on(&d, "other"), ["bridge"]);
    d.start_container("host");
    let body = json!({"Container": "host"});
    refused(&d, "/networks/host/disconnect", &[(body, 400, host)]);
    d.finish();
}

#[test]
fn containers_that_cannot_be_on_networks_are_refused_at_create() {
    let d = daemon();
    make(&d, "net", subnet("10.206.0.0/24"));
    make(&d, "far", subnet("10.207.0.0/24"));
    d.create("rests", stays("bridge"));
    d.create("host", stays("host"));
    let with = |fields: Value| {
        let mut body = json!({"Image": testkit::BUSYBOX, "Cmd": ["true"]});
        for (name, value) in fields.as_object().expect("a map") {
            body[name] = value.clone();
        }
        body
    };
    let host = |fields: Value| with(json!({"HostConfig": fields}));
    let guest = |fields: Value| {
        let mut fields = fields;
        fields["NetworkMode"] = json!("container:rests");
        host(fields)
    };
    let on = |network: &str, fields: Value| {
        with(json!({"HostConfig": {"NetworkMode": network},
            "NetworkingConfig": {"EndpointsConfig": {network: fields}}}))
    };
    let format = "Invalid network mode: invalid container format container:<name|id>";
    let linked = "conflicting options: host type networking can't be used with links. This would result \
                  in undefined behavior";
    let mode = "conflicting options: mac-address and the network mode";
    let bad = |network: &str, why: &str| {
        format!("invalid config for network {network}: invalid endpoint settings:\n{why}")
    };
    let mac = "02:42:ac:11:00:99";
    let publish = |port: &str, binding: Value| host(json!({"PortBindings": {port: [binding]}}));
    refused(
        &d,
        "/v1.43/containers/create",
        &[
            (
                with(json!({"MacAddress": mac, "HostConfig": {"NetworkMode": "host"}})),
                400,
                mode,
            ),
            (
                with(json!({"MacAddress": mac, "HostConfig": {"NetworkMode": "container:rests"}})),
                400,
                mode,
            ),
            // dockerd names them in the order of a map.
            (
                with(json!({"NetworkingConfig": {"EndpointsConfig": {"net": {}, "far": {}}}})),
                400,
                "Container cannot be created with multiple network endpoints: far, net",
            ),
        ],
    );
    refused(
        &d,
        "/containers/create",
        &[
            (host(json!({"NetworkMode": "container:"})), 400, format),
            (host(json!({"NetworkMode": "container"})), 400, format),
            // Docker finds out at the start.
            (
                host(json!({"NetworkMode": "container:nosuch"})),
                400,
                "No such container: nosuch",
            ),
            (
                guest(json!({"Dns": ["192.0.2.1"]})),
                400,
                "conflicting options: dns and the network mode",
            ),
            (
                guest(json!({"ExtraHosts": ["a:192.0.2.1"]})),
                400,
                "conflicting options: custom host-to-IP mapping and the network mode",
            ),
            (
                guest(json!({"Links": ["rests:x"]})),
                400,
                "conflicting options: container type network can't be used with links. This would result in \
             undefined behavior",
            ),
            (
                guest(json!({"PublishAllPorts": true})),
                400,
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                guest(json!({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}})),
                400,
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                with(json!({"Hostname": "x", "HostConfig": {"NetworkMode": "container:rests"}})),
                400,
                "conflicting options: hostname and the network mode",
            ),
            (
                with(
                    json!({"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:rests"}}),
                ),
                400,
                "conflicting options: port exposing and the container type network mode",
            ),
            (
                host(json!({"NetworkMode": "host", "Links": ["rests:x"]})),
                400,
                linked,
            ),
            (host(json!({"Links": ["host:x"]})), 400, linked),
            (
                host(json!({"Links": ["nosuch:x"]})),
                400,
                "could not get container for nosuch: No such container: nosuch",
            ),
            (
                host(json!({"Links": ["a:b:c"]})),
                400,
                "bad format for links: a:b:c",
            ),
            (
                host(json!({"Links": [""]})),
                400,
                "empty string specified for links",
            ),
            (
                on("net", json!({"IPAMConfig": {"IPv4Address": "x"}})),
                400,
                &bad("net", "invalid IPv4 address: x"),
            ),
            (
                on("net", json!({"IPAMConfig": {"IPv4Address": "10.8.0.1"}})),
                400,
                "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.8.0.1",
            ),
            (
                on(
                    "bridge",
                    json!({"IPAMConfig": {"IPv4Address": "172.17.0.9"}}),
                ),
                400,
                &bad(
                    "bridge",
                    "user specified IP address is supported on user defined networks only",
                ),
            ),
            (
                on("bridge", json!({"Aliases": ["x"]})),
                400,
                &bad(
                    "bridge",
                    "network-scoped alias is supported only for containers in user defined networks",
                ),
            ),
            (
                on("net", json!({"MacAddress": "x"})),
                400,
                "invalid config for network net: invalid MAC address x",
            ),
            (
                with(json!({"NetworkingConfig": {"EndpointsConfig": {"net": {}, "none": {}}}})),
                400,
                "container cannot be connected to multiple networks with one of the networks in private \
             (none) mode",
            ),
            (
                with(json!({"NetworkingConfig": {"EndpointsConfig": {"net": {}, "host": {}}}})),
                400,
                "container cannot be disconnected from host network or connected to host network",
            ),
            (
                publish("x", json!({})),
                400,
                "invalid port specification: \"x\"",
            ),
            // Docker names the number alone, and takes a protocol that it does not know until the start.
            (
                publish("70000/tcp", json!({})),
                400,
                "invalid port specification: \"70000\"",
            ),
            (
                publish("80/foo", json!({})),
                400,
                "invalid port specification: \"80/foo\"",
            ),
            (
                publish("80/tcp", json!({"HostPort": "x"})),
                400,
                "invalid port specification: \"x\"",
            ),
            (
                publish("80/tcp", json!({"HostPort": "70000"})),
                400,
                "invalid port specification: \"70000\"",
            ),
            (
                publish("80/tcp", json!({"HostPort": "-1"})),
                400,
                "invalid port specification: \"-1\"",
            ),
            (
                publish("80/tcp", json!({"HostPort": "90-80"})),
                400,
                "invalid port specification: \"90-80\"",
            ),
            (
                publish("80/tcp", json!({"HostIp": "x", "HostPort": "80"})),
                400,
                "invalid IP address: x",
            ),
            (
                host(json!({"ExtraHosts": ["x"]})),
                400,
                "bad format for add-host: \"x\"",
            ),
            (
                host(json!({"ExtraHosts": ["a:x"]})),
                400,
                "invalid IP address in add-host: \"x\"",
            ),
            // Docker writes them as they are into resolv.conf.
            (host(json!({"Dns": ["x"]})), 400, "x is not an ip address"),
            (
                host(json!({"DnsSearch": ["a b"]})),
                400,
                "HostConfig.DnsSearch: \"a b\" is not one word",
            ),
            (
                host(json!({"DnsOptions": ["a b"]})),
                400,
                "HostConfig.DnsOptions: \"a b\" is not one word",
            ),
        ],
    );
    // A network that is not there yet is looked for at the start, as in Docker.
    let made = d.http.post_json(
        "/containers/create?name=early",
        &host(json!({"NetworkMode": "later"})),
    );
    made.expect(201);
    let said = d.http.post("/containers/early/start").error(404);
    assert!(said.ends_with("network later not found"), "{said}");
    make(&d, "later", subnet("10.208.0.0/24"));
    d.start_container("early");
    assert_eq!(d.wait("early"), 0);
    d.finish();
}
