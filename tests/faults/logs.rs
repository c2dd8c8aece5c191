//! Logs while no daemon is there: they go on, and are kept within their limits again afterwards.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use testkit::{demux, until};

use crate::conmon_killed::signal;
use crate::daemon;

/// Killed in the middle of rotations, again and again: no line is lost or doubled, and what grew
/// without a daemon is rotated by the next.
#[test]
fn a_log_that_rotates_loses_nothing_when_the_daemon_is_killed() {
    const LINES: u32 = 60_000;
    let rounds = if std::env::var_os("MOORED_SOAK").is_some() {
        60
    } else {
        6
    };
    let mut d = daemon();
    let script = format!(
        "n=1; while [ $n -lt {LINES} ]; do seq $n $((n+199)); n=$((n+200)); usleep 12000; done; \
         touch /done; sleep 1000"
    );
    let options = json!({"max-size": "16k", "max-file": "9999"});
    let config = json!({"LogConfig": {"Type": "json-file", "Config": options}});
    d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": config}),
    );
    for round in 0..rounds {
        // From before a rotation to after it.
        std::thread::sleep(Duration::from_millis(50 + 17 * round % 90));
        d.kill9();
        std::thread::sleep(Duration::from_millis(40));
        d.restart();
    }
    let followed = d
        .http
        .stream("GET", "/containers/it/logs?stdout=1&follow=1", &[], b"");
    let all = || demux(&d.http.get("/containers/it/logs?stdout=1").expect(200).body).stdout;
    let last = format!("{LINES}\n");
    until("all was written", || all().ends_with(&last));
    d.http.post("/containers/it/kill").expect(204);
    let expected: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    let mut followed = followed;
    for (got, of) in [
        (all(), "read"),
        (demux(&followed.body.read_to_end()).stdout, "followed"),
    ] {
        let lines = got.lines().count();
        assert!(got == expected, "{of}: {lines} lines of {LINES}");
    }
    d.http.delete("/containers/it?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// conmon stopped when it is told to open its log anew: nothing is lost, and it is told once.
#[test]
fn a_conmon_that_does_not_listen_costs_no_line() {
    let d = daemon();
    let options = json!({"max-size": "16k", "max-file": "9"});
    let config = json!({"LogConfig": {"Type": "json-file", "Config": options}});
    // It goes on writing, so that a log opened anew twice would lack some.
    let script = "echo first; read go; n=1; while [ $n -le 400 ]; do echo $n; n=$((n+1)); \
                  usleep 5000; done; echo last; sleep 1000";
    let body = json!({"Cmd": ["sh", "-c", script], "OpenStdin": true, "HostConfig": config});
    d.run_detached("it", body);
    let lines = || -> Vec<String> {
        let text = d.logs("it").stdout;
        text.lines().map(str::to_owned).collect()
    };
    until("it wrote", || lines() == ["first"]);
    let conmon = d.conmon_pid("it");
    signal(conmon, Signal::STOP);
    let path = PathBuf::from(d.inspect("it")["LogPath"].as_str().expect("a path"));
    let mut log = OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("its log");
    for _ in 0..400 {
        log.write_all(b"2026-01-01T00:00:00.000000000+00:00 stdout F ours\n")
            .expect("room on the disk");
    }
    until("it was renamed", || !path.exists());
    until("the daemon has waited for long", || {
        d.log()
            .contains("was told to open the log anew, and has not yet")
    });
    assert_eq!(lines().len(), 401);
    let mut stdin = d
        .http
        .hijack("/containers/it/attach?stream=1&stdin=1", true);
    signal(conmon, Signal::CONT);
    stdin.write("go\n");
    until("it wrote on", || {
        lines().last().is_some_and(|l| l == "last")
    });
    let got = lines();
    let expected: Vec<String> = (1..=400).map(|n| n.to_string()).collect();
    assert!(got[401..801] == expected, "{} lines", got.len());
    d.http.delete("/containers/it?force=1").expect(204);
    d.finish();
}
