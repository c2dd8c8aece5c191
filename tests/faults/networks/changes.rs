//! Networks that come and go while a container runs, and what a restart of the daemon makes of them.

use serde_json::json;
use testkit::until;

use super::{address, daemon, make_network, remove, resolved, said_inside, sleeper};
#[cfg(feature = "failpoints")]
use super::{fetched, server, truth};

/// What a container does to its own interfaces is its own: a router, a VPN, another engine inside.
#[test]
fn interfaces_that_a_container_has_changed_stay_so_over_a_restart() {
    let mut d = daemon();
    for name in ["one", "two"] {
        make_network(&d, name);
    }
    let id = d.run_detached("it", sleeper("one"));
    let body = json!({"Container": "it"});
    d.http.post_json("/networks/two/connect", &body).expect(200);
    for words in [
        &["ip", "link", "set", "eth0", "down"][..],
        &["ip", "link", "set", "eth0", "name", "wan"],
        &["ip", "link", "set", "wan", "up"],
        &["ip", "link", "delete", "eth1"],
    ] {
        said_inside(&d, &id, words);
    }
    let links = |d: &testkit::Daemon| said_inside(d, &id, &["ip", "-o", "link"]);
    let before = links(&d);
    assert!(
        before.contains("wan") && !before.contains(": eth"),
        "{before}"
    );
    d.kill9();
    d.restart();
    let other = d.run_detached("other", sleeper("two"));
    assert_eq!(links(&d), before);
    assert!(!d.log().contains("when the daemon died"), "{}", d.log());
    // It is still what its networks say that it is.
    until("its name is found", || resolved(&d, &other, "it").is_some());
    // Under that name netavark cannot find it, and its bridge goes with the next who is on it.
    said_inside(&d, &id, &["ip", "link", "delete", "wan"]);
    d.finish();
}

/// Who is linked to one that is restarted finds it at its new address.
#[test]
fn links_follow_those_that_come_and_go() {
    let d = daemon();
    make_network(&d, "one");
    d.run_detached("db", sleeper("one"));
    let mut body = sleeper("one");
    body["NetworkingConfig"] = json!({"EndpointsConfig": {"one": {"Links": ["db:store"]}}});
    let id = d.run_detached("web", body);
    let mut body = sleeper("bridge");
    d.run_detached("old-db", body.clone());
    body["HostConfig"]["Links"] = json!(["old-db:store"]);
    let old = d.run_detached("old-web", body);
    let expect = |d: &testkit::Daemon, id: &str, other: &str, network: &str| {
        let wanted = format!("{}\tstore", address(d, other, network));
        until("its line is that of now", || {
            let hosts = said_inside(d, id, &["cat", "/etc/hosts"]);
            hosts.matches("store").count() == 1 && hosts.contains(&wanted)
        });
    };
    for (id, other, network) in [(&id, "db", "one"), (&old, "old-db", "bridge")] {
        expect(&d, id, other, network);
        let before = address(&d, other, network);
        d.http
            .post(&format!("/containers/{other}/stop?t=0"))
            .expect(204);
        // Somebody else takes its address, as soon as it is free.
        until("it is another's", || {
            remove(&d, "thief");
            let thief = d.run_detached("thief", sleeper(network));
            address(&d, &thief, network) == before
        });
        d.start_container(other);
        assert_ne!(address(&d, other, network), before);
        expect(&d, id, other, network);
        remove(&d, "thief");
    }
    d.finish();
}

/// A row that cannot be written leaves a run on the networks that it was on.
#[cfg(feature = "failpoints")]
#[test]
fn a_connect_that_is_not_kept_is_taken_back() {
    let mut d = daemon();
    for name in ["one", "two"] {
        make_network(&d, name);
    }
    let body = json!({"Container": "it"});
    let mut failed = 0;
    d.run_detached("it", server("it", "one", 18080));
    until("it serves", || fetched(&d, 18080) == "it");
    for time in 1..=8 {
        d.stop();
        d.set_failpoints(&format!("ledger-commit=error@{time}"));
        d.restart();
        let connected = d.http.post_json("/networks/two/connect", &body).status;
        if connected != 200 {
            failed += 1;
            truth::expect(&d, &format!("after a connect that failed at write {time}"));
            let again = d.http.post_json("/networks/two/connect", &body);
            assert_eq!(again.status, 200, "{time}: {}", again.text());
        }
        truth::expect(&d, &format!("after a connect with write {time}"));
        let gone = d.http.post_json("/networks/two/disconnect", &body);
        if gone.status != 200 {
            failed += 1;
            d.http
                .post_json("/networks/two/disconnect", &body)
                .expect(200);
        }
        truth::expect(&d, &format!("after a disconnect with write {time}"));
        assert_eq!(fetched(&d, 18080), "it");
    }
    assert!(failed >= 3, "{failed} failures");
    d.set_failpoints("");
    d.finish();
}

/// As with Docker: the lowest that is free, and after a restart the one of before.
#[test]
fn a_container_keeps_its_address_and_others_get_the_lowest() {
    let d = daemon();
    let config = json!({"Name": "one", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24",
        "Gateway": "10.77.0.1", "AuxiliaryAddresses": {"printer": "10.77.0.9"}}]}});
    d.http.post_json("/networks/create", &config).expect(201);
    for (name, wanted) in [
        ("aa", "10.77.0.2"),
        ("bb", "10.77.0.3"),
        ("cc", "10.77.0.4"),
    ] {
        let id = d.run_detached(name, sleeper("one"));
        assert_eq!(address(&d, &id, "one"), wanted);
    }
    d.http.post("/containers/aa/stop?t=0").expect(204);
    d.http.post("/containers/cc/restart?t=0").expect(204);
    assert_eq!(address(&d, "cc", "one"), "10.77.0.4");
    d.start_container("aa");
    assert_eq!(address(&d, "aa", "one"), "10.77.0.2");
    remove(&d, "bb");
    let id = d.run_detached("dd", sleeper("one"));
    assert_eq!(address(&d, &id, "one"), "10.77.0.3");
    // Those of nobody, of the host and of the printer are no container's, in moby's words.
    for asked in [
        "10.77.0.0",
        "10.77.0.1",
        "10.77.0.9",
        "10.77.0.255",
        "10.77.0.2",
    ] {
        let mut body = sleeper("one");
        body["NetworkingConfig"] =
            json!({"EndpointsConfig": {"one": {"IPAMConfig": {"IPv4Address": asked}}}});
        d.create("ee", body);
        let said = d.http.post("/containers/ee/start").error(403);
        assert!(said.contains("Address already in use"), "{asked}: {said}");
        remove(&d, "ee");
    }
    d.finish();
}
