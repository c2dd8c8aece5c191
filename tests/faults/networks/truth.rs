//! What must hold of networks whenever a daemon has come to rest, whatever became of those before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Daemon;

/// Waits until all is as it must be.
///
/// # Panics
/// Saying what is not.
#[track_caller]
pub(super) fn expect(d: &Daemon, when: &str) {
    let start = Instant::now();
    loop {
        let wrong = wrong(d);
        if wrong.is_empty() {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{when}:\n{}",
            wrong.join("\n")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What runs, as the API tells it.
#[derive(Debug, Default)]
struct Shown {
    /// The containers with networks of their own.
    containers: BTreeSet<String>,
    /// Those that run and are on none: one that was taken off its last keeps its namespace for the next, and
    /// one that was started so has nothing.
    bare: BTreeSet<String>,
    /// The networks in use: their ranges.
    ranges: BTreeMap<String, Vec<String>>,
    /// Their gateways: rules are about who asks the name servers there.
    gateways: BTreeSet<Ipv4Addr>,
    /// Addresses, and who has them.
    addresses: BTreeMap<Ipv4Addr, String>,
    /// Id, network's id, address, for each.
    places: BTreeSet<(String, String, String)>,
    /// The ends of the pair that keeps the default network's bridge.
    anchors: usize,
}

impl Shown {
    /// Those that are found must be those with networks; of those without, some may be among them.
    fn compare(&self, what: &str, found: &BTreeSet<String>, wrong: &mut Vec<String>) {
        let found: BTreeSet<_> = found.difference(&self.bare).collect();
        if !found.iter().copied().eq(&self.containers) {
            wrong.push(format!("{what} are {found:?}, not {:?}", self.containers));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn shown(d: &Daemon, wrong: &mut Vec<String>) -> Shown {
    let mut shown = Shown::default();
    let listed = d.http.get("/containers/json?all=1").expect(200).json();
    for row in listed.as_array().expect("a list") {
        let id = text(&row["Id"]);
        let answer = d.http.get(&format!("/containers/{id}/json"));
        if answer.status != 200 {
            continue;
        }
        let inspect = answer.json();
        let status = text(&inspect["State"]["Status"]);
        let runs = matches!(status.as_str(), "running" | "paused");
        let places = inspect["NetworkSettings"]["Networks"].as_object();
        if runs && places.is_none_or(serde_json::Map::is_empty) {
            shown.bare.insert(id.clone());
        }
        for (name, place) in places.into_iter().flatten() {
            let address = text(&place["IPAddress"]);
            if !runs {
                if !address.is_empty() {
                    wrong.push(format!("{id} is {status} and has {address}"));
                }
                continue;
            }
            let Ok(ip) = address.parse::<Ipv4Addr>() else {
                continue;
            };
            if let Some(other) = shown.addresses.insert(ip, id.clone()) {
                wrong.push(format!("{ip} is of {other} and of {id}"));
            }
            let network = text(&place["NetworkID"]);
            shown.containers.insert(id.clone());
            shown.places.insert((id.clone(), network.clone(), address));
            let answer = d.http.get(&format!("/networks/{network}"));
            if answer.status != 200 {
                wrong.push(format!("{id} is on {name}, which is no network"));
                continue;
            }
            let configs = answer.json()["IPAM"]["Config"].clone();
            let configs = configs.as_array().cloned().unwrap_or_default();
            let ranges = configs.iter().map(|c| text(&c["Subnet"])).collect();
            let gateways = configs.iter().map(|c| text(&c["Gateway"]));
            let gateways = gateways.filter_map(|gateway| gateway.parse::<Ipv4Addr>().ok());
            shown.gateways.extend(gateways);
            shown.ranges.insert(network, ranges);
        }
    }
    shown
}

/// All that is not as it must be now.
fn wrong(d: &Daemon) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut shown = shown(d, &mut wrong);
    pins(d, &shown, &mut wrong);
    standing(d, &mut shown, &mut wrong);
    links(d, &shown, &mut wrong);
    zones(d, &shown, &mut wrong);
    leases(d, &shown, &mut wrong);
    rules(d, &shown, &mut wrong);
    wrong
}

fn names_in(dir: &std::path::Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

fn pins(d: &Daemon, shown: &Shown, wrong: &mut Vec<String>) {
    let pins = names_in(&d.inside(d.root().join("run/netns")));
    shown.compare("pinned", &pins, wrong);
}

/// What ip(8) prints in the daemon's network namespace.
fn ip(d: &Daemon, args: &[&str]) -> String {
    let out = d.command_inside("ip").args(args).output();
    String::from_utf8_lossy(&out.expect("ip runs").stdout).into_owned()
}

/// The default network's bridge is there without containers, too, where there was ever a netavark to make it.
fn standing(d: &Daemon, shown: &mut Shown, wrong: &mut Vec<String>) {
    let network = d.http.get("/networks/bridge").expect(200).json();
    let (id, bridge) = (
        text(&network["Id"]),
        &network["Options"]["com.docker.network.bridge.name"],
    );
    let (bridge, config) = (text(bridge), &network["IPAM"]["Config"][0]);
    let (range, gateway) = (text(&config["Subnet"]), text(&config["Gateway"]));
    let on_it = ip(d, &["-o", "link", "show", "master", &bridge]);
    if !on_it.contains(&format!(" ma-{}@", &id[..12])) {
        if !d.log().contains("apt install netavark") && !d.log().contains("package iptables") {
            wrong.push(format!(
                "nothing keeps the default network's bridge: {on_it}"
            ));
        }
        return;
    }
    let own = ip(d, &["-o", "-4", "addr", "show", "dev", &bridge]);
    let length = range.split('/').nth(1).unwrap_or_default();
    if !own.contains(&format!(" {gateway}/{length} ")) {
        wrong.push(format!("{bridge} does not have {gateway}: {own}"));
    }
    shown.anchors = 2;
    shown.gateways.extend(gateway.parse::<Ipv4Addr>());
    shown.ranges.insert(id, vec![range]);
}

fn links(d: &Daemon, shown: &Shown, wrong: &mut Vec<String>) {
    let veths = shown.places.len() + shown.anchors;
    for (kind, wanted) in [("veth", veths), ("bridge", shown.ranges.len())] {
        let found = ip(d, &["-o", "link", "show", "type", kind]);
        if found.lines().count() != wanted {
            wrong.push(format!("not {wanted} of {kind}:\n{found}"));
        }
    }
    for (id, _, address) in &shown.places {
        let Some(pid) = d.inspect(id)["State"]["Pid"].as_u64().filter(|p| *p > 0) else {
            continue;
        };
        let pid = pid.to_string();
        let out = d
            .command_inside("nsenter")
            .args(["--target", &pid, "--net", "ip", "-o", "-4", "addr"])
            .output();
        let out = out.expect("nsenter runs").stdout;
        let found = String::from_utf8_lossy(&out).into_owned();
        if !found.contains(&format!(" {address}/")) {
            wrong.push(format!("{id} does not have {address}: {found}"));
        }
    }
}

fn zones(d: &Daemon, shown: &Shown, wrong: &mut Vec<String>) {
    let dir = d.inside(d.root().join("run/networks/zones"));
    let mut found = BTreeSet::new();
    for network in names_in(&dir) {
        if network == "aardvark.pid" {
            continue;
        }
        let text = fs::read_to_string(dir.join(&network)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut words = line.split(' ').map(str::to_owned);
            let place = (words.next(), words.next());
            found.insert((
                place.0.unwrap_or_default(),
                network.clone(),
                place.1.unwrap_or_default(),
            ));
        }
    }
    let bridge = d.http.get("/networks/bridge").json()["Id"].clone();
    let named = |(_, network, _): &&(String, String, String)| bridge != network.as_str();
    let wanted: BTreeSet<_> = shown.places.iter().filter(named).cloned().collect();
    if found != wanted {
        wrong.push(format!("names are served for {found:?}, not {wanted:?}"));
    }
}

fn leases(d: &Daemon, shown: &Shown, wrong: &mut Vec<String>) {
    let out = std::process::Command::new(testkit::require("sqlite3", "sqlite3"))
        .arg("-readonly")
        .arg(d.inside(d.root().join("data/ledger.db")))
        .arg("SELECT id FROM attachments")
        .output();
    let out = String::from_utf8_lossy(&out.expect("sqlite3 runs").stdout).into_owned();
    let found: BTreeSet<String> = out.lines().map(str::to_owned).collect();
    shown.compare("leased", &found, wrong);
    let pins = names_in(&d.inside(d.root().join("run/netns")));
    if found != pins {
        wrong.push(format!("leased are {found:?}, and pinned {pins:?}"));
    }
}

/// Every rule is about somebody who is there.
fn rules(d: &Daemon, shown: &Shown, wrong: &mut Vec<String>) {
    let out = d.command_inside("nft").args(["list", "ruleset"]).output();
    let out = String::from_utf8_lossy(&out.expect("nft runs").stdout).into_owned();
    let words = out.split_whitespace();
    let words = words.map(|w| w.split([':', '"']).next().unwrap_or_default());
    for word in words {
        let (address, length) = word.split_once('/').unwrap_or((word, "32"));
        let Ok(ip) = address.parse::<Ipv4Addr>() else {
            continue;
        };
        if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() {
            continue;
        }
        let is_there = match length {
            "32" => shown.addresses.contains_key(&ip) || shown.gateways.contains(&ip),
            _ => shown.ranges.values().flatten().any(|r| r == word),
        };
        if !is_there {
            wrong.push(format!("a rule is about {word}, which nobody has"));
        }
    }
}
