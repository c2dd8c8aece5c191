//! `DELETE /containers/{id}` and `POST /containers/prune`.

use axum::extract::State;
use engine::{Engine, RemoveContainer};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::PruneReport;

use translate::NotBuilt;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, filters};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(remove))
        .routes(routes!(prune))
}

/// The query of a removal.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct RemoveQuery {
    /// Kill it first if it runs.
    #[param(value_type = bool, required = false)]
    force: DockerBool,
    /// Remove its anonymous volumes too.
    #[param(value_type = bool, required = false)]
    v: DockerBool,
    /// Remove a link, not a container; not built.
    #[param(value_type = bool, required = false)]
    link: DockerBool,
}

/// Remove a container
#[utoipa::path(delete, path = "/containers/{id}", operation_id = "ContainerDelete",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), RemoveQuery),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It runs", body = ErrorResponse),
        (status = 501, description = "A link was named", body = ErrorResponse),
    ))]
async fn remove(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<RemoveQuery>,
) -> ApiResult {
    NotBuilt::field("link", !query.link.0)?;
    let remove = RemoveContainer {
        force: query.force.0,
        volumes: query.v.0,
    };
    engine.remove_container(&name, remove).await?;
    Ok(reply::no_content())
}

/// The query of a prune.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PruneQuery {
    /// JSON: `{"until":["24h"]}`. Keys: `label`, `label!`, `until`.
    filters: Option<String>,
}

/// Remove the containers that do not run
#[utoipa::path(post, path = "/containers/prune", operation_id = "ContainerPrune",
    tag = "Container",
    params(PruneQuery),
    responses(
        (status = 200, description = "What was removed", body = PruneReport),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn prune(State(engine): State<Engine>, Query(query): Query<PruneQuery>) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let pruned = engine.prune_containers(filters).await?;
    let ids: Vec<String> = pruned.containers.iter().map(ToString::to_string).collect();
    Ok(reply::json(&PruneReport {
        containers_deleted: Some(ids).filter(|ids| !ids.is_empty()),
        space_reclaimed: pruned.space_reclaimed_bytes,
    }))
}
