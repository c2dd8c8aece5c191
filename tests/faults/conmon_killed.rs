//! `kill -9` of a container's conmon: the code is still exact, and the state says what happened.

use rustix::process::{Pid, Signal};
use serde_json::json;
use testkit::{Daemon, until};

use crate::daemon;

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), signal).expect("it is alive");
}

/// Linux 6.15 tells the exit of a process that is no child (PIDFD_INFO_EXIT).
pub(crate) fn kernel_tells_exits() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
    let mut numbers = release
        .split(['.', '-'])
        .map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// Kills conmon, then the first process. Waits until they are collected, not only dead: a zombie
/// still tells its code.
fn kill_and_see_collected(processes: [u32; 2]) {
    processes.into_iter().for_each(kill);
    until("both are gone", || {
        processes
            .iter()
            .all(|pid| !std::fs::exists(format!("/proc/{pid}")).unwrap_or(true))
    });
}

/// The code, or 255 with a reason where no witness is left.
#[track_caller]
fn expect_code(d: &Daemon, id: &str, code: i64) {
    d.wait_status(id, "exited");
    let state = &d.inspect(id)["State"];
    if kernel_tells_exits() {
        assert_eq!(state["ExitCode"], code, "{state}");
    } else {
        assert_eq!(state["ExitCode"], 255, "{state}");
        assert_ne!(state["Error"], "", "{state}");
    }
}

#[test]
fn the_code_is_exact_without_conmon() {
    let d = daemon();
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let bind = format!("{}:/go:ro", go.display());
    let script = "while [ ! -e /go/now ]; do sleep 0.02; done; exit 42";
    let id = d.run_detached(
        "orphan",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": [bind]}}),
    );
    let killed = d.run_detached("killed", json!({"Cmd": ["sleep", "1000"]}));
    kill(d.conmon_pid(&id));
    kill(d.conmon_pid(&killed));
    assert_eq!(d.status(&id), "running", "the container lives on");
    std::fs::write(go.join("now"), "").expect("a file in ours");
    expect_code(&d, &id, 42);
    d.http.post("/containers/killed/kill").expect(204);
    expect_code(&d, &killed, 137);
    d.http.delete(&format!("/containers/{id}")).expect(204);
    d.http.delete(&format!("/containers/{killed}")).expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn a_container_without_conmon_can_be_stopped_and_started_again() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    kill(d.conmon_pid(&id));
    d.http.post("/containers/it/stop?t=0").expect(204);
    expect_code(&d, &id, 137);
    d.start_container(&id);
    assert_eq!(d.status(&id), "running");
    d.conmon_pid(&id);
    d.http.delete("/containers/it?force=1").expect(204);
    d.finish();
}

#[test]
fn attached_clients_are_let_go_when_conmon_dies() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let mut attach = d
        .http
        .hijack("/containers/it/attach?stream=1&stdout=1", true);
    kill(d.conmon_pid(&id));
    attach.read_to_end();
    d.http.post("/containers/it/kill").expect(204);
    expect_code(&d, &id, 137);
    d.finish();
}

/// conmon and the first process die while the daemon is away: nobody saw the code, and nobody
/// makes one up.
#[test]
fn a_code_nobody_saw_is_255_with_a_reason() {
    let mut d = daemon();
    let id = d.run_detached("lost", json!({"Cmd": ["sleep", "1000"]}));
    let processes = [d.conmon_pid(&id), d.init_pid(&id)];
    d.kill9();
    kill_and_see_collected(processes);
    d.restart();
    d.wait_status(&id, "exited");
    let state = &d.inspect(&id)["State"];
    assert_eq!(state["ExitCode"], 255, "{state}");
    let error = state["Error"].as_str().expect("text");
    assert!(error.contains("exit status unknown"), "{error}");
    assert_eq!(d.wait(&id), 255);
    d.finish();
}

/// A conmon that was stopped writes no exit file. The container did end, so those who want it
/// gone wait for that to be given up, and are not told of a process that cannot be killed.
#[test]
fn a_stopped_conmon_does_not_keep_a_container_from_being_removed() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let conmon = i32::try_from(d.conmon_pid(&id)).expect("a pid");
    let conmon = Pid::from_raw(conmon).expect("a pid");
    rustix::process::kill_process(conmon, Signal::STOP).expect("it lives");
    d.http.delete("/containers/it?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

fn times() -> u32 {
    match std::env::var_os("MOORED_SOAK") {
        Some(_) => 1000,
        None => 20,
    }
}

/// Kills conmon in another moment of each container's life; the code is exact or, where `may_lose`
/// says so, 255 with a reason.
fn kill_conmons(d: &Daemon, count: u32, may_lose: bool) {
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let bind = format!("{}:/go:ro", go.display());
    for n in 0_u32..count {
        let code = 1 + n % 250;
        let script = format!("until [ -e /go/{n} ]; do sleep 0.01; done; sleep 0.1; exit {code}");
        let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": [bind]}});
        let id = d.run_detached("it", body);
        let conmon = i32::try_from(d.conmon_pid(&id))
            .ok()
            .and_then(Pid::from_raw);
        std::fs::write(go.join(n.to_string()), "").expect("a file in ours");
        // Up to some time after its end.
        std::thread::sleep(std::time::Duration::from_millis(10 * u64::from(n % 20)));
        let _ = rustix::process::kill_process(conmon.expect("a pid"), Signal::KILL);
        d.wait_status(&id, "exited");
        let state = &d.inspect(&id)["State"];
        if state["ExitCode"] != i64::from(code) {
            let error = state["Error"].as_str().expect("text");
            assert_eq!(state["ExitCode"], 255, "{code}: {state}");
            assert!(error.contains("exit status unknown"), "{code}: {state}");
            assert_eq!(d.wait(&id), 255);
            assert!(may_lose, "{code}: {state}");
        }
        d.http.delete(&format!("/containers/{id}")).expect(204);
    }
}

#[test]
fn conmon_killed_many_times() {
    let d = daemon();
    kill_conmons(&d, times(), !kernel_tells_exits());
    d.finish();
}

/// The code of a container that ends after its conmon, while the daemon is held up until somebody
/// has collected it.
fn state_of_one_ended_unseen(d: &Daemon) -> serde_json::Value {
    let id = d.run_detached("unseen", json!({"Cmd": ["sleep", "1000"]}));
    let processes = [d.conmon_pid(&id), d.init_pid(&id)];
    signal(d.pid(), Signal::STOP);
    kill_and_see_collected(processes);
    signal(d.pid(), Signal::CONT);
    d.wait_status(&id, "exited");
    let state = d.inspect(&id)["State"].clone();
    d.http.delete("/containers/unseen").expect(204);
    state
}

/// Before Linux 6.15 the code of a container whose conmon died first is known to those only who
/// look before it is collected.
#[test]
fn on_an_older_kernel_no_code_is_made_up() {
    let mut d = daemon();
    d.kill9();
    d.set_older_kernel();
    d.restart();
    kill_conmons(&d, times(), true);
    let state = state_of_one_ended_unseen(&d);
    assert_eq!(state["ExitCode"], 255, "{state}");
    let error = state["Error"].as_str().expect("text");
    assert!(error.contains("exit status unknown"), "{error}");
    d.finish();
}

#[test]
fn a_kernel_that_keeps_codes_tells_them_late_too() {
    let d = daemon();
    let state = state_of_one_ended_unseen(&d);
    let expected = if kernel_tells_exits() { 137 } else { 255 };
    assert_eq!(state["ExitCode"], expected, "{state}");
    d.finish();
}
