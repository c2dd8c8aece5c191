//! Containers: one task each, pictures for everybody else.
//!
//! | file | |
//! |---|---|
//! | `view` | what clients see; what they ask is `model::request` |
//! | `registry`, `handle` | finding a container, asking its task |
//! | `operations`, `commit`, `list`, `prune`, `top` | the use cases, seen from outside the task |
//! | `create` | from a request to a row and a task |
//! | `files` | its files, for those outside |
//! | `transfer` | from one daemon to another, with a checkpoint |
//! | `actor` | the task: mailbox, one job at a time, signals at once |
//! | `start`, `stop`, `freeze`, `checkpoint`, `exit`, `rename`, `remove` | what the task does |
//! | `health` | health checks |
//! | `policy` | starts that come by themselves |
//! | `record` | what the task writes and tells |
//! | `row` | from the ledger to views |
//! | `wait` | the exit status as a value that outlives the container |

pub(crate) mod actor;
pub(crate) mod checkpoint;
mod commit;
mod create;
mod exit;
mod files;
mod freeze;
pub(crate) mod handle;
mod health;
mod list;
mod operations;
pub(crate) mod policy;
mod prune;
pub(crate) mod record;
mod refusal;
mod registry;
mod remove;
mod rename;
pub(crate) mod row;
pub(crate) mod start;
mod stop;
mod top;
mod transfer;
mod view;
pub(crate) mod wait;

pub(crate) use exit::{auto_removal, exited_data};
pub use model::request::{
    Change, CheckpointContainer, CreateContainer, Created, ListContainers, ProcessTable, Pruned,
    RemoveContainer, StopContainer, WaitCondition,
};
pub(crate) use refusal::{check, check_as};
pub(crate) use registry::Registry;
pub use transfer::{ImportContainer, Imported, Without};
pub use view::{ContainerPaths, ContainerView, ListedContainer, MountView, Sizes};
pub use wait::Waiter;
