//! Turns a spec into a running process and tells when it ends: OCI runtime, conmon, exits.
//!
//! The process side starts from a bundle whose `config.json` is already there. [`Runtimes`] is
//! the handle: it finds the programs, creates a container under a conmon of its own, drives it
//! through the OCI runtime's command line, and adopts it again after a restart of the daemon. A
//! [`Task`] watches one container and tells its end exactly once, with the exit code the kernel
//! or conmon saw. What is in the bundle is `spec`'s to say.
//!
//! What this room must not do: know images, networks, names or HTTP; decide whether an operation
//! is allowed now (the engine does, from its own state); signal by a bare pid.
//!
//! ```text
//!  create: dirs, stale files away -> pipes -> conmon (own group, cwd bundle) -> its cgroup
//!          -> start byte -> first process of conmon reaped -> {"data": pid} -> pidfds -> Task
//!  exit:   pidfd(init) | exit file (inotify) | sync pipe EOF | pidfd(conmon) -> ExitReport
//! ```

mod adopt;
mod checkpoint;
mod cleanup;
mod command;
mod config;
mod conmon;
mod ctl;
mod environment;
mod exec;
mod exit;
mod failure;
mod held;
mod layout;
mod notify;
mod placement;
mod probe;
mod runtimes;
mod strays;
mod support;
mod task;
mod version;
mod watched;

pub use adopt::{AdoptTask, Adopted};
pub use checkpoint::{CriuOptions, Dump, Restore};
pub use command::RuntimeState;
pub use config::{CgroupManager, Config, LogLevel, RuntimeTraits};
pub use conmon::exec::{PreparedExec, StartedExec};
pub use conmon::{CreateTask, Journal, Stdin};
pub use ctl::Ctl;
pub use exec::{AdoptExec, AdoptedExec, CreateExec, ExecTask};
pub use exit::ExitReport;
pub use failure::StartError;
pub use held::held_socket;
pub use layout::exit_dir;
pub use probe::{Choice, Verdict};
pub use runtimes::{RuntimeName, Runtimes};
pub use task::Task;
pub use version::{Program, Programs};
pub use watched::TaskEvent;
