//! `GET /networks` and `GET /networks/{id}`.

use serde_json::{Value, json};
use testkit::{Daemon, query};

use super::{address, daemon, make, show, stays, subnet};

fn names(d: &Daemon, filters: &Value) -> Vec<String> {
    let path = query("/networks", &[("filters", &filters.to_string())]);
    let list = d.http.get(&path).expect(200).json();
    let list = list.as_array().expect("a list").iter();
    let mut names: Vec<String> = list
        .map(|n| n["Name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn filters_select_as_dockers_do() {
    let d = daemon();
    let mut body = subnet("10.70.0.0/24");
    body["Labels"] = json!({"stage": "test", "team": "a"});
    let id = make(&d, "alpha", body);
    make(&d, "alphabet", subnet("10.70.1.0/24"));
    let mut body = subnet("10.70.2.0/24");
    body["Labels"] = json!({"stage": "live"});
    body["Driver"] = json!("macvlan");
    make(&d, "beta", body);
    d.run_detached("user", stays("alphabet"));

    let all = ["alpha", "alphabet", "beta", "bridge", "host", "none"];
    assert_eq!(names(&d, &json!({})), all);
    let table = [
        (json!({"name": ["alpha"]}), vec!["alpha", "alphabet"]),
        (json!({"name": ["^alpha$"]}), vec!["alpha"]),
        (json!({"name": ["nosuch"]}), vec![]),
        (json!({"name": ["beta", "host"]}), vec!["beta", "host"]),
        (json!({"id": [&id[..10]]}), vec!["alpha"]),
        (json!({"id": [id]}), vec!["alpha"]),
        (
            json!({"driver": ["bridge"]}),
            vec!["alpha", "alphabet", "bridge"],
        ),
        (json!({"driver": ["null", "macvlan"]}), vec!["beta", "none"]),
        (json!({"driver": ["bri"]}), vec![]),
        (json!({"scope": ["local"]}), all.to_vec()),
        (json!({"scope": ["swarm"]}), vec![]),
        (
            json!({"type": ["custom"]}),
            vec!["alpha", "alphabet", "beta"],
        ),
        (json!({"type": ["builtin"]}), vec!["bridge", "host", "none"]),
        (json!({"type": ["builtin", "custom"]}), all.to_vec()),
        (json!({"label": ["stage"]}), vec!["alpha", "beta"]),
        (json!({"label": ["stage=test"]}), vec!["alpha"]),
        (json!({"label": ["stage", "team=a"]}), vec!["alpha"]),
        (json!({"label": ["stage=te"]}), vec![]),
        (json!({"dangling": ["true"]}), vec!["alpha", "beta"]),
        (
            json!({"dangling": ["0"]}),
            vec!["alphabet", "bridge", "host", "none"],
        ),
        (json!({"dangling": ["1"], "label": ["team"]}), vec!["alpha"]),
        // As older clients send them.
        (json!({"driver": {"macvlan": true}}), vec!["beta"]),
    ];
    for (filters, expected) in table {
        assert_eq!(names(&d, &filters), expected, "{filters}");
    }
    d.finish();
}

/// Who is on a network: in inspect, and in lists before API 1.28.
#[test]
fn members_are_shown_while_they_run() {
    let d = daemon();
    let id = make(&d, "net", subnet("10.71.0.0/24"));
    let one = d.run_detached("one", stays("net"));
    d.create("rests", stays("net"));
    let endpoint = d.inspect("one")["NetworkSettings"]["Networks"]["net"].clone();
    assert_eq!(endpoint["NetworkID"], id.as_str());
    let members = json!({one.as_str(): {
        "Name": "one", "EndpointID": endpoint["EndpointID"],
        "MacAddress": endpoint["MacAddress"],
        "IPv4Address": format!("{}/24", address(&d, "one", "net")), "IPv6Address": "",
    }});
    assert_eq!(show(&d, "net")["Containers"], members);
    let of_list = |path: &str| -> Value {
        let list = d.http.get(path).expect(200).json();
        let mut list = list.as_array().expect("a list").iter();
        let found = list.find(|n| n["Name"] == "net").expect("it is there");
        found["Containers"].clone()
    };
    assert_eq!(of_list("/networks"), json!({}));
    assert_eq!(of_list("/v1.27/networks"), members);
    assert_eq!(of_list("/v1.28/networks"), json!({}));
    let path = "/containers/one/rename?name=other";
    d.http.post(path).expect(204);
    assert_eq!(show(&d, "net")["Containers"][&one]["Name"], "other");
    d.http.post("/containers/other/stop?t=0").expect(204);
    assert_eq!(show(&d, "net")["Containers"], json!({}));
    d.http.get("/networks/net?scope=local").expect(200);
    d.http.get("/networks/net?verbose=true").expect(200);
    let swarm = d.http.get("/networks/net?scope=swarm");
    swarm.expect_error(404, "network net not found");
    d.finish();
}
