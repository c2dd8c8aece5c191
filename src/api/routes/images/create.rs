//! `POST /images/create`: pull and import.

use axum::extract::{RawQuery, State};
use engine::{Credentials, Engine, ImportImage, PullImage};
use model::{Error, Platform, Reference, Result};
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ErrorResponse, JsonMessage};

use super::{Tar, repo_tag_reference};
use web::error::ApiResult;
use web::extract::{Query, RegistryAuth, Upload, repeated};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(create))
}

/// The query of a create: a pull or an import.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct CreateQuery {
    /// The image to pull. Without a tag, here or in `tag`, all of its repository.
    from_image: Option<String>,
    /// `-`: import the request's body.
    from_src: Option<String>,
    /// The name for what is imported.
    repo: Option<String>,
    /// Its tag; of a pull, a tag or a digest.
    tag: Option<String>,
    /// The comment of its history entry.
    message: Option<String>,
    /// The platform to pull, or of what is imported, `os[/architecture[/variant]]`; this host's
    /// when absent.
    platform: Option<String>,
}

/// Pull an image from a registry, or import one from a tar of its root file system
///
/// A client that leaves ends its pull.
#[utoipa::path(post, path = "/images/create", operation_id = "ImageCreate", tag = "Image",
    params(CreateQuery,
        ("changes" = Option<Vec<String>>, Query, description = "Dockerfile instructions to apply"),
        ("X-Registry-Auth" = Option<String>, Header,
            description = "Credentials: JSON as of `POST /auth`, in URL-safe base64")),
    request_body(content_type = "application/x-tar", content = inline(Tar)),
    responses(
        (status = 200, description = "A stream of progress, one JSON object and CR LF each; of an \
            import the last has the image's id as its `status`. A failure is its last, with \
            `errorDetail` and `error`", body = JsonMessage),
        (status = 400, description = "Bad name, bad change or not a tar", body = ErrorResponse),
        (status = 404, description = "The registry has no such image", body = ErrorResponse),
        (status = 500, description = "The registry cannot be reached, or refuses", body = ErrorResponse),
        (status = 501, description = "An import from a URL", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Query(query): Query<CreateQuery>,
    RawQuery(raw_query): RawQuery,
    RegistryAuth(credentials): RegistryAuth,
    tar: Upload,
) -> ApiResult {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let platform = given(&query.platform);
    let platform = platform.as_deref().map(Platform::parse).transpose()?;
    if let Some(name) = given(&query.from_image) {
        let pull = pull_of(&name, given(&query.tag).as_deref(), platform, credentials)?;
        return reply::job(engine.images().pull(pull).await?).await;
    }
    match query.from_src.as_deref().unwrap_or_default() {
        "-" => {}
        "" => return Err(Error::invalid("one of fromImage and fromSrc must be given").into()),
        _ => return Err(NotBuilt::error("importing from a URL (fromSrc)").into()),
    }
    let request = ImportImage {
        reference: given(&query.repo)
            .map(|repo| repo_tag_reference(&repo, query.tag.as_deref()))
            .transpose()?,
        message: given(&query.message).unwrap_or_else(|| "Imported from -".to_owned()),
        platform,
        changes: repeated(raw_query.as_deref().unwrap_or_default(), "changes")?,
    };
    reply::job(engine.images().import(tar, request).await?).await
}

/// What is to be pulled: `tag` is a tag or a digest, and weighs more than what stands in the name
/// (moby `postImagesCreate`).
fn pull_of(
    name: &str,
    tag: Option<&str>,
    platform: Option<Platform>,
    credentials: Credentials,
) -> Result<PullImage> {
    let name = name.trim_end_matches(':');
    let reference: Reference = name.parse()?;
    let reference = match tag {
        Some(digest) if digest.contains(':') => reference.with_digest(digest.parse()?),
        // What is pinned stays pinned.
        Some(_) if reference.digest().is_some() => reference,
        Some(tag) => reference.with_tag(tag)?,
        None => reference,
    };
    Ok(PullImage {
        reference,
        all_tags: tag.is_none() && super::is_name_only(name),
        platform,
        credentials,
    })
}
