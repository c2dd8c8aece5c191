//! Images: list, inspect, history.

use axum::extract::State;
use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::image::{ImageInspect, ImageSummary};
use wire::upkeep::HistoryResponseItem;
use wire::version::ApiVersion;

use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, filters};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(inspect))
        .routes(routes!(history))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Also images that are only a step of another.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    all: DockerBool,
    /// JSON: `{"reference":["busybox"]}`. Keys: `before`, `dangling`, `label`, `reference`,
    /// `since`, `until`.
    filters: Option<String>,
    /// Before 1.41: a `reference` filter.
    filter: Option<String>,
    /// Compute the bytes shared with other images.
    #[serde(default, rename = "shared-size")]
    #[param(value_type = bool, required = false)]
    shared_size: DockerBool,
}

/// List images
#[utoipa::path(get, path = "/images/json", operation_id = "ImageList", tag = "Image",
    params(ListQuery),
    responses(
        (status = 200, description = "The images", body = [ImageSummary]),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn list(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Query(query): Query<ListQuery>,
) -> ApiResult {
    let mut filters = filters(query.filters.as_deref())?;
    if let Some(name) = query.filter.filter(|name| !name.is_empty())
        && version < ApiVersion::v1(41)
    {
        filters.insert("reference", name);
    }
    let images = engine.images().list(&filters, query.all.0)?;
    let asks_shared = query.shared_size.0 && version >= ApiVersion::v1(42);
    let shared = asks_shared.then(|| engine.images().shared_bytes());
    let images: Vec<_> = images
        .iter()
        .map(|image| {
            let row = ImageSummary::new(image, version);
            match shared.as_ref().and_then(|all| all.get(&image.record.id)) {
                Some(bytes) => row.sharing(*bytes),
                None => row,
            }
        })
        .collect();
    Ok(reply::json(&images))
}

/// Inspect an image
#[utoipa::path(get, path = "/images/{name}/json", operation_id = "ImageInspect", tag = "Image",
    params(("name" = String, Path, description = "Image name or id")),
    responses(
        (status = 200, description = "The image", body = ImageInspect),
        (status = 404, description = "No such image", body = ErrorResponse),
    ))]
async fn inspect(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
) -> ApiResult {
    let image = engine.images().find(&name)?;
    let trees = engine.images().trees(&image);
    Ok(reply::json(&ImageInspect::new(&image, &trees, version)))
}

/// The history of an image
///
/// Newest first. Steps that ended with an image that is not here have `<missing>` as their id.
#[utoipa::path(get, path = "/images/{name}/history", operation_id = "ImageHistory", tag = "Image",
    params(("name" = String, Path, description = "Image name or id")),
    responses(
        (status = 200, description = "Its steps", body = [HistoryResponseItem]),
        (status = 404, description = "No such image", body = ErrorResponse),
    ))]
async fn history(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    let steps = engine.images().history(&name)?.into_iter();
    let steps: Vec<HistoryResponseItem> = steps.map(Into::into).collect();
    Ok(reply::json(&steps))
}
