//! `/_ping`, `/version`, `/info` and the API's own description.

use std::sync::LazyLock;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::system::{SystemInfo, SystemVersion};
use wire::version::Options;

use web::reply;
use web::version::Asked;

/// The routes that need no engine: a daemon answers them before it knows its containers.
pub fn early_router() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(ping, ping_head))
}

/// The routes.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(ping, ping_head))
        .routes(routes!(version))
        .routes(routes!(info))
        .routes(routes!(document))
}

/// Is the engine there?
///
/// Every docker CLI command begins with it: the headers tell the API version to speak, the
/// builder, and whether there is a swarm.
#[utoipa::path(get, path = "/_ping", operation_id = "SystemPing", tag = "System",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain",
        headers(
            ("Api-Version" = String, description = "The newest API version"),
            ("Builder-Version" = String, description = "`1`: no BuildKit"),
            ("Docker-Experimental" = String, description = "`true` where the operator wants it so"),
            ("Swarm" = String, description = "`inactive`"),
        ))))]
async fn ping() -> Response {
    (ping_headers(), "OK").into_response()
}

/// Is the engine there? Headers only
#[utoipa::path(head, path = "/_ping", operation_id = "SystemPingHead", tag = "System",
    responses((status = 200, description = "It is")))]
async fn ping_head() -> Response {
    // Without a length some clients wait for a body.
    (ping_headers(), [(header::CONTENT_LENGTH, "0")]).into_response()
}

fn ping_headers() -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ]
}

/// Versions of the engine, its API and the programs it drives
#[utoipa::path(get, path = "/version", operation_id = "SystemVersion", tag = "System",
    responses((status = 200, description = "The versions", body = SystemVersion)))]
async fn version(State(engine): State<Engine>, Extension(options): Extension<Options>) -> Response {
    let host = engine.host_info().await;
    reply::json(&SystemVersion::new(&host, &options))
}

/// The engine and its host
#[utoipa::path(get, path = "/info", operation_id = "SystemInfo", tag = "System",
    responses((status = 200, description = "What was found", body = SystemInfo)))]
async fn info(
    State(engine): State<Engine>,
    Extension(options): Extension<Options>,
    Asked(version): Asked,
) -> Response {
    let host = engine.host_info().await;
    reply::json(&SystemInfo::new(host, version, &options))
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "OpenApi", tag = "System",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn document() -> Response {
    static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(crate::openapi);
    reply::json(&*DOCUMENT)
}
