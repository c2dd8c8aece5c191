//! Execs and what nobody plans for: the daemon killed while they run or start, their conmon
//! killed, and every way in which a start fails.

use serde_json::{Value, json};
use testkit::{Daemon, Fakes, until};

use crate::conmon_killed::{kernel_tells_exits, kill};
use crate::{daemon, options};

fn host(d: &Daemon) -> String {
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let bind = format!("{}:/go:ro", go.display());
    d.run_detached(
        "host",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": [bind]}}),
    )
}

fn create(d: &Daemon, script: &str) -> String {
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", script]});
    let answer = d.http.post_json("/containers/host/exec", &body).expect(201);
    answer.json()["Id"].as_str().expect("an id").to_owned()
}

fn start_detached(d: &Daemon, id: &str) {
    let path = format!("/exec/{id}/start");
    d.http
        .post_json(&path, &json!({"Detach": true}))
        .expect(200);
}

/// One that ends with `code` when the file `end` is there.
fn waiting(d: &Daemon, end: &str, code: u32) -> String {
    let id = create(
        d,
        &format!("while [ ! -e /go/{end} ]; do sleep 0.02; done; exit {code}"),
    );
    start_detached(d, &id);
    id
}

fn inspect(d: &Daemon, id: &str) -> Value {
    d.http.get(&format!("/exec/{id}/json")).expect(200).json()
}

fn wait(d: &Daemon, id: &str) -> Value {
    let path = format!("/moored/exec/{id}/wait");
    d.http.post(&path).expect(200).json()["StatusCode"].clone()
}

fn gone(pid: &Value) -> bool {
    !std::fs::exists(format!("/proc/{pid}")).expect("/proc is mounted")
}

#[test]
fn the_daemon_is_killed_and_every_code_is_exact() {
    let mut d = daemon();
    host(&d);
    let staying: Vec<String> = (0..5).map(|n| waiting(&d, "end", 40 + n)).collect();
    let ending: Vec<String> = (0..5).map(|n| waiting(&d, "now", 20 + n)).collect();
    let never = create(&d, "exit 9");
    let pids = |d: &Daemon, ids: &[String]| -> Vec<Value> {
        ids.iter().map(|id| inspect(d, id)["Pid"].clone()).collect()
    };
    let (living, dying) = (pids(&d, &staying), pids(&d, &ending));
    d.kill9();
    std::fs::write(d.root().join("go/now"), "").expect("a file in ours");
    until("those have ended", || dying.iter().all(gone));
    d.restart();
    for (n, id) in ending.iter().enumerate() {
        assert_eq!(wait(&d, id), 20 + n);
        assert_eq!(inspect(&d, id)["ExitCode"], 20 + n);
    }
    assert_eq!(pids(&d, &staying), living);
    // A session is known to a later daemon from its start on.
    d.http.get(&format!("/exec/{never}/json")).expect(404);
    let mut again = d
        .http
        .hijack(&format!("/moored/exec/{}/attach", staying[0]), true);
    assert_eq!(again.status(), 101);
    std::fs::write(d.root().join("go/end"), "").expect("a file in ours");
    again.read_to_end();
    for (n, id) in staying.iter().enumerate() {
        assert_eq!(wait(&d, id), 40 + n);
    }
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// Killed at any moment of a start: the session either never ran, or its code is there.
#[test]
fn the_daemon_is_killed_in_a_start() {
    let rounds = if std::env::var_os("MOORED_SOAK").is_some() {
        100
    } else {
        6
    };
    let mut d = daemon();
    host(&d);
    for round in 0..rounds {
        let id = create(&d, "exit 33");
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
        assert_eq!(stream.status(), 101);
        // From before conmon is there to after it is gone.
        std::thread::sleep(std::time::Duration::from_millis(round * 60 / rounds));
        d.kill9();
        stream.read_to_end();
        d.restart();
        assert_eq!(d.status("host"), "running");
        let known = d.http.get(&format!("/exec/{id}/json"));
        if known.status == 200 {
            let code = wait(&d, &id);
            // 255 where conmon was gone before it had started anything.
            assert!(code == 33 || code == 255, "round {round}: {code}");
        } else {
            known.expect(404);
        }
    }
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// The same with a command that stays: it is there and can be ended, or it is not there.
#[test]
fn no_command_lives_on_without_its_session() {
    let mut d = daemon();
    host(&d);
    for delay_ms in [0, 4, 8, 12, 16, 20, 24, 30] {
        let id = create(&d, "exec sleep 7777");
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({}), true);
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        d.kill9();
        stream.read_to_end();
        d.restart();
        let lives = |d: &Daemon| {
            let table = d.http.get("/containers/host/top").expect(200);
            table.text().contains("sleep 7777")
        };
        // A start that was under way is found out about beside the rest.
        until("it runs or is over", || {
            let known = d.http.get(&format!("/exec/{id}/json"));
            known.status == 404 || known.json()["Pid"] != 0 || known.json()["Running"] == false
        });
        let known = d.http.get(&format!("/exec/{id}/json"));
        if known.status == 200 && known.json()["Running"] == true {
            assert!(lives(&d), "after {delay_ms} ms");
            d.http.post(&format!("/moored/exec/{id}/kill")).expect(204);
            let code = wait(&d, &id);
            assert!(code == 137 || !kernel_tells_exits(), "{code}");
        }
        until(&format!("nothing lives on, {delay_ms} ms"), || !lives(&d));
    }
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn the_code_is_exact_without_conmon() {
    let d = daemon();
    host(&d);
    let id = waiting(&d, "now", 42);
    let conmon = testkit::census::processes(&d.mark(), None, &[])
        .into_iter()
        .find(|p| p.what.contains("conmon ") && p.what.contains(&id))
        .expect("the exec's conmon");
    kill(conmon.pid);
    assert_eq!(inspect(&d, &id)["Running"], true, "the command lives on");
    std::fs::write(d.root().join("go/now"), "").expect("a file in ours");
    let code = wait(&d, &id);
    assert_eq!(code, if kernel_tells_exits() { 42 } else { 255 });
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn every_failure_of_a_start_is_told_and_undone() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    host(&d);
    for (control, words) in [
        (
            "runc exec fail no space left on device",
            "no space left on device",
        ),
        ("runc exec silent", ""),
        ("runc exec die", ""),
        ("conmon exec usage No such thing", "No such thing"),
        ("conmon exec eof", ""),
        ("conmon exec say {\"data\": -1}", ""),
        ("conmon exec say rubbish", ""),
    ] {
        fakes.behave(control);
        let id = create(&d, "exit 0");
        let path = format!("/exec/{id}/start");
        let answer = d.http.post_json(&path, &json!({"Detach": true}));
        let status = answer.status;
        assert!(matches!(status, 400 | 500), "{control}: {}", answer.text());
        let said = answer.error(status);
        assert!(
            said.starts_with("OCI runtime exec failed") && said.contains(words),
            "{control}: {said}"
        );
        assert_eq!(inspect(&d, &id)["ExitCode"], 126, "{control}");
        assert_eq!(d.status("host"), "running", "{control}");
        fakes.behave("");
        let left = || {
            let all = testkit::census::processes(&d.mark(), None, &[]);
            all.into_iter().filter(|p| p.what.contains(&id)).count()
        };
        until(&format!("{control} leaves no process"), || left() == 0);
    }
    let id = create(&d, "exit 5");
    start_detached(&d, &id);
    assert_eq!(wait(&d, &id), 5);
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// The log of a kept session.
fn log_of(d: &Daemon, id: &str) -> std::path::PathBuf {
    let containers = std::fs::read_dir(d.root().join("data/containers")).expect("it is there");
    let log = |container: std::io::Result<std::fs::DirEntry>| {
        let dir = container.expect("an entry").path();
        dir.join("execs").join(id).join("output.log")
    };
    let mut logs = containers.map(log);
    logs.find(|log| log.exists()).expect("a log")
}

/// Killed while sessions of both kinds run: every code is exact, and of a kept one every byte is
/// there, also those that it wrote while no daemon was.
#[test]
fn a_kept_session_has_what_it_wrote_while_no_daemon_was_there() {
    let count = if std::env::var_os("MOORED_SOAK").is_some() {
        20
    } else {
        5
    };
    let mut d = daemon();
    host(&d);
    let script = |n: u32| {
        format!(
            "seq 1 500; while [ ! -e /go/now ]; do sleep 0.02; done; seq 501 900; \
             while [ ! -e /go/end ]; do sleep 0.02; done; seq 901 1000; exit {n}"
        )
    };
    let made = |keep: bool, n: u32| {
        let body = json!({
            "AttachStdout": true, "KeepOutput": keep, "Cmd": ["sh", "-c", script(n)],
        });
        let answer = d.http.post_json("/containers/host/exec", &body).expect(201);
        let id = answer.json()["Id"].as_str().expect("an id").to_owned();
        start_detached(&d, &id);
        id
    };
    let kept: Vec<_> = (0..count).map(|n| made(true, 10 + n)).collect();
    let transient: Vec<_> = (0..count).map(|n| made(false, 60 + n)).collect();
    let text = |range: std::ops::RangeInclusive<u32>| -> String {
        range.map(|n| format!("{n}\n")).collect()
    };
    let again = |d: &Daemon, id: &str, since: usize| {
        let path = format!("/moored/exec/{id}/attach?since={since}");
        d.http.hijack(&path, true)
    };
    // Some of it is read before.
    let first = text(1..=500);
    for id in kept.iter().chain(&transient) {
        let (mut stream, mut got) = (again(&d, id, 0), String::new());
        while got.len() < first.len() {
            let frame = stream.frame().expect("it runs");
            got += &String::from_utf8(frame.payload).expect("digits");
        }
        assert!(got == first);
    }
    d.kill9();
    std::fs::write(d.root().join("go/now"), "").expect("a file in ours");
    let logs: Vec<_> = kept.iter().map(|id| log_of(&d, id)).collect();
    until("they have written meanwhile", || {
        logs.iter().all(|log| {
            let log = std::fs::read_to_string(log).expect("the session's log");
            log.ends_with(" 900\n")
        })
    });
    d.restart();
    let mut streams: Vec<_> = kept.iter().map(|id| again(&d, id, first.len())).collect();
    for id in &transient {
        let path = format!("/moored/exec/{id}/attach?since={}", first.len());
        let message = "its output was not kept: it cannot be attached to at an offset";
        d.http.post(&path).expect_error(409, message);
    }
    std::fs::write(d.root().join("go/end"), "").expect("a file in ours");
    for stream in &mut streams {
        assert_eq!(stream.status(), 101);
        let rest = testkit::demux(&stream.read_to_end()).stdout;
        assert!(rest == text(501..=1000), "{} bytes", rest.len());
    }
    for (ids, code) in [(&kept, 10), (&transient, 60)] {
        for (n, id) in (0..).zip(ids) {
            assert_eq!(wait(&d, id), code + n);
        }
    }
    // And by a daemon that comes after all is over.
    d.kill9();
    d.restart();
    for id in &kept {
        let all = testkit::demux(&again(&d, id, 0).read_to_end()).stdout;
        assert!(all == text(1..=1000), "{} bytes", all.len());
    }
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}
