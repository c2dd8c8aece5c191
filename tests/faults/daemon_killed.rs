//! `kill -9` of the daemon: containers do not notice, and it finds everything again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Fakes, until};

use crate::{daemon, options};

/// Kills a process that is no child of ours.
fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
        .expect("it is alive");
}

#[test]
fn twenty_run_on_and_five_end_meanwhile() {
    let mut d = daemon();
    let script = |end: &str| {
        format!(
            "n=0; while [ ! -e /go/{end} ]; do n=$((n+1)); echo line $n; sleep 0.02; done; exit"
        )
    };
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let body = |end: &str, code: u32| {
        json!({
            "Cmd": ["sh", "-c", format!("{} {code}", script(end))],
            "HostConfig": {"Binds": [format!("{}:/go:ro", go.display())]},
        })
    };
    let staying: Vec<String> = (0..20)
        .map(|n| d.run_detached(&format!("stay-{n}"), body("end", 40 + n)))
        .collect();
    let ending: Vec<String> = (0..5)
        .map(|n| d.run_detached(&format!("end-{n}"), body("now", 20 + n)))
        .collect();
    let inits: Vec<u32> = staying.iter().map(|id| d.init_pid(id)).collect();
    let dying: Vec<u32> = ending.iter().map(|id| d.init_pid(id)).collect();
    d.kill9();
    std::fs::write(go.join("now"), "").expect("a file in ours");
    let gone = |pid: u32| !std::fs::exists(format!("/proc/{pid}")).expect("/proc is mounted");
    until("the five have ended", || dying.iter().all(|pid| gone(*pid)));
    let ended = std::time::SystemTime::now();
    let start = Instant::now();
    d.restart();
    eprintln!("ready again after {:?}", start.elapsed());

    for (id, init) in staying.iter().zip(&inits) {
        assert_eq!(d.init_pid(id), *init);
        assert_eq!(d.status(id), "running");
    }
    for (n, id) in ending.iter().enumerate() {
        d.wait_status(id, "exited");
        let state = &d.inspect(id)["State"];
        assert_eq!(state["ExitCode"], 20 + n, "{state}");
        assert_eq!(state["Error"], "", "{state}");
        let finished = seconds(&state["FinishedAt"]);
        let ended = ended
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        let off = ended.as_secs_f64() - finished;
        assert!(
            (-1.0..5.0).contains(&off),
            "finished {off} s before it was seen"
        );
    }
    std::fs::write(go.join("end"), "").expect("a file in ours");
    for (n, id) in staying.iter().enumerate() {
        assert_eq!(d.wait(id), 40 + i64::try_from(n).expect("few"));
    }
    for id in staying.iter().chain(&ending) {
        let log = d.logs(id).stdout;
        assert!(!log.is_empty());
        for (n, line) in log.lines().enumerate() {
            assert_eq!(
                line,
                format!("line {}", n + 1),
                "the log of {id} is complete"
            );
        }
    }
    d.finish();
}

/// Seconds since 1970 of an RFC 3339 time.
fn seconds(time: &Value) -> f64 {
    let out = std::process::Command::new("date")
        .args(["-u", "+%s.%N", "-d", time.as_str().expect("text")])
        .output()
        .expect("date(1) runs");
    let text = String::from_utf8(out.stdout).expect("a number");
    text.trim().parse().expect("a number")
}

#[test]
fn what_was_known_is_known_again() {
    let mut d = daemon();
    d.http
        .post_json(
            "/volumes/create",
            &json!({"Name": "vol", "Labels": {"a": "b"}}),
        )
        .expect(201);
    let made = d.create("made", json!({"Cmd": ["true"], "Labels": {"x": "y"}}));
    let done = d
        .run("done", json!({"Cmd": ["sh", "-c", "echo out; exit 3"]}))
        .id;
    let runs = d.run_detached(
        "runs",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": ["vol:/v"]}}),
    );
    let frozen = d.run_detached("frozen", json!({"Cmd": ["sleep", "1000"]}));
    d.http.post("/containers/frozen/pause").expect(204);
    let look = |d: &testkit::Daemon| {
        let get = |path: &str| d.http.get(path).expect(200).json();
        let inspects = [&made, &done, &runs, &frozen].map(|id| d.inspect(id));
        (inspects, get("/images/json"), get("/volumes"))
    };
    let before = look(&d);
    for _ in 0..3 {
        d.kill9();
        d.restart();
        assert_eq!(look(&d), before);
    }
    d.stop();
    d.restart();
    assert_eq!(look(&d), before);
    assert_eq!(d.logs(&done).stdout, "out\n");
    d.http.post("/containers/frozen/unpause").expect(204);
    d.http.post("/containers/runs/stop?t=0").expect(204);
    d.start_container(&made);
    assert_eq!(d.wait(&made), 0);
    d.finish();
}

#[test]
fn attach_works_again_after_a_restart() {
    let mut d = daemon();
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["cat"], "OpenStdin": true, "StdinOnce": false}),
    );
    d.kill9();
    d.restart();
    let mut attach = d.http.hijack(
        &format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1"),
        true,
    );
    attach.write("after\n");
    attach.read_until("after");
    drop(attach);
    assert_eq!(d.status(&id), "running");
    d.finish();
}

#[test]
fn auto_remove_is_done_by_the_next_daemon() {
    let mut d = daemon();
    let id = d.run_detached(
        "brief",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"AutoRemove": true}}),
    );
    let init = d.init_pid(&id);
    d.kill9();
    kill(init);
    d.restart();
    until("it is removed", || {
        d.http.get(&format!("/containers/{id}/json")).status == 404
    });
    d.expect_nothing_left();
    d.finish();
}

/// At random points of lives of containers: whatever was half done is finished or undone.
#[test]
fn a_kill_at_any_moment_leaves_nothing_half_done() {
    let mut d = daemon();
    let rounds = if std::env::var_os("MOORED_SOAK").is_some() {
        60
    } else {
        12
    };
    for round in 0..rounds {
        let name = format!("half-{round}");
        let http = d.http.clone();
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", "exit 5"], "HostConfig": {"NetworkMode": "none"},
        });
        // The delay steps through the life of a container, which takes about 0.2 s.
        let delay = Duration::from_millis(17 * u64::try_from(round % 15).expect("few"));
        let life = {
            let name = name.clone();
            std::thread::spawn(move || {
                // The daemon dies under these; the client panics or reads an end. Both are fine.
                let _ = std::panic::catch_unwind(|| {
                    http.post_json(&format!("/containers/create?name={name}"), &body);
                    http.post(&format!("/containers/{name}/start"));
                    http.post(&format!("/containers/{name}/wait"));
                    http.delete(&format!("/containers/{name}"));
                });
            })
        };
        let start = Instant::now();
        until("the moment has come", || start.elapsed() >= delay);
        d.kill9();
        life.join().expect("panics are caught");
        d.restart();
        let inspect = d.http.get(&format!("/containers/{name}/json"));
        match inspect.status {
            404 => {
                // Undone or finished: its name is free.
                let id = d.create(&name, json!({"Cmd": ["true"]}));
                d.http.delete(&format!("/containers/{id}")).expect(204);
            }
            200 => {
                let status = inspect.json()["State"]["Status"]
                    .as_str()
                    .map(str::to_owned);
                let status = status.expect("a word");
                assert!(
                    ["created", "running", "exited"].contains(&status.as_str()),
                    "{status}"
                );
                if status == "created" {
                    d.start_container(&name);
                }
                assert_eq!(d.wait(&name), 5, "round {round}, {status}");
                d.http.delete(&format!("/containers/{name}")).expect(204);
            }
            other => panic!("{other}: {}", inspect.text()),
        }
        d.expect_nothing_left();
    }
    d.finish();
}

/// The daemon dies while the runtime is creating: the runtime's call is held, so the moment is
/// certain.
#[test]
fn a_kill_during_create_and_during_delete_is_undone() {
    let fakes = Fakes::new();
    let mut d = testkit::Daemon::start(options().fakes(&fakes));
    for call in ["create", "start", "delete"] {
        fakes.behave(&format!("runc {call} hang"));
        let seen = fakes.calls().len();
        let name = format!("held-in-{call}");
        let id = d.create(&name, json!({"Cmd": ["sh", "-c", "exit 5"]}));
        let http = d.http.clone();
        let path = format!("/containers/{id}/start");
        let start = std::thread::spawn(move || {
            let _ = std::panic::catch_unwind(|| http.post(&path));
        });
        until("the runtime hangs", || {
            fakes.calls()[seen..]
                .iter()
                .any(|c| c.starts_with("runc ") && c.split(' ').any(|word| word == call))
        });
        d.kill9();
        start.join().expect("panics are caught");
        fakes.behave("");
        d.restart();
        let status = d.status(&id);
        assert!(
            ["created", "exited", "running"].contains(&status.as_str()),
            "{status}"
        );
        if status == "created" {
            d.start_container(&id);
        }
        assert_eq!(d.wait(&id), 5, "{call}: {status}");
        d.http.delete(&format!("/containers/{id}")).expect(204);
        d.expect_nothing_left();
    }
    d.finish();
}
