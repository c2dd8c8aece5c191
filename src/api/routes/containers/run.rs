//! `POST /containers/{id}/start`, `/stop`, `/restart`, `/kill`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{Change, Engine, StopContainer};
use model::{Context, Error, Kind, Signal};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::version::ApiVersion;

use web::error::ApiResult;
use web::extract::{Descriptors, Name, Query, integer};
use web::reply;
use web::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(kill))
}

/// The query of a start.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct StartQuery {
    /// Of the client's attach; nothing to the daemon.
    #[serde(rename = "detachKeys")]
    #[expect(dead_code, reason = "Docker documents it and does not read it either")]
    detach_keys: Option<String>,
    /// A checkpoint to restore: its processes go on where they were.
    checkpoint: Option<String>,
    /// Another directory than the container's own; refused, as in Docker.
    #[serde(rename = "checkpoint-dir")]
    checkpoint_dir: Option<String>,
}

/// Start a container
///
/// With `Moored-Descriptors: N` the N descriptors that come with the request over the socket
/// (`SCM_RIGHTS`) are its first process's from 3 up, in this run. Not Docker's.
#[utoipa::path(post, path = "/containers/{id}/start", operation_id = "ContainerStart",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), StartQuery,
        ("Moored-Descriptors" = Option<u32>, Header, description = "How many descriptors come with the request")),
    responses(
        (status = 204, description = "It was started"),
        (status = 304, description = "It ran already"),
        (status = 400, description = "Its program cannot be run", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 403, description = "A directory of checkpoints was named", body = ErrorResponse),
        (status = 409, description = "Not in its state, or the checkpoint is of something else", body = ErrorResponse),
    ))]
async fn start(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<StartQuery>,
    headers: HeaderMap,
    descriptors: Descriptors,
) -> ApiResult {
    refuse_body(&headers)?;
    if query.checkpoint_dir.is_some_and(|dir| !dir.is_empty()) {
        // moby `containerStart`.
        return Err(Error::new(Kind::Forbidden, "custom checkpointdir is not supported").into());
    }
    let descriptors = descriptors.take()?;
    let checkpoint = query.checkpoint.filter(|name| !name.is_empty());
    let change = match checkpoint {
        Some(_) if !descriptors.is_empty() => {
            return Err(Error::invalid("a restored container takes no descriptors").into());
        }
        Some(checkpoint) => {
            let checkpoint = checkpoint.parse()?;
            engine.restore_container(&name, checkpoint).await?
        }
        None => engine.start_container(&name, descriptors).await?,
    };
    Ok(changed(change))
}

/// The shortest JSON object that could have been a configuration (moby `postContainersStart`).
const START_BODY_BYTES_MAX: u64 = 7;

/// Until 1.23 a start could carry a configuration; what still sends one must not believe that it
/// counted.
fn refuse_body(headers: &HeaderMap) -> model::Result<()> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || length.is_some_and(|bytes| bytes > START_BODY_BYTES_MAX);
    if has_body {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and \
             removed in v1.24",
        ));
    }
    Ok(())
}

/// The query of a stop or restart.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct StopQuery {
    /// The first signal (API 1.42).
    signal: Option<String>,
    /// Seconds before it is killed; -1 waits for ever.
    #[param(value_type = Option<i64>)]
    t: Option<String>,
}

impl StopQuery {
    fn translate(&self, version: ApiVersion) -> model::Result<StopContainer> {
        let signal = self
            .signal
            .as_deref()
            .filter(|word| !word.is_empty() && version >= ApiVersion::v1(42));
        Ok(StopContainer {
            signal: signal.map(str::parse).transpose()?,
            timeout_s: integer(self.t.as_deref())?,
        })
    }
}

/// Stop a container
#[utoipa::path(post, path = "/containers/{id}/stop", operation_id = "ContainerStop",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), StopQuery),
    responses(
        (status = 204, description = "It was stopped"),
        (status = 304, description = "It did not run"),
        (status = 400, description = "Bad parameter", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
    ))]
async fn stop(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<StopQuery>,
) -> ApiResult {
    let stop = query.translate(version)?;
    Ok(changed(engine.stop_container(&name, stop).await?))
}

/// Restart a container
#[utoipa::path(post, path = "/containers/{id}/restart", operation_id = "ContainerRestart",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), StopQuery),
    responses(
        (status = 204, description = "It was restarted"),
        (status = 400, description = "Bad parameter", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
    ))]
async fn restart(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<StopQuery>,
) -> ApiResult {
    let stop = query.translate(version)?;
    engine.restart_container(&name, stop).await?;
    Ok(reply::no_content())
}

/// The query of a kill.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct KillQuery {
    /// The signal, by name or number; `KILL` when empty.
    signal: Option<String>,
}

/// Send a signal to a container
#[utoipa::path(post, path = "/containers/{id}/kill", operation_id = "ContainerKill",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), KillQuery),
    responses(
        (status = 204, description = "It was sent"),
        (status = 400, description = "Bad signal", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It does not run", body = ErrorResponse),
    ))]
async fn kill(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<KillQuery>,
) -> ApiResult {
    let told = format!("cannot kill container: {name}");
    let signal = match query.signal.as_deref().unwrap_or_default() {
        "" => Signal::KILL,
        word => word.parse().context(&told)?,
    };
    engine.kill_container(&name, signal).await.context(&told)?;
    Ok(reply::no_content())
}

fn changed(change: Change) -> Response {
    match change {
        Change::Done => reply::no_content(),
        Change::Already => StatusCode::NOT_MODIFIED.into_response(),
    }
}
