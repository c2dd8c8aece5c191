//! Between the wire and the engine: a request becomes what is asked of the engine, a picture of the
//! engine becomes what clients are shown. Pure functions.
//!
//! What is not built and not at its default is refused here, by name ([`NotBuilt`]). This room
//! decides what a field means and what its default is, as Docker does; it never asks the engine
//! anything and knows no HTTP.

pub mod container;
pub mod network;
mod not_built;

pub use not_built::NotBuilt;
