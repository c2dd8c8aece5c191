//! `POST /containers/{id}/update`.

use axum::extract::State;
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::{UpdateRequest, UpdateResponse};

use web::error::ApiResult;
use web::extract::{Json, Name};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(update))
}

/// Change a container's limits and restart policy
///
/// Of a container that runs at once, of another from its next start on.
#[utoipa::path(post, path = "/containers/{id}/update", operation_id = "ContainerUpdate",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    request_body = UpdateRequest,
    responses(
        (status = 200, description = "It was changed", body = UpdateResponse),
        (status = 400, description = "No such limit or policy", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "The limits exclude each other, or those it has",
            body = ErrorResponse),
        (status = 500, description = "The kernel does not take them, and it has those it had",
            body = ErrorResponse),
    ))]
async fn update(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Json(request): Json<UpdateRequest>,
) -> ApiResult {
    let (update, discarded) = translate::container::update(request, version)?;
    let mut warnings = engine.update_container(&name, update).await?;
    warnings.extend(discarded);
    Ok(reply::json(&UpdateResponse {
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    }))
}
