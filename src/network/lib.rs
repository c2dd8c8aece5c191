//! What a container's network needs from the host.
//!
//! | | |
//! |---|---|
//! | [`addresses`], [`host_routes`] | which subnets and addresses are free: pure |
//! | [`ports`] | the host's ports, held by bound sockets |
//! | [`Netavark`] | interfaces, addresses, routes and the firewall's rules |
//! | [`Names`](names::Names) | the name servers of networks |
//! | [`resolv_conf`], [`hosts`] | the texts of a container's files: pure |
//!
//! Everything is done from values and can be done again: what is there is known from what is asked for,
//! so nothing is kept here that a restart would lose. The room never sees the ledger or the runtime.

use std::fmt::Write as _;
use std::net::IpAddr;

pub mod addresses;
#[cfg(test)]
mod fixture;
pub mod host_routes;
mod hosts;
pub mod names;
mod netavark;
pub mod ports;
mod resolv_conf;

pub use hosts::{hosts, parse_extra_host};
pub use netavark::{Netavark, Order, Version, check, is_on, publishes_in_both, stands};
pub use resolv_conf::{RESOLVED, is_resolved, resolv_conf};

/// What names a container is to know, besides what it asks for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// The name servers of its networks; none where it has none with names.
    pub name_servers: Vec<IpAddr>,
    /// Its own addresses.
    pub own: Vec<IpAddr>,
    /// What `host-gateway` means.
    pub host_gateway: Vec<IpAddr>,
    /// Whom it is linked to, with their names.
    pub linked: Vec<(IpAddr, Vec<String>)>,
}

/// A line of one of the files, if it says something.
fn line(text: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        let tab = if key.starts_with(|c: char| c.is_ascii_digit()) || key.contains(':') {
            '\t'
        } else {
            ' '
        };
        writeln!(text, "{key}{tab}{value}").expect("writing to a string cannot fail");
    }
}
