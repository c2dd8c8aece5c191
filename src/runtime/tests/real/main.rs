//! The process side with real programs: conmon and runc on a busybox root file system, as root,
//! and shell scripts in their place where a program must hang or misbehave.
//!
//! Everything is below a temporary directory and a cgroup of the test's own; a bed that is
//! dropped has left nothing, and says so when it has.

#![expect(clippy::unwrap_used, reason = "tests")]

mod adopting;
mod bed;
mod crun;
mod defaults;
mod failures;
mod held;
mod lifecycle;
mod support;
mod witnesses;
