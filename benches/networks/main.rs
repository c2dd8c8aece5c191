//! What networks cost: a container's life on the default network, bytes through a published port, and how
//! soon a name resolves.
//!
//! `make bench` prints the table of README. Nothing is asserted about time; that each container ran and each
//! byte came is. Words choose parts: `cargo bench --bench networks -- start ports names`.
//!
//! All traffic is within network namespaces that are made for it: an engine has one of its own, with its
//! bridges and its firewall, and clients are in it, too. Sockets of containers are made by this program in
//! the containers' namespaces, so that nothing but the way to them is measured.

#[path = "../images/bed.rs"]
#[expect(dead_code, reason = "the registry is for images")]
mod bed;
#[path = "../images/engine.rs"]
#[expect(dead_code, reason = "most of it is for images")]
mod engine;
mod names;
mod ports;
mod start;

use std::path::{Path, PathBuf};

use benchkit::Words;

fn main() {
    let words = Words::of_command_line();
    for (part, measure) in [
        ("start", start::start as fn()),
        ("ports", ports::ports),
        ("names", names::names),
    ] {
        if words.want(part) {
            measure();
        }
    }
}

/// The network namespace of a process.
fn namespace_of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("ns/net")
}
