//! `/networks`: who can talk to whom.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::Engine;
use model::{EndpointConfig, Error, NetworkRecord};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::network::{
    Network, NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse,
    NetworkDisconnectRequest, NetworkPruneResponse,
};
use wire::version::ApiVersion;

use translate::network as translate;
use web::error::ApiResult;
use web::extract::{Json, Name, Query, filters};
use web::reply;
use web::version::Asked;

/// Since when a list leaves out who is on a network.
const SHORT_LIST: ApiVersion = ApiVersion::v1(28);

/// The scope of every network here.
const SCOPE: &str = "local";

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(inspect, remove))
        .routes(routes!(connect))
        .routes(routes!(disconnect))
        .routes(routes!(prune))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// JSON: `{"label":["a=b"]}`. Keys: `dangling`, `driver`, `id`, `label`, `name`, `scope`, `type`.
    filters: Option<String>,
}

/// List networks
///
/// Before API 1.28 with the running containers on each.
#[utoipa::path(get, path = "/networks", operation_id = "NetworkList", tag = "Network",
    params(ListQuery),
    responses(
        (status = 200, description = "The networks", body = [Network]),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn list(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Query(query): Query<ListQuery>,
) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let records = engine.networks().list(&filters)?;
    let row = |record: &NetworkRecord| match version < SHORT_LIST {
        true => shown(&engine, record),
        false => Network::new(record, &[]),
    };
    let rows: Vec<Network> = records.iter().map(|record| row(record)).collect();
    Ok(reply::json(&rows))
}

/// Create a network
#[utoipa::path(post, path = "/networks/create", operation_id = "NetworkCreate", tag = "Network",
    request_body = NetworkCreateRequest,
    responses(
        (status = 201, description = "It is there", body = NetworkCreateResponse),
        (status = 400, description = "Bad name, range or option", body = ErrorResponse),
        (status = 403, description = "A name that is kept, a swarm's network, ranges that overlap",
            body = ErrorResponse),
        (status = 404, description = "No such driver", body = ErrorResponse),
        (status = 409, description = "The name is in use", body = ErrorResponse),
        (status = 501, description = "A field or option that is not built", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Json(request): Json<NetworkCreateRequest>,
) -> ApiResult {
    let translated = translate::create(request)?;
    let record = engine.networks().create(translated.create).await?;
    Ok(reply::json_with_status(
        StatusCode::CREATED,
        &NetworkCreateResponse {
            id: record.id.to_string(),
            warning: translated.warning,
        },
    ))
}

/// The query of an inspect.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InspectQuery {
    /// Of a swarm's network also its services: there are none.
    #[param(value_type = Option<bool>)]
    verbose: Option<String>,
    /// `local`, or nothing is found.
    scope: Option<String>,
}

/// Inspect a network
#[utoipa::path(get, path = "/networks/{id}", operation_id = "NetworkInspect", tag = "Network",
    params(("id" = String, Path, description = "Id, name or id prefix"), InspectQuery),
    responses(
        (status = 200, description = "The network", body = Network),
        (status = 400, description = "Several ids begin so", body = ErrorResponse),
        (status = 404, description = "No such network", body = ErrorResponse),
    ))]
async fn inspect(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<InspectQuery>,
) -> ApiResult {
    translate::check_verbose(query.verbose.as_deref().unwrap_or_default())?;
    let scope = query.scope.as_deref().unwrap_or_default();
    if !matches!(scope, "" | SCOPE) {
        return Err(Error::not_found(format!("network {name} not found")).into());
    }
    let record = engine.networks().get(&name)?;
    Ok(reply::json(&shown(&engine, &record)))
}

/// A network with who is on it.
fn shown(engine: &Engine, record: &NetworkRecord) -> Network {
    Network::new(record, &engine.network_members(&record.id))
}

/// Remove a network
#[utoipa::path(delete, path = "/networks/{id}", operation_id = "NetworkDelete", tag = "Network",
    params(("id" = String, Path, description = "Id, name or id prefix")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "It is always there, or a running container is on it",
            body = ErrorResponse),
        (status = 404, description = "No such network", body = ErrorResponse),
    ))]
async fn remove(State(engine): State<Engine>, Name(name): Name) -> ApiResult<Response> {
    engine.networks().remove(&name).await?;
    Ok(reply::no_content())
}

/// Put a container on a network
#[utoipa::path(post, path = "/networks/{id}/connect", operation_id = "NetworkConnect",
    tag = "Network",
    params(("id" = String, Path, description = "Id, name or id prefix")),
    request_body = NetworkConnectRequest,
    responses(
        (status = 200, description = "It is on it"),
        (status = 400, description = "Bad settings", body = ErrorResponse),
        (status = 403, description = "It is on it already", body = ErrorResponse),
        (status = 404, description = "No such network or container", body = ErrorResponse),
        (status = 501, description = "A field that is not built", body = ErrorResponse),
    ))]
async fn connect(
    State(engine): State<Engine>,
    Name(name): Name,
    Json(request): Json<NetworkConnectRequest>,
) -> ApiResult<StatusCode> {
    let config = match &request.endpoint_config {
        Some(settings) => translate::endpoint_config(&name, settings)?,
        None => EndpointConfig::default(),
    };
    engine.connect(&name, &request.container, config).await?;
    Ok(StatusCode::OK)
}

/// Take a container off a network
#[utoipa::path(post, path = "/networks/{id}/disconnect", operation_id = "NetworkDisconnect",
    tag = "Network",
    params(("id" = String, Path, description = "Id, name or id prefix")),
    request_body = NetworkDisconnectRequest,
    responses(
        (status = 200, description = "It is on it no more"),
        (status = 403, description = "It is not on it", body = ErrorResponse),
        (status = 404, description = "No such network or container", body = ErrorResponse),
    ))]
async fn disconnect(
    State(engine): State<Engine>,
    Name(name): Name,
    Json(request): Json<NetworkDisconnectRequest>,
) -> ApiResult<StatusCode> {
    let NetworkDisconnectRequest { container, force } = request;
    engine.disconnect(&name, &container, force).await?;
    Ok(StatusCode::OK)
}

/// The query of a prune.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PruneQuery {
    /// JSON: `{"label":["a=b"]}`. Keys: `label`, `label!`, `until`.
    filters: Option<String>,
}

/// Remove networks that no container is on
#[utoipa::path(post, path = "/networks/prune", operation_id = "NetworkPrune", tag = "Network",
    params(PruneQuery),
    responses(
        (status = 200, description = "What was removed", body = NetworkPruneResponse),
        (status = 400, description = "Bad filter", body = ErrorResponse),
        (status = 409, description = "Another prune goes on", body = ErrorResponse),
    ))]
async fn prune(State(engine): State<Engine>, Query(query): Query<PruneQuery>) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let removed = engine.networks().prune(filters).await?;
    Ok(reply::json(&NetworkPruneResponse::from(removed)))
}
