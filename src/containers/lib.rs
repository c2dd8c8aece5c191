//! Containers: one task each, pictures for everybody else.
//!
//! A container's task alone writes its row and its state, and does to the host what must be done, one
//! job at a time. Everybody else asks it through its [`Handle`], or reads the immutable
//! [`ContainerView`] it publishes, so a stuck container delays nobody. When the daemon starts,
//! [`Shared::recover`] gives each row its task back.
//!
//! It knows what one container needs; use cases that concern several, and what clients are told, are the
//! engine's.
//!
//! | file | |
//! |---|---|
//! | `shared` | what all tasks work with |
//! | `view` | what clients see; what they ask is `model::request` |
//! | `registry`, `handle` | finding a container, asking its task |
//! | `actor` | the task: mailbox, one job at a time, signals at once |
//! | `start`, `stop`, `freeze`, `resize`, `update`, `checkpoint`, `exit`, `rename`, `remove` | what the task does |
//! | `cleanup` | what a run has on the host is taken away |
//! | `api_socket` | the daemon's own socket, mounted in one |
//! | `donors` | whose namespaces one has that is started |
//! | `networks`, `connect` | what a start has of networks; networks that come and go while it runs |
//! | `health` | health checks |
//! | `policy` | starts that come by themselves |
//! | `record`, `events` | what the task writes and tells |
//! | `row` | from the ledger to views |
//! | `recovery` | the tasks of an earlier daemon's containers |
//! | `wait` | the exit status as a value that outlives the container |
//! | `layout` | where things are on disk |
//! | `links` | the names of those that running containers are linked to |
//! | `log_faults`, `housekeeping` | what is looked after while containers run |

mod actor;
mod api_socket;
mod checkpoint;
mod cleanup;
mod connect;
mod donors;
mod events;
mod exit;
mod freeze;
mod handle;
mod health;
mod housekeeping;
mod layout;
mod links;
mod log_faults;
mod networks;
mod policy;
mod record;
mod recovery;
mod refusal;
mod registry;
mod remove;
mod rename;
mod resize;
mod row;
mod shared;
mod start;
mod stop;
mod update;
mod view;
mod wait;

pub use api_socket::ApiSocket;
pub use events::attributes;
pub use handle::Handle;
pub use housekeeping::Housekeeping;
pub use layout::Layout;
pub use links::Links;
pub use log_faults::SpaceWatch;
pub use model::request::{
    Change, CheckpointContainer, RemoveContainer, StopContainer, UpdateContainer, WaitCondition,
};
pub use refusal::{check, check_as};
pub use registry::{Claim, Registry};
pub use shared::{Host, META_BOOT_ID, Newcomer, Shared};
pub use view::{ContainerPaths, ContainerView, ListedContainer, MountView, Sizes};
pub use wait::Waiter;

pub(crate) use exit::auto_removal;
pub(crate) use sys::task::blocking;
