//! `GET /containers/{id}/attach/ws`: the container's streams over a WebSocket.

use axum::extract::State;
use axum::response::Response;
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::version::ApiVersion;

use super::attach::AttachQuery;
use web::error::ApiResult;
use web::extract::{Name, Query};
use web::serve::hijack::WebSocketHijack;
use web::version::Asked;
use web::websocket::session;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(attach_ws))
}

/// Attach to a container's streams by WebSocket
///
/// Output comes in binary messages, stdout and stderr as they come and not told apart; each
/// message of the client goes to stdin. At the end of the output the daemon closes with 1000.
/// Before API 1.42 all three streams are attached, whatever is asked for.
#[utoipa::path(get, path = "/containers/{id}/attach/ws", operation_id = "ContainerAttachWebsocket",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), AttachQuery),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = 400, description = "No WebSocket handshake; bad detach keys"),
        (status = 404, description = "No such container"),
        (status = 409, description = "It is paused"),
    ))]
async fn attach_ws(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<AttachQuery>,
    hijack: WebSocketHijack,
) -> ApiResult<Response> {
    let mut request = query.translate()?;
    request.plain = true;
    if version < ApiVersion::v1(42) {
        (request.stdin, request.stdout, request.stderr) = (true, true, true);
    }
    let attachment = engine.attach_container(&name, request).await?;
    Ok(hijack.respond(move |io| session(attachment, io)))
}
