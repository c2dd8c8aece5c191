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
pub(super) fn refused(d: &Daemon, path: &str, table: &[(Value, u16, &str)]) {
    for (body, status, message) in table {
        let answer = d.http.post_json(path, body);
        assert_eq!(answer.status, *status, "{path} {body}: {}", answer.text());
        assert_eq!(answer.error(*status), *message, "{path} {body}");
    }
}

/// A request for a network with these fields.
fn net(fields: &Value) -> Value {
    let mut body = json!({"Name": "bad"});
    for (name, value) in fields.as_object().expect("a map") {
        body[name] = value.clone();
    }
    body
}

fn range(fields: &Value) -> Value {
    let mut config = json!({"Subnet": "10.200.0.0/16"});
    for (name, value) in fields.as_object().expect("a map") {
        config[name] = value.clone();
    }
    net(&json!({"IPAM": {"Config": [config]}}))
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

/// Names, drivers, scopes.
fn bad_names(d: &Daemon) {
    let swarm = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                 connect this node to swarm and try again.";
    refused(
        d,
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
                net(&json!({"Driver": "nosuch"})),
                404,
                "plugin \"nosuch\" not found",
            ),
            (
                net(&json!({"Driver": "a/b"})),
                404,
                "plugin \"a/b\" not found",
            ),
            (
                net(&json!({"Driver": "host"})),
                403,
                "only one instance of \"host\" network is allowed",
            ),
            (
                net(&json!({"Driver": "null"})),
                403,
                "only one instance of \"null\" network is allowed",
            ),
            (net(&json!({"Driver": "overlay"})), 403, swarm),
            (
                net(&json!({"Scope": "swarm"})),
                403,
                "cannot create a swarm scoped network when swarm is not active",
            ),
            (
                net(&json!({"Ingress": true})),
                403,
                "Ingress network can only be global scope network",
            ),
            (
                net(&json!({"ConfigFrom": {"Network": "nosuch"}})),
                404,
                "configuration network \"nosuch\" does not exist",
            ),
        ],
    );
}

/// Options of the drivers.
fn bad_options(d: &Daemon) {
    refused(
        d,
        CREATE,
        &[
            (json!({"Name": ""}), 400, "invalid name: "),
            (json!({"Name": "  "}), 400, "invalid name:   "),
            (
                net(&json!({"Options": {"com.docker.network.driver.mtu": "x"}})),
                400,
                "failed to parse com.docker.network.driver.mtu value: x (strconv.Atoi: parsing \"x\": \
             invalid syntax)",
            ),
            (
                net(&json!({"Options": {"com.docker.network.driver.mtu": "-1"}})),
                400,
                "invalid MTU number: -1",
            ),
            (
                net(&json!({"Options": {"com.docker.network.bridge.enable_icc": "x"}})),
                400,
                "failed to parse com.docker.network.bridge.enable_icc value: x (strconv.ParseBool: \
             parsing \"x\": invalid syntax)",
            ),
            (
                net(&json!({"Options": {"com.docker.network.bridge.host_binding_ipv4": "x"}})),
                400,
                "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)",
            ),
            // Docker passes the kernel's refusal on: `numerical result out of range`, `invalid argument`.
            (
                net(
                    &json!({"Options": {"com.docker.network.bridge.name": "a-name-too-long-for-it"}}),
                ),
                400,
                "invalid interface name in com.docker.network.bridge.name: \"a-name-too-long-for-it\"",
            ),
            (
                net(&json!({"Options": {"com.docker.network.bridge.name": "a/b"}})),
                400,
                "invalid interface name in com.docker.network.bridge.name: \"a/b\"",
            ),
            (
                net(&json!({"Driver": "macvlan", "Options": {"parent": "nosuch"}})),
                500,
                "invalid subinterface vlan name nosuch, example formatting is eth0.10",
            ),
            (
                net(&json!({"Driver": "macvlan", "Options": {"parent": "nosuch.10"}})),
                500,
                "-o parent interface was not found on the host: nosuch",
            ),
            (
                net(&json!({"Driver": "macvlan", "Options": {"parent": "lo.4095"}})),
                500,
                "vlan id must be between 1-4094, received: 4095",
            ),
        ],
    );
}

/// Ranges and addresses.
fn bad_ranges(d: &Daemon) {
    let overlap = "invalid pool request: Pool overlaps with other one on this address space";
    refused(
        d,
        CREATE,
        &[
            (json!({"Name": ""}), 400, "invalid name: "),
            (json!({"Name": "  "}), 400, "invalid name:   "),
            (
                range(&json!({"Subnet": "x"})),
                400,
                "invalid network config:\ninvalid subnet x: invalid CIDR block notation",
            ),
            (
                range(&json!({"Subnet": ""})),
                400,
                "invalid network config:\ninvalid subnet : invalid CIDR block notation",
            ),
            (
                range(&json!({"Subnet": "10.200.0.0"})),
                400,
                "invalid network config:\ninvalid subnet 10.200.0.0: invalid CIDR block notation",
            ),
            (
                range(&json!({"Subnet": "10.200.0.1/16"})),
                400,
                "invalid network config:\ninvalid subnet 10.200.0.1/16: it should be 10.200.0.0/16",
            ),
            (
                range(&json!({"Gateway": "x"})),
                400,
                "invalid network config:\ninvalid gateway x: invalid address",
            ),
            (
                range(&json!({"Gateway": "10.6.0.1"})),
                400,
                "invalid network config:\ninvalid gateway 10.6.0.1: parent subnet 10.200.0.0/16 doesn't \
             contain this address",
            ),
            (
                range(&json!({"IPRange": "x"})),
                400,
                "invalid network config:\ninvalid ip-range x: invalid CIDR block notation",
            ),
            (
                range(&json!({"IPRange": "10.6.0.0/24"})),
                400,
                "invalid network config:\ninvalid ip-range 10.6.0.0/24: parent subnet 10.200.0.0/16 doesn't \
             contain ip-range",
            ),
            (
                range(&json!({"IPRange": "10.0.0.0/8"})),
                400,
                "invalid network config:\ninvalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent \
             subnet 10.200.0.0/16",
            ),
            (
                range(&json!({"AuxiliaryAddresses": {"a": "x"}})),
                400,
                "invalid network config:\ninvalid auxiliary address a: invalid address",
            ),
            (
                range(&json!({"AuxiliaryAddresses": {"a": "10.6.0.1"}})),
                400,
                "invalid network config:\ninvalid auxiliary address a: parent subnet 10.200.0.0/16 doesn't \
             contain this address",
            ),
            (
                range(&json!({"Gateway": "10.200.0.1", "AuxiliaryAddresses": {"a": "10.200.0.1"}})),
                500,
                "failed to allocate secondary ip address (a:10.200.0.1): Address already in use",
            ),
            (range(&json!({"Subnet": "10.201.7.0/24"})), 403, overlap),
            (range(&json!({"Subnet": "172.17.0.0/24"})), 403, overlap),
            (
                net(
                    &json!({"IPAM": {"Config": [{"Subnet": "10.202.0.0/16"}, {"Subnet": "10.202.1.0/24"}]}}),
                ),
                403,
                overlap,
            ),
            (
                net(
                    &json!({"IPAM": {"Config": [{"Subnet": "10.202.0.0/16"}, {"Subnet": "10.203.0.0/16"}]}}),
                ),
                403,
                "bridge driver doesn't support multiple subnets",
            ),
            (
                net(&json!({"EnableIPv6": true, "IPAM": {"Config": [{"Subnet": "fd00::1/64"}]}})),
                400,
                "invalid network config:\ninvalid subnet fd00::1/64: it should be fd00::/64",
            ),
            (
                net(&json!({"EnableIPv6": true, "IPAM": {"Config": [{"Subnet": "fd00::/200"}]}})),
                400,
                "invalid network config:\ninvalid subnet fd00::/200: invalid CIDR block notation",
            ),
            // Docker looks for a plugin of that name.
            (
                net(&json!({"IPAM": {"Driver": "dhcp"}})),
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
    bad_names(&d);
    bad_options(&d);
    bad_ranges(&d);
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
