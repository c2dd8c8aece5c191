//! `GET /containers/{id}/stats`.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use engine::{Engine, StatsAnswer, StatsRequest};
use futures_util::stream;
use serde::Deserialize;
use translate::container::stats as translate;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query};
use web::reply;
use web::version::Asked;
use wire::ErrorResponse;
use wire::stats::ContainerStats;
use wire::version::ApiVersion;

/// The first version that knows `one-shot`.
const ONE_SHOT: ApiVersion = ApiVersion::v1(41);

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// The query of stats.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct StatsQuery {
    /// A record every second, until the client hangs up; true unless it is said.
    #[param(value_type = bool, required = false)]
    stream: Option<DockerBool>,
    /// Without `stream`: one record at once, not one with the second before it. From 1.41 on.
    #[serde(rename = "one-shot")]
    #[param(value_type = bool, required = false)]
    one_shot: DockerBool,
}

impl StatsQuery {
    fn translate(&self, version: ApiVersion) -> StatsRequest {
        StatsRequest {
            stream: self.stream.is_none_or(|stream| stream.0),
            one_shot: self.one_shot.0 && version >= ONE_SHOT,
        }
    }
}

/// Tell what a container uses
///
/// Processors, memory, processes, block devices and network, as the kernel counts them: one JSON object a
/// line. A container that does not run has a record of zeros, and a stream goes on with its next run; it
/// ends when the container is removed.
#[utoipa::path(get, path = "/containers/{id}/stats", operation_id = "ContainerStats",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), StatsQuery),
    responses(
        (status = 200, description = "What it uses", body = ContainerStats),
        (status = 400, description = "A stream of a single record", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It has no cgroup", body = ErrorResponse),
    ))]
async fn stats(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<StatsQuery>,
) -> ApiResult {
    let request = query.translate(version);
    let stats = match engine.container_stats(&name, request).await? {
        StatsAnswer::One(record) => return Ok(reply::json(&translate(&record))),
        StatsAnswer::Stream(stats) => stats,
    };
    let lines = stream::unfold(stats, |mut stats| async move {
        let record = stats.next().await?;
        let line = reply::json_line(&translate(&record));
        Some((Ok::<_, Infallible>(line), stats))
    });
    let mut answer = Response::new(Body::from_stream(lines));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_what_nobody_has_refused() {
        let asked = |stream: Option<&str>, one_shot: &str, minor| {
            let query = StatsQuery {
                stream: stream.map(DockerBool::parse),
                one_shot: DockerBool::parse(one_shot),
            };
            let request = query.translate(ApiVersion::v1(minor));
            (request.stream, request.one_shot)
        };
        assert_eq!(asked(None, "", 47), (true, false));
        assert_eq!(asked(Some(""), "", 47), (false, false));
        assert_eq!(asked(Some("0"), "1", 41), (false, true));
        assert_eq!(asked(Some("false"), "1", 40), (false, false));
        assert_eq!(asked(None, "true", 41), (true, true));
    }
}
