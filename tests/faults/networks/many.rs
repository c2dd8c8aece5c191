//! Many containers on one network at once, and many networks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::until;

use super::{address, daemon, make_network, said_inside, sleeper, truth};

/// In their full number with `MOORED_SOAK`.
fn count(full: usize, short: usize) -> usize {
    match std::env::var_os("MOORED_SOAK") {
        Some(_) => full,
        None => short,
    }
}

#[test]
fn all_that_start_together_have_addresses_and_names_of_their_own() {
    let d = daemon();
    make_network(&d, "one");
    let count = count(100, 40);
    let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
    for name in &names {
        d.create(name, sleeper("one"));
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        for name in &names {
            let http = d.http.clone();
            scope.spawn(move || http.post(&format!("/containers/{name}/start")).expect(204));
        }
    });
    eprintln!("{count} started after {:?}", start.elapsed());
    let addresses: Vec<String> = names.iter().map(|name| address(&d, name, "one")).collect();
    let different: BTreeSet<&String> = addresses.iter().collect();
    assert_eq!(different.len(), count, "{addresses:?}");
    truth::expect(&d, "with all of them");
    // Each is found by the first, and nobody twice.
    let found = || {
        let script: String = names
            .iter()
            .map(|name| format!("nslookup -type=a {name}. | grep ^Address | tail -n 1;"))
            .collect();
        let said = said_inside(&d, &names[0], &["sh", "-c", &script]);
        let last = |line: &str| line.split_whitespace().last().map(str::to_owned);
        said.lines().filter_map(last).collect::<Vec<_>>()
    };
    until("all are found", || found() == addresses);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for name in &names[1..] {
            let http = d.http.clone();
            scope.spawn(move || {
                let gone = http.delete(&format!("/containers/{name}?force=1"));
                gone.expect(204)
            });
        }
    });
    eprintln!("{} removed after {:?}", count - 1, start.elapsed());
    truth::expect(&d, "with one of them");
    d.finish();
}

#[test]
fn many_networks_are_listed_fast_and_pruned() {
    let mut d = daemon();
    let count = count(2000, 300);
    let start = Instant::now();
    for n in 0..count {
        let subnet = format!("10.{}.{}.{}/28", 100 + n / 4096, n / 16 % 256, n % 16 * 16);
        let body = json!({"Name": format!("n{n}"), "IPAM": {"Config": [{"Subnet": subnet}]}});
        d.http.post_json("/networks/create", &body).expect(201);
    }
    eprintln!("{count} networks made after {:?}", start.elapsed());
    let last = format!("n{}", count - 1);
    d.run_detached("it", sleeper(&last));
    let listed = || d.http.get("/networks").expect(200).json();
    let start = Instant::now();
    let all = listed();
    let took = start.elapsed();
    eprintln!("listed after {took:?}");
    assert_eq!(all.as_array().map(Vec::len), Some(count + 3));
    assert!(took < Duration::from_secs(5), "{took:?}");
    d.kill9();
    let start = Instant::now();
    d.restart();
    eprintln!("ready again after {:?}", start.elapsed());
    truth::expect(&d, "with many networks");
    let start = Instant::now();
    let pruned = d.http.post("/networks/prune").expect(200).json();
    eprintln!("pruned after {:?}", start.elapsed());
    let pruned = pruned["NetworksDeleted"].as_array().map(Vec::len);
    assert_eq!(pruned, Some(count - 1), "one is in use");
    let left = d.http.get("/networks").expect(200).json();
    assert_eq!(left.as_array().map(Vec::len), Some(4));
    d.finish();
}
