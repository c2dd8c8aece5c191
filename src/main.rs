//! The `moored` program: reads its settings and does one of three things.
//!
//! Everything it wires lives in the rooms; [`daemon`] decides nothing but the order.

mod daemon;

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::run()
}
