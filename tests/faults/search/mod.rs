//! Search for what a death in the wrong moment can break: at each failpoint, and at random.
//!
//! What must hold afterwards is in `truth`: it is asked of every daemon that comes after a death,
//! and of the host when the test is over.

#[cfg(feature = "failpoints")]
mod points;
mod random;
mod truth;
