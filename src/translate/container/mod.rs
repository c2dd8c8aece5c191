//! Containers: a create request into what the engine makes, a view into what clients see.
//!
//! A request passes, in this order: [`gates`] (what a field meant in the client's API version),
//! `refuse` (fields that are not built must be at their default: 501 naming the field, never
//! ignored), then one file a group of fields. What is wrong gets Docker's words (moby v27.5.1
//! `daemon/container.go`, `daemon/daemon_unix.go`, `volume/mounts`).

mod binds;
mod config;
mod connected;
mod create;
mod defaults;
mod devices;
mod endpoints;
mod gates;
mod inspect;
mod list;
mod log_config;
mod mounts;
mod namespaces;
mod networks;
mod phrase;
mod ports;
mod refuse;
mod resources;
mod restart_policy;
mod security;
mod stats;
mod tmpfs;
mod update;

#[cfg(test)]
mod tests;

pub use connected::KnownNetworks;
pub use create::{Translated, create, of_echo};
pub use inspect::{inspect, request_in_force};
pub use list::summary;
pub use log_config::log_default;
pub use stats::stats;
pub use update::update;

use model::mount::clean_path;
use model::{Error, Result, limits};

use crate::NotBuilt;

/// Refuses a list that is longer than any real request's.
fn bounded(name: &str, len: usize) -> Result<()> {
    if len > limits::SPEC_LIST_MAX {
        return Err(Error::invalid(format!(
            "{name} has {len} entries, more than {}",
            limits::SPEC_LIST_MAX
        )));
    }
    Ok(())
}

/// 501 naming the field.
fn not_built(field: &str) -> Error {
    NotBuilt::error(field)
}
