//! Registries: what they have, and whether credentials are good.

use axum::extract::State;
use engine::{Credentials, Engine};
use model::Reference;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::auth::{AuthConfig, AuthResponse, DistributionInspect};

use web::error::ApiResult;
use web::extract::{Json, Name, RegistryAuth};
use web::reply;

/// The routes of this file.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(inspect))
        .routes(routes!(auth))
}

/// Ask a registry for an image's digest and platforms
#[utoipa::path(get, path = "/distribution/{name}/json", operation_id = "DistributionInspect",
    tag = "Distribution",
    params(("name" = String, Path, description = "Image name"),
        ("X-Registry-Auth" = Option<String>, Header,
            description = "Credentials: JSON as of `POST /auth`, in URL-safe base64")),
    responses(
        (status = 200, description = "What the registry has", body = DistributionInspect),
        (status = 400, description = "Bad name", body = ErrorResponse),
        (status = 404, description = "The registry has no such image", body = ErrorResponse),
        (status = 500, description = "The registry cannot be reached, or refuses", body = ErrorResponse),
    ))]
async fn inspect(
    State(engine): State<Engine>,
    Name(name): Name,
    RegistryAuth(credentials): RegistryAuth,
) -> ApiResult {
    let reference: Reference = name.parse()?;
    let found = engine
        .images()
        .distribution(&reference, credentials)
        .await?;
    Ok(reply::json(&DistributionInspect::from(found)))
}

/// Show credentials to a registry
#[utoipa::path(post, path = "/auth", operation_id = "SystemAuth", tag = "System",
    request_body = AuthConfig,
    responses(
        (status = 200, description = "They are good", body = AuthResponse),
        (status = 401, description = "They are no good", body = ErrorResponse),
        (status = 500, description = "The registry cannot be reached", body = ErrorResponse),
    ))]
async fn auth(State(engine): State<Engine>, Json(config): Json<AuthConfig>) -> ApiResult {
    let server = config.serveraddress.clone();
    let credentials = Credentials::from(config);
    let login = engine.images().login(&server, &credentials).await?;
    Ok(reply::json(&AuthResponse::from(login)))
}
