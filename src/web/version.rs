//! The version a request asks for, for the handlers whose answer depends on it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wire::version::{ApiVersion, NEWEST};

/// The version of the request at hand: the one of its path, or the newest when the path has none.
#[derive(Debug, Clone, Copy)]
pub struct Asked(pub ApiVersion);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The normaliser puts it there; a handler called without it serves the newest.
        Ok(Self(parts.extensions.get().copied().unwrap_or(NEWEST)))
    }
}
