//! `POST /networks/{id}/connect` and `disconnect`: of containers that run, rest, or are being started.

use serde_json::json;

use super::{
    address, connect, daemon, disconnect, exec, fetches, kill, make, on, serves, stays, subnet,
    try_exec,
};

#[test]
fn a_running_container_moves_between_networks() {
    let d = daemon();
    make(&d, "front", subnet("10.90.0.0/24"));
    make(&d, "back", subnet("10.90.1.0/24"));
    d.run_detached("web", serves("front"));
    d.run_detached("db", stays("back"));
    assert_eq!(exec(&d, "db", "ls /sys/class/net"), "eth0\nlo\n");

    let wish = json!({"Aliases": ["store", "cache"], "IPAMConfig": {"IPv4Address": "10.90.0.77"},
        "MacAddress": "02:11:22:33:44:55", "DriverOpts": {"own": "kept"}});
    connect(&d, "front", "db", &wish);
    assert_eq!(address(&d, "db", "front"), "10.90.0.77");
    let shown = d.inspect("db")["NetworkSettings"]["Networks"]["front"].clone();
    assert_eq!(shown["Aliases"], wish["Aliases"]);
    assert_eq!(shown["IPAMConfig"], wish["IPAMConfig"]);
    assert_eq!(shown["MacAddress"], wish["MacAddress"]);
    assert_eq!(shown["DriverOpts"], wish["DriverOpts"]);
    let names = shown["DNSNames"].as_array().expect("a list");
    assert_eq!(names[..3], [json!("db"), json!("store"), json!("cache")]);
    let inside = exec(
        &d,
        "db",
        "cat /sys/class/net/eth1/address; ip route show default",
    );
    let mut lines = inside.lines();
    assert_eq!(lines.next(), Some("02:11:22:33:44:55"));
    // The first network keeps the default route.
    assert!(
        lines.next().is_some_and(|l| l.contains("via 10.90.1.1")),
        "{inside}"
    );
    let web = address(&d, "web", "front");
    exec(&d, "db", &format!("timeout 5 wget -q -O - http://{web}/"));
    assert_eq!(
        exec(&d, "db", "timeout 5 wget -q -O - http://web/"),
        format!(
            "{}\n",
            &d.inspect("web")["Config"]["Hostname"]
                .as_str()
                .expect("text")
        )
    );
    for name in ["db", "store", "cache"] {
        let said = exec(&d, "web", &format!("nslookup {name}"));
        assert!(said.contains("10.90.0.77"), "{name}: {said}");
    }

    // Twice is once too often for one that runs.
    let body = json!({"Container": "db"});
    let again = d.http.post_json("/networks/front/connect", &body);
    again.expect_error(403, "endpoint with name db already exists in network front");

    disconnect(&d, "front", "db");
    assert_eq!(on(&d, "db"), ["back"]);
    assert_eq!(exec(&d, "db", "ls /sys/class/net"), "eth0\nlo\n");
    let (said, code) = try_exec(&d, "web", "nslookup store");
    assert_ne!(code, 0, "{said}");
    let again = d.http.post_json("/networks/front/disconnect", &body);
    let id = d.inspect("db")["Id"].as_str().expect("text").to_owned();
    again.expect_error(
        500,
        &format!("container {id} is not connected to network front"),
    );

    // Off the last one, too: loopback is left. And back.
    disconnect(&d, "back", "db");
    assert_eq!(exec(&d, "db", "ls /sys/class/net"), "lo\n");
    assert_eq!(on(&d, "db"), [""; 0]);
    connect(&d, "front", "db", &json!({}));
    assert_eq!(exec(&d, "db", "cat /sys/class/net/eth0/operstate"), "up\n");
    exec(&d, "db", "timeout 5 wget -q -O - http://web/");
    // What was changed is what the next run has.
    kill(&d, "db");
    d.start_container("db");
    assert_eq!(on(&d, "db"), ["front"]);
    address(&d, "db", "front");
    d.finish();
}

#[test]
fn one_that_rests_is_on_it_from_its_next_start() {
    let d = daemon();
    make(&d, "one", subnet("10.91.0.0/24"));
    let id = make(&d, "two", subnet("10.91.1.0/24"));
    d.create("cc", stays("one"));
    let wish = json!({"IPAMConfig": {"IPv4Address": "10.91.1.9"}, "Aliases": ["alias"]});
    connect(&d, &id[..12], "cc", &wish);
    assert_eq!(on(&d, "cc"), ["one", "two"]);
    // While it rests, twice is as good as once.
    connect(&d, "two", "cc", &wish);
    let shown = d.inspect("cc")["NetworkSettings"]["Networks"]["two"].clone();
    assert_eq!(shown["IPAddress"], "");
    assert_eq!(shown["EndpointID"], "");
    d.start_container("cc");
    assert_eq!(address(&d, "cc", "two"), "10.91.1.9");
    let inside = exec(&d, "cc", "ip -o addr show; ip route show default");
    assert!(inside.contains("inet 10.91.1.9/24"), "{inside}");
    assert!(inside.contains("default via 10.91.0.1"), "{inside}");
    kill(&d, "cc");
    disconnect(&d, "one", "cc");
    d.start_container("cc");
    assert_eq!(on(&d, "cc"), ["two"]);
    // Off one that was removed: the name is enough.
    kill(&d, "cc");
    d.http.delete("/networks/two").expect(204);
    disconnect(&d, "two", "cc");
    assert_eq!(on(&d, "cc"), [""; 0]);
    d.start_container("cc");
    assert_eq!(exec(&d, "cc", "ls /sys/class/net"), "lo\n");
    d.finish();
}

#[test]
fn the_highest_priority_has_the_default_route() {
    let d = daemon();
    for n in 0..3 {
        make(&d, &format!("n{n}"), subnet(&format!("10.92.{n}.0/24")));
    }
    let mut body = stays("n0");
    body["NetworkingConfig"] = json!({"EndpointsConfig": {
        "n0": {}, "n1": {"GwPriority": 5}, "n2": {"GwPriority": -1}}});
    d.run_detached("cc", body);
    let first = "ip route get 192.0.2.1 | head -n1";
    let via = |n: u32| format!("192.0.2.1 via 10.92.{n}.1 ");
    let said = exec(&d, "cc", first);
    assert!(said.starts_with(&via(1)), "{said}");
    disconnect(&d, "n1", "cc");
    let said = exec(&d, "cc", first);
    assert!(said.starts_with(&via(0)), "{said}");
    connect(&d, "n1", "cc", &json!({"GwPriority": 9}));
    let said = exec(&d, "cc", first);
    assert!(said.starts_with(&via(1)), "{said}");
    d.finish();
}

/// Changes wait for a start that goes on, and starts for changes: neither is lost.
#[test]
fn starts_and_changes_at_once_all_count() {
    let d = daemon();
    make(&d, "base", subnet("10.93.0.0/24"));
    make(&d, "more", subnet("10.93.1.0/24"));
    for n in 0..4 {
        d.create(&format!("c{n}"), stays("base"));
    }
    std::thread::scope(|scope| {
        for n in 0..4 {
            let d = &d;
            let name = format!("c{n}");
            let other = name.clone();
            scope.spawn(move || d.start_container(&name));
            scope.spawn(move || connect(d, "more", &other, &json!({})));
        }
    });
    let mut seen = Vec::new();
    for n in 0..4 {
        let name = format!("c{n}");
        assert_eq!(on(&d, &name), ["base", "more"]);
        seen.push(address(&d, &name, "base"));
        seen.push(address(&d, &name, "more"));
        assert_eq!(exec(&d, &name, "ls /sys/class/net"), "eth0\neth1\nlo\n");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "{seen:?}");
    d.finish();
}

/// A port that was published at the start leads to the network that is left.
#[test]
fn published_ports_survive_a_change_of_networks() {
    let d = daemon();
    make(&d, "one", subnet("10.94.0.0/24"));
    make(&d, "two", subnet("10.94.1.0/24"));
    let mut body = serves("one");
    body["Hostname"] = json!("web");
    body["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8094"}]});
    d.run_detached("web", body);
    fetches(&d, "127.0.0.1:8094", "web");
    connect(&d, "two", "web", &json!({}));
    fetches(&d, "127.0.0.1:8094", "web");
    disconnect(&d, "one", "web");
    fetches(&d, "127.0.0.1:8094", "web");
    let ports = d.inspect("web")["NetworkSettings"]["Ports"].clone();
    assert_eq!(ports["80/tcp"][0]["HostPort"], "8094");
    d.finish();
}
