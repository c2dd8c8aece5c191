//! Whatever a client sends, it gets a message in Docker's form and Docker's status, nothing is
//! half made, and the daemon stays up.

use std::io::{Read, Write};

use serde_json::json;
use testkit::{query, until};

use crate::daemon;

#[test]
fn create_refuses_what_it_cannot_make() {
    let d = daemon();
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let deep_label = format!(r#"{{"Image":"busybox","Labels":{deep}}}"#);
    let name = "x".repeat(300);
    let cases: &[(&str, &str, u16, &str)] = &[
        ("", "{bad", 400, "invalid"),
        ("", "", 400, ""),
        ("", "null", 400, ""),
        ("", "[]", 400, ""),
        ("", r#"{"Image":7}"#, 400, ""),
        ("", r#"{"Image":"busybox","Cmd":{"a":1}}"#, 400, ""),
        ("", r#"{"Image":"busybox","Env":"A=1"}"#, 400, ""),
        ("", &deep_label, 400, ""),
        ("", "{}", 400, ""),
        (
            "..bad",
            r#"{"Image":"busybox"}"#,
            400,
            "Invalid container name (..bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            &name,
            r#"{"Image":"busybox"}"#,
            400,
            "Invalid container name",
        ),
        (
            "x",
            r#"{"Image":"missing:tag","Cmd":["true"]}"#,
            404,
            "No such image: missing:tag",
        ),
        ("", r#"{"Image":"UPPER"}"#, 400, "invalid reference format"),
        (
            "",
            r#"{"Image":"busybox","WorkingDir":"rel"}"#,
            400,
            "working directory",
        ),
        (
            "",
            r#"{"Image":"busybox","StopSignal":"SIGNOPE"}"#,
            400,
            "ignal",
        ),
        (
            "",
            r#"{"Image":"busybox","ExposedPorts":{"99999/tcp":{}}}"#,
            400,
            "",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"Memory":1}}"#,
            400,
            "emory",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"NanoCpus":-1}}"#,
            400,
            "",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"Binds":["a"]}}"#,
            400,
            "",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"Binds":["/a:b"]}}"#,
            400,
            "",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"Runtime":"nosuch"}}"#,
            400,
            "unknown or invalid runtime name: nosuch",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"CapAdd":["CAP_NOPE"]}}"#,
            400,
            "CAP_NOPE",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}"#,
            400,
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"nope"}}}"#,
            400,
            "",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}}"#,
            400,
            "invalid port specification: \"x\"",
        ),
        (
            "",
            r#"{"Image":"busybox","Healthcheck":{"Test":["CMD","true"],"Interval":1}}"#,
            400,
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (
            "",
            r#"{"Image":"busybox","Healthcheck":{"Test":["true"]}}"#,
            400,
            "Unknown healthcheck type 'true'",
        ),
        (
            "",
            r#"{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"nosuch"}}}"#,
            400,
            "nosuch",
        ),
    ];
    let json_type = [("Content-Type", "application/json")];
    for (name, body, status, message) in cases {
        let path = query("/containers/create", &[("name", name)]);
        let said = d.http.send("POST", &path, &json_type, body.as_bytes());
        let shown: String = body.chars().take(120).collect();
        assert_eq!(said.status, *status, "{shown}: {}", said.text());
        let said = said.error(*status);
        assert!(said.contains(message), "{shown}: {said}");
        assert!(
            said.len() < 2000,
            "{shown}: a message of {} bytes",
            said.len()
        );
    }
    let text = [("Content-Type", "text/plain")];
    let body = br#"{"Image":"busybox","Cmd":["true"]}"#;
    d.http
        .send("POST", "/containers/create", &text, body)
        .error(400);
    let all = d.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(all, json!([]), "nothing half made");
    d.finish();
}

#[test]
fn an_unknown_field_is_ignored_as_docker_ignores_it() {
    let d = daemon();
    let out = d.run("odd", json!({"Cmd": ["true"], "NoSuchField": {"a": [1]}}));
    assert_eq!(out.code, 0);
    d.finish();
}

#[test]
fn keys_in_another_case_count_as_they_do_for_docker() {
    let d = daemon();
    let body = json!({
        "image": testkit::BUSYBOX,
        "cmd": ["true"],
        "LABELS": {"image": "a", "Image": "b"},
        "hostconfig": {
            "readonlyRootfs": true,
            "capDrop": ["ALL"],
            "NanoCPUs": 500_000_000,
            "networkmode": "none",
            "Mounts": [{"type": "tmpfs", "target": "/t", "tmpfsOptions": {"sizebytes": 4096}}],
        },
    });
    let answer = d.http.post_json("/containers/create?name=odd", &body);
    answer.expect(201);
    let seen = d.inspect("odd");
    let host = &seen["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["Mounts"][0]["TmpfsOptions"]["SizeBytes"], 4096);
    let labels = &seen["Config"]["Labels"];
    assert_eq!(*labels, json!({"image": "a", "Image": "b"}));
    d.finish();
}

#[test]
fn unknown_containers_are_a_404_everywhere() {
    let d = daemon();
    for (method, path) in [
        ("GET", "/containers/nosuch/json"),
        ("GET", "/containers/nosuch/logs?stdout=1"),
        ("GET", "/containers/nosuch/top"),
        ("POST", "/containers/nosuch/start"),
        ("POST", "/containers/nosuch/stop"),
        ("POST", "/containers/nosuch/restart"),
        ("POST", "/containers/nosuch/kill"),
        ("POST", "/containers/nosuch/pause"),
        ("POST", "/containers/nosuch/unpause"),
        ("POST", "/containers/nosuch/wait"),
        ("POST", "/containers/nosuch/resize?h=1&w=1"),
        ("POST", "/containers/nosuch/rename?name=abc"),
        ("DELETE", "/containers/nosuch"),
    ] {
        let answer = d.http.send(method, path, &[], b"");
        // moby's kill route says what it could not do; the others leave the cause alone.
        let prefix = if path.ends_with("/kill") {
            "cannot kill container: nosuch: "
        } else {
            ""
        };
        answer.expect_error(404, &format!("{prefix}No such container: nosuch"));
    }
    d.finish();
}

#[test]
fn parameters_are_checked_before_anything_happens() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    for (method, path, status, message) in [
        (
            "POST",
            "/containers/it/kill?signal=NOPE",
            400,
            "nvalid signal: NOPE",
        ),
        (
            "POST",
            "/containers/it/kill?signal=999",
            400,
            "nvalid signal: 999",
        ),
        ("POST", "/containers/it/stop?t=abc", 400, ""),
        (
            "POST",
            "/containers/it/stop?signal=NOPE",
            400,
            "nvalid signal",
        ),
        ("POST", "/containers/it/resize?h=24", 400, ""),
        ("POST", "/containers/it/resize?h=a&w=b", 400, ""),
        ("POST", "/containers/it/wait?condition=nope", 400, "nope"),
        ("POST", "/containers/it/rename?name=", 400, ""),
        (
            "POST",
            "/containers/it/rename?name=..x",
            400,
            "Invalid container name",
        ),
        (
            "GET",
            "/containers/it/logs",
            400,
            "Bad parameters: you must choose at least one stream",
        ),
        (
            "GET",
            "/containers/it/logs?stdout=1&since=yesterday",
            400,
            "",
        ),
        ("GET", "/containers/json?limit=abc", 400, ""),
        (
            "GET",
            "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D",
            400,
            "invalid filter 'nosuch'",
        ),
        ("GET", "/containers/json?filters=nojson", 400, ""),
    ] {
        let said = d.http.send(method, path, &[], b"");
        assert_eq!(said.status, status, "{method} {path}: {}", said.text());
        let said = said.error(status);
        assert!(said.contains(message), "{method} {path}: {said}");
    }
    assert_eq!(d.status("it"), "running");
    d.finish();
}

#[test]
fn a_missing_command_user_or_directory_is_told_at_start() {
    let d = daemon();
    let start = |name: &str, body: serde_json::Value| {
        d.create(name, body);
        d.http.post(&format!("/containers/{name}/start"))
    };
    let said = start("path", json!({"Cmd": ["/no/such/bin"]})).error(400);
    assert!(said.contains("no such file or directory"), "{said}");
    let state = d.inspect("path")["State"].clone();
    assert_eq!(state["Status"], "created");
    assert_eq!(state["ExitCode"], 127);
    assert_eq!(state["Error"], said.as_str());
    let said = start("word", json!({"Cmd": ["nosuchcmd"]})).error(400);
    assert!(
        said.contains("executable file not found in $PATH"),
        "{said}"
    );
    assert_eq!(d.inspect("word")["State"]["ExitCode"], 127);
    let said = start("dir", json!({"Cmd": ["/etc"]})).error(400);
    assert!(
        said.contains("permission denied") || said.contains("is a directory"),
        "{said}"
    );
    assert_eq!(d.inspect("dir")["State"]["ExitCode"], 126);
    let answer = start("user", json!({"Cmd": ["true"], "User": "nosuch"}));
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(
        answer
            .text()
            .contains("unable to find user nosuch: no matching entries in passwd file"),
        "{}",
        answer.text()
    );
    // A working directory that is missing is made, as Docker makes it.
    let out = d.run("cwd", json!({"Cmd": ["pwd"], "WorkingDir": "/new/dir"}));
    assert_eq!(out.output.stdout, "/new/dir\n");
    d.finish();
}

#[test]
fn a_body_or_head_over_its_limit_is_refused() {
    let d = daemon();
    let json_type = [("Content-Type", "application/json")];
    let huge = format!(
        r#"{{"Image":"busybox","Labels":{{"a":"{}"}}}}"#,
        "x".repeat(8 << 20)
    );
    let answer = d
        .http
        .send("POST", "/containers/create", &json_type, huge.as_bytes());
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    let long = "x".repeat(256 << 10);
    let answer = d.http.send("GET", "/_ping", &[("X-Long", &long)], b"");
    assert!(
        matches!(answer.status, 400 | 414 | 431),
        "{}",
        answer.status
    );
    d.http.get("/_ping").expect(200);
    d.finish();
}

#[test]
fn rubbish_and_half_requests_end_their_own_connection_only() {
    let d = daemon();
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = d.http.connect().expect("the daemon listens");
        stream.write_all(rubbish).expect("a socket takes bytes");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{rubbish:?}: {text}"
        );
    }
    // A header that never ends, while others are served.
    let mut slow = d.http.connect().expect("the daemon listens");
    slow.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .expect("a socket takes bytes");
    d.http.get("/_ping").expect(200);
    drop(slow);
    d.finish();
}

#[test]
fn a_thousand_idle_connections_hurt_nobody() {
    let d = daemon();
    let idle: Vec<_> = (0..1000)
        .map(|n| {
            d.http
                .connect()
                .unwrap_or_else(|e| panic!("connection {n}: {e}"))
        })
        .collect();
    d.http.get("/_ping").expect(200);
    let out = d.run("busy", json!({"Cmd": ["echo", "ok"]}));
    assert_eq!(out.output.stdout, "ok\n");
    drop(idle);
    let descriptors = || testkit::census::descriptors(d.pid()).len();
    until("the descriptors of 1,000 connections closed", || {
        descriptors() < 200
    });
    d.finish();
}
