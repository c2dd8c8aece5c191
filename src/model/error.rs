//! One error type for everything that reaches a client: a kind and a sentence.
//!
//! The kind says what the caller can do about it; only `api` knows which HTTP status that is.
//! The sentence is complete: each layer that knows something adds it in front with
//! [`Context::context`], in Docker's `outer: inner` form, and nothing below is repeated. A room
//! whose callers must branch on the cause has an enum of its own and converts here at its edge.

use std::fmt;

/// Result with the shared [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms the caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or asks for something impossible; nothing was changed.
    InvalidParameter,
    /// The named object does not exist.
    NotFound,
    /// The object's current state forbids the operation.
    Conflict,
    /// The object already is in the requested state: a success to most clients.
    NotModified,
    /// What was asked for was there once, and is kept no more.
    Gone,
    /// The caller's credentials are no good.
    Unauthorized,
    /// The operation is refused whatever the state.
    Forbidden,
    /// Docker has it, this daemon has not built it (an endpoint, or a field of a request).
    NotImplemented,
    /// The service cannot answer now: starting, stopping, not part of a swarm.
    Unavailable,
    /// The host failed us: a file, a program, the kernel.
    System,
    /// The caller went away before the answer.
    Cancelled,
}

/// An error with a [`Kind`] and a message in Docker's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    /// An error of `kind` that tells `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// [`Kind::InvalidParameter`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::Forbidden`].
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    /// [`Kind::NotImplemented`].
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(Kind::NotImplemented, message)
    }

    /// [`Kind::System`].
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Kind::System, message)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole message, as a client reads it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    /// A host failure without a name. Prefer [`Context::context`], which says what was tried.
    fn from(e: std::io::Error) -> Self {
        Self::system(e.to_string())
    }
}

/// Adds what this layer knows in front of an error's message; the kind is kept.
pub trait Context<T> {
    /// `context: message`.
    fn context(self, context: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|e| {
            let e = e.into();
            Error {
                kind: e.kind,
                message: format!("{context}: {}", e.message),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_goes_in_front_and_keeps_the_kind() {
        let e: Result<()> = Err(Error::conflict("container x is not running"));
        let e = e.context("cannot kill container: x").unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict);
        assert_eq!(
            e.to_string(),
            "cannot kill container: x: container x is not running"
        );
    }

    #[test]
    fn an_io_error_is_the_hosts_fault() {
        let io = std::io::Error::from_raw_os_error(28);
        let e = Err::<(), _>(io).context("write /x").unwrap_err();
        assert_eq!(e.kind(), Kind::System);
        assert!(e.message().starts_with("write /x: No space left"));
    }
}
