//! What stands between a container and the host beside namespaces, cgroups and capabilities: policies of
//! the kernel's security modules, and ids that are nobody's on the host.
//!
//! A policy must be in the kernel before a process can live under it, and ids must be had before they
//! can be mapped, so this room sees to both. It knows the host's policies and files, and the program
//! that loads a policy, and what a container was asked to be; never one that is there.

mod apparmor;
mod choice;
mod ids;
mod selinux;

pub use apparmor::AppArmor;
pub use choice::choose;
pub use ids::{IdSource, Ids, check_ids};
pub use selinux::SeLinux;
