//! `/containers/{id}/checkpoints`: Docker's, which its clients offer where the daemon says that it is
//! experimental.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::checkpoint::{CheckpointCreate, CheckpointSummary};

use translate::NotBuilt;
use web::error::ApiResult;
use web::extract::{JsonBody, Name, Names, Query};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(remove))
}

/// The query of a list or a removal.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct DirQuery {
    /// Another directory than the container's own; not built.
    #[param(required = false)]
    dir: String,
}

impl DirQuery {
    fn check(&self) -> model::Result<()> {
        NotBuilt::field("dir", self.dir.is_empty())
    }
}

/// List a container's checkpoints
#[utoipa::path(get, path = "/containers/{id}/checkpoints", operation_id = "CheckpointList",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), DirQuery),
    responses(
        (status = 200, description = "Their names, in order", body = Vec<CheckpointSummary>),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 501, description = "A directory was named", body = ErrorResponse),
    ))]
async fn list(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<DirQuery>,
) -> ApiResult {
    query.check()?;
    let names = engine.list_checkpoints(&name).await?.into_iter();
    let shown: Vec<CheckpointSummary> = names.map(Into::into).collect();
    Ok(reply::json(&shown))
}

/// Make a checkpoint of a running container
///
/// Needs CRIU. With `Exit` the container ends, and the answer comes when it has. Otherwise it goes on.
#[utoipa::path(post, path = "/containers/{id}/checkpoints", operation_id = "CheckpointCreate",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    request_body = CheckpointCreate,
    responses(
        (status = 201, description = "It was made"),
        (status = 400, description = "No name, or a container with a terminal", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It does not run, is paused, or has one of that name", body = ErrorResponse),
        (status = 500, description = "CRIU could not; its words are in the message", body = ErrorResponse),
        (status = 501, description = "A directory was named", body = ErrorResponse),
    ))]
async fn create(State(engine): State<Engine>, Name(name): Name, body: JsonBody) -> ApiResult {
    let config: CheckpointCreate = body.parse()?;
    NotBuilt::field("CheckpointDir", config.checkpoint_dir.is_empty())?;
    let request = config.into_request()?;
    engine.checkpoint_container(&name, request).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Remove a checkpoint
#[utoipa::path(delete, path = "/containers/{id}/checkpoints/{checkpoint}",
    operation_id = "CheckpointDelete", tag = "Container",
    params(
        ("id" = String, Path, description = "Id, id prefix or name of the container"),
        ("checkpoint" = String, Path, description = "The checkpoint's name"),
        DirQuery,
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "No name of a checkpoint", body = ErrorResponse),
        (status = 404, description = "No such container or checkpoint", body = ErrorResponse),
        (status = 501, description = "A directory was named", body = ErrorResponse),
    ))]
async fn remove(
    State(engine): State<Engine>,
    Names(name, checkpoint): Names,
    Query(query): Query<DirQuery>,
) -> ApiResult {
    query.check()?;
    engine.remove_checkpoint(&name, checkpoint.parse()?).await?;
    Ok(reply::no_content())
}
