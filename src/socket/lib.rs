//! The unix socket: a listener of our own or one handed over, and streams that can be driven by
//! hyper and taken back.
//!
//! What is here is what HTTP libraries leave out: who the peer is ([`Peer`]), whether it is gone
//! rather than only finished writing ([`HangUp`]), and whether it has read what was sent
//! ([`Stream::drained`]), and which descriptors it passes ([`Passed`]). This room knows nothing of HTTP and nothing of containers. With `sys`
//! it is the only room that may use `unsafe`.

mod bound;
mod hang_up;
mod inherited;
mod listener;
mod passed;
mod stream;

pub use hang_up::HangUp;
pub use listener::{Access, Find, Listener, Share};
pub use passed::Passed;
pub use stream::{Peer, Stream, end_input};
