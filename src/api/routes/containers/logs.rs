//! `GET /containers/{id}/logs`.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use engine::{Engine, LogRequest, LogStream};
use futures_util::stream;
use model::Error;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;

use super::attach::content_type;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, timestamp};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(logs))
}

/// The query of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct LogsQuery {
    /// Stay until the container ends.
    #[param(value_type = bool, required = false)]
    follow: DockerBool,
    /// Lines of stdout.
    #[param(value_type = bool, required = false)]
    stdout: DockerBool,
    /// Lines of stderr.
    #[param(value_type = bool, required = false)]
    stderr: DockerBool,
    /// Only lines at or after this, unix seconds with an optional fraction.
    since: Option<String>,
    /// Only lines at or before this, unix seconds with an optional fraction.
    until: Option<String>,
    /// The time in front of each line.
    #[param(value_type = bool, required = false)]
    timestamps: DockerBool,
    /// What the log options name, in front of each line.
    #[param(value_type = bool, required = false)]
    details: DockerBool,
    /// Only the last so many lines; anything but a number is all.
    tail: Option<String>,
}

impl LogsQuery {
    fn translate(&self) -> model::Result<LogRequest> {
        if !(self.stdout.0 || self.stderr.0) {
            return Err(Error::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        Ok(LogRequest {
            stdout: self.stdout.0,
            stderr: self.stderr.0,
            follow: self.follow.0,
            since: timestamp(self.since.as_deref())?,
            until: timestamp(self.until.as_deref())?,
            timestamps: self.timestamps.0,
            details: self.details.0,
            // `all`, nothing, and what is below zero: every line.
            tail: self.tail.as_deref().and_then(|lines| lines.parse().ok()),
        })
    }
}

/// Read a container's log
#[utoipa::path(get, path = "/containers/{id}/logs", operation_id = "ContainerLogs",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), LogsQuery),
    responses(
        (status = 200, description = "Lines: framed by stream, or raw with a terminal",
            content(
                (Vec<u8> = "application/vnd.docker.multiplexed-stream"),
                (Vec<u8> = "application/vnd.docker.raw-stream"),
            )),
        (status = 400, description = "No stream was chosen", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 501, description = "Its log driver keeps nothing to read", body = ErrorResponse),
    ))]
async fn logs(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<LogsQuery>,
) -> ApiResult {
    let log = engine.container_logs(&name, query.translate()?).await?;
    let kind = HeaderValue::from_static(content_type(log.tty, version));
    let batches = stream::unfold(log, |mut log| async move {
        let batch = next(&mut log).await?;
        Some((Ok::<_, Infallible>(batch), log))
    });
    let mut answer = Response::new(Body::from_stream(batches));
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

/// The next lines. The head is sent, so an error can only be told among them, on the stream
/// that Docker's clients show as the daemon's own.
async fn next(log: &mut LogStream) -> Option<Bytes> {
    Some(match log.next().await? {
        Ok(lines) => lines,
        Err(error) => told(&error, log.tty),
    })
}

fn told(error: &Error, tty: bool) -> Bytes {
    let text = format!("Error grabbing logs: {error}\n");
    if tty {
        return text.into();
    }
    reply::system_error_frame(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query() {
        let none = LogsQuery::default();
        assert_eq!(
            none.translate().unwrap_err().message(),
            "Bad parameters: you must choose at least one stream"
        );
        let tail = |text: &str| {
            let query = LogsQuery {
                stderr: DockerBool(true),
                tail: Some(text.to_owned()),
                ..LogsQuery::default()
            };
            query.translate().unwrap().tail
        };
        assert_eq!(tail("all"), None);
        assert_eq!(tail("-1"), None);
        assert_eq!(tail("0"), Some(0));
        assert_eq!(tail("12"), Some(12));
    }

    #[test]
    fn an_error_among_lines_is_a_frame() {
        let error = Error::system("disk");
        let text = b"Error grabbing logs: disk\n";
        assert_eq!(told(&error, true).as_ref(), text);
        let frame = told(&error, false);
        assert_eq!(&frame[..8], &[3, 0, 0, 0, 0, 0, 0, 26]);
        assert_eq!(&frame[8..], text);
    }
}
