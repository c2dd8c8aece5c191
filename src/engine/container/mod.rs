//! Containers: the use cases, seen from outside their tasks.
//!
//! | file | |
//! |---|---|
//! | `create` | from a request to a row and a task |
//! | `operations`, `commit`, `list`, `prune`, `top` | what is asked of those that are there |
//! | `stats` | what they use, now or every second |
//! | `checkpoints` | checkpoints looked at and removed |
//! | `files` | its files, for those outside |
//! | `transfer` | from one daemon to another, with a checkpoint |

mod checkpoints;
mod commit;
mod create;
mod files;
mod list;
mod operations;
mod prune;
mod stats;
mod top;
mod transfer;

pub use containers::{ContainerPaths, ContainerView, ListedContainer, MountView, Sizes, Waiter};
pub(crate) use containers::{Registry, check, check_as};
pub use model::request::{
    Change, CheckpointContainer, CreateContainer, Created, ListContainers, ProcessTable, Pruned,
    RemoveContainer, StopContainer, UpdateContainer, WaitCondition,
};
pub use stats::{StatsAnswer, StatsRecord, StatsRequest, StatsStream};
pub use transfer::{ImportContainer, Imported, Without};
