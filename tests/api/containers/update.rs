//! Limits and restart policy of containers that are there: what the kernel has, what inspect shows,
//! what is refused.

use serde_json::{Value, json};
use testkit::{Daemon, KernelLimits, until};

use crate::{daemon, options};

const MB: i64 = 1 << 20;

fn update(d: &Daemon, name: &str, body: &Value) -> Value {
    let path = format!("/containers/{name}/update");
    d.http.post_json(&path, body).expect(200).json()
}

fn refused(d: &Daemon, name: &str, body: &Value, status: u16) -> String {
    let path = format!("/containers/{name}/update");
    let said = d.http.post_json(&path, body).error(status);
    match said.strip_prefix(&format!(
        "Cannot update container {}: ",
        d.inspect(name)["Id"].as_str().expect("an id")
    )) {
        Some(why) => why.to_owned(),
        None => panic!("{said}"),
    }
}

fn kernel(d: &Daemon, name: &str) -> KernelLimits {
    KernelLimits::of(d.init_pid(name))
}

fn host(d: &Daemon, name: &str) -> Value {
    d.inspect(name)["HostConfig"].clone()
}

#[test]
fn the_kernel_has_what_was_asked_for_and_inspect_shows_it() {
    let d = daemon();
    let limits = json!({"Memory": 64 * MB, "CpuShares": 512});
    d.run_detached(
        "it",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": limits}),
    );
    let before = kernel(&d, "it");
    let mut events = d
        .http
        .events("/events?filters=%7B%22event%22%3A%5B%22update%22%5D%7D");
    let asked = json!({"Memory": 96 * MB, "MemorySwap": 128 * MB, "MemoryReservation": 48 * MB,
        "CpuPeriod": 50_000, "CpuQuota": 25_000, "CpusetCpus": "0", "PidsLimit": 77,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}});
    assert_eq!(update(&d, "it", &asked), json!({"Warnings": null}));
    let now = kernel(&d, "it");
    assert_eq!(
        now,
        KernelLimits {
            memory: Some(96 * MB),
            memory_and_swap: Some(128 * MB),
            reservation: Some(48 * MB),
            cpu_period: 50_000,
            cpu_quota: Some(25_000),
            cpus: "0".to_owned(),
            pids: Some(77),
            ..before
        }
    );
    let event = events.next_event().expect("one");
    assert_eq!(event["Actor"]["ID"], d.inspect("it")["Id"]);
    drop(events);
    for (key, value) in asked.as_object().expect("an object") {
        assert_eq!(&host(&d, "it")[key], value, "{key}");
    }
    assert_eq!(host(&d, "it")["CpuShares"], 512, "it was not asked for");

    // And back to less, and to no limit.
    update(
        &d,
        "it",
        &json!({"Memory": 32 * MB, "MemorySwap": -1, "MemoryReservation": 16 * MB, "PidsLimit": -1, "CpuQuota": -1}),
    );
    let then = kernel(&d, "it");
    assert_eq!((then.memory, then.memory_and_swap), (Some(32 * MB), None));
    assert_eq!((then.pids, then.cpu_quota), (None, None));
    assert_eq!(host(&d, "it")["PidsLimit"], 0);
    assert_eq!(host(&d, "it")["MemorySwap"], -1);

    // The next run has them, too.
    d.http.post("/containers/it/restart?t=0").expect(204);
    assert_eq!(kernel(&d, "it"), then);
    d.finish();
}

#[test]
fn one_that_does_not_run_has_them_from_its_next_start_on() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["sleep", "1000"]}));
    let asked = json!({"Memory": 64 * MB, "MemorySwap": 64 * MB, "NanoCpus": 500_000_000});
    assert_eq!(update(&d, "it", &asked), json!({"Warnings": null}));
    assert_eq!(host(&d, "it")["NanoCpus"], 500_000_000);
    d.start_container("it");
    let limits = kernel(&d, "it");
    assert_eq!(
        (limits.memory, limits.memory_and_swap),
        (Some(64 * MB), Some(64 * MB))
    );
    assert_eq!(
        (limits.cpu_quota, limits.cpu_period),
        (Some(50_000), 100_000)
    );
    // Of a paused one they change at once.
    d.http.post("/containers/it/pause").expect(204);
    update(&d, "it", &json!({"PidsLimit": 50}));
    assert_eq!(kernel(&d, "it").pids, Some(50));
    assert_eq!(d.status("it"), "paused");
    d.http.post("/containers/it/unpause").expect(204);
    d.finish();
}

#[test]
fn limits_of_a_container_of_crun_change_as_well() {
    let d = Daemon::start(options().runtime("crun"));
    d.run_detached(
        "it",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Runtime": "crun",
        "Memory": 64 * MB, "PidsLimit": 50}}),
    );
    let asked =
        json!({"Memory": 128 * MB, "MemorySwap": 256 * MB, "CpuShares": 256, "PidsLimit": -1});
    assert_eq!(update(&d, "it", &asked), json!({"Warnings": null}));
    let limits = kernel(&d, "it");
    assert_eq!(
        (limits.memory, limits.memory_and_swap),
        (Some(128 * MB), Some(256 * MB))
    );
    // It writes the number as it is told, so it is told the largest.
    assert!(limits.pids.is_none_or(|n| n == 4_194_304), "{limits:?}");
    update(&d, "it", &json!({"Memory": 32 * MB, "MemorySwap": 32 * MB}));
    let limits = kernel(&d, "it");
    assert_eq!(
        (limits.memory, limits.memory_and_swap),
        (Some(32 * MB), Some(32 * MB))
    );
    d.finish();
}

/// The kernel of v1 refuses, and before that of v2 kills the daemon does.
#[test]
fn what_would_kill_it_is_refused_and_changes_nothing() {
    let d = daemon();
    let eats = "x=$(yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 24000000); echo ate; while :; do sleep 1; done";
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", eats], "HostConfig": {"Memory": 256 * MB}}),
    );
    until("it has eaten", || d.logs(&id).stdout == "ate\n");
    let (before, shown) = (kernel(&d, "it"), host(&d, "it"));
    let asked = json!({"Memory": 8 * MB, "MemorySwap": 8 * MB, "CpuShares": 100, "PidsLimit": 9,
        "RestartPolicy": {"Name": "always"}});
    let answer = d.http.post_json("/containers/it/update", &asked);
    let said = answer.error(if host_is_v2() { 409 } else { 500 });
    assert!(
        said.starts_with(&format!("Cannot update container {id}: ")),
        "{said}"
    );
    assert!(
        said.contains("unable to set memory limit to 8388608 (current usage: ")
            || said.contains("rejecting memory+swap limit 8388608 <= usage "),
        "{said}"
    );
    assert_eq!(kernel(&d, "it"), before);
    assert_eq!(host(&d, "it"), shown);
    assert_eq!(d.status("it"), "running");
    // What the runtime remembers of a container is as before, too.
    update(&d, "it", &json!({"CpuShares": 200}));
    assert_eq!(kernel(&d, "it").memory, before.memory);
    d.finish();
}

fn host_is_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words() {
    let d = daemon();
    let quick = json!({"Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "Memory": 64 * MB}});
    d.create("it", quick.clone());
    d.create(
        "nano",
        json!({"Cmd": ["true"], "HostConfig": {"NanoCpus": 1_000_000_000}}),
    );
    d.create(
        "auto",
        json!({"Cmd": ["true"], "HostConfig": {"AutoRemove": true}}),
    );
    let swap = "Memory limit should be smaller than already set memoryswap limit, update the \
                memoryswap at the same time";
    for (name, body, says) in [
        ("it", json!({"Memory": 200 * MB}), swap),
        (
            "nano",
            json!({"CpuPeriod": 50_000}),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            "auto",
            json!({"RestartPolicy": {"Name": "always"}}),
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ] {
        assert_eq!(refused(&d, name, &body, 409), says);
    }
    // Together with what it has.
    for body in [
        json!({"MemorySwap": 32 * MB}),
        json!({"MemoryReservation": 128 * MB}),
    ] {
        refused(&d, "it", &body, 400);
    }
    for (body, says) in [
        (
            json!({"Memory": 1000}),
            "Minimum memory limit allowed is 6MB",
        ),
        (
            json!({"NanoCpus": 1_000_000_000, "CpuQuota": 1000}),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            json!({"RestartPolicy": {"Name": "bad"}}),
            "invalid restart policy: unknown policy 'bad'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'",
        ),
    ] {
        // Also of one that is not there: Docker looks at the request first.
        for name in ["it", "nosuch"] {
            let path = format!("/containers/{name}/update");
            d.http.post_json(&path, &body).expect_error(400, says);
        }
    }
    d.http
        .post_json("/containers/nosuch/update", &json!({}))
        .expect_error(404, "No such container: nosuch");
    assert_eq!(update(&d, "it", &json!({})), json!({"Warnings": null}));
    let told = update(&d, "it", &json!({"OomKillDisable": true}));
    assert_eq!(
        told["Warnings"],
        json!(["OomKillDisable cannot be updated. OomKillDisable discarded."])
    );
    assert_eq!(host(&d, "it")["OomKillDisable"], false);
    assert_eq!(host(&d, "it")["Memory"], 64 * MB);
    d.finish();
}

#[test]
fn a_policy_counts_from_the_update_on() {
    let d = daemon();
    // One that waits for its next run waits no more.
    d.run_detached(
        "loops",
        json!({"Cmd": ["false"], "HostConfig": {"RestartPolicy": {"Name": "always"}}}),
    );
    until("it waits between two runs", || {
        d.inspect("loops")["RestartCount"].as_i64() >= Some(4) && d.status("loops") == "restarting"
    });
    update(&d, "loops", &json!({"RestartPolicy": {"Name": "no"}}));
    d.wait_status("loops", "exited");
    assert_eq!(d.wait("loops"), 1);
    let runs = d.inspect("loops")["RestartCount"].clone();

    // One that had none is started again.
    d.run_detached("dies", json!({"Cmd": ["sleep", "1000"]}));
    let policy = json!({"Name": "unless-stopped", "MaximumRetryCount": 0});
    update(&d, "dies", &json!({"RestartPolicy": policy}));
    assert_eq!(host(&d, "dies")["RestartPolicy"], policy);
    let pid = d.init_pid("dies").cast_signed();
    let kill = rustix::process::Signal::KILL;
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, kill).expect("it runs");
    until("its policy starts it", || {
        d.inspect("dies")["RestartCount"] == 1 && d.status("dies") == "running"
    });

    // Both also in the next daemon.
    let mut d = d;
    d.kill9();
    d.restart();
    assert_eq!(host(&d, "dies")["RestartPolicy"], policy);
    assert_eq!(d.status("loops"), "exited");
    assert_eq!(d.inspect("loops")["RestartCount"], runs);
    d.http.post("/containers/dies/stop?t=0").expect(204);
    d.wait_status("dies", "exited");
    d.finish();
}

#[test]
fn one_without_a_cgroup_takes_a_policy_and_no_limits() {
    let d = Daemon::start(options().runtime("crun"));
    d.create(
        "it",
        json!({"Cmd": ["true"], "HostConfig": {"Runtime": "crun", "Privileged": true},
        "Labels": {"moored.cgroups": "disabled"}}),
    );
    assert_eq!(
        refused(&d, "it", &json!({"PidsLimit": 5}), 409),
        "it has no cgroup, without which it can have no limits"
    );
    update(&d, "it", &json!({"RestartPolicy": {"Name": "on-failure"}}));
    assert_eq!(host(&d, "it")["RestartPolicy"]["Name"], "on-failure");
    d.finish();
}
