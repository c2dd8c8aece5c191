//! Somebody flushes the firewall, or has rules of his own in it.

use std::time::{Duration, Instant};

use testkit::{Daemon, until};

use super::{address, daemon, fetched, make_network, remove, resolved, server, sleeper, truth};

fn iptables(d: &Daemon, words: &str) -> String {
    let out = d
        .command_inside(testkit::require("iptables", "iptables"))
        .arg("-w")
        .args(words.split(' '))
        .output();
    let out = out.expect("iptables runs");
    assert!(
        out.status.success(),
        "iptables {words}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub(super) fn hang_up(d: &Daemon) {
    let pid = rustix::process::Pid::from_raw(d.pid().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it is alive");
}

/// All rules and chains of everybody are gone, as after a careless reload.
pub(super) fn flush(d: &Daemon) {
    for words in ["-P FORWARD DROP", "-F", "-t nat -F", "-X", "-t nat -X"] {
        iptables(d, words);
    }
}

#[test]
pub(super) fn flushed_rules_are_back_when_they_are_asked_for() {
    let mut d = daemon();
    make_network(&d, "one");
    let id = d.run_detached("it", server("it", "one", 18080));
    d.run_detached("other", server("other", "bridge", 18081));
    let first = address(&d, &id, "one");
    let serve = |d: &Daemon| fetched(d, 18080) == "it" && fetched(d, 18081) == "other";
    until("they serve", || serve(&d));
    for round in 0..3 {
        flush(&d);
        assert_eq!(fetched(&d, 18080), "", "nothing leads there");
        match round {
            // The next daemon looks as it starts.
            0 => {
                d.kill9();
                d.restart();
            }
            _ => hang_up(&d),
        }
        until("they serve again", || serve(&d));
        truth::expect(&d, "after a flush");
    }
    assert_eq!(resolved(&d, &id, "it"), Some(first));
    // What comes and goes right after a flush brings no disorder.
    flush(&d);
    let third = d.run_detached("third", sleeper("one"));
    remove(&d, "other");
    hang_up(&d);
    until("it serves", || fetched(&d, 18080) == "it");
    assert_eq!(resolved(&d, &third, "it"), Some(address(&d, &id, "one")));
    truth::expect(&d, "after changes on a flushed firewall");
    // One that ends while its rules are away leaves none of them.
    flush(&d);
    remove(&d, "it");
    remove(&d, "third");
    truth::expect(&d, "after the ends on a flushed firewall");
    d.finish();
}

/// Nobody asks for it, as nobody does who reloads nftables.
#[test]
fn a_reload_of_nftables_is_noticed() {
    let d = daemon();
    make_network(&d, "one");
    d.run_detached("it", server("it", "one", 18080));
    d.run_detached("other", server("other", "bridge", 18081));
    let serve = || fetched(&d, 18080) == "it" && fetched(&d, 18081) == "other";
    until("they serve", serve);
    let began = Instant::now();
    for _ in 0..5 {
        let nft = testkit::require("nft", "nftables");
        let flushed = d.command_inside(nft).args(["flush", "ruleset"]).status();
        assert!(flushed.expect("nft runs").success());
        until("they serve again", serve);
    }
    // By the look that there is each 15 s, only the first could come sooner than that.
    assert!(began.elapsed() < Duration::from_secs(4 * 15));
    truth::expect(&d, "after reloads");
    d.finish();
}

#[test]
fn the_operators_own_rules_stay_and_come_first() {
    let d = daemon();
    make_network(&d, "one");
    d.run_detached("it", server("it", "one", 18080));
    let client = d.run_detached("client", sleeper("bridge"));
    until("it serves", || fetched(&d, 18080) == "it");
    let gateway = d.http.get("/networks/bridge").json()["IPAM"]["Config"][0]["Gateway"].clone();
    let url = format!("http://{}:18080/", gateway.as_str().expect("text"));
    let client = d.init_pid(&client);
    let asked = || super::fetched_by(&d, client, &url);
    assert_eq!(
        asked(),
        "it",
        "containers of other networks reach published ports"
    );
    iptables(
        &d,
        "-A DOCKER-USER -p tcp -m conntrack --ctorigdstport 18080 -j REJECT",
    );
    assert_eq!(asked(), "", "the operator has forbidden it");
    for words in ["-F FORWARD", "-t nat -F"] {
        iptables(&d, words);
    }
    hang_up(&d);
    until("the rules are back", || fetched(&d, 18080) == "it");
    assert_eq!(
        asked(),
        "",
        "the operator's rule is still there, and before all others"
    );
    remove(&d, "it");
    d.run_detached("it", server("it", "one", 18080));
    until("it serves", || fetched(&d, 18080) == "it");
    assert_eq!(asked(), "");
    iptables(&d, "-F DOCKER-USER");
    assert_eq!(asked(), "it");
    d.finish();
}
