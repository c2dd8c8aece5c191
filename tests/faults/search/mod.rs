//! Search for what a death in the wrong moment can break: at each failpoint, and at random; and
//! for what no death is needed for, by a model of a container's life.
//!
//! What must hold afterwards is in `truth`: it is asked of every daemon that comes after a death,
//! and of the host when the test is over.

mod model;
#[cfg(feature = "failpoints")]
mod points;
mod random;
pub(crate) mod seed;
mod steps;
pub(crate) mod truth;
