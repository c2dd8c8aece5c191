//! Images from archives and to archives: load, save.

use axum::extract::{RawQuery, State};
use engine::Engine;
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ErrorResponse, JsonMessage};

use super::Tar;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, Upload, repeated};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(load))
        .routes(routes!(save))
        .routes(routes!(save_one))
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

/// The query of a save.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SaveQuery {
    /// JSON: only this platform of an image for several. Not built: an image is of one.
    platform: Option<String>,
}

impl SaveQuery {
    fn check(&self) -> Result<(), model::Error> {
        let asked = self.platform.as_ref().filter(|p| !p.is_empty());
        NotBuilt::field("platform", asked.is_none())
    }
}

/// Save images
///
/// As one archive that is both a docker-archive and an OCI layout. A name without a tag means all tags of
/// its repository.
#[utoipa::path(get, path = "/images/get", operation_id = "ImageGetAll", tag = "Image",
    params(SaveQuery, ("names" = Option<Vec<String>>, Query, description = "Names or ids")),
    responses(
        (status = 200, description = "The archive. Where it cannot be completed it is cut off",
            content_type = "application/x-tar", body = inline(Tar)),
        (status = 404, description = "No such image", body = ErrorResponse),
        (status = 409, description = "A layer was loaded by a daemon that kept no archives",
            body = ErrorResponse),
    ))]
async fn save(
    State(engine): State<Engine>,
    Query(query): Query<SaveQuery>,
    RawQuery(raw_query): RawQuery,
) -> ApiResult {
    query.check()?;
    let names = repeated(raw_query.as_deref().unwrap_or_default(), "names")?;
    Ok(reply::tar(engine.images().save(&names).await?))
}

/// Save an image
///
/// The same of one name.
#[utoipa::path(get, path = "/images/{name}/get", operation_id = "ImageGet", tag = "Image",
    params(("name" = String, Path, description = "Image name or id"), SaveQuery),
    responses(
        (status = 200, description = "The archive. Where it cannot be completed it is cut off",
            content_type = "application/x-tar", body = inline(Tar)),
        (status = 404, description = "No such image", body = ErrorResponse),
        (status = 409, description = "A layer was loaded by a daemon that kept no archives",
            body = ErrorResponse),
    ))]
async fn save_one(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<SaveQuery>,
) -> ApiResult {
    query.check()?;
    Ok(reply::tar(engine.images().save(&[name]).await?))
}
