//! Pure decisions: may this happen now, and what must be done about what was found.
//!
//! Sees `model` and nothing else: no clock, no files, no tasks. Every function here is total and
//! has its cases as tests beside it.

mod daemon;
pub mod events;
pub mod glob;
pub mod health;
pub mod id_ranges;
pub mod image_change;
pub mod image_commit;
pub mod image_removal;
pub mod legality;
mod link_variables;
pub mod list;
mod made_up;
pub mod merge;
pub mod pattern;
pub mod platform;
mod processes;
pub mod recovery;
mod refusal;
pub mod restart;
pub mod storage_options;
pub mod update;
mod volumes;
mod words;

pub use daemon::needs_daemon;
pub use events::EventFilter;
pub use glob::Pattern as ReferencePattern;
pub use image_removal::RemoveImage;
pub use legality::{Operation, Refusal, may};
pub use link_variables::{Link, link_variables};
pub use list::{Candidate, Selection};
pub use made_up::made_up_name;
pub use pattern::Patterns;
pub use processes::{check_ps_args, select_processes};
pub use recovery::{Recovery, plan_recovery};
pub use refusal::{Asked, check};
pub use restart::{RunEnd, after_exit, delay_of, next_delay, starts_again, starts_with_daemon};
pub use volumes::{Borrowed, place_volumes, tell_of_unmounts};
