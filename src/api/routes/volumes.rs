//! `/volumes`: volumes of the local driver.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::Engine;
use model::{Error, VolumeName, VolumeRecord};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::volume::{Volume, VolumeCreateOptions, VolumeListResponse};

use translate::NotBuilt;
use web::error::ApiResult;
use web::extract::{DockerBool, Json, Name, Query, filters};
use web::reply;

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(inspect, remove))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// JSON: `{"label":["a=b"]}`. Keys: `dangling`, `driver`, `label`, `name`.
    filters: Option<String>,
}

/// List volumes
#[utoipa::path(get, path = "/volumes", operation_id = "VolumeList", tag = "Volume",
    params(ListQuery),
    responses(
        (status = 200, description = "The volumes", body = VolumeListResponse),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn list(State(engine): State<Engine>, Query(query): Query<ListQuery>) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let records = engine.list_volumes(&filters)?;
    Ok(reply::json(&VolumeListResponse {
        volumes: records.iter().map(|r| volume(&engine, r)).collect(),
        warnings: None,
    }))
}

/// Create a volume, or return the one of that name
#[utoipa::path(post, path = "/volumes/create", operation_id = "VolumeCreate", tag = "Volume",
    request_body = VolumeCreateOptions,
    responses(
        (status = 201, description = "The volume", body = Volume),
        (status = 400, description = "Bad name", body = ErrorResponse),
        (status = 404, description = "No such driver", body = ErrorResponse),
        (status = 501, description = "An option that is not built", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Json(request): Json<VolumeCreateOptions>,
) -> ApiResult {
    let options = request.driver_opts.unwrap_or_default();
    NotBuilt::field("ClusterVolumeSpec", request.cluster_volume_spec.is_none())?;
    NotBuilt::field("DriverOpts", options.is_empty())?;
    let name = request.name.filter(|name| !name.is_empty());
    check_driver(request.driver.as_deref(), name.as_deref())?;
    let name: Option<VolumeName> = name.map(TryInto::try_into).transpose()?;
    let labels = request.labels.unwrap_or_default();
    let record = engine.create_volume(name, labels, options).await?;
    Ok(reply::json_with_status(
        StatusCode::CREATED,
        &volume(&engine, &record),
    ))
}

/// Inspect a volume
#[utoipa::path(get, path = "/volumes/{name}", operation_id = "VolumeInspect", tag = "Volume",
    params(("name" = String, Path, description = "Volume name")),
    responses(
        (status = 200, description = "The volume", body = Volume),
        (status = 404, description = "No such volume", body = ErrorResponse),
    ))]
async fn inspect(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    let record = engine.volume(&name)?;
    Ok(reply::json(&volume(&engine, &record)))
}

/// The query of a removal.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Succeed also when there is no such volume.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    force: DockerBool,
}

/// Remove a volume
#[utoipa::path(delete, path = "/volumes/{name}", operation_id = "VolumeDelete", tag = "Volume",
    params(("name" = String, Path, description = "Volume name"), RemoveQuery),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such volume", body = ErrorResponse),
        (status = 409, description = "A container uses it", body = ErrorResponse),
    ))]
async fn remove(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<RemoveQuery>,
) -> ApiResult<Response> {
    engine.remove_volume(&name, query.force.0).await?;
    Ok(reply::no_content())
}

fn volume(engine: &Engine, record: &VolumeRecord) -> Volume {
    Volume::new(record, &engine.volume_path(&record.name))
}

/// Docker's answer where no plugin of that name is installed.
fn check_driver(driver: Option<&str>, name: Option<&str>) -> model::Result<()> {
    match driver.unwrap_or_default() {
        "" | "local" => Ok(()),
        other => Err(Error::not_found(format!(
            "create {}: error looking up volume plugin {other}: plugin \"{other}\" not found",
            name.unwrap_or_default()
        ))),
    }
}
