//! How fast bytes flow through the daemon, beside the floor: the same conmon and the same OCI
//! runtime driven by hand, its attach socket read by this program, in the same run, interleaved.
//!
//! `make bench` prints the table of README. Time is not asserted, a benchmark informs; every byte
//! is: what comes is compared with what was written, for a fast wrong stream is no stream.
//!
//! The data root, and so logs, what is spilled, and all that the floor writes, is on a tmpfs: no
//! disk sets the pace of one side and not of the other. `MOORED_BENCH_BYTES` is how much one
//! measurement moves (1 GiB); words choose parts: `cargo bench --bench streams -- attach echo`.

mod attach;
mod bed;
mod client;
mod echo;
mod exec;
mod follow;
mod logs;
mod pattern;
mod stdin;
mod stopped;

use bed::{Bed, SharedDir};
use benchkit::Words;

type Part = (&'static str, fn(&Bed<'_>));

const PARTS: [Part; 6] = [
    ("attach", attach::attach),
    ("stdin", stdin::stdin),
    ("exec", exec::exec),
    ("echo", echo::echo),
    ("logs", logs::logs),
    ("follow", follow::follow),
];

fn main() {
    let words = Words::of_command_line();
    let bytes = std::env::var("MOORED_BENCH_BYTES");
    let bytes = bytes.map_or(1 << 30, |text| {
        text.parse().expect("MOORED_BENCH_BYTES is a number")
    });
    let shared = SharedDir::new(bytes);
    if PARTS.iter().any(|(part, _)| words.want(part)) {
        let daemon = bed::daemon(&shared, None);
        bed::inside(&daemon, &shared, |bed| {
            for (part, measure) in PARTS {
                if words.want(part) {
                    measure(bed);
                }
            }
        });
        daemon.finish();
    }
    if words.want("stopped") {
        stopped::stopped(&shared);
    }
}
