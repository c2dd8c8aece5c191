//! Between Docker's documents and the engine's values, for the resources where that is work.
//!
//! Pure functions: what comes in is refused or becomes a value of the engine, what goes out is
//! computed from a view. No call of the engine, no clock.

pub mod container;
