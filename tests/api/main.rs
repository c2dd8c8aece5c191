//! The HTTP API end to end: a real daemon, real conmon and runc, one module per resource of the
//! router. What is expected here is what dockerd answers; `docs` of the router say where the
//! project differs. Each test has a daemon of its own and ends with a census.

mod bad_input;
mod containers;
mod events;
mod execs;
mod hostile;
mod images;
mod images_commit;
mod images_out;
mod images_peers;
mod info;
mod networks;
mod ping;
mod registries;
mod routing;
mod volume_failures;
mod volume_options;
mod volumes;

use testkit::{Daemon, Options};

fn options() -> Options {
    Options::new(env!("CARGO_BIN_EXE_moored"))
}

/// A daemon with runc and busybox.
fn daemon() -> Daemon {
    Daemon::start(options())
}
