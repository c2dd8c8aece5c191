//! What a client writes flat out, on its way into a container.
//!
//! `dd` reads it and counts its blocks; the time is that from the first byte written to the
//! end of the attachment. Once for each side a `cat` sends a part of it back, and every byte is
//! compared.

use std::time::Duration;

use benchkit::Shape;

use crate::bed::{self, Bed};
use crate::client::{self, Peer, Rates};
use crate::pattern::Pattern;

const ROUNDS: usize = 5;
/// Sent back and compared.
const ECHOED_PERIODS: u64 = 64;

/// Prints how much of conmon's throughput is left.
pub(crate) fn stdin(bed: &Bed<'_>) {
    let shape = |args| Shape {
        args,
        log: false,
        tty: false,
        stdin: true,
    };
    let part = bed.shared.pattern.times(ECHOED_PERIODS);
    let cat = shape(&["cat"]);
    for (said, _) in [
        through_daemon(bed, &cat, &part),
        by_hand(bed, &cat, &part, 0),
    ] {
        let mut check = part.check();
        check.feed(&said);
        check.finish();
    }
    let all = &bed.shared.pattern;
    let count = shape(&["dd", "bs=64k", "iflag=fullblock", "of=/dev/null"]);
    let mut rates = Rates::default();
    for round in 0..ROUNDS {
        let ours = counted(all, through_daemon(bed, &count, all));
        let theirs = counted(all, by_hand(bed, &count, all, round));
        rates.push(all.bytes(), ours, theirs);
    }
    rates.print("stdin");
}

fn counted(pattern: &Pattern, (said, took): (Vec<u8>, Duration)) -> Duration {
    // The pattern's file is a whole number of them.
    let all = format!("{}+0 records in", pattern.bytes() >> 16);
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&all), "{all}: {said}");
    took
}

fn through_daemon(bed: &Bed<'_>, shape: &Shape<'_>, pattern: &Pattern) -> (Vec<u8>, Duration) {
    let id = bed.create(shape);
    let mut peer = client::attach(bed.http(), &id, false);
    bed::start(bed.http(), &id);
    let done = peer.write_pattern(pattern);
    bed.remove(&id);
    done
}

fn by_hand(
    bed: &Bed<'_>,
    shape: &Shape<'_>,
    pattern: &Pattern,
    round: usize,
) -> (Vec<u8>, Duration) {
    let container = bed.floor.create(round, shape);
    let attach = container.attach();
    container.start();
    let done = Peer::Conmon(&attach).write_pattern(pattern);
    container.end();
    done
}
