//! The one table from an error's kind to an HTTP status, and the form errors take on the wire.
//!
//! No handler knows a status code of a failure; it returns [`ApiError`] and this file decides.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{Error, Kind};
use wire::ErrorResponse;

use crate::reply;

/// What a handler returns when it is not successful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError(pub Error);

/// Result of a handler.
pub type ApiResult<T = Response> = Result<T, ApiError>;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for ApiError {
    /// Docker's form: `{"message":"…"}` and a line feed, the content type exactly
    /// `application/json` (moby's client compares the string). A 304 has no body.
    fn into_response(self) -> Response {
        let status = status(self.0.kind());
        if status == StatusCode::NOT_MODIFIED {
            return status.into_response();
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(
                status = status.as_u16(),
                error = self.0.message(),
                "request failed"
            );
        }
        reply::json_with_status(
            status,
            &ErrorResponse {
                message: self.0.message().to_owned(),
            },
        )
    }
}

/// The status of a kind (moby `daemon/server/httpstatus`).
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidParameter => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::NotModified => StatusCode::NOT_MODIFIED,
        Kind::Gone => StatusCode::GONE,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::System | Kind::Cancelled => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Marks an answer for a path or method that Docker does not know: it goes out without Docker's
/// headers, as the wire shows.
#[derive(Debug, Clone, Copy)]
pub struct Unrouted;

/// Docker's answer to an unknown path, and (never a 405) to a known path with another method.
/// OPTIONS is an endpoint of its own on every path, and says nothing (moby `optionsHandler`).
pub async fn page_not_found(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    let mut response = reply::json_with_status(
        StatusCode::NOT_FOUND,
        &ErrorResponse {
            message: "page not found".to_owned(),
        },
    );
    response.extensions_mut().insert(Unrouted);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_mobys() {
        for (kind, code) in [
            (Kind::InvalidParameter, 400),
            (Kind::NotFound, 404),
            (Kind::Conflict, 409),
            (Kind::NotModified, 304),
            (Kind::Gone, 410),
            (Kind::Unauthorized, 401),
            (Kind::Forbidden, 403),
            (Kind::NotImplemented, 501),
            (Kind::Unavailable, 503),
            (Kind::System, 500),
            (Kind::Cancelled, 500),
        ] {
            assert_eq!(status(kind).as_u16(), code, "{kind:?}");
        }
    }

    #[test]
    fn not_modified_has_neither_body_nor_content_type() {
        let response = ApiError(Error::new(Kind::NotModified, "already started")).into_response();
        assert_eq!(response.status(), 304);
        assert!(response.headers().is_empty());
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
    }
}
