//! `GET /plugins`: none.

use engine::Engine;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::plugin::Plugin;

use web::error::ApiResult;
use web::extract::{Query, filters};
use web::reply;

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// JSON: which. Keys: `capability`, `enabled`.
    filters: Option<String>,
}

/// List plugins
///
/// There are none: compose asks for it all the same.
#[utoipa::path(get, path = "/plugins", operation_id = "PluginList", tag = "Plugin",
    params(ListQuery),
    responses(
        (status = 200, description = "None", body = [Plugin]),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn list(Query(query): Query<ListQuery>) -> ApiResult {
    filters(query.filters.as_deref())?.check_keys(&["capability", "enabled"])?;
    let none: [Plugin; 0] = [];
    Ok(reply::json(&none))
}
