//! What cannot be: status and words are Docker's. Nearly all were compared with the answers of dockerd
//! 20.10.24 to the same requests, and where that is of another mind with the source of v27.5.1, which is the
//! Docker of our API: it answers 400 to what 20.10 took for an error of its own (500), and checks ranges,
//! endpoints and ports that 20.10 kept as they were until a start failed. Where a case differs from both, it
//! says why.

use serde_json::{Value, json};
use testkit::{Daemon, query};

use super::{daemon, make, stays, subnet};

const CREATE: &str = "/networks/create";

/// Sends each body; the answer's status, and its message whole.
#[track_caller]
fn refused(d: &Daemon, path: &str, table: &[(Value, u16, &str)]) {
    for (body, status, message) in table {
        let answer = d.http.post_json(path, body);
        assert_eq!(answer.status, *status, "{path} {body}: {}", answer.text());
        assert_eq!(answer.error(*status), *message, "{path} {body}");
    }
}

/// A request for a network with these fields.
fn net(fields: Value) -> Value {
    let mut body = json!({"Name": "bad"});
    for (name, value) in fields.as_object().expect("a map") {
        body[name] = value.clone();
    }
    body
}

fn range(fields: Value) -> Value {
    let mut config = json!({"Subnet": "10.200.0.0/16"});
    for (name, value) in fields.as_object().expect("a map") {
        config[name] = value.clone();
    }
    net(json!({"IPAM": {"Config": [config]}}))
}

/// Requests that are no JSON, or of another shape. Docker names Go's types there, and we our own: what is
/// the same is the status, the beginning, and that nothing was made.
#[test]
fn what_is_no_request_is_refused() {
    let d = daemon();
    make(&d, "net", subnet("10.199.0.0/24"));
    d.create("rests", stays("net"));
    let shapes = [
        "{",
        "[]",
        "\"x\"",
        "1",
        "{\"Name\":1}",
        "{\"Name\":\"bad\",\"Driver\":1}",
        "{\"Name\":\"bad\",\"Options\":[]}",
        "{\"Name\":\"bad\",\"Options\":{\"a\":1}}",
        "{\"Name\":\"bad\",\"Labels\":[]}",
        "{\"Name\":\"bad\",\"Labels\":{\"a\":1}}",
        "{\"Name\":\"bad\",\"IPAM\":[]}",
        "{\"Name\":\"bad\",\"IPAM\":{\"Config\":{}}}",
        "{\"Name\":\"bad\",\"IPAM\":{\"Config\":[\"x\"]}}",
        "{\"Name\":\"bad\",\"IPAM\":{\"Config\":[{\"Subnet\":1}]}}",
        "{\"Name\":\"bad\",\"EnableIPv6\":\"x\"}",
        "{\"Name\":\"bad\",\"Internal\":\"x\"}",
        "{\"Name\":\"bad\",\"Attachable\":1}",
        "{\"Name\":\"bad\",\"ConfigOnly\":\"x\"}",
        "{\"Container\":1}",
        "{\"Container\":\"rests\",\"EndpointConfig\":\"x\"}",
        "{\"Container\":\"rests\",\"EndpointConfig\":{\"Aliases\":\"x\"}}",
        "{\"Container\":\"rests\",\"EndpointConfig\":{\"IPAMConfig\":{\"IPv4Address\":1}}}",
        "{\"Container\":\"rests\",\"EndpointConfig\":{\"DriverOpts\":[]}}",
    ];
    let kind = [("Content-Type", "application/json")];
    for body in shapes {
        let path = match body.contains("Container") {
            true => "/networks/net/connect",
            false => CREATE,
        };
        let said = d.http.send("POST", path, &kind, body.as_bytes()).error(400);
        assert!(said.starts_with("invalid JSON: "), "{body}: {said}");
    }
    let path = "/networks/net/disconnect";
    for body in ["{", "{\"Container\":\"rests\",\"Force\":\"x\"}"] {
        let said = d.http.send("POST", path, &kind, body.as_bytes()).error(400);
        assert!(said.starts_with("invalid JSON: "), "{body}: {said}");
    }
    let twice = b"{\"Name\":\"bad\"} {}";
    let answer = d.http.send("POST", CREATE, &kind, twice);
    answer.expect_error(400, "unexpected content after JSON");
    // Nothing is no mistake of form: it is a request without a name.
    d.http.post(CREATE).expect_error(400, "invalid name: ");
    d.http.get("/networks/bad").error(404);
    assert_eq!(super::on(&d, "rests"), ["net"]);
    d.finish();
}

#[test]
fn networks_that_cannot_be_are_refused_in_dockers_words() {
    let d = daemon();
    make(&d, "known", subnet("10.201.0.0/16"));
    let predefined =
        |name: &str| format!("operation is not permitted on predefined {name} network ");
    for name in ["bridge", "host", "none", "default"] {
        let answer = d.http.post_json(CREATE, &json!({"Name": name}));
        answer.expect_error(403, &predefined(name));
    }
    let swarm = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                 connect this node to swarm and try again.";
    let overlap = "invalid pool request: Pool overlaps with other one on this address space";
    refused(
        &d,
        CREATE,
        &[
            (json!({"Name": ""}), 400, "invalid name: "),
            (json!({"Name": "  "}), 400, "invalid name:   "),
            (
                json!({"Name": "known"}),
                409,
                "network with name known already exists",
            ),
            (
                net(json!({"Driver": "nosuch"})),
                404,
                "plugin \"nosuch\" not found",
            ),
            (
                net(json!({"Driver": "a/b"})),
                404,
                "plugin \"a/b\" not found",
            ),
            (
                net(json!({"Driver": "host"})),
                403,
                "only one instance of \"host\" network is allowed",
            ),
            (
                net(json!({"Driver": "null"})),
                403,
                "only one instance of \"null\" network is allowed",
            ),
            (net(json!({"Driver": "overlay"})), 403, swarm),
            (
                net(json!({"Scope": "swarm"})),
                403,
                "cannot create a swarm scoped network when swarm is not active",
            ),
            (
                net(json!({"Ingress": true})),
                403,
                "Ingress network can only be global scope network",
            ),
            (
                net(json!({"ConfigFrom": {"Network": "nosuch"}})),
                404,
                "configuration network \"nosuch\" does not exist",
            ),
            (
                net(json!({"Options": {"com.docker.network.driver.mtu": "x"}})),
                400,
                "failed to parse com.docker.network.driver.mtu value: x (strconv.Atoi: parsing \"x\": \
             invalid syntax)",
            ),
            (
                net(json!({"Options": {"com.docker.network.driver.mtu": "-1"}})),
                400,
                "invalid MTU number: -1",
            ),
            (
                net(json!({"Options": {"com.docker.network.bridge.enable_icc": "x"}})),
                400,
                "failed to parse com.docker.network.bridge.enable_icc value: x (strconv.ParseBool: \
             parsing \"x\": invalid syntax)",
            ),
            (
                net(json!({"Options": {"com.docker.network.bridge.host_binding_ipv4": "x"}})),
                400,
                "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)",
            ),
            // Docker passes the kernel's refusal on: `numerical result out of range`, `invalid argument`.
            (
                net(
                    json!({"Options": {"com.docker.network.bridge.name": "a-name-too-long-for-it"}}),
                ),
                400,
                "invalid interface name in com.docker.network.bridge.name: \"a-name-too-long-for-it\"",
            ),
            (
                net(json!({"Options": {"com.docker.network.bridge.name": "a/b"}})),
                400,
                "invalid interface name in com.docker.network.bridge.name: \"a/b\"",
            ),
            (
                range(json!({"Subnet": "x"})),
                400,
                "invalid network config:\ninvalid subnet x: invalid CIDR block notation",
            ),
            (
                range(json!({"Subnet": ""})),
                400,
                "invalid network config:\ninvalid subnet : invalid CIDR block notation",
            ),
            (
                range(json!({"Subnet": "10.200.0.0"})),
                400,
                "invalid network config:\ninvalid subnet 10.200.0.0: invalid CIDR block notation",
            ),
            (
                range(json!({"Subnet": "10.200.0.1/16"})),
                400,
                "invalid network config:\ninvalid subnet 10.200.0.1/16: it should be 10.200.0.0/16",
            ),
            (
                range(json!({"Gateway": "x"})),
                400,
                "invalid network config:\ninvalid gateway x: invalid address",
            ),
            (
                range(json!({"Gateway": "10.6.0.1"})),
                400,
                "invalid network config:\ninvalid gateway 10.6.0.1: parent subnet 10.200.0.0/16 doesn't \
             contain this address",
            ),
            (
                range(json!({"IPRange": "x"})),
                400,
                "invalid network config:\ninvalid ip-range x: invalid CIDR block notation",
            ),
            (
                range(json!({"IPRange": "10.6.0.0/24"})),
                400,
                "invalid network config:\ninvalid ip-range 10.6.0.0/24: parent subnet 10.200.0.0/16 doesn't \
             contain ip-range",
            ),
            (
                range(json!({"IPRange": "10.0.0.0/8"})),
                400,
                "invalid network config:\ninvalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent \
             subnet 10.200.0.0/16",
            ),
            (
                range(json!({"AuxiliaryAddresses": {"a": "x"}})),
                400,
                "invalid network config:\ninvalid auxiliary address a: invalid address",
            ),
            (
                range(json!({"AuxiliaryAddresses": {"a": "10.6.0.1"}})),
                400,
                "invalid network config:\ninvalid auxiliary address a: parent subnet 10.200.0.0/16 doesn't \
             contain this address",
            ),
            (
                range(json!({"Gateway": "10.200.0.1", "AuxiliaryAddresses": {"a": "10.200.0.1"}})),
                500,
                "failed to allocate secondary ip address (a:10.200.0.1): Address already in use",
            ),
            (range(json!({"Subnet": "10.201.7.0/24"})), 403, overlap),
            (range(json!({"Subnet": "172.17.0.0/24"})), 403, overlap),
            (
                net(
                    json!({"IPAM": {"Config": [{"Subnet": "10.202.0.0/16"}, {"Subnet": "10.202.1.0/24"}]}}),
                ),
                403,
                overlap,
            ),
            (
                net(
                    json!({"IPAM": {"Config": [{"Subnet": "10.202.0.0/16"}, {"Subnet": "10.203.0.0/16"}]}}),
                ),
                403,
                "bridge driver doesn't support multiple subnets",
            ),
            (
                net(json!({"EnableIPv6": true, "IPAM": {"Config": [{"Subnet": "fd00::1/64"}]}})),
                400,
                "invalid network config:\ninvalid subnet fd00::1/64: it should be fd00::/64",
            ),
            (
                net(json!({"EnableIPv6": true, "IPAM": {"Config": [{"Subnet": "fd00::/200"}]}})),
                400,
                "invalid network config:\ninvalid subnet fd00::/200: invalid CIDR block notation",
            ),
            // Docker looks for a plugin of that name.
            (
                net(json!({"IPAM": {"Driver": "dhcp"}})),
                501,
                "IPAM.Driver \"dhcp\" is not implemented by moored yet",
            ),
            // A name that would not fit into a line of a log or a path: ours alone.
            (
                json!({"Name": "a\nb"}),
                400,
                "invalid network name: \"a\\nb\"",
            ),
        ],
    );
    d.http.get("/networks/bad").error(404);
    let list = d.http.get("/networks").expect(200).json();
    assert_eq!(
        list.as_array().map(Vec::len),
        Some(4),
        "nothing was made: {list}"
    );
    // Names that Docker takes are taken, odd as they are.
    for name in ["a b", "-x", "a/b", "container:x", "ä"] {
        make(&d, name, json!({}));
    }
    d.finish();
}

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
                "invalid port specification: \"70000/tcp\"",
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

#[test]
fn bad_filters_and_words_in_queries_are_refused() {
    let d = daemon();
    let filters = |filters: &str| query("", &[("filters", filters)]);
    for path in ["/networks", "/networks/prune"] {
        let method = if path == "/networks" { "GET" } else { "POST" };
        let ask = |text: &str| {
            let path = format!("{path}{}", filters(text));
            d.http.send(method, &path, &[], b"")
        };
        for text in ["x", "{", "[]", "{\"name\":\"x\"}", "{\"name\":[1]}"] {
            let said = ask(text).error(400);
            assert!(said.starts_with("invalid filter"), "{text}: {said}");
        }
        ask("{\"x\":[\"y\"]}").expect_error(400, "invalid filter 'x'");
    }
    let list = |text: &str| d.http.get(&format!("/networks{}", filters(text)));
    list("{\"until\":[\"1h\"]}").expect_error(400, "invalid filter 'until'");
    list("{\"type\":[\"x\"]}").expect_error(400, "invalid filter: 'type'='x'");
    list("{\"dangling\":[\"x\"]}").expect_error(
        400,
        "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
    );
    list("{\"dangling\":[\"1\",\"0\"]}")
        .expect_error(400, "got more than one value for filter key \"dangling\"");
    let prune = |text: &str| d.http.post(&format!("/networks/prune{}", filters(text)));
    for key in ["dangling", "driver", "id", "name", "scope", "type"] {
        prune(&json!({key: ["1"]}).to_string())
            .expect_error(400, &format!("invalid filter '{key}'"));
    }
    prune("{\"until\":[\"x\"]}")
        .expect_error(400, "failed to parse value as time or duration: \"x\"");
    prune("{\"until\":[\"1h\",\"2h\"]}").expect_error(400, "more than one until filter specified");
    d.http.get("/networks/bridge?verbose=x").expect_error(
        400,
        "invalid value for verbose: x: strconv.ParseBool: parsing \"x\": invalid syntax",
    );
    d.http
        .get("/networks/nosuch")
        .expect_error(404, "network nosuch not found");
    d.http
        .delete("/networks/nosuch")
        .expect_error(404, "network nosuch not found");
    d.finish();
}
