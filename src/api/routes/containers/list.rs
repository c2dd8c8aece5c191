//! `GET /containers/json`.

use std::collections::HashMap;

use axum::extract::State;
use engine::{ContainerView, Engine, ListContainers, ListedContainer};
use model::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::ContainerSummary;
use wire::version::ApiVersion;

use translate::container::summary;
use web::error::ApiResult;
use web::extract::{DockerBool, Query, filters, integer};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Also containers that do not run.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    all: DockerBool,
    /// At most this many, newest first; implies `all`.
    #[param(value_type = Option<i64>)]
    limit: Option<String>,
    /// Measure the sizes.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    size: DockerBool,
    /// JSON: `{"label":["a=b"]}`. Keys: `ancestor`, `before`, `exited`, `expose`, `health`, `id`,
    /// `is-task`, `isolation`, `label`, `name`, `network`, `publish`, `since`, `status`, `volume`.
    filters: Option<String>,
}

/// List containers
#[utoipa::path(get, path = "/containers/json", operation_id = "ContainerList", tag = "Container",
    params(ListQuery),
    responses(
        (status = 200, description = "The containers, newest first", body = [ContainerSummary]),
        (status = 400, description = "Bad parameter", body = ErrorResponse),
    ))]
async fn list(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Query(query): Query<ListQuery>,
) -> ApiResult {
    let filters = filters(query.filters.as_deref())?;
    let limit = integer(query.limit.as_deref())?;
    let wanted = ListContainers {
        all: query.all.0,
        // Zero and below are no limit.
        limit: limit
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n > 0),
        filters,
        size: query.size.0,
    };
    let listed = engine.list_containers(wanted).await?;
    Ok(reply::json(&rows(&engine, &listed, version)))
}

/// What is shown of each.
pub(in crate::routes) fn rows(
    engine: &Engine,
    listed: &[ListedContainer],
    version: ApiVersion,
) -> Vec<ContainerSummary> {
    let now = Timestamp::now();
    let mut names = ImageNames::default();
    listed
        .iter()
        .map(|row| {
            let image = names.shown(engine, &row.view);
            summary(row, image, now, engine.networks(), version)
        })
        .collect()
}

/// The images that names mean now: looked up once for each name of a list.
#[derive(Default)]
struct ImageNames(HashMap<String, Option<model::Digest>>);

impl ImageNames {
    /// The name the client gave, or the image's id when that name is gone or means another image
    /// now (moby `daemon/list.go` `refreshImage`).
    fn shown(&mut self, engine: &Engine, view: &ContainerView) -> String {
        let name = &view.image_name;
        if !self.0.contains_key(name) {
            let meant = engine
                .images()
                .find(name)
                .ok()
                .map(|image| image.record.id.clone());
            self.0.insert(name.clone(), meant);
        }
        if self.0.get(name) == Some(&Some(view.image_id.clone())) {
            name.clone()
        } else {
            view.image_id.to_string()
        }
    }
}
