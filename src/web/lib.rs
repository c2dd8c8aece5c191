//! Docker's manner of HTTP, whatever the resource: the accept loop that can give a connection's
//! socket back ([`serve`]), extractors that are as lenient as Go ([`extract`]), answers in
//! Docker's form ([`reply`]), one error table ([`error`]), and what becomes of a connection that a
//! handler has taken over ([`session`], [`websocket`]).
//!
//! Nothing here knows a path, a version that means something, or what is asked of the engine: a
//! handler of `api` says that. What is streamed here is what the engine hands out to be streamed,
//! a job's progress, an archive, an attachment.
//!
//! This room must never see the ledger, the layers, the runtime or a system call.

pub mod drain;
pub mod error;
pub mod extract;
pub mod reply;
pub mod serve;
pub mod session;
pub mod version;
pub mod websocket;
