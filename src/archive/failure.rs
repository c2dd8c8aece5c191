//! Whose fault a failed read or write is.
//!
//! A stream that cannot be read is the client's (it is truncated, garbled, or the client went
//! away), unless the kernel says that a device failed; a file that cannot be written is the
//! host's.

use std::io;

use model::{Context, Error, Result};

/// Tells of a failed read from an archive.
pub fn reading(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(own) => own,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Error::invalid("the archive is truncated")
        }
        Err(e) if e.raw_os_error().is_some() => {
            Error::system(format!("cannot read the archive: {e}"))
        }
        Err(e) => Error::invalid(format!("cannot read the archive: {e}")),
    }
}

/// An error of ours on its way through [`io::Read`]; [`reading`] takes it out again.
pub fn carried(e: Error) -> io::Error {
    io::Error::other(e)
}

/// Adds `what: path` to an error of the host.
pub trait At<T> {
    /// Tells what was tried, and where.
    fn at(self, what: &str, path: &std::path::Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &str, path: &std::path::Path) -> Result<T> {
        self.context(format_args!("{what} {}", path.display()))
    }
}

/// Tells of a failed write to a client.
pub fn writing(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(own) => own,
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Error::system(e.to_string()),
        Err(e) => Error::system(format!("cannot send the archive: {e}")),
    }
}
