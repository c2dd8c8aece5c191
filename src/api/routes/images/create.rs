//! `POST /images/create`: import.

use axum::extract::{RawQuery, State};
use engine::{Engine, ImportImage};
use model::Error;
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ErrorResponse, JsonMessage};

use super::{Tar, repo_tag_reference};
use crate::error::ApiResult;
use crate::extract::{Query, Upload, repeated};
use crate::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(create))
}

/// The query of a create: a pull or an import.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct CreateQuery {
    /// The image to pull. Not built.
    from_image: Option<String>,
    /// `-`: import the request's body.
    from_src: Option<String>,
    /// The name for what is imported.
    repo: Option<String>,
    /// Its tag.
    tag: Option<String>,
    /// The comment of its history entry.
    message: Option<String>,
    /// Its platform. Not built: what is imported is of this host's.
    platform: Option<String>,
}

/// Import an image from a tar of its root file system
///
/// Docker's other use of this endpoint, pulling from a registry, is not built.
#[utoipa::path(post, path = "/images/create", operation_id = "ImageCreate", tag = "Image",
    params(CreateQuery,
        ("changes" = Option<Vec<String>>, Query, description = "Dockerfile instructions to apply")),
    request_body(content_type = "application/x-tar", content = inline(Tar)),
    responses(
        (status = 200, description = "A stream of progress, one JSON object and CR LF each; \
            the last has the image's id as its `status`", body = JsonMessage),
        (status = 400, description = "Bad name, bad change or not a tar", body = ErrorResponse),
        (status = 501, description = "A pull", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Query(query): Query<CreateQuery>,
    RawQuery(raw_query): RawQuery,
    tar: Upload,
) -> ApiResult {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if given(&query.from_image).is_some() {
        return Err(NotBuilt::error("pulling an image (fromImage)").into());
    }
    match query.from_src.as_deref().unwrap_or_default() {
        "-" => {}
        "" => return Err(Error::invalid("one of fromImage and fromSrc must be given").into()),
        _ => return Err(NotBuilt::error("importing from a URL (fromSrc)").into()),
    }
    NotBuilt::field("platform", given(&query.platform).is_none())?;
    let request = ImportImage {
        reference: given(&query.repo)
            .map(|repo| repo_tag_reference(&repo, query.tag.as_deref()))
            .transpose()?,
        message: given(&query.message).unwrap_or_else(|| "Imported from -".to_owned()),
        changes: repeated(raw_query.as_deref().unwrap_or_default(), "changes")?,
    };
    reply::job(engine.images().import(tar, request).await?).await
}
