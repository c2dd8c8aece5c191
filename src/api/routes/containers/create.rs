//! `POST /containers/create`.

use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::{CreateRequest, CreateResponse, HostConfig, NetworkingConfig};

use translate::container::create as translate;
use web::error::{ApiError, ApiResult};
use web::extract::{JsonBody, Query};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(create))
}

/// The query of a create.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CreateQuery {
    /// The container's name; without one a name is made up.
    name: Option<String>,
    /// `os[/arch[/variant]]` that the image must be of (API 1.41).
    platform: Option<String>,
}

/// Create a container
#[utoipa::path(post, path = "/containers/create", operation_id = "ContainerCreate",
    tag = "Container",
    params(CreateQuery),
    request_body = CreateRequest,
    responses(
        (status = 201, description = "It was made", body = CreateResponse),
        (status = 400, description = "Bad parameter", body = ErrorResponse),
        (status = 404, description = "No such image, or none of the platform", body = ErrorResponse),
        (status = 409, description = "The name is taken", body = ErrorResponse),
        (status = 501, description = "A field that is not built", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Query(query): Query<CreateQuery>,
    body: JsonBody,
) -> ApiResult {
    let request: CreateRequest = read(&body)?;
    let translated = translate(
        request,
        query.name.as_deref(),
        query.platform.as_deref(),
        version,
        engine.log_default(),
    )?;
    let created = engine.create_container(translated.create).await?;
    let mut warnings = created.warnings;
    warnings.extend(translated.warnings);
    Ok(reply::json_with_status(
        StatusCode::CREATED,
        &CreateResponse {
            id: created.id.to_string(),
            warnings,
        },
    ))
}

/// What stands beside `Config`'s fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Beside {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

/// Reads a request's body: once for each half, because keys in another case are not found
/// through a flattened field.
fn read(body: &JsonBody) -> Result<CreateRequest, ApiError> {
    let beside: Beside = body.parse()?;
    Ok(CreateRequest {
        config: body.parse()?,
        host_config: beside.host_config,
        networking_config: beside.networking_config,
    })
}
