//! Exec sessions: a further process in a running container, attached or not, to its exit code.

mod again;
mod deaf;
mod passed;
mod users;

use serde_json::{Value, json};
use testkit::{Daemon, demux, until};

use crate::daemon;

/// A running container to execute in.
fn host(d: &Daemon) -> String {
    d.run_detached("host", json!({"Cmd": ["sleep", "1000"], "Env": ["OWN=1"]}))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes one for this"
)]
fn create(d: &Daemon, body: Value) -> String {
    let answer = d.http.post_json("/containers/host/exec", &body).expect(201);
    answer.json()["Id"].as_str().expect("an id").to_owned()
}

fn attached(cmd: &[&str]) -> Value {
    json!({"AttachStdout": true, "AttachStderr": true, "Cmd": cmd})
}

fn inspect(d: &Daemon, id: &str) -> Value {
    d.http.get(&format!("/exec/{id}/json")).expect(200).json()
}

/// Starts it attached; the bytes it sent.
fn run(d: &Daemon, id: &str) -> Vec<u8> {
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
    assert_eq!(stream.status(), 101);
    stream.read_to_end()
}

#[test]
fn output_and_code_come_and_the_code_is_there_when_the_stream_ends() {
    let d = daemon();
    let host = host(&d);
    for n in 0..20 {
        let id = create(
            &d,
            attached(&["sh", "-c", &format!("echo O; echo E >&2; exit {n}")]),
        );
        let before = inspect(&d, &id);
        assert_eq!(before["ExitCode"], Value::Null, "{before}");
        assert_eq!(before["Running"], false);
        assert_eq!(before["ContainerID"], host.as_str());
        let out = demux(&run(&d, &id));
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("O\n", "E\n"));
        let after = inspect(&d, &id);
        assert_eq!(after["ExitCode"], n, "{after}");
        assert_eq!(after["Running"], false);
        assert_ne!(after["Pid"], 0);
        assert_eq!(after["ProcessConfig"]["entrypoint"], "sh");
    }
    assert_eq!(d.inspect("host")["ExecIDs"], Value::Null);
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn the_head_of_a_start_has_dockers_headers() {
    let d = daemon();
    host(&d);
    let id = create(&d, attached(&["true"]));
    let body = json!({"Detach": false, "Tty": false});
    let mut stream = d
        .http
        .hijack_json(&format!("/exec/{id}/start"), &body, true);
    assert_eq!(stream.reason(), "UPGRADED");
    assert_eq!(
        stream.header("Content-Type"),
        Some("application/vnd.docker.multiplexed-stream")
    );
    assert_eq!(stream.header("Upgrade"), Some("tcp"));
    assert_eq!(stream.header("Ostype"), Some("linux"));
    assert_eq!(stream.header("Docker-Experimental"), Some("false"));
    assert!(stream.header("Api-Version").is_some());
    assert_eq!(stream.read_to_end(), b"");
    // The older way, and an older version.
    let id = create(&d, attached(&["echo", "x"]));
    let mut stream = d
        .http
        .hijack_json(&format!("/exec/{id}/start"), &body, false);
    assert_eq!(stream.status(), 200);
    assert_eq!(
        stream.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    assert_eq!(demux(&stream.read_to_end()).stdout, "x\n");
    d.finish();
}

#[test]
fn a_command_that_cannot_be_run_is_told_on_stdout_and_is_126() {
    let d = daemon();
    host(&d);
    for (body, words) in [
        (
            attached(&["nosuchcmd"]),
            "exec: \"nosuchcmd\": executable file not found in $PATH",
        ),
        (attached(&["/no/such"]), "no such file or directory"),
        (attached(&["/bin"]), "permission denied"),
    ] {
        let id = create(&d, body);
        let out = demux(&run(&d, &id));
        assert!(
            out.stdout
                .starts_with("OCI runtime exec failed: exec failed: "),
            "{}",
            out.stdout
        );
        assert!(out.stdout.contains(words), "{}", out.stdout);
        assert!(out.stdout.ends_with(": unknown\r\n"), "{}", out.stdout);
        let after = inspect(&d, &id);
        assert_eq!(
            (&after["ExitCode"], &after["Pid"]),
            (&json!(126), &json!(0))
        );
        // Detached it is an error as any other.
        let id = create(&d, attached(&["nosuchcmd"]));
        let path = format!("/exec/{id}/start");
        let said = d.http.post_json(&path, &json!({"Detach": true})).error(400);
        assert!(said.starts_with("OCI runtime exec failed"), "{said}");
        assert_eq!(inspect(&d, &id)["ExitCode"], 126);
    }
    let mut body = attached(&["true"]);
    body["User"] = json!("nobody-of-this-name");
    let out = demux(&run(&d, &create(&d, body)));
    assert!(out.stdout.contains("unable to find user"), "{}", out.stdout);
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn a_session_runs_once() {
    let d = daemon();
    host(&d);
    let id = create(&d, attached(&["true"]));
    run(&d, &id);
    let again = demux(&run(&d, &id)).stdout;
    assert_eq!(
        again,
        format!("Error: Exec command {id} has already run\r\n")
    );
    assert_eq!(inspect(&d, &id)["ExitCode"], 0);
    let id = create(&d, attached(&["sleep", "1000"]));
    let path = format!("/exec/{id}/start");
    d.http
        .post_json(&path, &json!({"Detach": true}))
        .expect(200);
    let said = d.http.post_json(&path, &json!({"Detach": true})).error(409);
    assert_eq!(said, format!("Error: Exec command {id} is already running"));
    assert_eq!(d.inspect("host")["ExecIDs"], json!([id]));
    d.finish();
}

#[test]
fn stdin_goes_in_and_its_end_too() {
    let d = daemon();
    host(&d);
    let mut body = attached(&["sh", "-c", "wc -c; exit 4"]);
    body["AttachStdin"] = json!(true);
    for _ in 0..5 {
        let id = create(&d, body.clone());
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({}), true);
        let size = 500_000;
        stream.write(vec![b'x'; size]);
        stream.half_close();
        let out = demux(&stream.read_to_end()).stdout;
        assert_eq!(out.trim(), size.to_string());
        assert_eq!(inspect(&d, &id)["ExitCode"], 4);
    }
    d.finish();
}

/// Whether the full counts are wanted.
fn is_soak() -> bool {
    std::env::var_os("MOORED_SOAK").is_some()
}

/// Half a megabyte in and the same out, on both streams: every byte, every code, nothing left.
#[test]
fn all_input_and_output_comes_each_time() {
    let d = daemon();
    host(&d);
    let rounds = if is_soak() { 10_000 } else { 30 };
    let input: Vec<u8> = (b'a'..=b'z').cycle().take(500_000).collect();
    let body = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "Cmd": ["sh", "-c", "tee /dev/stderr; exit 9"],
    });
    let mut memory = 0;
    for round in 0..rounds {
        let id = create(&d, body.clone());
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({}), true);
        stream.write(&input);
        stream.half_close();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for frame in testkit::frames(&stream.read_to_end()) {
            match frame.stream {
                1 => stdout.extend(frame.payload),
                _ => stderr.extend(frame.payload),
            }
        }
        assert!(stdout == input && stderr == input, "round {round}");
        assert_eq!(inspect(&d, &id)["ExitCode"], 9);
        if round == rounds / 10 {
            memory = testkit::census::resident_bytes(d.pid());
        }
    }
    let grown = testkit::census::resident_bytes(d.pid()).saturating_sub(memory);
    // What 10,000 ended sessions that can still be inspected take, and some for the allocator.
    assert!(grown < 48 << 20, "{grown} bytes more");
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// In one piece, all of it sent before any of it is read.
#[test]
fn a_lot_of_input_comes_back_whole() {
    let d = daemon();
    host(&d);
    let bytes = if is_soak() { 100_000_000 } else { 10_000_000 };
    let input: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let body = json!({"AttachStdin": true, "AttachStdout": true, "Cmd": ["cat"]});
    let id = create(&d, body);
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({}), true);
    stream.write(&input);
    stream.half_close();
    let mut output = Vec::new();
    for frame in testkit::frames(&stream.read_to_end()) {
        output.extend(frame.payload);
    }
    assert!(output == input, "{} of {bytes} bytes", output.len());
    assert_eq!(inspect(&d, &id)["ExitCode"], 0);
    d.finish();
}

#[test]
fn a_terminal_has_its_size_from_the_start_and_changes_it() {
    let d = daemon();
    host(&d);
    let mut body = attached(&["sh", "-c", "stty size; read x; stty size; exit 3"]);
    body["AttachStdin"] = json!(true);
    body["Tty"] = json!(true);
    body["ConsoleSize"] = json!([33, 77]);
    let id = create(&d, body.clone());
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({"Tty": true}), true);
    assert_eq!(
        stream.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    stream.read_until("33 77\r\n");
    d.http
        .post(&format!("/exec/{id}/resize?h=40&w=100"))
        .expect(200);
    stream.write("\n");
    stream.read_until("40 100\r\n");
    stream.read_to_end();
    assert_eq!(inspect(&d, &id)["ExitCode"], 3);
    d.http
        .post(&format!("/exec/{id}/resize?h=24&w=80"))
        .expect_error(404, &format!("process does not exist {id}: not found"));
    // Asked for between create and start.
    body["ConsoleSize"] = Value::Null;
    let id = create(&d, body);
    d.http
        .post(&format!("/exec/{id}/resize?h=12&w=34"))
        .expect(200);
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({"Tty": true}), true);
    stream.read_until("12 34\r\n");
    // ctrl-p ctrl-q leaves it running.
    stream.write([0x10, 0x11]);
    stream.read_to_end();
    assert_eq!(inspect(&d, &id)["Running"], true);
    d.finish();
}

#[test]
fn where_nothing_can_be_executed_dockers_words_say_so() {
    let d = daemon();
    let id = host(&d);
    let path = "/containers/host/exec";
    d.http
        .post_json(path, &json!({"Cmd": []}))
        .expect_error(400, "No exec command specified");
    d.http
        .post_json("/containers/nosuch/exec", &attached(&["true"]))
        .expect_error(404, "No such container: nosuch");
    let nosuch = "f".repeat(64);
    for (method, rest) in [
        ("GET", "json"),
        ("POST", "start"),
        ("POST", "resize?h=1&w=1"),
    ] {
        let path = format!("/exec/{nosuch}/{rest}");
        let json = [("Content-Type", "application/json")];
        d.http
            .send(method, &path, &json, b"{}")
            .expect_error(404, &format!("No such exec instance: {nosuch}"));
    }
    let made = create(&d, attached(&["true"]));
    d.http.post("/containers/host/pause").expect(204);
    d.http.post_json(path, &attached(&["true"])).expect_error(
        409,
        "Container host is paused, unpause the container before exec",
    );
    d.http
        .post_json(&format!("/exec/{made}/start"), &json!({}))
        .error(409);
    d.http.post("/containers/host/unpause").expect(204);
    d.http.post("/containers/host/stop?t=0").expect(204);
    d.http
        .post_json(path, &attached(&["true"]))
        .expect_error(409, &format!("container {id} is not running"));
    d.http
        .post_json(&format!("/exec/{made}/start"), &json!({}))
        .expect_error(409, &format!("container {id} is not running"));
    d.finish();
}

#[test]
fn a_session_can_be_listed_waited_for_signalled_and_forgotten() {
    let d = daemon();
    host(&d);
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let kind = "trap 'exit 21' TERM; echo ready; while :; do sleep 0.05; done";
    let start = |script: &str| {
        let id = create(&d, attached(&["sh", "-c", script]));
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({}), true);
        stream.read_until("ready");
        (id, stream)
    };
    let [(deaf, _deaf), (kind, _kind)] = [start(deaf), start(kind)];
    let listed = d
        .http
        .get("/moored/containers/host/execs")
        .expect(200)
        .json();
    let ids: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["ID"].as_str())
        .collect();
    assert_eq!(ids, [deaf.as_str(), kind.as_str()]);
    let path = |id: &str, rest: &str| format!("/moored/exec/{id}{rest}");
    d.http.delete(&path(&kind, "")).expect(409);
    d.http.post(&path(&kind, "/stop?t=30")).expect(204);
    let code = |id: &str| d.http.post(&path(id, "/wait")).expect(200).json()["StatusCode"].clone();
    assert_eq!(code(&kind), 21);
    d.http.post(&path(&kind, "/stop")).expect(204);
    d.http.post(&path(&kind, "/kill")).expect(409);
    d.http.delete(&path(&kind, "")).expect(204);
    d.http.get(&format!("/exec/{kind}/json")).expect(404);
    d.http.post(&path(&deaf, "/kill?signal=TERM")).expect(204);
    d.http.post(&path(&deaf, "/stop?t=1")).expect(204);
    assert_eq!(code(&deaf), 137);
    d.http.delete("/containers/host?force=1").expect(204);
    d.http.get(&format!("/exec/{deaf}/json")).expect(404);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn many_at_once() {
    let d = daemon();
    host(&d);
    let (lanes, rounds) = if is_soak() { (200, 5) } else { (8, 10) };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| {
                let d = &d;
                scope.spawn(move || {
                    for n in 0..rounds {
                        let code = (lane * rounds + n) % 256;
                        let script = format!("echo {code}; exit {code}");
                        let id = create(d, attached(&["sh", "-c", &script]));
                        assert_eq!(demux(&run(d, &id)).stdout, format!("{code}\n"));
                        assert_eq!(inspect(d, &id)["ExitCode"], code);
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.join().expect("no lane fails");
        }
    });
    until("no conmon of an exec is left", || {
        testkit::census::processes(&d.mark(), None, &[])
            .iter()
            .filter(|p| p.what.contains("--exec-attach"))
            .count()
            == 0
    });
    d.http.delete("/containers/host?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// As in Docker: what the client says at the start decides, whatever the session has.
#[test]
fn frames_are_as_the_start_asks_for() {
    let d = daemon();
    host(&d);
    let start = |id: &str, tty: bool| {
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({"Tty": tty}), true);
        let kind = stream.header("Content-Type").map(str::to_owned);
        (kind, stream.read_to_end())
    };
    let mut terminal = attached(&["echo", "hi"]);
    terminal["Tty"] = json!(true);
    let (kind, bytes) = start(&create(&d, terminal), false);
    assert!(kind.is_some_and(|k| k.contains("multiplexed")));
    assert_eq!(demux(&bytes).stdout, "hi\r\n");
    let both = attached(&["sh", "-c", "echo out; echo err >&2"]);
    let (kind, bytes) = start(&create(&d, both), true);
    assert!(kind.is_some_and(|k| k.contains("raw")));
    let text = String::from_utf8_lossy(&bytes);
    assert!(text == "out\nerr\n" || text == "err\nout\n", "{text}");
    d.finish();
}

#[test]
fn forgetting_a_session_that_never_ran_lets_its_waiters_go() {
    let d = daemon();
    host(&d);
    let [removed, orphan] = [(); 2].map(|()| create(&d, attached(&["true"])));
    // The head is there: the wait is armed.
    let waits = [&removed, &orphan].map(|id| {
        let path = format!("/moored/exec/{id}/wait");
        d.http.stream("POST", &path, &[], b"")
    });
    let attach = format!("/moored/exec/{removed}/attach");
    let mut attached = d.http.hijack(&attach, true);
    d.http
        .delete(&format!("/moored/exec/{removed}"))
        .expect(204);
    assert_eq!(attached.read_to_end(), b"");
    d.http.delete("/containers/host?force=1").expect(204);
    for mut wait in waits {
        assert_eq!(wait.status, 200);
        let end: Value = serde_json::from_slice(&wait.body.read_to_end()).expect("JSON");
        assert_eq!(end["StatusCode"], 126);
    }
    d.http
        .post_json(&format!("/exec/{removed}/start"), &json!({}))
        .expect(404);
    d.finish();
}

/// A stop is carried through when its client leaves.
#[test]
fn a_stop_outlives_its_client() {
    let d = daemon();
    host(&d);
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let id = create(&d, attached(&["sh", "-c", script]));
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({}), true);
    stream.read_until("ready");
    let mut stop = d.http.connect().expect("it listens");
    let request = format!("POST /moored/exec/{id}/stop?t=1 HTTP/1.1\r\nHost: d\r\n\r\n");
    std::io::Write::write_all(&mut stop, request.as_bytes()).expect("it reads");
    drop(stop);
    until("it was killed", || inspect(&d, &id)["ExitCode"] == 137);
    d.finish();
}
