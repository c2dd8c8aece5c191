//! The default network's bridge stays, whatever happens to it, and goes when there is to be none.

use testkit::{Daemon, until};

use super::firewall::{flush, hang_up};
use super::{address, daemon, fetched, make_network, remove, server, sleeper, truth};

const BRIDGE: &str = "moored0";
const NONE: &str = "[networks]\nbridge = \"none\"\n";

fn ip(d: &Daemon, words: &str) -> String {
    let out = d.command_inside("ip").args(words.split(' ')).output();
    let out = out.expect("ip runs");
    assert!(out.status.success(), "ip {words}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Names, in their order.
fn interfaces(d: &Daemon) -> Vec<String> {
    let said = ip(d, "-br link");
    let first = |line: &str| line.split([' ', '@']).next().map(str::to_owned);
    let mut names: Vec<_> = said.lines().filter_map(first).collect();
    names.sort();
    names
}

fn configure(d: &mut Daemon, text: &str) {
    d.stop();
    d.reconfigure(text);
    d.restart();
}

/// That the default network can be used.
fn expect_usable(d: &Daemon) {
    d.run_detached("it", server("it", "bridge", 18080));
    until("it serves", || fetched(d, 18080) == "it");
    truth::expect(d, "with a container on it");
    remove(d, "it");
    truth::expect(d, "without containers");
}

/// Where it is made.
#[cfg(feature = "failpoints")]
pub(super) const POINTS: [failpoint::Point; 2] = [
    failpoint::Point::NetworkBridgeMade,
    failpoint::Point::NetworkBridgeKept,
];

#[cfg(feature = "failpoints")]
#[test]
fn killed_or_failing_where_it_is_made() {
    let mut d = daemon();
    for point in POINTS {
        for action in ["kill", "error"] {
            let plan = format!("{}={action}@1", point.name());
            eprintln!("{plan}");
            ip(&d, &format!("link del {BRIDGE}"));
            let logged = d.log().len();
            d.stop();
            d.set_failpoints(&plan);
            d.spawn();
            until(&format!("{plan} is passed"), || {
                d.log()[logged..].contains("failpoint")
            });
            d.set_failpoints("");
            match action {
                "kill" => {
                    assert!(d.ends_within(std::time::Duration::from_secs(10)), "{plan}");
                    d.restart();
                }
                _ => {
                    d.wait_ready();
                    hang_up(&d);
                }
            }
            truth::expect(&d, &plan);
            expect_usable(&d);
        }
    }
    d.finish();
}

#[test]
fn deleted_by_hand_it_is_there_again() {
    let mut d = daemon();
    let id = d.http.get("/networks/bridge").json()["Id"].clone();
    let anchor = format!("ma-{}", &id.as_str().expect("text")[..12]);
    for (round, words) in [
        format!("link del {BRIDGE}"),
        format!("link del {anchor}"),
        format!("addr flush dev {BRIDGE}"),
    ]
    .iter()
    .enumerate()
    {
        ip(&d, words);
        match round {
            // The next daemon looks as it starts.
            0 => {
                d.kill9();
                d.restart();
            }
            _ => hang_up(&d),
        }
        truth::expect(&d, words);
        expect_usable(&d);
    }
    // With nobody on it, nobody misses the rules but who comes first.
    flush(&d);
    expect_usable(&d);
    d.finish();
}

#[test]
fn where_there_is_to_be_none_it_goes_with_the_last() {
    let mut d = daemon();
    let before = d.http.get("/networks/bridge").expect(200).json();
    d.run_detached("it", server("it", "bridge", 18080));
    until("it serves", || fetched(&d, 18080) == "it");
    let first = address(&d, "it", "bridge");
    configure(&mut d, NONE);
    hang_up(&d);
    d.run_detached("other", sleeper("none"));
    assert_eq!(fetched(&d, 18080), "it", "what runs has what it had");
    assert!(interfaces(&d).contains(&BRIDGE.to_owned()));
    remove(&d, "it");
    remove(&d, "other");
    until("it is gone", || {
        hang_up(&d);
        interfaces(&d) == ["lo"]
    });
    until("no rule is about it", || {
        let rules = d.command_inside("nft").args(["list", "ruleset"]).output();
        let rules = String::from_utf8_lossy(&rules.expect("nft runs").stdout).into_owned();
        !rules.contains(BRIDGE) && !rules.contains("172.17.")
    });
    configure(&mut d, "");
    truth::expect(&d, "with a default network again");
    assert_eq!(d.http.get("/networks/bridge").expect(200).json(), before);
    d.run_detached("it", server("it", "bridge", 18080));
    assert_eq!(address(&d, "it", "bridge"), first);
    remove(&d, "it");
    // Nobody on it: the next daemon takes it away as it starts.
    configure(&mut d, NONE);
    until("it is gone", || interfaces(&d) == ["lo"]);
    d.finish();
}

#[test]
fn somebody_elses_is_left_alone_and_told_once() {
    let mut d = daemon();
    configure(&mut d, NONE);
    let note = d.inside(d.root().join("run/networks/bridges").join(BRIDGE));
    until("it is gone, and forgotten", || {
        interfaces(&d) == ["lo"] && !note.exists()
    });
    ip(&d, &format!("link add {BRIDGE} type bridge"));
    let logged = d.log().len();
    let count = |d: &Daemon, words: &str| d.log()[logged..].matches(words).count();
    configure(&mut d, "");
    make_network(&d, "one");
    for _ in 0..3 {
        let looks = count(&d, "the settings");
        hang_up(&d);
        until("it looks", || count(&d, "the settings") > looks);
    }
    d.create("it", server("it", "bridge", 18080));
    let said = d.http.post("/containers/it/start").error(409);
    assert!(
        said.contains(&format!("interface {BRIDGE} exists")),
        "{said}"
    );
    let id = d.run_detached("other", server("other", "one", 18081));
    until("others serve", || fetched(&d, 18081) == "other");
    assert_ne!(address(&d, &id, "one"), "");
    assert_eq!(
        ip(&d, &format!("-br addr show dev {BRIDGE}"))
            .split_whitespace()
            .count(),
        2
    );
    remove(&d, "other");
    ip(&d, &format!("link del {BRIDGE}"));
    hang_up(&d);
    truth::expect(&d, "when it is gone");
    assert_eq!(count(&d, "is not as it should be"), 1, "{}", d.log());
    d.start_container("it");
    until("it serves", || fetched(&d, 18080) == "it");
    remove(&d, "it");
    d.finish();
}
