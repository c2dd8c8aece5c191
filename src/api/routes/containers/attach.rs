//! `POST /containers/{id}/attach`: the connection becomes the container's streams.

use axum::extract::State;
use axum::response::Response;
use engine::{AttachRequest, Engine};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::version::ApiVersion;

use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query};
use web::serve::hijack::{Hijack, MULTIPLEXED_STREAM, RAW_STREAM};
use web::session::session;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(attach))
}

/// The query of an attach.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct AttachQuery {
    /// The keys that detach a terminal: `ctrl-p,ctrl-q`.
    #[serde(rename = "detachKeys")]
    detach_keys: Option<String>,
    /// First replay the log.
    #[param(value_type = bool, required = false)]
    logs: DockerBool,
    /// Stay for what comes.
    #[param(value_type = bool, required = false)]
    stream: DockerBool,
    /// Send to stdin.
    #[param(value_type = bool, required = false)]
    stdin: DockerBool,
    /// Receive stdout.
    #[param(value_type = bool, required = false)]
    stdout: DockerBool,
    /// Receive stderr.
    #[param(value_type = bool, required = false)]
    stderr: DockerBool,
}

impl AttachQuery {
    pub(super) fn translate(&self) -> model::Result<AttachRequest> {
        let keys = self.detach_keys.as_deref();
        Ok(AttachRequest {
            stdin: self.stdin.0,
            stdout: self.stdout.0,
            stderr: self.stderr.0,
            stream: self.stream.0,
            logs: self.logs.0,
            plain: false,
            detach_keys: keys.map(engine::parse_detach_keys).transpose()?,
        })
    }
}

/// Attach to a container's streams
///
/// The connection is taken over: after the head both directions are raw bytes, output framed by
/// stream unless the container has a terminal.
#[utoipa::path(post, path = "/containers/{id}/attach", operation_id = "ContainerAttach",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), AttachQuery),
    responses(
        (status = 101, description = "The streams, after an Upgrade header"),
        (status = 200, description = "The streams, without one",
            content((Vec<u8> = "application/vnd.docker.raw-stream"))),
        (status = 400, description = "Bad detach keys; as text",
            content((String = "application/vnd.docker.raw-stream"))),
        (status = 404, description = "No such container; as text",
            content((String = "application/vnd.docker.raw-stream"))),
        (status = 409, description = "It is paused; as text",
            content((String = "application/vnd.docker.raw-stream"))),
    ))]
async fn attach(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<AttachQuery>,
    hijack: Hijack,
) -> ApiResult<Response> {
    let attached = match query.translate() {
        Ok(request) => engine.attach_container(&name, request).await,
        Err(error) => Err(error),
    };
    Ok(match attached {
        Ok(attachment) => hijack.respond(content_type(attachment.tty, version), move |io| {
            session(attachment, io)
        }),
        Err(error) => hijack.refuse(&error),
    })
}

/// Frames have a content type of their own from 1.42 on.
pub(in crate::routes) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if !tty && version >= ApiVersion::v1(42) {
        MULTIPLEXED_STREAM
    } else {
        RAW_STREAM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_by_version_and_terminal() {
        let new = ApiVersion::v1(42);
        assert_eq!(content_type(false, new), MULTIPLEXED_STREAM);
        assert_eq!(content_type(true, new), RAW_STREAM);
        assert_eq!(content_type(false, ApiVersion::v1(41)), RAW_STREAM);
    }
}
