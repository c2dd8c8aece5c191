//! `/volumes`: volumes of the local driver.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::{Engine, NewVolume};
use model::{Error, Kind, VolumeRecord};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::version::ApiVersion;
use wire::volume::{Volume, VolumeCreateOptions, VolumeListResponse, VolumesPruneReport};

use web::error::ApiResult;
use web::extract::{DockerBool, Json, Name, Query, filters};
use web::reply;
use web::version::Asked;

use crate::routes::not_built::NO_SWARM;

/// Since when there are volumes of a swarm, and volumes with a name are pruned on wish only.
const CLUSTER_VOLUMES: ApiVersion = ApiVersion::v1(42);

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(inspect, remove, update))
        .routes(routes!(prune))
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
    let records = engine.volumes().list(&filters)?;
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
        (status = 400, description = "Bad name or option", body = ErrorResponse),
        (status = 404, description = "No such driver", body = ErrorResponse),
        (status = 503, description = "A cluster volume: there is no swarm", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Json(request): Json<VolumeCreateOptions>,
) -> ApiResult {
    if request.cluster_volume_spec.is_some() && version >= CLUSTER_VOLUMES {
        return Err(Error::new(Kind::Unavailable, NO_SWARM).into());
    }
    let new = NewVolume {
        name: request.name.filter(|name| !name.is_empty()),
        driver: request.driver.unwrap_or_default(),
        labels: request.labels.unwrap_or_default(),
        options: request.driver_opts.unwrap_or_default(),
    };
    let record = engine.volumes().create(new).await?;
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
    let record = engine.volumes().get(&name)?;
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
    engine.volumes().remove(&name, query.force.0).await?;
    Ok(reply::no_content())
}

fn volume(engine: &Engine, record: &VolumeRecord) -> Volume {
    Volume::new(record, &engine.volumes().path(&record.name))
}

/// Change a cluster volume
///
/// There is none without a swarm.
#[utoipa::path(put, path = "/volumes/{name}", operation_id = "VolumeUpdate", tag = "Volume",
    params(("name" = String, Path, description = "Volume name")),
    responses((status = 503, description = "There is no swarm", body = ErrorResponse)))]
async fn update() -> ApiResult {
    let why = "volume update only valid for cluster volumes, but swarm is unavailable";
    Err(Error::new(Kind::Unavailable, why).into())
}

/// The query of a prune.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PruneQuery {
    /// JSON: `{"all":["true"]}`. Keys: `all`, `label`, `label!`.
    filters: Option<String>,
}

/// Remove volumes that no container uses
///
/// Since API 1.42 only those without a name, unless the filter `all` says true.
#[utoipa::path(post, path = "/volumes/prune", operation_id = "VolumePrune", tag = "Volume",
    params(PruneQuery),
    responses(
        (status = 200, description = "What was removed", body = VolumesPruneReport),
        (status = 400, description = "Bad filter", body = ErrorResponse),
        (status = 409, description = "Another prune goes on", body = ErrorResponse),
    ))]
async fn prune(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Query(query): Query<PruneQuery>,
) -> ApiResult {
    let mut filters = filters(query.filters.as_deref())?;
    if version < CLUSTER_VOLUMES {
        filters.insert("all", "true");
    }
    let pruned = engine.volumes().prune(filters).await?;
    Ok(reply::json(&VolumesPruneReport::from(pruned)))
}
