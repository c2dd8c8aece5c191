//! `POST /networks/create`: what a network is that names little, and one that names all.

use serde_json::{Value, json};
use testkit::Daemon;

use super::{daemon, exec, make, show, stays, subnet};
use crate::options;

/// Field by field what dockerd shows of a network that was made by name alone.
#[test]
fn one_by_name_alone_is_dockers() {
    let d = daemon();
    let id = make(&d, "plain", json!({}));
    let mut shown = show(&d, "plain");
    let created = shown["Created"].take();
    let created = created.as_str().expect("text");
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created}"
    );
    let expected = json!({
        "Name": "plain", "Id": id, "Created": null, "Scope": "local", "Driver": "bridge",
        "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Options": null,
            "Config": [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
        "Internal": false, "Attachable": false, "Ingress": false,
        "ConfigFrom": {"Network": ""}, "ConfigOnly": false, "Containers": {}, "Options": {},
        "Labels": {},
    });
    assert_eq!(shown, expected);
    // As the CLI asks for one.
    let cli = json!({"Driver": "bridge", "CheckDuplicate": true, "Scope": "",
        "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "ConfigFrom": null,
        "Options": {}, "Labels": {}});
    make(&d, "cli", cli);
    let shown = show(&d, "cli");
    assert_eq!(
        shown["IPAM"],
        json!({"Driver": "default", "Options": {},
            "Config": [{"Subnet": "172.19.0.0/16", "Gateway": "172.19.0.1"}]})
    );
    // A range that is given back is given again.
    d.http.delete("/networks/plain").expect(204);
    make(&d, "again", json!({}));
    assert_eq!(
        show(&d, "again")["IPAM"]["Config"][0]["Subnet"],
        "172.18.0.0/16"
    );
    d.finish();
}

#[test]
fn what_is_asked_for_is_kept_and_used() {
    let d = daemon();
    let body = json!({
        "Driver": "bridge", "Attachable": true, "EnableIPv6": true,
        "Labels": {"com.example.a": "b", "empty": ""},
        "Options": {"com.docker.network.bridge.name": "own0", "com.docker.network.driver.mtu": "1400",
            "own": "kept"},
        "IPAM": {"Driver": "default", "Config": [
            {"Subnet": "10.40.0.0/16", "IPRange": "10.40.7.0/30", "Gateway": "10.40.0.254",
             "AuxiliaryAddresses": {"router": "10.40.7.1"}},
            {"Subnet": "fd40::/64", "Gateway": "fd40::ff"}]},
    });
    make(&d, "full", body.clone());
    let shown = show(&d, "full");
    for field in ["Attachable", "EnableIPv6", "Labels", "Options"] {
        assert_eq!(shown[field], body[field], "{field}");
    }
    assert_eq!(shown["IPAM"]["Config"], body["IPAM"]["Config"]);
    d.run_detached("one", stays("full"));
    let endpoint = d.inspect("one")["NetworkSettings"]["Networks"]["full"].clone();
    let expected = [
        ("Gateway", json!("10.40.0.254")),
        ("IPPrefixLen", json!(16)),
        ("IPv6Gateway", json!("fd40::ff")),
        ("GlobalIPv6PrefixLen", json!(64)),
    ];
    for (field, value) in expected {
        assert_eq!(endpoint[field], value, "{field}: {endpoint}");
    }
    let v4 = endpoint["IPAddress"].as_str().expect("text");
    assert!(
        ["10.40.7.0", "10.40.7.2", "10.40.7.3"].contains(&v4),
        "{v4}"
    );
    let v6 = endpoint["GlobalIPv6Address"].as_str().expect("text");
    let inside = exec(&d, "one", "ip addr show eth0; ip route; ip -6 route");
    for sign in [
        "mtu 1400".to_owned(),
        format!("inet {v4}/16"),
        format!("inet6 {v6}/64"),
        "default via 10.40.0.254".to_owned(),
        "default via fd40::ff".to_owned(),
    ] {
        assert!(inside.contains(&sign), "{sign}: {inside}");
    }
    let host = d
        .command_inside("ip")
        .args(["addr", "show", "own0"])
        .output();
    let host = String::from_utf8(host.expect("ip(8) runs").stdout).expect("text");
    assert!(host.contains("inet 10.40.0.254/16"), "{host}");
    // Its range has room for two more.
    d.run_detached("two", stays("full"));
    d.run_detached("three", stays("full"));
    d.create("four", stays("full"));
    let said = d.http.post("/containers/four/start").error(503);
    assert!(said.contains("no available IPv4 addresses"), "{said}");
    d.http.delete("/containers/two?force=1").expect(204);
    d.start_container("four");
    d.finish();
}

#[test]
fn ranges_never_overlap() {
    let d = daemon();
    make(&d, "ten", subnet("10.50.0.0/16"));
    let words = "invalid pool request: Pool overlaps with other one on this address space";
    for range in [
        "10.50.0.0/16",
        "10.50.1.0/24",
        "10.0.0.0/8",
        "172.17.0.0/24",
    ] {
        let mut body = subnet(range);
        body["Name"] = json!("other");
        let answer = d.http.post_json("/networks/create", &body);
        answer.expect_error(403, words);
    }
    make(&d, "beside", subnet("10.51.0.0/16"));
    // What the host has is not made up, either.
    let mut ip = d.command_inside("ip");
    let added = ip
        .args(["link", "add", "taken0", "type", "bridge"])
        .status();
    assert!(added.expect("ip(8) runs").success());
    for words in [
        ["addr", "add", "172.18.0.9/16", "dev", "taken0"].as_slice(),
        &["link", "set", "taken0", "up"],
    ] {
        let done = d.command_inside("ip").args(words).status();
        assert!(done.expect("ip(8) runs").success());
    }
    make(&d, "made-up", json!({}));
    let shown = show(&d, "made-up");
    assert_eq!(shown["IPAM"]["Config"][0]["Subnet"], "172.19.0.0/16");
    let done = d
        .command_inside("ip")
        .args(["link", "del", "taken0"])
        .status();
    assert!(done.expect("ip(8) runs").success());
    d.finish();
}

#[test]
fn pools_are_the_operators_and_have_an_end() {
    let config = "[networks]\nbip = '10.60.0.1/24'\n\
        default-address-pools = [{ base = '10.61.0.0/23', size = 24 }]\n";
    let d = Daemon::start(options().networks().bare().config(config));
    let bridge = show(&d, "bridge");
    assert_eq!(
        bridge["IPAM"]["Config"],
        json!([{"Subnet": "10.60.0.0/24", "Gateway": "10.60.0.1"}])
    );
    let range = |name: &str| -> Value {
        make(&d, name, json!({}));
        show(&d, name)["IPAM"]["Config"][0]["Subnet"].clone()
    };
    assert_eq!(range("one"), "10.61.0.0/24");
    assert_eq!(range("two"), "10.61.1.0/24");
    let words = "all predefined address pools have been fully subnetted";
    let third = json!({"Name": "three"});
    let answer = d.http.post_json("/networks/create", &third);
    answer.expect_error(400, words);
    d.http.delete("/networks/one").expect(204);
    assert_eq!(range("three"), "10.61.0.0/24");
    d.finish();
}

/// Of two that come at once with one name one is made.
#[test]
fn a_name_is_given_once() {
    let d = daemon();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let body = json!({"Name": "same"});
                    d.http.post_json("/networks/create", &body).status
                })
            })
            .collect();
        let joined = tries.into_iter().map(|one| one.join().expect("no panic"));
        joined.collect()
    });
    assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 7);
    let id = show(&d, "same")["Id"].clone();
    let id = id.as_str().expect("text");
    // By name, by id, by the beginning of an id; ids come first.
    for term in ["same", id, &id[..12]] {
        assert_eq!(show(&d, term)["Id"], id, "{term}");
    }
    let named = make(&d, &id[..11], json!({}));
    assert_eq!(
        show(&d, &id[..11])["Id"],
        named.as_str(),
        "a name before a beginning"
    );
    d.finish();
}
