//! `POST /containers/{id}/pause`, `/unpause`, `/rename`, `/resize`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use engine::Engine;
use model::{Context, Error};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;

use web::error::ApiResult;
use web::extract::{Name, Query, ResizeQuery};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(unpause))
        .routes(routes!(rename))
        .routes(routes!(resize))
}

/// Freeze a container's processes
#[utoipa::path(post, path = "/containers/{id}/pause", operation_id = "ContainerPause",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    responses(
        (status = 204, description = "It was paused"),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "Paused already, or it does not run", body = ErrorResponse),
    ))]
async fn pause(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    engine.pause_container(&name).await?;
    Ok(reply::no_content())
}

/// Let a container's processes go on
#[utoipa::path(post, path = "/containers/{id}/unpause", operation_id = "ContainerUnpause",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    responses(
        (status = 204, description = "It goes on"),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It was not paused", body = ErrorResponse),
    ))]
async fn unpause(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    engine.unpause_container(&name).await?;
    Ok(reply::no_content())
}

/// The query of a rename.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RenameQuery {
    /// The new name.
    #[param(value_type = String, required = true)]
    name: Option<String>,
}

/// Rename a container
#[utoipa::path(post, path = "/containers/{id}/rename", operation_id = "ContainerRename",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), RenameQuery),
    responses(
        (status = 204, description = "It was renamed"),
        (status = 400, description = "Bad name", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "The name is taken", body = ErrorResponse),
    ))]
async fn rename(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<RenameQuery>,
) -> ApiResult {
    let new_name = query.name.unwrap_or_default();
    if new_name.is_empty() {
        return Err(Error::invalid("Neither old nor new names may be empty").into());
    }
    let new_name = new_name.parse().context("Error when allocating new name")?;
    engine.rename_container(&name, new_name).await?;
    Ok(reply::no_content())
}

/// Resize a container's terminal
#[utoipa::path(post, path = "/containers/{id}/resize", operation_id = "ContainerResize",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), ResizeQuery),
    responses(
        (status = 200, description = "It was resized"),
        (status = 400, description = "Bad size", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It does not run", body = ErrorResponse),
    ))]
async fn resize(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<ResizeQuery>,
) -> ApiResult {
    let (height, width) = query.size()?;
    engine.resize_container(&name, height, width).await?;
    Ok(StatusCode::OK.into_response())
}
