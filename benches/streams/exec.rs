//! What an exec writes flat out, on its way to its client.

use benchkit::Shape;

use crate::bed::Bed;
use crate::client::{self, Peer, Rates, STDOUT};

const ROUNDS: usize = 5;

/// Prints how much of the throughput of conmon's own exec is left.
pub(crate) fn exec(bed: &Bed<'_>) {
    let script = format!("exec {}", bed.shared.writes(1));
    let args = ["sh", "-c", &script];
    let pattern = bed.shared.written(1);
    let mut rates = Rates::default();
    for round in 0..ROUNDS {
        let mut peer = client::exec(bed.http(), bed.floor.model(), &args);
        let ours = peer.read_pattern(&pattern, STDOUT);

        let exec = bed.floor.exec(round, &Shape::new(&args));
        exec.start();
        let theirs = Peer::Conmon(exec.attach()).read_pattern(&pattern, STDOUT);
        exec.end();
        rates.push(pattern.bytes(), ours, theirs);
    }
    rates.print("exec, stdout");
}
