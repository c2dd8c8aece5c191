//! `POST /commit`: an image of what a container has changed.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use engine::{CommitImage, Engine};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::ContainerConfig;
use wire::upkeep::CommitResponse;

use super::repo_tag_reference;
use web::error::ApiResult;
use web::extract::{DockerBool, Json, Query, repeated};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(commit))
}

/// The query of a commit.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CommitQuery {
    /// Id, id prefix or name of the container.
    #[param(required = false)]
    container: Option<String>,
    /// The name for the image.
    repo: Option<String>,
    /// Its tag.
    tag: Option<String>,
    /// The comment of its last step.
    comment: Option<String>,
    /// Who made it.
    author: Option<String>,
    /// Hold the container still meanwhile. The default.
    #[param(value_type = Option<bool>)]
    pause: Option<DockerBool>,
}

/// Make an image of a container
///
/// Of the body only what an image can have counts. Without one, the container's own configuration does.
#[utoipa::path(post, path = "/commit", operation_id = "ImageCommit", tag = "Image",
    params(CommitQuery,
        ("changes" = Option<Vec<String>>, Query, description = "Dockerfile instructions to apply")),
    request_body(content = Option<ContainerConfig>),
    responses(
        (status = 201, description = "It is made", body = CommitResponse),
        (status = 400, description = "Bad name or change", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It is being removed", body = ErrorResponse),
    ))]
async fn commit(
    State(engine): State<Engine>,
    Query(query): Query<CommitQuery>,
    RawQuery(raw_query): RawQuery,
    Json(config): Json<Option<ContainerConfig>>,
) -> ApiResult {
    let repo = query.repo.filter(|repo| !repo.is_empty());
    let request = CommitImage {
        reference: repo
            .map(|repo| repo_tag_reference(&repo, query.tag.as_deref()))
            .transpose()?,
        author: query.author.unwrap_or_default(),
        comment: query.comment.unwrap_or_default(),
        config: config.map(model::ImageConfig::from),
        changes: repeated(raw_query.as_deref().unwrap_or_default(), "changes")?,
    };
    let container = query.container.unwrap_or_default();
    let pause = query.pause.is_none_or(|pause| pause.0);
    let id = engine.commit(&container, request, pause).await?;
    let answer = CommitResponse { id: id.to_string() };
    Ok(reply::json_with_status(StatusCode::CREATED, &answer))
}
