//! What a request that found its route must pass before its handler.
//!
//! It comes after routing on purpose: Docker answers an unknown path with its plain 404 whatever
//! the version says.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wire::version::Options;

use web::error::{ApiError, page_not_found};
use web::version::Asked;

/// The routes that have a HEAD of their own. axum would answer HEAD wherever there is a GET;
/// Docker says 404 there.
const HEAD_PATHS: &[&str] = &["/_ping", "/containers/{id}/archive"];

/// Refuses versions out of range and HEAD where Docker has none.
pub(crate) async fn gate(
    State(options): State<Options>,
    Asked(version): Asked,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::HEAD && !HEAD_PATHS.contains(&path.as_str()) {
        return page_not_found(Method::HEAD).await;
    }
    match options.check(version) {
        Ok(()) => next.run(request).await,
        Err(error) => ApiError(error).into_response(),
    }
}
