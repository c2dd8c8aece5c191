//! What a container reads and writes: its stdin, its hub, its log with limits and faults, for all runs.
//!
//! Knows a container by what it was asked to be, and its runs by being told that one begins or is over.
//! How bytes go is the streams room's business.

mod logs;
mod streams;

pub use logs::{LogRequest, journal_of};
pub use streams::ContainerStreams;
