//! `POST /containers/{id}/wait`.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use engine::{Engine, WaitCondition, WaitOutcome};
use futures_util::stream;
use model::Error;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::{WaitError, WaitResponse};
use wire::version::ApiVersion;

use web::error::ApiResult;
use web::extract::{Name, Query};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(wait))
}

/// The query of a wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WaitQuery {
    /// `not-running` (the default), `next-exit` or `removed` (API 1.30); not Docker's: `healthy`,
    /// which answers 0, or the exit code of a container that ended before it was.
    condition: Option<String>,
}

/// Wait for a container to exit
///
/// The wait is armed before the head of the answer is sent, and the head is sent at once: a
/// client that reads the head and then starts the container cannot miss its exit.
#[utoipa::path(post, path = "/containers/{id}/wait", operation_id = "ContainerWait",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), WaitQuery),
    responses(
        (status = 200, description = "It has exited", body = WaitResponse),
        (status = 400, description = "Bad condition", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It has no health check", body = ErrorResponse),
    ))]
async fn wait(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<WaitQuery>,
) -> ApiResult {
    // Before 1.30 there were no conditions, and the head came with the body.
    let is_old = version < ApiVersion::v1(30);
    let condition = if is_old {
        WaitCondition::NotRunning
    } else {
        condition(query.condition.as_deref().unwrap_or_default())?
    };
    let waiter = engine.wait_container(&name, condition)?;
    if is_old {
        return Ok(reply::json(&response(waiter.finished().await)));
    }
    Ok(outcome_later(waiter.finished()))
}

/// The head of the answer now, the outcome when it is there.
pub(in crate::routes) fn outcome_later(
    outcome: impl Future<Output = WaitOutcome> + Send + 'static,
) -> Response {
    let body =
        stream::once(
            async move { Ok::<_, Infallible>(reply::json_line(&response(outcome.await))) },
        );
    let mut answer = Response::new(Body::from_stream(body));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, reply::JSON);
    answer
}

fn condition(word: &str) -> model::Result<WaitCondition> {
    match word {
        "" | "not-running" => Ok(WaitCondition::NotRunning),
        "next-exit" => Ok(WaitCondition::NextExit),
        "removed" => Ok(WaitCondition::Removed),
        "healthy" => Ok(WaitCondition::Healthy),
        other => Err(Error::invalid(format!("invalid condition: {other:?}"))),
    }
}

fn response(outcome: WaitOutcome) -> WaitResponse {
    WaitResponse {
        status_code: outcome.status_code,
        error: outcome.error.map(|message| WaitError { message }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        assert_eq!(condition("").unwrap(), WaitCondition::NotRunning);
        assert_eq!(condition("next-exit").unwrap(), WaitCondition::NextExit);
        assert_eq!(condition("removed").unwrap(), WaitCondition::Removed);
        assert_eq!(
            condition("x").unwrap_err().message(),
            "invalid condition: \"x\""
        );
    }

    #[test]
    fn the_captured_bytes() {
        let known = response(WaitOutcome {
            status_code: 7,
            error: None,
        });
        assert_eq!(reply::json_line(&known).as_ref(), b"{\"StatusCode\":7}\n");
        let unknown = response(WaitOutcome {
            status_code: 255,
            error: Some("why".to_owned()),
        });
        assert_eq!(
            reply::json_line(&unknown).as_ref(),
            b"{\"StatusCode\":255,\"Error\":{\"Message\":\"why\"}}\n"
        );
    }
}
