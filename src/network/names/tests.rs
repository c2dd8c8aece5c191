//! With the real aardvark-dns, in a network namespace that stands for the host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use model::{Pid, Signal};
use sys::netns;

use super::*;
use crate::fixture::{Host, network, on_a_host, order, place};

mod port;

/// What busybox's resolver makes of `name`, asked in the namespace at `ns`.
fn look_up(ns: &Path, server: &str, name: &str) -> Option<String> {
    let asked = netns::inside(ns, || {
        let mut busybox = Command::new("timeout");
        busybox
            .args(["1", "busybox", "nslookup", "-type=a", name, server])
            .output()
    });
    let text = String::from_utf8(asked.unwrap().stdout).unwrap();
    let answer = text.split_once("Name:")?.1;
    Some(
        answer
            .split_once("Address: ")?
            .1
            .split_whitespace()
            .next()?
            .to_owned(),
    )
}

/// Waits until looking up says `wanted`; how long that took.
fn until(ns: &Path, server: &str, name: &str, wanted: Option<&str>) -> Duration {
    let began = Instant::now();
    loop {
        let is = look_up(ns, server, name);
        if is.as_deref() == wanted {
            return began.elapsed();
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(20), "{name} is {is:?}");
    }
}

fn names(host: &Host) -> Names {
    let path = std::env::var_os("PATH").unwrap();
    Names::new(None, path, host.dir.path().join("dns"))
}

/// A container at 10.81.0.2 of a network of its own: what that is, how it was set up, where it is.
async fn a_box(host: &Host, number: u8) -> (model::NetworkRecord, crate::Order, PathBuf) {
    let net = network(number, &[("10.81.0.0/24", "10.81.0.1")]);
    let set_up = order('a', &[(&net, place(&net, "eth0", &["10.81.0.2/24"]))], &[]);
    let ns = host.ns("ns");
    host.netavark.set_up(&ns, &set_up).await.unwrap();
    (net, set_up, ns)
}

fn member(id: char, last: u8, names: &[&str]) -> Member {
    Member {
        id: id.to_string().repeat(64).parse().unwrap(),
        ipv4: Some([10, 81, 0, last].into()),
        ipv6: None,
        names: names.iter().map(ToString::to_string).collect(),
        upstream: Vec::new(),
        outside: false,
    }
}

fn all_addresses() -> [IpAddr; 1] {
    ["0.0.0.0".parse().unwrap()]
}

async fn pid(names: &Names) -> Option<Pid> {
    let mut serving = names.0.serving.lock().await;
    names.0.find(&mut serving).await.unwrap();
    let server = serving.server.running();
    server.map(|server| server.process.process().pid)
}

#[test]
fn names_are_served_and_follow_what_is_written() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 21).await;
        let served = names(host);
        let mut zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web", "www"]), member('b', 3, &["db"])],
        };
        let ask = |name, wanted| until(&ns, "10.81.0.1", name, wanted);
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        ask("web", Some("10.81.0.2"));
        ask("www", Some("10.81.0.2"));
        ask("db", Some("10.81.0.3"));
        let first = pid(&served).await.unwrap();
        // Renamed, and one is gone. A question that nobody answers takes a second; starting who asks takes
        // most of this.
        zone.members = vec![member('a', 2, &["front"])];
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        let took = ask("front", Some("10.81.0.2"));
        assert!(took < Duration::from_millis(900), "{took:?}");
        ask("web", None);
        ask("db", None);
        // A daemon that is new finds it, and tells it what is true.
        let next = names(host);
        zone.members.push(member('c', 4, &["late"]));
        next.write(std::slice::from_ref(&zone)).await.unwrap();
        ask("late", Some("10.81.0.4"));
        assert_eq!(pid(&next).await, Some(first));
        // One was killed between the files and the word to the server.
        zone.members.push(member('d', 5, &["later"]));
        next.0.write_files(std::slice::from_ref(&zone)).unwrap();
        let next = names(host);
        next.write(std::slice::from_ref(&zone)).await.unwrap();
        ask("later", Some("10.81.0.5"));
        assert_eq!(pid(&next).await, Some(first));
        next.write(&[]).await.unwrap();
        let server = PidFd::open(first).unwrap();
        if let Some(server) = server {
            let ended = tokio::time::timeout(Duration::from_secs(10), server.exited());
            ended
                .await
                .expect("it ends when no network is left")
                .unwrap();
        }
        assert!(next.0.servers().unwrap().is_empty());
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

/// Waits until another server is in the place of `before`. Nobody looks for one.
async fn until_another(names: &Names, before: Pid) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = pid_known(names).await;
        if now.is_some_and(|now| now != before) {
            return;
        }
        assert!(Instant::now() < deadline, "it did not come back");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn pid_known(names: &Names) -> Option<Pid> {
    let serving = names.0.serving.lock().await;
    let server = serving.server.running();
    server.map(|server| server.process.process().pid)
}

#[test]
fn a_server_that_was_killed_comes_back() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 22).await;
        let served = names(host);
        let zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        let first = pid(&served).await.unwrap();
        let killed = PidFd::open(first).unwrap().unwrap();
        killed.signal(Signal::KILL).unwrap();
        killed.exited().await.unwrap();
        // Nobody writes: whoever watches starts it.
        until_another(&served, first).await;
        until(&ns, "10.81.0.1", "web", Some("10.81.0.2"));
        let server = pid(&served).await.unwrap();
        served.write(&[]).await.unwrap();
        if let Some(server) = PidFd::open(server).unwrap() {
            let ended = tokio::time::timeout(Duration::from_secs(10), server.exited());
            ended.await.unwrap().unwrap();
        }
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

/// Processes that serve these files.
async fn count(names: &Names) -> usize {
    Server::find(&names.0.zones()).await.unwrap().len()
}

#[test]
fn one_server_is_left_whatever_was_started_and_whatever_it_is_called() {
    on_a_host(async |host| {
        let (net, box_order, ns) = a_box(host, 25).await;
        let path = std::env::var_os("PATH").unwrap();
        let real = names(host).program().unwrap();
        let program = host.dir.path().join("names-1.4");
        std::os::unix::fs::symlink(real, &program).unwrap();
        let served = Names::new(Some(program.clone()), path, host.dir.path().join("dns"));
        let mut zone = Zone {
            network: net.id.clone(),
            servers: vec!["10.81.0.1".parse().unwrap()],
            members: vec![member('a', 2, &["web"])],
        };
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        let first = pid(&served).await.unwrap();
        zone.members.push(member('b', 3, &["db"]));
        served.write(std::slice::from_ref(&zone)).await.unwrap();
        until(&ns, "10.81.0.1", "db", Some("10.81.0.3"));
        assert_eq!(pid(&served).await, Some(first));
        // A start that was given up left one, and the pid file names it.
        let zones = served.0.zones();
        let start = || {
            let started = Command::new(&program)
                .arg("--config")
                .arg(&zones)
                .args(["--port", &PORTS_ASIDE[0].to_string(), "run"])
                .status();
            assert!(started.unwrap().success());
        };
        start();
        assert_eq!(count(&served).await, 2);
        let server = PidFd::open(first).unwrap().unwrap();
        server.signal(Signal::KILL).unwrap();
        server.exited().await.unwrap();
        until_another(&served, first).await;
        assert_eq!(count(&served).await, 1);
        until(&ns, "10.81.0.1", "db", Some("10.81.0.3"));
        // A daemon that is new finds both, and needs one.
        start();
        drop(served);
        let next = names(host);
        zone.members.push(member('c', 4, &["late"]));
        next.write(std::slice::from_ref(&zone)).await.unwrap();
        assert_eq!(count(&next).await, 1);
        next.write(&[]).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while count(&next).await > 0 {
            assert!(Instant::now() < deadline, "it goes on");
        }
        host.netavark.tear_down(&ns, &box_order).await.unwrap();
    });
}

#[tokio::test]
async fn whoever_has_the_arguments_of_a_server_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let waits = format!(
        "exec sh -c 'read x' sh --config {} --port 53 run",
        dir.path().display()
    );
    for (tool, options, is_found) in [
        ("setpriv", ["--reuid=65534", "--clear-groups"], false),
        ("unshare", ["--pid", "--fork"], false),
        ("env", ["--", "A=b"], true),
    ] {
        let mut command = Command::new(tool);
        command.args(options).args(["sh", "-c", &waits]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let find = || Server::find(dir.path());
        // All that have them, whoever they are.
        let has_them = || {
            let entries = std::fs::read_dir("/proc").unwrap().flatten();
            let mut pids = entries.filter_map(|e| Pid::new(e.file_name().to_str()?.parse().ok()?));
            pids.find(|pid| server::port_of(*pid, dir.path()).is_some())
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let pid = loop {
            match has_them() {
                Some(pid) => break pid,
                None => assert!(Instant::now() < deadline, "{tool} does not start it"),
            }
        };
        let found = find().await.unwrap();
        assert_eq!(found.len(), usize::from(is_found), "{tool}");
        let process = PidFd::open(pid).unwrap().unwrap();
        process.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(find().await.unwrap().is_empty());
    }
}
