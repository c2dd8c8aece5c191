//! Archives that mean harm, by name, each with what is to become of it.
//!
//! The tables are data: whoever has a door for archives (the store, the API, a fuzz target's corpus)
//! runs them through it. What Docker accepts is accepted here, and kept inside; all else is refused
//! with a message that says what is wrong. Nothing here touches a file.

mod docker;
mod floods;
mod headers;
mod image;
mod kinds;
mod layouts;
mod links;
mod names;
mod packed;
mod raw;
mod sparse;

pub use docker::archives as docker_archives;
pub use floods::archives as floods;
pub use image::Image;
pub use layouts::{Layout, archives as layouts};
pub use names::deep_through_links;
pub use packed::{gzip, truncations, zstd, zstd_bomb};
pub use raw::{Head, Raw, base_256, digest, reseal};

/// An archive and its fate.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it tries.
    pub name: &'static str,
    /// All of it.
    pub bytes: Vec<u8>,
    /// What is to become of it.
    pub fate: Fate,
}

/// What is to become of an archive.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Refused as the client's mistake, with this in the message.
    Refused(&'static str),
    /// Taken in; what is then where, seen from the tree's root.
    Taken(Vec<(&'static str, Found)>),
}

/// What is at a path of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A directory.
    Dir,
    /// A directory that hides its lower namesake.
    OpaqueDir,
    /// Overlayfs' mark for a removed name.
    Whiteout,
    /// A file with this content.
    File(&'static [u8]),
    /// A file of this size that takes next to nothing of the disk.
    Hole(u64),
    /// A symbolic link with this text.
    Link(&'static str),
    /// A named pipe.
    Fifo,
    /// A device: whether it is one of blocks, major, minor.
    Device(bool, u32, u32),
    /// The same file as that one.
    SameAs(&'static str),
    /// Last changed at this second of this nanosecond.
    Changed(i64, u32),
}

/// Every layer.
pub fn layers() -> Vec<Case> {
    [
        names::cases(),
        links::cases(),
        kinds::cases(),
        headers::cases(),
        sparse::cases(),
        packed::cases(),
    ]
    .concat()
}

fn refused(name: &'static str, bytes: Vec<u8>, why: &'static str) -> Case {
    Case {
        name,
        bytes,
        fate: Fate::Refused(why),
    }
}

fn taken(name: &'static str, tar: Raw, found: &[(&'static str, Found)]) -> Case {
    Case {
        name,
        bytes: tar.end(),
        fate: Fate::Taken(found.to_vec()),
    }
}
