//! What there is to tell of the host and of the programs the engine drives: for `info`, `version` and
//! `moored check`.
//!
//! Everything is what was really found, now. What the engine knows of its own (containers, images, its
//! clock) is given to it; nothing here changes anything, but that the default runtime may be tried for
//! the first time.

mod check;
mod host;
mod ps;
mod support;

pub use check::{Survey, survey};
pub use host::{Component, Counts, HostInfo, Own, RegistryFacts, RuntimeInfo};
pub use ps::ps;
pub use support::Proxies;
