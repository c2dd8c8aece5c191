//! A full disk: clear errors, reads that work, removal that works, nothing half made.

use serde_json::json;

use crate::options;
use testkit::{Daemon, Full, until};

#[test]
fn a_full_data_root_is_told_and_survived() {
    let d = Daemon::start(options().data_root_of_bytes(48 << 20));
    let id = d.run("before", json!({"Cmd": ["true"]})).id;
    let running = d.run_detached("runs", json!({"Cmd": ["sleep", "1000"]}));
    let full = Full::new(&d);
    let answer = d.http.post_json(
        "/containers/create?name=late",
        &json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}),
    );
    if answer.status != 201 {
        let said = answer.error(500).to_lowercase();
        assert!(
            said.contains("no space left") || said.contains("full"),
            "{said}"
        );
        d.http.get("/containers/late/json").error(404);
    }
    assert_eq!(d.inspect(&id)["State"]["ExitCode"], 0);
    d.http.get("/containers/json?all=1").expect(200);
    full.relieve();
    d.http.post("/containers/runs/stop?t=0").expect(204);
    assert_eq!(d.inspect(&running)["State"]["ExitCode"], 137);
    assert_eq!(d.run("after", json!({"Cmd": ["true"]})).code, 0);
    d.finish();
}

/// conmon drops what it cannot write; that is told, and the log goes on when there is room again.
#[test]
fn a_log_that_could_not_be_written_is_no_silence() {
    let d = Daemon::start(options().data_root_of_bytes(48 << 20));
    let script = "echo before; while [ ! -e /go/end ]; do seq 1 100; sleep 0.1; done; \
                  echo after; sleep 1000";
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let bind = format!("{}:/go:ro", go.display());
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": [bind]}}),
    );
    d.run("fat", json!({"Cmd": ["sh", "-c", "seq 1 20000"]}));
    let faults = || d.inspect(&id)["LogFaults"].clone();
    assert_eq!(faults(), serde_json::Value::Null);
    let full = Full::new(&d);
    until("it is told", || faults()["DiskFullSince"].is_string());
    let warnings = d.http.get("/info").expect(200).json()["Warnings"].to_string();
    assert!(
        warnings.contains("the logs of 1 containers may miss"),
        "{warnings}"
    );
    // What fills a disk can be taken away by those who are only clients.
    d.http.delete("/containers/fat?force=1").expect(204);
    assert!(d.http.get("/containers/fat/json").status == 404);
    full.relieve();
    std::fs::write(go.join("end"), "").expect("a file in ours");
    until("the log goes on", || {
        d.logs(&id).stdout.ends_with("after\n")
    });
    assert!(d.logs(&id).stdout.starts_with("before\n"));
    d.finish();
}

#[test]
fn damage_is_passed_over_and_told() {
    let d = Daemon::start(options());
    let id = d
        .run("it", json!({"Cmd": ["sh", "-c", "echo one; echo two"]}))
        .id;
    let path = d.inspect(&id)["LogPath"]
        .as_str()
        .expect("a path")
        .to_owned();
    let log = std::fs::read_to_string(&path).expect("its log");
    let (first, rest) = log.split_once('\n').expect("two lines");
    let damaged = format!("{first}\n\0\0\0\0\0\0\n{rest}garbage\n");
    std::fs::write(&path, damaged).expect("its log");
    assert_eq!(d.logs(&id).stdout, "one\ntwo\n");
    until("it is told", || {
        let faults = &d.inspect(&id)["LogFaults"];
        faults["DamagedPlaces"] == 2 && faults["DamagedBytes"] == 13
    });
    d.finish();
}
