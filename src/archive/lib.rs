//! Trees as tar archives, in and out: what a client sends is taken apart, what it wants is put
//! together, in one pass and without a file in between.
//!
//! | module | |
//! |---|---|
//! | `tar` | the format: entries read from a stream and written to one |
//! | `path` | what a name in an archive means |
//! | `compression` | what an archive is packed with, in and out |
//! | `apply` | entries put into a tree |
//! | `pack` | a tree as entries |
//! | `frame` | what a tar has beside the content of its files, so that it can be written again |
//! | `capability` | whose a file's capabilities are |
//! | `overlay` | how a layer's marks look in an archive and on the disk |
//! | `merged` | layers seen as one tree |
//! | `differences` | a copy of that, beside what it was made of |
//!
//! Everything here is bounded by what the archive holds, not by what it claims. Never follows a name
//! out of its tree, and never knows whose tree it is.

mod apply;
mod capability;
mod compression;
mod differences;
mod failure;
mod frame;
mod merged;
mod overlay;
mod pack;
mod path;
mod tar;

pub use apply::{Applier, Onto};
pub use compression::{Packing, Unpacked, buffered, gzip, is_packed, packed_with, peek};
pub use differences::{
    Care, ChangeKind, Changed, Copied, Difference, differ_in_capability, differences, differs,
    pack_changed,
};
pub use failure::{At, carried, reading, writing};
pub use frame::{FramePlaces, Framed, Recorded, Recording, Replay, record};
pub use merged::{Level, Merged, Seen};
pub use overlay::{has_overlay_marks, is_opaque, is_whiteout};
pub use pack::{Layered, Source, pack, pack_source};
pub use path::{CleanPath, shown};
pub use tar::{Entry, EntryKind, Reader, Segment, Writer};

/// What the names of a tree mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The changes of one layer: `.wh.` names in the archive (OCI image spec, layer.md, "Whiteouts"),
    /// overlayfs' own marks on the disk, or the same names where it has none.
    Layer,
    /// Files, whatever they are called.
    Plain,
}
