//! What a container writes flat out, on its way to one attached client.
//!
//! The time is that from the first byte the client reads to the last, so neither side's start
//! counts.

use benchkit::Shape;

use crate::bed::{self, Bed};
use crate::client::{self, Peer, Rates, STDERR, STDOUT};

const ROUNDS: usize = 5;
/// A terminal is much slower: the kernel handles every character.
const TERMINAL_SHARE: u64 = 4;

/// Prints how much of conmon's throughput is left.
pub(crate) fn attach(bed: &Bed<'_>) {
    for log in [false, true] {
        for (name, tty, stream) in [
            ("stdout", false, STDOUT),
            ("stderr", false, STDERR),
            ("terminal", true, STDOUT),
        ] {
            let share = if tty { TERMINAL_SHARE } else { 1 };
            let redirect = if stream == STDERR { " >&2" } else { "" };
            let script = format!("exec {}{redirect}", bed.shared.writes(share));
            let shape = Shape {
                args: &["sh", "-c", &script],
                log,
                tty,
                stdin: false,
            };
            let log_name = if log { "json-file" } else { "no log" };
            rounds(bed, &shape, share, stream).print(&format!("attach, {name}, {log_name}"));
        }
    }
}

fn rounds(bed: &Bed<'_>, shape: &Shape<'_>, share: u64, stream: u8) -> Rates {
    let mut pattern = bed.shared.written(share);
    if shape.tty {
        pattern = pattern.through_terminal();
    }
    let mut rates = Rates::default();
    for round in 0..ROUNDS {
        let id = bed.create(shape);
        let mut peer = client::attach(bed.http(), &id, shape.tty);
        bed::start(bed.http(), &id);
        let ours = peer.read_pattern(&pattern, stream);
        bed.remove(&id);

        let container = bed.floor.create(round, shape);
        let attach = container.attach();
        container.start();
        let theirs = Peer::Conmon(&attach).read_pattern(&pattern, stream);
        container.end();
        rates.push(pattern.bytes(), ours, theirs);
    }
    rates
}
