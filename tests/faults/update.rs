//! The daemon is killed around an update, and the runtime fails in it, or hangs: kernel and inspect have
//! all of the old limits or all of the new ones, and clients are told of the new ones once.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{Daemon, Fakes, KernelLimits, until};

use crate::{daemon, options};

const MB: i64 = 1 << 20;

fn body() -> Value {
    json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Memory": 64 * MB, "PidsLimit": 50}})
}

fn asked() -> Value {
    json!({"Memory": 96 * MB, "MemorySwap": 96 * MB, "PidsLimit": 77, "CpuShares": 512,
        "RestartPolicy": {"Name": "unless-stopped"}})
}

/// Whether the container has the new limits; the kernel and inspect must agree, on all of them.
fn has_new(d: &Daemon, what: &str) -> bool {
    let kernel = KernelLimits::of(d.init_pid("it"));
    let shown = d.inspect("it")["HostConfig"].clone();
    let limits = |key: &str| shown[key].as_i64().unwrap_or(0);
    let told = (limits("Memory"), limits("MemorySwap"), limits("PidsLimit"));
    let has = (
        kernel.memory.unwrap_or(0),
        kernel.memory_and_swap.unwrap_or(told.1),
        kernel.pids.unwrap_or(0),
    );
    assert_eq!(has, told, "{what}");
    // What the runtimes make of a number of shares on v2 changes with their versions.
    let is_v1 = !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let shares = limits("CpuShares");
    match (is_v1, shares) {
        (true, 0) => assert_eq!(kernel.cpu_weight, 1024, "{what}"),
        (true, shares) => assert_eq!(kernel.cpu_weight, shares, "{what}"),
        (false, 0) => assert_eq!(kernel.cpu_weight, 100, "{what}"),
        (false, _) => assert!(kernel.cpu_weight < 100, "{what}"),
    }
    let policy = &shown["RestartPolicy"]["Name"];
    let old = (64 * MB, 128 * MB, 50);
    if told == old {
        assert_eq!((limits("CpuShares"), policy), (0, &json!("no")), "{what}");
        return false;
    }
    assert_eq!(told, (96 * MB, 96 * MB, 77), "{what}");
    assert_eq!(
        (limits("CpuShares"), policy),
        (512, &json!("unless-stopped")),
        "{what}"
    );
    true
}

/// How often clients are told of an update.
fn told(d: &Daemon) -> usize {
    told_of(d, "update")
}

fn told_of(d: &Daemon, event: &str) -> usize {
    let filters = json!({"event": [event]}).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is later");
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let path = testkit::query(
        "/events",
        &[("since", "0"), ("until", &until), ("filters", &filters)],
    );
    d.http.get(&path).expect(200).text().lines().count()
}

#[test]
fn a_daemon_that_is_killed_leaves_the_old_limits_or_the_new() {
    for point in [
        "update-promised",
        "update-done",
        "update-written",
        "ledger-committed",
    ] {
        let mut d = daemon();
        d.run_detached("it", body());
        let pid = d.init_pid("it");
        d.stop();
        d.set_failpoints(&format!("{point}=kill"));
        d.spawn();
        d.wait_ready();
        let answer = d.http.attempt(
            "POST",
            "/containers/it/update",
            "application/json",
            asked().to_string().as_bytes(),
        );
        assert!(answer.is_none(), "{point}: it is killed");
        d.kill9();
        d.set_failpoints("");
        d.restart();
        assert_eq!(d.init_pid("it"), pid, "{point}");
        // What was promised is finished.
        until("the update is made", || {
            KernelLimits::of(pid).pids == Some(77)
        });
        until("it is told", || told(&d) == 1);
        assert!(has_new(&d, point));
        d.kill9();
        d.restart();
        assert!(has_new(&d, point));
        assert_eq!(told(&d), 1, "{point}");
        d.finish();
    }
}

#[test]
fn a_runtime_that_fails_changes_nothing() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    let id = d.run_detached("it", body());
    for control in [
        "runc update fail no such luck",
        "runc update silent",
        "runc update die",
    ] {
        fakes.behave(control);
        let said = d
            .http
            .post_json("/containers/it/update", &asked())
            .error(500);
        let wraps = format!("Cannot update container {id}: runc did not terminate successfully: ");
        assert!(said.starts_with(&wraps), "{said}");
        assert!(
            !control.contains("luck") || said.ends_with("no such luck"),
            "{said}"
        );
        assert!(!has_new(&d, control));
    }
    assert_eq!(told(&d), 0);
    fakes.behave("");
    // The kernel may have any of them, until one comes through.
    d.http
        .post_json("/containers/it/update", &asked())
        .expect(200);
    assert!(has_new(&d, "at last"));
    d.finish();
}

/// It is killed at its deadline; what it had done until then is undone.
#[test]
fn a_runtime_that_hangs_is_ended_and_undone() {
    let fakes = Fakes::new();
    let d = Daemon::start(
        options()
            .fakes(&fakes)
            .and_config("[launch]\ncall-timeout-s = 1\n"),
    );
    d.run_detached("it", body());
    d.run_detached("other", json!({"Cmd": ["sleep", "1000"]}));
    fakes.behave("runc update hang-after");
    std::thread::scope(|scope| {
        let http = &d.http;
        let update = scope.spawn(move || http.post_json("/containers/it/update", &asked()));
        let done = |calls: &[String]| calls.iter().any(|call| call == "done");
        until("it hangs", || done(&fakes.calls()));
        fakes.behave("");
        // Nobody else notices.
        d.http
            .post_json("/containers/other/update", &json!({"PidsLimit": 9}))
            .expect(200);
        d.http.get("/containers/it/json").expect(200);
        update.join().expect("it answers").error(500);
    });
    assert!(!has_new(&d, "undone"));
    assert_eq!(told(&d), 1, "of the other");
    d.finish();
}

/// Killed when the runtime has set the new limits; in the next daemon the runtime fails, forward and
/// back; the one after that makes kernel and inspect one again.
#[test]
fn what_cannot_be_finished_is_taken_back() {
    let fakes = Fakes::new();
    let mut d = Daemon::start(options().fakes(&fakes));
    d.run_detached("it", body());
    let pid = d.init_pid("it");
    d.stop();
    d.set_failpoints("update-done=kill");
    d.spawn();
    d.wait_ready();
    let asked = asked().to_string();
    let path = "/containers/it/update";
    let answer = d
        .http
        .attempt("POST", path, "application/json", asked.as_bytes());
    assert!(answer.is_none(), "it is killed");
    assert_eq!(KernelLimits::of(pid).pids, Some(77));
    d.kill9();
    d.set_failpoints("");
    fakes.behave("runc update fail not today");
    d.restart();
    until("it shows what it had", || {
        d.inspect("it")["HostConfig"]["PidsLimit"] == 50
    });
    d.kill9();
    fakes.behave("");
    d.restart();
    until("the kernel has that, too", || {
        KernelLimits::of(pid).pids == Some(50)
    });
    assert!(!has_new(&d, "taken back"));
    assert_eq!(told(&d), 0);
    d.finish();
}

#[test]
fn one_that_ends_meanwhile_has_them_at_its_next_start() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    d.run_detached("it", body());
    fakes.behave("runc update hold");
    std::thread::scope(|scope| {
        let http = &d.http;
        let update = scope.spawn(move || http.post_json("/containers/it/update", &asked()));
        fakes.wait_held(1);
        fakes.behave("");
        d.http.post("/containers/it/kill").expect(204);
        assert_eq!(d.wait("it"), 137);
        // Not held up by the runtime, which still is.
        update.join().expect("it answers").expect(200);
    });
    d.start_container("it");
    assert!(has_new(&d, "the next run"));
    assert_eq!(told(&d), 1);
    d.finish();
}

/// A frozen process takes no signal, so it is thawed as soon as the update is done.
#[test]
fn a_paused_container_can_be_ended_during_an_update() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    let script = "trap 'exit 3' TERM; sleep 1000 & wait";
    for (held, end, code) in [(1, "kill", 137), (2, "stop?t=-1", 3)] {
        fakes.behave("");
        d.run_detached("it", json!({"Cmd": ["sh", "-c", script]}));
        until("its trap is set", || {
            d.http
                .get("/containers/it/top")
                .expect(200)
                .text()
                .contains("1000")
        });
        d.http.post("/containers/it/pause").expect(204);
        fakes.behave("runc update hold");
        let kills = told_of(&d, "kill");
        std::thread::scope(|scope| {
            let http = &d.http;
            let pids = json!({"PidsLimit": 9});
            let update = scope.spawn(move || http.post_json("/containers/it/update", &pids));
            fakes.wait_held(held);
            let end = scope.spawn(move || http.post(&format!("/containers/it/{end}")));
            until("it is signalled", || told_of(&d, "kill") > kills);
            fakes.let_go();
            end.join().expect("it answers").expect(204);
            update.join().expect("it answers").expect(200);
        });
        assert_eq!(d.inspect("it")["State"]["ExitCode"], code);
        d.http.delete("/containers/it").expect(204);
    }
    d.finish();
}

/// The runtime fails, and before that is taken in the container ends: it is no less a failure.
#[test]
fn an_update_that_fails_at_the_end_of_the_container_has_failed() {
    let fakes = Fakes::new();
    let mut d = Daemon::start(options().fakes(&fakes));
    d.run_detached("it", body());
    d.stop();
    d.set_failpoints("update-promised=delay:3000,exit-seen=delay:8000");
    d.spawn();
    d.wait_ready();
    fakes.behave("runc update fail no such luck");
    std::thread::scope(|scope| {
        let http = &d.http;
        let update = scope.spawn(move || http.post_json("/containers/it/update", &asked()));
        until("it is begun", || d.log().contains("update-promised"));
        d.http.post("/containers/it/kill").expect(204);
        let said = update.join().expect("it answers").error(500);
        assert!(said.ends_with("no such luck"), "{said}");
    });
    fakes.behave("");
    d.start_container("it");
    assert!(!has_new(&d, "the next run"));
    assert_eq!(told(&d), 0);
    d.finish();
}

/// A defect of the daemon's own is told, and leaves nothing that the next update would not set right.
#[test]
fn an_update_that_is_lost_is_answered() {
    let mut d = daemon();
    d.run_detached("it", body());
    d.stop();
    d.set_failpoints("update-promised=panic@1");
    d.spawn();
    d.wait_ready();
    let ask = || d.http.post_json("/containers/it/update", &asked());
    let said = ask().error(500);
    assert!(said.contains("an operation of the daemon failed"), "{said}");
    assert!(!has_new(&d, "lost"));
    ask().expect(200);
    assert!(has_new(&d, "the next one"));
    assert_eq!(told(&d), 1);
    d.finish();
}
