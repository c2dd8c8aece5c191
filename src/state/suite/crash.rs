//! `kill -9` in the middle of commits, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Where the child of the crash test finds its ledger.
const CHILD_LEDGER: &str = "MOORED_TEST_CRASH_LEDGER";

#[test]
#[ignore = "the victim of the next test, in a process of its own"]
fn crash_victim() {
    let path = std::env::var_os(CHILD_LEDGER).expect("the next test sets it");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ledger, contents) = Ledger::open(path.as_ref(), "boot").unwrap();
        let first = u32::try_from(contents.containers.len()).unwrap();
        // The last victim may have died between the two changes of its last row.
        if let Some(n) = first.checked_sub(1) {
            let state = running(i64::from(n));
            ledger
                .update_container_state(&id(n), &state, None, 0)
                .await
                .unwrap();
        }
        for n in first.. {
            ledger.insert_container(row(n), vec![]).await.unwrap();
            ledger
                .update_container_state(&id(n), &running(i64::from(n)), None, 0)
                .await
                .unwrap();
            // Past libtest's capture: the parent counts acknowledged rows.
            use std::io::Write;
            writeln!(std::io::stderr().lock(), "acknowledged {n}").unwrap();
        }
    });
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let fixture = Fixture::new();
    for round in 1..=5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "suite::crash::crash_victim",
                "--nocapture",
                "--ignored",
            ])
            .env(CHILD_LEDGER, fixture.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut last = None;
        let mut killed = false;
        for line in lines {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("acknowledged ") {
                last = Some(n.parse::<usize>().unwrap());
            }
            if !killed && last.is_some_and(|n| n >= 40 * round) {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the victim ended by itself in round {round}");
        let read = fixture.contents();
        assert_eq!(read.damaged, []);
        let acknowledged = last.unwrap() + 1;
        // At most the one row that was being written is there on top.
        assert!(
            [acknowledged, acknowledged + 1].contains(&read.containers.len()),
            "{acknowledged} acknowledged, {} found",
            read.containers.len()
        );
        for (n, container) in (0..).zip(&read.containers).take(acknowledged) {
            assert_eq!(container.id, id(n));
            assert_eq!(container.state, running(i64::from(n)));
        }
    }
}
