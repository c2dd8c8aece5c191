//! Many of the same: exit codes that are all exact, and cycles that leave nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use testkit::{Daemon, census};

use crate::daemon;

/// Clients at once.
const LANES: u64 = 4;

fn soak() -> bool {
    std::env::var_os("MOORED_SOAK").is_some()
}

/// splitmix64.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// When the wait is asked for.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Before,
    During,
    After,
}

/// One container, its end of a kind that `n` chooses, and what a wait says about it; false when it
/// was gone with its code before the wait came, on a busy machine.
fn run_one(d: &Daemon, n: u64) -> bool {
    let choice = scramble(n);
    let killed = choice.is_multiple_of(5);
    let code = i64::try_from(choice >> 8 & 0xff).expect("a byte");
    let auto_remove = choice >> 16 & 1 == 1;
    let when = match choice >> 20 & 3 {
        0 => Wait::Before,
        1 => Wait::During,
        // One that is gone cannot be waited for any more.
        _ if auto_remove => Wait::During,
        _ => Wait::After,
    };
    let pause = match when {
        _ if killed => "1000",
        Wait::During => "0.05",
        Wait::Before | Wait::After => "0",
    };
    let name = format!("number-{n}");
    let script = format!("sleep {pause}; exit {code}");
    let host = json!({"AutoRemove": auto_remove});
    let id = d.create(
        &name,
        json!({"Cmd": ["sh", "-c", script], "HostConfig": host}),
    );
    let condition = match auto_remove {
        true => "removed",
        false => "next-exit",
    };
    let wait = |condition: &str| {
        let path = format!("/containers/{id}/wait?condition={condition}");
        d.http.stream("POST", &path, &[], b"")
    };
    let before = matches!(when, Wait::Before).then(|| wait(condition));
    d.start_container(&id);
    let during = matches!(when, Wait::During).then(|| {
        wait(match auto_remove {
            true => "removed",
            // It may have ended by now.
            false => "not-running",
        })
    });
    if killed {
        d.http.post(&format!("/containers/{id}/kill")).expect(204);
    }
    let mut asked = before.or(during).unwrap_or_else(|| {
        d.wait_status(&id, "exited");
        wait("not-running")
    });
    let said = asked.body.read_to_end();
    let answer: Value = serde_json::from_slice(&said).expect("JSON");
    if auto_remove && matches!(when, Wait::During) && answer.get("message").is_some() {
        let gone = d.http.get(&format!("/containers/{id}/json"));
        assert_eq!(gone.status, 404, "{answer}");
        return false;
    }
    let expected = if killed { 137 } else { code };
    assert_eq!(
        answer,
        json!({"StatusCode": expected}),
        "{name}, {when:?}, --rm {auto_remove}"
    );
    if !auto_remove {
        assert_eq!(d.inspect(&id)["State"]["ExitCode"], expected);
        d.http.delete(&format!("/containers/{id}")).expect(204);
    }
    true
}

#[test]
fn every_code_is_exact_however_it_is_waited_for() {
    let count = if soak() { 10_000 } else { 300 };
    let d = daemon();
    let [next, too_late] = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    if !run_one(&d, n) {
                        too_late.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let too_late = too_late.into_inner();
    assert!(too_late * 20 < count, "{too_late} of {count} were gone");
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn cycles_leave_nothing_and_cost_nothing() {
    let count: u64 = if soak() { 10_000 } else { 200 };
    let d = daemon();
    let cycle = || {
        let id = d.create("it", json!({"Cmd": ["true"]}));
        d.start_container(&id);
        assert_eq!(d.wait(&id), 0);
        d.http.delete(&format!("/containers/{id}")).expect(204);
    };
    let warm = count / 10;
    (0..warm).for_each(|_| cycle());
    d.expect_nothing_left();
    let (rss, descriptors) = (
        census::resident_bytes(d.pid()),
        census::descriptors(d.pid()),
    );
    (warm..count).for_each(|_| cycle());
    d.expect_nothing_left();
    let grown = census::resident_bytes(d.pid()).saturating_sub(rss);
    let each = grown / (count - warm);
    eprintln!("{count} cycles: {grown} bytes more, {each} a cycle");
    // The first hundreds fill caches and the ring of events: only many can tell.
    assert!(!soak() || each <= 1024, "{each} bytes a cycle");
    let now = census::descriptors(d.pid());
    assert_eq!(census::surplus(&descriptors, &now), [""; 0]);
    d.finish();
}
