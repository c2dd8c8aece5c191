//! Attaching again at an offset, and sessions whose output is kept.

use serde_json::{Value, json};
use testkit::{Daemon, Hijacked, demux, until};

use super::{attached, create, host, inspect};
use crate::daemon;

/// Writes `n\n` for each number, in tens, a pause between them.
const COUNT: &str =
    "n=1; while [ $n -le 2000 ]; do seq $n $((n+9)); n=$((n+10)); usleep 3000; done";

fn numbers(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

fn start(d: &Daemon, id: &str) -> Hijacked {
    let path = format!("/exec/{id}/start");
    d.http.hijack_json(&path, &json!({"Detach": false}), true)
}

fn start_detached(d: &Daemon, id: &str) {
    let path = format!("/exec/{id}/start");
    d.http
        .post_json(&path, &json!({"Detach": true}))
        .expect(200);
}

fn again(d: &Daemon, id: &str, since: usize) -> Hijacked {
    let path = format!("/moored/exec/{id}/attach?since={since}");
    d.http.hijack(&path, true)
}

fn offset(stream: &Hijacked) -> usize {
    let offset = stream.header("Moored-Offset").expect("the offset");
    offset.parse().expect("a number")
}

fn body(keep: bool, script: &str) -> Value {
    json!({
        "AttachStdout": true, "AttachStderr": true, "KeepOutput": keep,
        "Cmd": ["sh", "-c", script],
    })
}

/// Leaves again and again with some of the output, and comes back for the rest.
fn read_in_pieces(d: &Daemon, id: &str, mut stream: Hijacked) -> String {
    let mut all = String::new();
    loop {
        // At least one frame each time, and then the client is gone.
        for _ in 0..3 {
            match stream.frame() {
                Some(frame) => all += &String::from_utf8(frame.payload).expect("digits"),
                None => return all,
            }
        }
        drop(stream);
        stream = again(d, id, all.len());
        if stream.status() == 409 {
            // A session that is not kept has ended meanwhile.
            return all;
        }
        assert_eq!(stream.status(), 101);
        assert_eq!(offset(&stream), all.len());
    }
}

#[test]
fn a_client_that_leaves_does_not_end_the_command_and_another_can_attach() {
    let d = daemon();
    host(&d);
    let mut body = attached(&["sh", "-c", "echo one; read x; echo got $x; exit 8"]);
    body["AttachStdin"] = json!(true);
    body["Tty"] = json!(true);
    let id = create(&d, body);
    let path = format!("/exec/{id}/start");
    let mut first = d.http.hijack_json(&path, &json!({"Tty": true}), true);
    first.read_until("one");
    drop(first);
    assert_eq!(inspect(&d, &id)["Running"], true);
    let mut second = d.http.hijack(&format!("/moored/exec/{id}/attach"), true);
    second.write("again\n");
    second.read_until("got again");
    second.read_to_end();
    assert_eq!(inspect(&d, &id)["ExitCode"], 8);
    d.finish();
}

#[test]
fn a_client_that_comes_back_gets_every_byte_once() {
    let d = daemon();
    host(&d);
    let kept = create(&d, body(true, COUNT));
    let stream = start(&d, &kept);
    let all = read_in_pieces(&d, &kept, stream);
    assert!(all == numbers(1..=2000), "{} bytes", all.len());
    // Not kept: while it runs.
    let script = format!("{COUNT}; sleep 1000");
    let transient = create(&d, body(false, &script));
    let stream = start(&d, &transient);
    let whole = numbers(1..=2000);
    let mut all = String::new();
    let mut stream = Some(stream);
    while all.len() < whole.len() {
        let mut now = stream
            .take()
            .unwrap_or_else(|| again(&d, &transient, all.len()));
        let frame = now.frame().expect("it runs");
        all += &String::from_utf8(frame.payload).expect("digits");
    }
    assert!(all == whole, "{} bytes", all.len());
    d.http.delete("/containers/host?force=1").expect(204);
    d.finish();
}

#[test]
fn a_kept_session_can_be_read_after_its_end() {
    let d = daemon();
    host(&d);
    let id = create(&d, body(true, "echo out; echo err >&2; printf end"));
    start_detached(&d, &id);
    d.http.post(&format!("/moored/exec/{id}/wait")).expect(200);
    let view = inspect(&d, &id);
    assert_eq!(
        (&view["KeepOutput"], &view["LostBytes"]),
        (&json!(true), &json!(0))
    );
    let mut stream = again(&d, &id, 0);
    assert_eq!(offset(&stream), 0);
    let all = demux(&stream.read_to_end());
    assert_eq!(
        (all.stdout.as_str(), all.stderr.as_str()),
        ("out\nend", "err\n")
    );
    let rest = demux(&again(&d, &id, 6).read_to_end());
    assert_eq!(rest.stdout.len() + rest.stderr.len(), 5);
    // Without an offset it is as any other.
    let path = format!("/moored/exec/{id}/attach");
    assert_eq!(d.http.hijack(&path, true).status(), 409);
    let bad = format!("/moored/exec/{id}/attach?since=12");
    let message = "invalid offset 12: it has written 11 bytes";
    d.http.post(&bad).expect_error(400, message);
    let bad = format!("/moored/exec/{id}/attach?since=-1");
    d.http.post(&bad).expect_error(400, "invalid offset: -1");
    let log = d.root().join("data/containers");
    let logs = || {
        walk(&log)
            .into_iter()
            .filter(|f| f.ends_with("output.log"))
            .count()
    };
    assert_eq!(logs(), 1);
    d.http.delete(&format!("/moored/exec/{id}")).expect(204);
    assert_eq!(logs(), 0, "it went with its session");
    d.http.delete("/containers/host?force=1").expect(204);
    d.finish();
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn of_more_than_is_kept_the_loss_is_counted() {
    let d = daemon();
    host(&d);
    // 40 MB in lines; kept are the last 8 to 16 MiB.
    let script = "n=0; while [ $n -lt 200 ]; do yes 0123456789012345678 | head -n 10000; \
                  n=$((n+1)); usleep 2000; done; echo last; sleep 1000";
    let id = create(&d, body(true, script));
    start_detached(&d, &id);
    let total = 200 * 10_000 * 20 + 5;
    let lost = || inspect(&d, &id)["LostBytes"].as_u64().expect("a number");
    until("it has lost some", || lost() > 0);
    let mut stream = again(&d, &id, 0);
    let begin = offset(&stream);
    assert!(begin > 0, "the beginning is gone");
    let mut got = 0;
    while begin + got < total {
        let frame = stream.frame().expect("it runs");
        got += frame.payload.len();
    }
    assert_eq!(begin + got, total, "every byte from there on");
    drop(stream);
    until("what readers needed is gone, too", || {
        // How large they are depends on how soon each was noticed to be full.
        let log = walk(&d.root().join("data/containers"));
        let is_note = |f: &str| f.ends_with(".dropped") || f.ends_with(".cut");
        let is_log = |f: &&String| f.contains("output.log") && !is_note(f);
        let log: Vec<_> = log.iter().filter(is_log).collect();
        let sizes = log
            .iter()
            .map(|f| std::fs::metadata(f).map_or(0, |file| file.len()));
        log.len() <= 2 && sizes.sum::<u64>() > 8 << 20
    });
    d.http.delete("/containers/host?force=1").expect(204);
    d.finish();
}

#[test]
fn an_offset_of_what_has_none_is_refused() {
    let d = daemon();
    host(&d);
    let id = create(&d, body(false, "echo hello; sleep 1000"));
    let path = format!("/moored/exec/{id}/attach?since=0");
    let message = format!("exec {id} is not running");
    d.http.post(&path).expect_error(409, &message);
    let mut first = start(&d, &id);
    assert_eq!(first.frame().expect("it runs").payload, b"hello\n");
    let path = format!("/moored/exec/{id}/attach?since=7");
    d.http
        .post(&path)
        .expect_error(400, "invalid offset 7: it has written 6 bytes");
    assert_eq!(
        again(&d, &id, 2).frame().expect("the rest").payload,
        b"llo\n"
    );
    // Of one that is over nothing is held, whatever is asked for.
    d.http
        .post(&format!("/moored/exec/{id}/stop?t=0"))
        .expect(204);
    for since in [0, 3, 6, 99] {
        let path = format!("/moored/exec/{id}/attach?since={since}");
        let message = format!("exec {id} is over");
        d.http.post(&path).expect_error(409, &message);
    }
    // Nothing of it is given to clients, so nothing is there.
    let silent = create(&d, json!({"Cmd": ["sleep", "1000"]}));
    start_detached(&d, &silent);
    let path = format!("/moored/exec/{silent}/attach?since=0");
    let message = "its output was not kept: it cannot be attached to at an offset";
    d.http.post(&path).expect_error(409, message);
    d.http.delete("/containers/host?force=1").expect(204);
    d.finish();
}

#[test]
fn a_kept_terminal_is_typed_into_again() {
    let d = daemon();
    host(&d);
    let body = json!({
        "AttachStdin": true, "AttachStdout": true, "Tty": true, "KeepOutput": true,
        "Cmd": ["sh", "-c", "stty -echo; echo ready; read a; echo got $a; read b; echo got $b"],
    });
    let id = create(&d, body);
    let path = format!("/exec/{id}/start");
    let mut first = d.http.hijack_json(&path, &json!({"Tty": true}), true);
    let before = first.read_until("ready\r\n");
    first.write("one\n");
    let more = first.read_until("got one\r\n");
    drop(first);
    let seen = before.len() + more.len();
    let mut second = again(&d, &id, seen - "one\r\n".len());
    second.read_until("one\r\n");
    second.write("two\n");
    assert_eq!(
        String::from_utf8_lossy(&second.read_to_end()),
        "got two\r\n"
    );
    assert_eq!(inspect(&d, &id)["ExitCode"], 0);
    d.http.delete("/containers/host?force=1").expect(204);
    d.finish();
}
