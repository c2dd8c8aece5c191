//! The files of a container, from outside: looked at, sent, taken in, and compared with its image.
//!
//! | module | |
//! |---|---|
//! | `view` | the tree with its mounts, whether or not a process of the container shows it |
//! | `walk` | a path in it, with the links that a container has made |
//! | `name` | what the paths of clients say besides where |
//! | `look` | what is at a path, in Docker's words |
//! | `copy` | archives of it, and archives put into it |
//! | `changes` | what is not as the image has it |
//! | `serve` | all of that for clients: off the async threads |
//! | `gate` | few at once, and of one container fewer |
//!
//! Determinations. A path is resolved from the root's descriptor, component by component or by the
//! kernel (openat2 `RESOLVE_IN_ROOT`), in a tree whose mounts are real ones. So the kernel crosses into
//! a volume where one is mounted, and back where a link of the volume's leads back, as it does for the
//! container; a resolver that switches to a volume's directory by comparing words would have to repeat
//! both, and would take the word for the place while a link is swapped. Nothing outside is mounted in
//! such a tree, so there is nothing to come to.
//!
//! The room is told trees, directories, and what a container was asked to be. It never sees whether one
//! runs, the ledger, or HTTP.

mod changes;
mod copy;
mod gate;
mod look;
mod name;
mod serve;
mod view;
mod walk;

pub use changes::{Change, ChangeKind, Layers};
pub use copy::Extract;
pub use gate::Gates;
pub use look::PathStat;
pub use serve::{Files, FindUser, Tell, Tools};
pub use view::{Kept, Mounted, Place, View};
