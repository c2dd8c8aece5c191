//! One byte to a `cat` in the container and back, one at a time: what a key costs.

use std::time::Duration;

use benchkit::{Shape, median};

use crate::bed::{self, Bed};
use crate::client::{self, Peer};

const TURNS: usize = 10;
/// Of each side in a turn.
const BYTES: u8 = 200;

/// Prints how long it takes, beside conmon's attach sockets.
pub(crate) fn echo(bed: &Bed<'_>) {
    let shape = Shape {
        args: &["cat"],
        log: false,
        tty: false,
        stdin: true,
    };
    let id = bed.create(&shape);
    let attached = client::attach(bed.http(), &id, false);
    bed::start(bed.http(), &id);
    let container = bed.floor.create(0, &shape);
    let attach = container.attach();
    container.start();
    compare("attach", attached, Peer::Conmon(&attach));
    bed.remove(&id);
    container.end();

    let attached = client::exec(bed.http(), bed.floor.model(), &["cat"]);
    let exec = bed.floor.exec(0, &shape);
    exec.start();
    compare("exec", attached, Peer::Conmon(exec.attach()));
    exec.end();
}

fn compare<'a>(what: &str, mut ours: Peer<'a>, mut theirs: Peer<'a>) {
    let (mut took, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        took.extend((0..BYTES).map(|byte| ours.echo(byte)));
        floor.extend((0..BYTES).map(|byte| theirs.echo(byte)));
    }
    for peer in [&mut ours, &mut theirs] {
        peer.end_input();
        while peer.read(&mut [0; 64], |_, payload| {
            assert!(payload.is_empty(), "too much")
        }) {}
    }
    let (took, floor) = (median(&mut took), median(&mut floor));
    println!(
        "echo of a byte, {what}: {} (floor {}, over it {})",
        us(took),
        us(floor),
        us(took.saturating_sub(floor))
    );
}

pub(crate) fn us(value: Duration) -> String {
    format!("{:.0} us", value.as_secs_f64() * 1e6)
}
