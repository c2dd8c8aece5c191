//! What nobody plans for: the daemon killed, conmon killed, programs that fail in every way, rows
//! and files damaged, a full disk. After each the truth is told, nothing is lost and nothing left.

mod bad_days;
mod conmon_killed;
mod daemon_killed;
mod disk;
mod events;
mod execs;
mod exhausted;
mod health;
mod images;
mod ledger;
mod logs;
mod networks;
mod opening;
mod power;
mod programs;
mod restart;
mod roots;
mod search;
mod sockets;
mod unknown;
mod update;
mod volumes;

use testkit::{Daemon, Options};

fn options() -> Options {
    Options::new(env!("CARGO_BIN_EXE_moored"))
}

fn daemon() -> Daemon {
    Daemon::start(options())
}
