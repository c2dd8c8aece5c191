//! Networks over restarts of the daemon: ids, addresses and names stay, and leases do not leak.

use serde_json::json;

use super::{address, connect, daemon, exec, kill, make, on, show, stays, subnet};

#[test]
fn networks_and_addresses_outlive_the_daemon() {
    let mut d = daemon();
    let mut body = subnet("10.170.0.0/24");
    body["Labels"] = json!({"a": "bb"});
    make(&d, "net", body);
    make(&d, "more", subnet("10.170.1.0/24"));
    d.run_detached("aa", stays("net"));
    d.run_detached("bb", stays("net"));
    connect(&d, "more", "bb", &json!({"Aliases": ["later"]}));
    let all = |d: &testkit::Daemon| {
        let mut nets: Vec<_> = ["bridge", "host", "none", "net", "more"]
            .map(|n| show(d, n))
            .into();
        nets.extend(["aa", "bb"].map(|c| d.inspect(c)["NetworkSettings"].clone()));
        nets
    };
    let before = all(&d);
    for kills in [true, false] {
        if kills {
            d.kill9();
        } else {
            d.stop();
        }
        d.restart();
        assert_eq!(all(&d), before);
        exec(&d, "aa", "ping -c1 -w5 bb");
        let said = exec(&d, "aa", "nslookup bb");
        assert!(said.contains(&address(&d, "bb", "net")), "{said}");
    }
    // Addresses of those that run are not given twice.
    d.run_detached("cc", stays("net"));
    let three = ["aa", "bb", "cc"].map(|c| address(&d, c, "net"));
    assert_eq!(
        three
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        3
    );
    // And what ends afterwards is taken away as ever.
    kill(&d, "bb");
    d.start_container("bb");
    assert_eq!(on(&d, "bb"), ["more", "net"]);
    exec(&d, "bb", "ping -c1 -w5 aa");
    d.finish();
}

/// Of a small range every address is used again, however its holder ended.
#[test]
fn no_lease_leaks() {
    let mut d = daemon();
    make(&d, "small", subnet("10.171.0.0/29"));
    for n in 0..5 {
        d.create(&format!("c{n}"), stays("small"));
    }
    d.create("spare", stays("small"));
    for round in 0..2 {
        for n in 0..5 {
            d.start_container(&format!("c{n}"));
        }
        let said = d.http.post("/containers/spare/start").error(503);
        assert!(said.contains("no available IPv4 addresses"), "{said}");
        if round == 1 {
            // Their ends are found out by the next daemon.
            let pids: Vec<String> = (0..5)
                .map(|n| d.init_pid(&format!("c{n}")).to_string())
                .collect();
            d.kill9();
            let killed = d.command_inside("kill").arg("-KILL").args(&pids).status();
            assert!(killed.expect("kill(1) runs").success());
            d.restart();
        } else {
            for n in 0..5 {
                kill(&d, &format!("c{n}"));
            }
        }
    }
    for n in 0..5 {
        d.wait_status(&format!("c{n}"), "exited");
    }
    for n in 0..4 {
        d.start_container(&format!("c{n}"));
    }
    d.start_container("spare");
    d.finish();
}
