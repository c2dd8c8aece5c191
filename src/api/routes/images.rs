//! `/images`: load, import, list, inspect, tag, remove.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use engine::{Engine, ImportImage};
use model::{Error, Reference, Result};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::image::{ImageDeleteResponseItem, ImageInspect, ImageSummary};
use wire::version::ApiVersion;
use wire::{ErrorResponse, JsonMessage};

use crate::error::ApiResult;
use crate::extract::{DockerBool, Name, Query, Upload, filters, repeated};
use crate::reply;
use crate::version::Asked;
use translate::NotBuilt;

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(load))
        .routes(routes!(create))
        .routes(routes!(inspect))
        .routes(routes!(tag))
        .routes(routes!(remove))
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
    let images = engine.list_images(&filters, query.all.0)?;
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
    let image = engine.image(&name)?;
    let trees = engine.image_trees(&image);
    Ok(reply::json(&ImageInspect::new(&image, &trees, version)))
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
    let job = engine.load_images(archive, quiet).await?;
    Ok(reply::job_without_error(job).await)
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
    reply::job(engine.import_image(tar, request).await?).await
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
    engine.tag_image(&name, target).await?;
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
    /// Keep parents that nothing else names.
    #[expect(
        dead_code,
        reason = "no image has a parent until images are built or committed"
    )]
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    noprune: DockerBool,
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
    let removed = engine.remove_image(&name, query.force.0).await?;
    let removed: Vec<ImageDeleteResponseItem> = removed.into_iter().map(Into::into).collect();
    Ok(reply::json(&removed))
}

/// `repo` and `tag` as one reference; the tag parameter wins over a tag in `repo` (moby
/// `httputils.RepoTagReference`).
fn repo_tag_reference(repo: &str, tag: Option<&str>) -> Result<Reference> {
    let reference: Reference = repo.parse()?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot import digest reference"));
    }
    match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => reference.with_tag(tag),
        None => Ok(reference),
    }
}

/// A tar, for the document: raw bytes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Tar(Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_parameter_wins() {
        let familiar =
            |repo: &str, tag: Option<&str>| repo_tag_reference(repo, tag).map(|r| r.familiar());
        assert_eq!(familiar("a", Some("1")).unwrap(), "a:1");
        assert_eq!(familiar("a:2", Some("1")).unwrap(), "a:1");
        assert_eq!(familiar("a:2", Some("")).unwrap(), "a:2");
        assert_eq!(familiar("a", None).unwrap(), "a:latest");
        assert!(familiar("", None).is_err());
        assert!(familiar("A", None).is_err());
        assert!(familiar("a", Some("-")).is_err());
        let digest = model::Digest::from_sha256([1; 32]);
        assert!(familiar(&format!("a@{digest}"), None).is_err());
    }
}
