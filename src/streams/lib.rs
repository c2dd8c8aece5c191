//! One producer, many bounded readers: what a container writes, on its way to clients.
//!
//! A container writes to conmon, and conmon to two places: the attach connection and the log
//! file. [`hub`] holds the one connection a container has, always drains it, and hands the bytes
//! to any number of clients, each with a bounded backlog that spills to a file; [`logs`] reads and follows the
//! file. Both speak [`stdcopy`], Docker's framing of several streams on one connection.
//! [`detach`] finds the keys that leave a terminal.
//!
//! This room never sees HTTP, a runtime's command line or a container's name: it is given a
//! socket's path, a file's path and the word that the container has ended.

mod attachment;
pub mod detach;
pub mod hub;
pub mod logs;
pub mod stdcopy;

pub use attachment::{AttachInput, AttachOutput, Attachment, Form, InputEnd};
pub use hub::{
    HistoryBudget, HistoryOptions, Hub, HubOptions, SpillOptions, StdinPolicy, StdinWriter,
    Subscription, Want,
};
pub use logs::{
    FollowHandle, JournalLog, LogFiles, LogOptions, LogReader, LogSource, PayloadOptions, Rotation,
    Skipped, Word,
};
pub use stdcopy::StreamId;
