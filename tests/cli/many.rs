//! Many `run --rm` at once: every code right, nothing left.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::daemon;

/// Lanes that run at once.
const LANES: usize = 8;

#[test]
fn random_codes_in_eight_lanes_are_all_right() {
    // MOORED_SOAK=1 is the full number; every `make test` runs a fifth of it.
    let soak = std::env::var_os("MOORED_SOAK").is_some();
    let runs = if soak { 200 } else { 40 };
    let d = daemon("runc");
    let docker = d.docker();
    let next = AtomicUsize::new(0);
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::from(since.subsec_nanos()));
    eprintln!("seed {seed}");
    let lane = || {
        let mut wrong = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= runs {
                return wrong;
            }
            // 125 to 127 would be the CLI's own.
            let code = (scramble(seed.wrapping_add(n as u64)) % 125) as i32;
            let script = format!("echo {n}; exit {code}");
            let out = docker.run(&["run", "--rm", "busybox", "sh", "-c", &script]);
            if out.code != code || out.stdout != format!("{n}\n") {
                wrong.push(format!("run {n}: wanted {code}: {out:?}"));
            }
        }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes
            .into_iter()
            .flat_map(|l| l.join().expect("it ends"))
            .collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(docker.run(&["ps", "-aq"]).expect(0).stdout, "");
    d.expect_nothing_left();
    d.finish();
}

/// splitmix64.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
