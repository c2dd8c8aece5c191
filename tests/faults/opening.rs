//! A daemon that has much to take back: it answers that it is there at once, and everything else
//! when it is the truth.

use std::time::Instant;

use serde_json::{Value, json};
use testkit::Daemon;

use crate::daemon;

/// Containers that run, and those that do not.
fn counts() -> (usize, usize) {
    match std::env::var_os("MOORED_SOAK") {
        Some(_) => (1000, 10_000),
        None => (60, 1000),
    }
}

fn list(d: &Daemon, query: &str) -> Vec<Value> {
    let listed = d.http.get(&format!("/containers/json?{query}")).expect(200);
    listed.json().as_array().expect("a list").clone()
}

/// Rows like that of `id`, which is at rest, as a daemon that made so many containers has them.
fn multiply(d: &Daemon, id: &str, count: usize) {
    let sql = format!(
        "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = 1;
         CREATE TEMP TABLE numbers AS WITH RECURSIVE n(i) AS
           (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n;
         INSERT INTO containers SELECT printf('%064x', i), 'copy-' || i, created_at, image_id,
           image_name, runtime, spec, echo FROM containers, numbers WHERE id = '{id}';
         INSERT INTO container_states SELECT printf('%064x', i), state, intent, restart_count
           FROM container_states, numbers WHERE id = '{id}';"
    );
    let ledger = d.inside(d.root().join("data/ledger.db"));
    let done = std::process::Command::new("sqlite3")
        .arg(ledger)
        .arg(sql)
        .status()
        .expect("sqlite3(1) runs");
    assert!(done.success());
}

#[test]
fn all_of_many_are_there_after_a_death() {
    let (running, stopped) = counts();
    let mut d = daemon();
    let rest = d.run("rest", json!({"Cmd": ["sh", "-c", "exit 3"]})).id;
    let body = json!({"Cmd": ["sleep", "100000"]});
    for n in 0..running {
        d.run_detached(&format!("runs-{n}"), body.clone());
    }
    let up = list(&d, "");
    d.stop();
    multiply(&d, &rest, stopped);
    for how in ["stopped", "killed"] {
        let start = Instant::now();
        d.spawn();
        while !d.http.answers() {
            assert!(start.elapsed() < testkit::DEADLINE);
        }
        let answered = start.elapsed();
        let all = list(&d, "all=1");
        eprintln!(
            "{how}: _ping after {answered:?}, all state after {:?}",
            start.elapsed()
        );
        d.wait_ready();
        assert_eq!(all.len(), running + stopped + 1);
        let is_up = |c: &&Value| c["State"] == "running";
        assert_eq!(all.iter().filter(is_up).count(), running);
        let ids = |list: &[Value]| {
            let mut ids: Vec<String> = list.iter().map(|c| c["Id"].to_string()).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&list(&d, "")), ids(&up), "all that ran run on");
        assert_eq!(d.inspect("copy-7")["State"]["ExitCode"], 3);
        d.kill9();
    }
    d.restart();
    d.finish();
}

#[cfg(feature = "failpoints")]
#[test]
fn nobody_is_told_half_the_truth() {
    let mut d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let pid = d.init_pid(&id);
    d.kill9();
    d.set_failpoints("recover-opened=delay:1500");
    let start = Instant::now();
    d.spawn();
    testkit::until("it answers a ping", || d.http.answers());
    assert!(
        start.elapsed().as_millis() < 1500,
        "it answers before it knows anything"
    );
    let ping = d.http.send("HEAD", "/v1.47/_ping", &[], b"").expect(200);
    assert_eq!(ping.header("api-version"), Some("1.47"));
    d.http.get("/v1.99/_ping").error(400);
    // This waits.
    let listed = list(&d, "");
    assert!(start.elapsed().as_millis() >= 1500);
    assert_eq!(listed[0]["Id"], id);
    assert_eq!(d.init_pid(&id), pid);
    d.finish();
}
