//! Top and resize.

use serde_json::json;
use testkit::until;

use crate::daemon;

#[test]
fn top_lists_the_containers_processes_with_the_hosts_pids() {
    let d = daemon();
    let id = d.run_detached("busy", json!({"Cmd": ["sh", "-c", "sleep 1000 & wait"]}));
    until("both run", || {
        let top = d.http.get("/containers/busy/top").expect(200).json();
        top["Processes"].as_array().map(Vec::len) == Some(2)
    });
    let top = d
        .http
        .get("/containers/busy/top?ps_args=-ef")
        .expect(200)
        .json();
    assert_eq!(
        top["Titles"],
        json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
    );
    let init = d.init_pid(&id).to_string();
    let rows = top["Processes"].as_array().expect("a list");
    let first = rows
        .iter()
        .find(|r| r[1] == init.as_str())
        .expect("the first process");
    assert_eq!(first[7], "sh -c sleep 1000 & wait");
    let custom = d
        .http
        .get("/containers/busy/top?ps_args=-o%20pid,comm")
        .expect(200)
        .json();
    assert_eq!(custom["Titles"], json!(["PID", "COMMAND"]));
    d.http
        .get("/containers/busy/top?ps_args=-o%20comm")
        .expect_error(500, "Couldn't find PID field in ps output");
    for (args, says) in [
        ("-o%20ppid%3DPID", "specifying \"ppid=PID\" is not allowed"),
        ("bogus%20-Z9", "ps: error: unsupported option (BSD syntax)"),
    ] {
        let path = format!("/containers/busy/top?ps_args={args}");
        d.http.get(&path).expect_error(400, says);
    }
    // Threads are told below their process, which are all of it.
    let path = "/containers/busy/top?ps_args=-m%20-o%20pid,lwp";
    let threads = d.http.get(path).expect(200).json();
    let rows = threads["Processes"].as_array().map(Vec::len);
    assert_eq!(rows, Some(4), "{threads}");
    let none = d
        .http
        .get("/containers/busy/top?ps_args=-p%201")
        .expect(200);
    assert_eq!(none.json()["Processes"], json!(null));
    d.http.post("/containers/busy/stop?t=0").expect(204);
    d.http
        .get("/containers/busy/top")
        .expect_error(409, &format!("container {id} is not running"));
    d.finish();
}

#[test]
fn resize_changes_the_terminal_and_tells_the_process() {
    let d = daemon();
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let body = json!({"Cmd": ["sh", "-c", script], "Tty": true});
    let id = d.run_detached("term", body);
    let mut attach = d
        .http
        .hijack("/containers/term/attach?stream=1&stdout=1&logs=1", true);
    attach.read_until("ready");
    d.http.post("/containers/term/resize?h=33&w=77").expect(200);
    attach.read_until("33 77");
    d.http.post("/containers/term/kill").expect(204);
    d.wait(&id);
    d.http
        .post("/containers/term/resize?h=10&w=10")
        .expect_error(409, &format!("container {id} is not running"));
    d.finish();
}

/// As in Docker: a size for what has no terminal is taken, and changes nothing.
#[test]
fn a_size_without_a_terminal_changes_nothing() {
    let d = daemon();
    let script = "trap 'echo winch' WINCH; echo ready; while :; do sleep 0.05; done";
    d.run_detached("plain", json!({"Cmd": ["sh", "-c", script]}));
    until("it is ready", || d.logs("plain").stdout == "ready\n");
    for _ in 0..3 {
        d.http
            .post("/containers/plain/resize?h=33&w=77")
            .expect(200);
    }
    d.http.post("/containers/plain/kill").expect(204);
    assert_eq!(d.wait("plain"), 137);
    assert_eq!(d.logs("plain").stdout, "ready\n");
    d.finish();
}

#[test]
fn the_console_size_of_create_is_the_first_size() {
    let d = daemon();
    let body = json!({
        "Cmd": ["stty", "size"], "Tty": true,
        "HostConfig": {"ConsoleSize": [31, 97]},
    });
    let id = d.run_detached("sized", body);
    assert_eq!(d.wait(&id), 0);
    let log = d.http.get("/containers/sized/logs?stdout=1").expect(200);
    assert_eq!(log.text(), "31 97\r\n");
    d.finish();
}
