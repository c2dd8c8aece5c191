//! Images from archives: load.

use axum::extract::State;
use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ErrorResponse, JsonMessage};

use super::Tar;
use crate::error::ApiResult;
use crate::extract::{DockerBool, Query, Upload};
use crate::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(load))
}

/// The query of a load.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LoadQuery {
    /// No progress, only the names of what was loaded. The default, as in Docker.
    #[param(value_type = Option<bool>)]
    quiet: Option<DockerBool>,
}

/// Load images from an archive
///
/// A docker-archive or an OCI layout as a tar, plain or compressed with gzip or zstd.
#[utoipa::path(post, path = "/images/load", operation_id = "ImageLoad", tag = "Image",
    params(LoadQuery),
    request_body(content_type = "application/x-tar", content = inline(Tar)),
    responses(
        (status = 200, description = "A stream of progress, one JSON object and CR LF each; a \
            failure is its last, with `errorDetail` and `error`", body = JsonMessage),
        (status = 400, description = "Bad parameter", body = ErrorResponse),
    ))]
async fn load(
    State(engine): State<Engine>,
    Query(query): Query<LoadQuery>,
    archive: Upload,
) -> ApiResult {
    let quiet = query.quiet.is_none_or(|quiet| quiet.0);
    let job = engine.images().load(archive, quiet).await?;
    Ok(reply::job_without_error(job).await)
}
