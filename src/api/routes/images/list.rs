//! Images: list, inspect.

use axum::extract::State;
use engine::Engine;
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::image::{ImageInspect, ImageSummary};
use wire::version::ApiVersion;

use crate::error::ApiResult;
use crate::extract::{DockerBool, Name, Query, filters};
use crate::reply;
use crate::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(inspect))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Also images that are only a step of another; moored keeps none.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    all: DockerBool,
    /// JSON: `{"reference":["busybox"]}`. Keys: `before`, `dangling`, `label`, `reference`,
    /// `since`, `until`.
    filters: Option<String>,
    /// Before 1.41: a `reference` filter.
    filter: Option<String>,
    /// Compute the bytes shared with other images. Not built.
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
    let asks_shared_size = query.shared_size.0 && version >= ApiVersion::v1(42);
    NotBuilt::field("shared-size", !asks_shared_size)?;
    let mut filters = filters(query.filters.as_deref())?;
    if let Some(name) = query.filter.filter(|name| !name.is_empty())
        && version < ApiVersion::v1(41)
    {
        filters.insert("reference", name);
    }
    let images = engine.images().list(&filters, query.all.0)?;
    let images: Vec<_> = images
        .iter()
        .map(|image| ImageSummary::new(image, version))
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
