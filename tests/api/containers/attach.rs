//! `POST /containers/{id}/attach`: the hijacked stream, in both ways, to its last byte.

use serde_json::{Value, json};
use testkit::{Daemon, Frame, demux};

use crate::daemon;

fn cat(stdin_once: bool) -> Value {
    json!({
        "Cmd": ["cat"], "OpenStdin": true, "StdinOnce": stdin_once,
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
    })
}

const ALL: &str = "stream=1&stdin=1&stdout=1&stderr=1";

#[test]
fn attach_before_start_misses_nothing_and_a_half_close_ends_cat() {
    let d = daemon();
    d.create("it", cat(true));
    let mut attach = d.http.hijack(&format!("/containers/it/attach?{ALL}"), true);
    assert_eq!((attach.status(), attach.reason()), (101, "UPGRADED"));
    assert_eq!(attach.header("Connection"), Some("Upgrade"));
    assert_eq!(attach.header("Upgrade"), Some("tcp"));
    assert_eq!(
        attach.header("Content-Type"),
        Some("application/vnd.docker.multiplexed-stream")
    );
    assert!(attach.is_idle());
    d.start_container("it");
    attach.write("hello\n");
    let frame = attach.frame().expect("an echo");
    assert_eq!(
        (frame.stream, frame.payload.as_slice()),
        (1, &b"hello\n"[..])
    );
    attach.write("last");
    attach.half_close();
    assert_eq!(demux(&attach.read_to_end()).stdout, "last");
    // The end of the stream means that the code is known.
    let state = &d.inspect("it")["State"];
    assert_eq!(
        (&state["Status"], &state["ExitCode"]),
        (&json!("exited"), &json!(0))
    );
    d.finish();
}

#[test]
fn stdout_and_stderr_are_told_apart_and_all_of_it_comes() {
    let d = daemon();
    let script = "seq 1 20000; seq 1 20000 >&2; exit 3";
    d.create("big", json!({"Cmd": ["sh", "-c", script]}));
    let mut attach = d
        .http
        .hijack("/containers/big/attach?stream=1&stdout=1&stderr=1", true);
    let mut only_err = d
        .http
        .hijack("/containers/big/attach?stream=1&stderr=1", true);
    d.start_container("big");
    let wanted: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    let out = demux(&attach.read_to_end());
    assert!(
        out.stdout == wanted && out.stderr == wanted,
        "{} {}",
        out.stdout.len(),
        out.stderr.len()
    );
    let out = demux(&only_err.read_to_end());
    assert!(out.stdout.is_empty() && out.stderr == wanted);
    d.finish();
}

#[test]
fn the_older_way_without_upgrade_works_in_both_directions() {
    let d = daemon();
    d.create("old", cat(true));
    let mut attach = d
        .http
        .hijack(&format!("/containers/old/attach?{ALL}"), false);
    assert_eq!((attach.status(), attach.reason()), (200, "OK"));
    assert_eq!(
        attach.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    assert_eq!(attach.header("Transfer-Encoding"), None);
    assert_eq!(attach.header("Content-Length"), None);
    d.start_container("old");
    attach.write("echo me\n");
    let frame = attach.frame().expect("an echo");
    assert_eq!(frame.payload, b"echo me\n");
    attach.half_close();
    assert_eq!(attach.read_to_end(), b"");
    d.finish();
}

#[test]
fn logs_are_replayed_before_what_comes() {
    let d = daemon();
    let script = "echo before; echo warn >&2; read x; echo after $x";
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "OpenStdin": true}),
    );
    testkit::until("it spoke", || d.logs(&id).stderr == "warn\n");
    let mut replay = d
        .http
        .hijack("/containers/it/attach?logs=1&stdout=1&stderr=1", false);
    let out = demux(&replay.read_to_end());
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str()),
        ("before\n", "warn\n")
    );
    let mut attach = d
        .http
        .hijack(&format!("/containers/it/attach?logs=1&{ALL}"), true);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(attach.frame().expect("the log"));
    }
    attach.write("now\n");
    let last = attach.frame().expect("the answer");
    assert_eq!(last.payload, b"after now\n");
    assert!(
        seen.contains(&Frame {
            stream: 1,
            payload: b"before\n".to_vec()
        }),
        "{seen:?}"
    );
    d.finish();
}

#[test]
fn without_stdin_once_a_client_that_leaves_closes_nothing() {
    let d = daemon();
    d.run_detached("open", cat(false));
    for word in ["one", "two"] {
        let mut attach = d
            .http
            .hijack(&format!("/containers/open/attach?{ALL}"), true);
        attach.write(format!("{word}\n"));
        attach.read_until(word);
        attach.half_close();
        attach.read_to_end();
    }
    assert_eq!(d.status("open"), "running");
    assert_eq!(d.logs("open").stdout, "one\ntwo\n");
    d.finish();
}

#[test]
fn a_client_that_only_watches_does_not_close_stdin() {
    let d = daemon();
    d.run_detached("watched", cat(true));
    let watcher = d
        .http
        .hijack("/containers/watched/attach?stream=1&stdout=1", true);
    drop(watcher);
    let mut attach = d
        .http
        .hijack(&format!("/containers/watched/attach?{ALL}"), true);
    attach.write("still here\n");
    attach.read_until("still here");
    attach.half_close();
    attach.read_to_end();
    assert_eq!(d.wait("watched"), 0);
    d.finish();
}

#[test]
fn a_terminal_is_raw_echoes_and_detaches_by_its_keys() {
    let d = daemon();
    let body = json!({"Cmd": ["sh"], "Tty": true, "OpenStdin": true});
    d.run_detached("term", body);
    let attach = |parameters: &str| {
        d.http
            .hijack(&format!("/containers/term/attach?{ALL}{parameters}"), true)
    };
    let mut first = attach("");
    assert_eq!(
        first.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    first.write("echo $((40+2))\n");
    first.read_until("42");
    first.write([0x10, 0x11]);
    first.read_to_end();
    assert_eq!(d.status("term"), "running");
    let mut second = attach("&detachKeys=ctrl-a,x");
    second.write("echo $((50+2))\n");
    second.read_until("52");
    second.write([1, b'x']);
    second.read_to_end();
    assert_eq!(d.status("term"), "running");
    let mut third = attach("");
    third.write("exit 9\n");
    third.read_to_end();
    assert_eq!(d.wait("term"), 9);
    d.finish();
}

#[test]
fn what_cannot_be_attached_is_told_in_the_hijacked_form() {
    let d = daemon();
    let path = "/containers/nosuch/attach?stream=1&stdout=1";
    let mut missing = d.http.hijack(path, true);
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.read_to_end(), b"No such container: nosuch\r\n");
    d.run_detached("frozen", json!({"Cmd": ["sleep", "1000"]}));
    d.http.post("/containers/frozen/pause").expect(204);
    let mut paused = d
        .http
        .hijack("/containers/frozen/attach?stream=1&stdout=1", true);
    assert_eq!(paused.status(), 409);
    let text = String::from_utf8(paused.read_to_end()).expect("text");
    assert_eq!(
        text,
        "container frozen is paused, unpause the container before attach\r\n"
    );
    d.http.post("/containers/frozen/unpause").expect(204);
    d.finish();
}

/// Bytes for a container that does not read wait; they are neither lost nor kept in memory.
#[test]
fn stdin_is_whole_whatever_its_size() {
    let d = daemon();
    d.create("sum", json!({"Cmd": ["sh", "-c", "sleep 0.3; wc -c; exit 0"], "OpenStdin": true, "StdinOnce": true}));
    let mut attach = d
        .http
        .hijack(&format!("/containers/sum/attach?{ALL}"), true);
    d.start_container("sum");
    let size = 8 << 20;
    attach.write(vec![b'x'; size]);
    attach.half_close();
    assert_eq!(demux(&attach.read_to_end()).stdout.trim(), size.to_string());
    d.finish();
}

/// One client that does not read delays neither the container nor the others, and misses nothing.
#[test]
fn a_client_that_does_not_read_stops_nobody_and_gets_every_byte_when_it_does() {
    let d = daemon();
    d.create("chatty", json!({"Cmd": ["sh", "-c", "seq 1 4000000"]}));
    let path = "/containers/chatty/attach?stream=1&stdout=1";
    let mut stalled = d.http.hijack(path, true);
    d.start_container("chatty");
    assert_eq!(d.wait("chatty"), 0);
    assert_eq!(last_log_line(&d, "chatty"), "4000000\n");
    let out = demux(&stalled.read_to_end()).stdout;
    let mut lines = out.lines();
    for n in 1..=4_000_000_u32 {
        assert_eq!(lines.next(), Some(n.to_string().as_str()));
    }
    assert_eq!(lines.next(), None);
    drop(stalled);
    d.finish();
}

/// Beyond what may wait for it, it is closed.
#[test]
fn a_client_that_lets_too_much_wait_is_closed_and_stops_nobody() {
    let d = Daemon::start(crate::options().config("spill-max-bytes = 65536\n"));
    // A part at a time, so that the one who reads is never far behind, however busy the host is.
    let script = "for part in $(seq 1 30); do seq 1 20000; echo end; read go; done; echo last";
    let body = json!({"Cmd": ["sh", "-c", script], "OpenStdin": true, "StdinOnce": true});
    d.create("chatty", body);
    let mut stalled = d
        .http
        .hijack("/containers/chatty/attach?stream=1&stdout=1", true);
    let mut reader = d
        .http
        .hijack("/containers/chatty/attach?stream=1&stdout=1&stdin=1", true);
    d.start_container("chatty");
    let mut out = String::new();
    while let Some(frame) = reader.frame() {
        out += &String::from_utf8(frame.payload).expect("text");
        if out.ends_with("end\n") {
            out.clear();
            reader.write(b"go\n");
        }
    }
    assert_eq!(out, "last\n");
    assert_eq!(d.wait("chatty"), 0);
    assert_eq!(last_log_line(&d, "chatty"), "last\n");
    // What it gets is not whole, and it is told so in the one way docker CLI takes for a failure.
    let last = std::iter::from_fn(|| stalled.frame()).last();
    let last = last.expect("a frame");
    let text = String::from_utf8(last.payload).expect("text");
    assert!(last.stream == 3 && text.contains("too slowly"), "{text}");
    drop((stalled, reader));
    d.finish();
}

/// Input that nobody took must not turn the end of the output into ECONNRESET.
#[test]
fn input_that_nobody_takes_costs_no_output() {
    let d = daemon();
    for n in 0..5 {
        let id = format!("early{n}");
        d.create(
            &id,
            json!({"Cmd": ["sh", "-c", "read line; echo enough; exit 3"], "OpenStdin": true, "StdinOnce": true}),
        );
        let mut attach = d
            .http
            .hijack(&format!("/containers/{id}/attach?{ALL}"), true);
        d.start_container(&id);
        // More than the container, conmon and all sockets between hold, until it is over.
        let line = [vec![b'x'; 65_535], vec![b'\n']].concat();
        while attach.try_write(&line) && attach.is_idle() {}
        assert_eq!(demux(&attach.read_to_end()).stdout, "enough\n");
        assert_eq!(d.wait(&id), 3);
    }
    d.finish();
}

fn last_log_line(d: &Daemon, id: &str) -> String {
    let path = format!("/containers/{id}/logs?stdout=1&tail=1");
    demux(&d.http.get(&path).expect(200).body).stdout
}

/// As in Docker: who asks for no stream is attached to none, and gets the end at once.
#[test]
fn an_attach_to_no_stream_ends_at_once() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sh", "-c", "echo out; sleep 1000"]}));
    for query in ["", "?stream=1", "?stdout=0&stderr=0&stream=1", "?logs=1"] {
        for upgrade in [true, false] {
            let mut attach = d
                .http
                .hijack(&format!("/containers/it/attach{query}"), upgrade);
            assert_eq!(attach.status(), if upgrade { 101 } else { 200 }, "{query}");
            assert_eq!(attach.read_to_end(), b"", "{query}");
        }
    }
    assert_eq!(d.status("it"), "running");
    d.finish();
}
