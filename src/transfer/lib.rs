//! Archives on their way between a client and a thread that blocks: few at once, and none that stands
//! still for ever.
//!
//! Who makes or reads an archive does it with blocking calls, on a thread of the pool that all such work
//! shares; a client is asynchronous and may stop at any time. Here the two meet, with some chunks between
//! them and a bound on everything. What the bytes mean is other rooms' business.

mod download;
mod upload;

pub use download::{Download, Downloads};
pub use upload::{Begun, Upload, Uploads};
