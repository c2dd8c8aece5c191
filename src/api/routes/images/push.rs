//! Images: push.

use axum::extract::State;
use engine::{Engine, PushImage};
use model::{Error, Reference};
use serde::Deserialize;
use translate::NotBuilt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ErrorResponse, JsonMessage};

use web::error::ApiResult;
use web::extract::{Name, Query, RegistryAuth};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(push))
}

/// The query of a push.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PushQuery {
    /// The tag to push; all of the repository's when absent.
    tag: Option<String>,
    /// JSON: one platform of several. Not built: an image here is of one.
    platform: Option<String>,
}

/// Push an image to a registry
#[utoipa::path(post, path = "/images/{name}/push", operation_id = "ImagePush", tag = "Image",
    params(("name" = String, Path, description = "Image name, with its registry"), PushQuery,
        ("X-Registry-Auth" = Option<String>, Header,
            description = "Credentials: JSON as of `POST /auth`, in URL-safe base64")),
    responses(
        (status = 200, description = "A stream of progress, one JSON object and CR LF each; `aux` \
            has the digest. A failure is its last, with `errorDetail` and `error`",
            body = JsonMessage),
        (status = 400, description = "Bad name", body = ErrorResponse),
        (status = 501, description = "A field that is not built", body = ErrorResponse),
    ))]
async fn push(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<PushQuery>,
    RegistryAuth(credentials): RegistryAuth,
) -> ApiResult {
    let platform = query.platform.filter(|platform| !platform.is_empty());
    NotBuilt::field("platform", platform.is_none())?;
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference").into());
    }
    let tag = query.tag.filter(|tag| !tag.is_empty());
    let request = PushImage {
        all_tags: tag.is_none() && super::is_name_only(&name),
        reference: match tag {
            Some(tag) => reference.with_tag(&tag)?,
            None => reference,
        },
        credentials,
    };
    reply::job(engine.images().push(request).await?).await
}
