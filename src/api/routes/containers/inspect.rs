//! `GET /containers/{id}/json` and `/top`.

use axum::extract::State;
use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::{ContainerInspect, TopResponse};

use translate::container::inspect as translate;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(inspect))
        .routes(routes!(top))
}

/// The query of an inspect.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InspectQuery {
    /// Measure the sizes.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    size: DockerBool,
}

/// Inspect a container
#[utoipa::path(get, path = "/containers/{id}/json", operation_id = "ContainerInspect",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), InspectQuery),
    responses(
        (status = 200, description = "The container", body = ContainerInspect),
        (status = 404, description = "No such container", body = ErrorResponse),
    ))]
async fn inspect(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<InspectQuery>,
) -> ApiResult {
    let view = engine.container(&name)?;
    let sizes = if query.size.0 {
        Some(engine.container_sizes(view.id.as_str()).await?)
    } else {
        None
    };
    let execs = engine.open_execs(&view.id);
    let faults = engine.log_faults(&view.id);
    let networks = engine.networks();
    let shown = translate(&view, sizes, &execs, &faults, networks, version);
    Ok(reply::json(&shown))
}

/// The query of a top.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TopQuery {
    /// Arguments of ps; `-ef` when empty.
    ps_args: Option<String>,
}

/// List a container's processes
#[utoipa::path(get, path = "/containers/{id}/top", operation_id = "ContainerTop",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), TopQuery),
    responses(
        (status = 200, description = "The processes", body = TopResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It does not run", body = ErrorResponse),
    ))]
async fn top(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<TopQuery>,
) -> ApiResult {
    let args = query.ps_args.filter(|args| !args.is_empty());
    let table = engine
        .top_container(&name, args.as_deref().unwrap_or("-ef"))
        .await?;
    Ok(reply::json(&TopResponse {
        processes: Some(table.processes).filter(|processes| !processes.is_empty()),
        titles: table.titles,
    }))
}
