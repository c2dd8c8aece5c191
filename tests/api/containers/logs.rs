//! `GET /containers/{id}/logs`.

use serde_json::json;
use testkit::{Frame, demux, frames, until};

use crate::daemon;

#[test]
fn streams_are_chosen_and_framed_line_by_line() {
    let d = daemon();
    let script = "echo one; echo two >&2; printf 'no newline'";
    d.run("it", json!({"Cmd": ["sh", "-c", script]}));
    let get = |parameters: &str| {
        let path = format!("/containers/it/logs?{parameters}");
        d.http.get(&path).expect(200)
    };
    let both = get("stdout=1&stderr=1");
    assert_eq!(
        both.header("Content-Type"),
        Some("application/vnd.docker.multiplexed-stream")
    );
    let both = demux(&both.body);
    assert_eq!(both.stdout, "one\nno newline");
    assert_eq!(both.stderr, "two\n");
    let frame = |stream, text: &str| Frame {
        stream,
        payload: text.into(),
    };
    assert_eq!(frames(&get("stderr=1").body), [frame(2, "two\n")]);
    assert_eq!(
        frames(&get("stdout=1").body),
        [frame(1, "one\n"), frame(1, "no newline")]
    );
    let old = d.http.get("/v1.41/containers/it/logs?stdout=1").expect(200);
    assert_eq!(
        old.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    assert_eq!(demux(&old.body).stdout, "one\nno newline");
    d.finish();
}

#[test]
fn tail_since_until_and_timestamps() {
    let d = daemon();
    let script = "for n in 1 2 3 4 5; do echo line $n; done; sleep 1.1; echo late";
    d.run("it", json!({"Cmd": ["sh", "-c", script]}));
    let get = |parameters: &str| {
        let path = format!("/containers/it/logs?stdout=1&{parameters}");
        demux(&d.http.get(&path).expect(200).body).stdout
    };
    assert_eq!(get("tail=2"), "line 5\nlate\n");
    assert_eq!(get("tail=0"), "");
    assert_eq!(get("tail=all"), get(""));
    assert_eq!(get("").lines().count(), 6);
    let stamped = get("timestamps=1");
    let stamps: Vec<_> = stamped
        .lines()
        .map(|line| line.split_once(' ').expect("a stamp and a text").0)
        .collect();
    for stamp in &stamps {
        // 2006-01-02T15:04:05.000000000Z
        assert_eq!(stamp.len(), 30, "{stamp}");
        assert!(stamp.ends_with('Z'), "{stamp}");
    }
    assert!(stamps.is_sorted(), "{stamps:?}");
    // Docker's clients send seconds with a fraction; RFC 3339 is theirs to turn into that.
    let finished = d.inspect("it")["State"]["FinishedAt"]
        .as_str()
        .expect("text")
        .to_owned();
    let seconds = |rfc3339: &str| {
        let out = std::process::Command::new("date")
            .args(["-u", "+%s.%N", "-d", rfc3339])
            .output()
            .expect("date(1) runs");
        String::from_utf8(out.stdout)
            .expect("a number")
            .trim()
            .to_owned()
    };
    let late = seconds(stamps[5]);
    assert_eq!(get(&format!("since={late}")), "late\n");
    assert_eq!(
        get(&format!("until={}", seconds(stamps[4])))
            .lines()
            .count(),
        5
    );
    assert_eq!(get(&format!("since={}", seconds(&finished))), "");
    d.finish();
}

#[test]
fn follow_delivers_what_comes_and_ends_with_the_container() {
    let d = daemon();
    d.create(
        "it",
        json!({"Cmd": ["sh", "-c", "echo early; read x; echo got $x; exit 1"], "OpenStdin": true}),
    );
    d.start_container("it");
    let mut follow = d.http.stream(
        "GET",
        "/containers/it/logs?stdout=1&stderr=1&follow=1",
        &[],
        b"",
    );
    assert_eq!(follow.status, 200);
    assert_eq!(follow.header("Transfer-Encoding"), Some("chunked"));
    let first = follow.body.piece().expect("a chunk");
    assert_eq!(demux(&first).stdout, "early\n");
    assert!(follow.body.is_waiting());
    let mut attach = d
        .http
        .hijack("/containers/it/attach?stream=1&stdin=1", true);
    attach.write("word\n");
    assert_eq!(demux(&follow.body.read_to_end()).stdout, "got word\n");
    // Of what has ended, it ends at once, with everything.
    let whole = d
        .http
        .get("/containers/it/logs?stdout=1&follow=1")
        .expect(200);
    assert_eq!(demux(&whole.body).stdout, "early\ngot word\n");
    d.finish();
}

#[test]
fn the_last_line_is_never_missed() {
    let lanes = 8;
    let rounds = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 10_000 / lanes,
        None => 3,
    };
    let d = daemon();
    let lane = |lane: u32| {
        for n in 0..rounds {
            let name = format!("last-{lane}-{n}");
            d.create(&name, json!({"Cmd": ["sh", "-c", "seq 1 500; echo last"]}));
            let path = format!("/containers/{name}/logs?stdout=1&follow=1");
            d.start_container(&name);
            let follow = d.http.get(&path).expect(200);
            let out = demux(&follow.body).stdout;
            assert!(
                out.ends_with("\n500\nlast\n"),
                "{name}: {} bytes",
                out.len()
            );
            assert_eq!(out.lines().count(), 501);
            d.http
                .delete(&format!("/containers/{name}?force=1"))
                .expect(204);
        }
    };
    std::thread::scope(|scope| {
        for n in 0..lanes {
            let lane = &lane;
            scope.spawn(move || lane(n));
        }
    });
    d.finish();
}

/// What one run left without a newline is no beginning of the next one's first line.
#[test]
fn a_line_does_not_go_over_a_restart() {
    let d = daemon();
    d.run(
        "it",
        json!({"Cmd": ["sh", "-c", "echo first; printf 'no newline'"]}),
    );
    d.start_container("it");
    assert_eq!(d.wait("it"), 0);
    let get = |parameters: &str| {
        let path = format!("/containers/it/logs?stdout=1&{parameters}");
        frames(&d.http.get(&path).expect(200).body)
    };
    let texts: Vec<_> = get("").into_iter().map(|f| f.payload).collect();
    let expected = [&b"first\n"[..], b"no newline", b"first\n", b"no newline"];
    assert_eq!(texts, expected);
    assert_eq!(get("tail=3").len(), 3);
    assert_eq!(get("timestamps=1").len(), 4);
    d.finish();
}

#[test]
fn long_lines_and_bytes_that_are_not_text_come_back_whole() {
    let d = daemon();
    let script = "head -c 100000 /dev/zero | tr '\\0' a; echo; printf '\\377\\000\\n'";
    let id = d.run_detached("odd", json!({"Cmd": ["sh", "-c", script]}));
    d.wait(&id);
    let log = d.http.get("/containers/odd/logs?stdout=1").expect(200);
    let joined: Vec<u8> = frames(&log.body)
        .into_iter()
        .flat_map(|f| f.payload)
        .collect();
    let mut wanted = vec![b'a'; 100_000];
    wanted.extend(b"\n\xff\x00\n");
    assert!(joined == wanted, "{} bytes", joined.len());
    d.finish();
}

#[test]
fn a_terminals_log_is_raw() {
    let d = daemon();
    let id = d.run_detached("tty", json!({"Cmd": ["echo", "hi"], "Tty": true}));
    d.wait(&id);
    let log = d.http.get("/containers/tty/logs?stdout=1").expect(200);
    assert_eq!(
        log.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    assert_eq!(log.text(), "hi\r\n");
    d.finish();
}

#[test]
fn a_container_without_a_log_says_so() {
    let d = daemon();
    let body = json!({"Cmd": ["echo", "hi"], "HostConfig": {"LogConfig": {"Type": "none"}}});
    let id = d.run_detached("quiet", body);
    assert_eq!(d.wait(&id), 0);
    let answer = d.http.get("/containers/quiet/logs?stdout=1");
    assert!(
        answer
            .text()
            .contains("configured logging driver does not support reading"),
        "{}",
        answer.text()
    );
    d.finish();
}

/// A follower that leaves costs nothing; the container does not notice.
#[test]
fn a_follower_that_leaves_is_forgotten() {
    let d = daemon();
    let script = "while :; do echo tick; sleep 0.05; done";
    let id = d.run_detached("clock", json!({"Cmd": ["sh", "-c", script]}));
    let before = testkit::census::descriptors(d.pid()).len();
    for _ in 0..20 {
        let path = "/containers/clock/logs?stdout=1&follow=1";
        let mut follow = d.http.stream("GET", path, &[], b"");
        assert!(follow.body.piece().is_some());
    }
    until("the followers are gone", || {
        testkit::census::descriptors(d.pid()).len() <= before
    });
    assert_eq!(d.status(&id), "running");
    d.finish();
}
