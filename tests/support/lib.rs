//! What the end-to-end tests share: a real daemon on roots of its own, a small HTTP client, the
//! docker CLI, an image made from busybox, and a census of what is left behind.
//!
//! Nothing here knows the daemon's code: it is driven as users drive it, through its socket, its
//! flags and its files. Every wait is a condition with a deadline ([`until`]), and every failure
//! says what was seen. Never shipped.

pub mod census;
mod clients;
mod connection;
mod daemon;
mod docker;
mod entries;
mod events;
mod fake;
mod hijack;
mod http;
mod image;
mod leftovers;
mod limits;
mod listing;
mod mishap;
mod namespace;
mod network;
mod options;
mod power;
mod pty;
mod registry;
mod saved;
mod shorthand;
mod stdcopy;
mod wait;

pub use clients::clients;
pub use daemon::Daemon;
pub use docker::{Docker, Output, require};
pub use entries::{TarEntry, tar_entries};
pub use events::Events;
pub use fake::Fakes;
pub use hijack::Hijacked;
pub use http::{Attempt, Body, Client, Kept, Response, Streaming, query};
pub use image::{BUSYBOX, Image, TarBuilder};
pub use limits::KernelLimits;
pub use listing::tree_listing;
pub use mishap::{Frozen, Full};
pub use namespace::Namespace;
pub use options::Options;
pub use pty::Pty;
pub use registry::{Reached, Registry};
pub use saved::whole_images;
pub use shorthand::Outcome;
pub use stdcopy::{Frame, Streams, demux, frames};
pub use wait::{DEADLINE, until, until_some};
