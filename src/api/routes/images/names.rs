//! Names of images: tag, remove; prune.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use engine::{Engine, RemoveImage};
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::image::ImageDeleteResponseItem;
use wire::upkeep::ImagesPruneReport;

use super::repo_tag_reference;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, filters};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(tag))
        .routes(routes!(remove))
        .routes(routes!(prune))
}

/// The query of a tag.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TagQuery {
    /// The repository of the new name.
    #[param(required = false)]
    repo: Option<String>,
    /// Its tag; `latest` when absent.
    tag: Option<String>,
}

/// Give an image another name
#[utoipa::path(post, path = "/images/{name}/tag", operation_id = "ImageTag", tag = "Image",
    params(("name" = String, Path, description = "Image name or id"), TagQuery),
    responses(
        (status = 201, description = "Done"),
        (status = 400, description = "Bad name", body = ErrorResponse),
        (status = 404, description = "No such image", body = ErrorResponse),
    ))]
async fn tag(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<TagQuery>,
) -> ApiResult {
    let repo = query.repo.unwrap_or_default();
    let target = repo_tag_reference(&repo, query.tag.as_deref())?;
    engine.images().tag(&name, target).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// The query of a removal.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Remove it although stopped containers use it or it has other names.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    force: DockerBool,
    /// Keep the images it was made from, though nothing else names them.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    noprune: DockerBool,
    /// JSON: only these platforms of an image for several. Not built: an image is of one.
    platforms: Option<String>,
}

/// Remove a name of an image, and the image with its last name
#[utoipa::path(delete, path = "/images/{name}", operation_id = "ImageDelete", tag = "Image",
    params(("name" = String, Path, description = "Image name or id"), RemoveQuery),
    responses(
        (status = 200, description = "What was removed", body = [ImageDeleteResponseItem]),
        (status = 404, description = "No such image", body = ErrorResponse),
        (status = 409, description = "It is in use", body = ErrorResponse),
    ))]
async fn remove(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<RemoveQuery>,
) -> ApiResult {
    NotBuilt::field("platforms", query.platforms.is_none_or(|p| p.is_empty()))?;
    let how = RemoveImage {
        force: query.force.0,
        parents: !query.noprune.0,
    };
    let removed = engine.images().remove(&name, how).await?;
    let removed: Vec<ImageDeleteResponseItem> = removed.into_iter().map(Into::into).collect();
    Ok(reply::json(&removed))
}

/// The query of a prune.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PruneQuery {
    /// JSON: `{"dangling":["false"]}`. Keys: `dangling`, `label`, `label!`, `until`.
    filters: Option<String>,
}

/// Remove images that nothing needs
///
/// Those without a tag; with `dangling=false` also those with one that no container uses.
#[utoipa::path(post, path = "/images/prune", operation_id = "ImagePrune", tag = "Image",
    params(PruneQuery),
    responses(
        (status = 200, description = "What was removed", body = ImagesPruneReport),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn prune(State(engine): State<Engine>, Query(query): Query<PruneQuery>) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let pruned = engine.images().prune(filters).await?;
    Ok(reply::json(&ImagesPruneReport::from(pruned)))
}
