//! `POST /containers/{id}/exec`, `POST /exec/{id}/start`, `/resize`, `GET /exec/{id}/json`.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use engine::{Engine, StartExec};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::exec::{ExecConfig, ExecCreateResponse, ExecInspect, ExecStartConfig, size};
use wire::version::{ApiVersion, Options};

use crate::normalise::dress_hijack;
use crate::routes::containers::content_type;
use web::error::ApiResult;
use web::extract::{Descriptors, JsonBody, Name, Query, ResizeQuery};
use web::reply;
use web::serve::hijack::Hijack;
use web::session;
use web::version::Asked;

/// The version from which on a terminal can be told its first size.
const CONSOLE_SIZE_SINCE: ApiVersion = ApiVersion::v1(42);

pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(start))
        .routes(routes!(resize))
        .routes(routes!(inspect))
}

/// Create an exec session
///
/// Nothing runs before it is started. A session that is never started is forgotten after an hour,
/// one that has ended after five minutes.
#[utoipa::path(post, path = "/containers/{id}/exec", operation_id = "ContainerExec", tag = "Exec",
    params(("id" = String, Path, description = "Id, id prefix or name of the container")),
    request_body = ExecConfig,
    responses(
        (status = 201, description = "It was made", body = ExecCreateResponse),
        (status = 400, description = "No command, or bad JSON", body = ErrorResponse),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "It does not run, or is paused", body = ErrorResponse),
        (status = 503, description = "There are too many sessions", body = ErrorResponse),
    ))]
async fn create(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    body: JsonBody,
) -> ApiResult {
    let mut config: ExecConfig = body.parse()?;
    if version < CONSOLE_SIZE_SINCE {
        config.console_size = None;
    }
    let id = engine.create_exec(&name, config.into_spec()).await?;
    let id = id.to_string();
    Ok(reply::json_with_status(
        StatusCode::CREATED,
        &ExecCreateResponse { id },
    ))
}

/// Start an exec session
///
/// Unless it is to be detached the connection is taken over: after the head both directions are
/// raw bytes, output framed by stream unless `Tty` is set here. A command that cannot be run is
/// told there, and the session's exit code is 126. With `Moored-Descriptors: N` the N descriptors
/// that come with the request over the socket (`SCM_RIGHTS`) are the process's from 3 up. That is not
/// Docker's.
#[utoipa::path(post, path = "/exec/{id}/start", operation_id = "ExecStart", tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"),
        ("Moored-Descriptors" = Option<u32>, Header, description = "How many descriptors come with the request")),
    request_body = ExecStartConfig,
    responses(
        (status = 101, description = "The streams, after an Upgrade header"),
        (status = 200, description = "The streams, without one; nothing when detached",
            content((Vec<u8> = "application/vnd.docker.raw-stream"))),
        (status = 400, description = "Bad JSON; detached: the command cannot be run", body = ErrorResponse),
        (status = 404, description = "No such session", body = ErrorResponse),
        (status = 409, description = "The container does not run or is paused; detached: it was started before", body = ErrorResponse),
        (status = 500, description = "Detached: the host cannot run it", body = ErrorResponse),
        (status = 503, description = "Detached: too many starts are at work", body = ErrorResponse),
    ))]
async fn start(
    State(engine): State<Engine>,
    Extension(options): Extension<Options>,
    Asked(version): Asked,
    Name(id): Name,
    hijack: Hijack,
    descriptors: Descriptors,
    body: JsonBody,
) -> ApiResult {
    let config: ExecStartConfig = body.parse()?;
    let sized = config.tty && version >= CONSOLE_SIZE_SINCE;
    let request = StartExec {
        detach: config.detach,
        tty: config.tty,
        console_size: config.console_size.filter(|_| sized).and_then(size),
        descriptors: descriptors.take()?.into(),
    };
    if config.detach {
        engine.start_exec(&id, request).await?;
        return Ok(StatusCode::OK.into_response());
    }
    engine.check_exec(&id)?;
    let tty = config.tty;
    // Docker takes the connection first: what the start says goes through it. The command need
    // not wait until the client has read the head.
    let started = tokio::spawn(async move { engine.start_exec(&id, request).await });
    Ok(
        dress_hijack(hijack, options).respond(content_type(tty, version), move |io| async move {
            match started.await {
                Ok(Ok(Some(attachment))) => session::session(attachment, io).await,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => session::refuse(&error, tty, io).await,
                Err(error) => tracing::error!(%error, "a start ended early"),
            }
        }),
    )
}

/// Resize an exec session's terminal
///
/// Before the start it is the size that the terminal will have.
#[utoipa::path(post, path = "/exec/{id}/resize", operation_id = "ExecResize", tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"), ResizeQuery),
    responses(
        (status = 200, description = "It was resized"),
        (status = 400, description = "Bad size", body = ErrorResponse),
        (status = 404, description = "No such session, or it is over", body = ErrorResponse),
    ))]
async fn resize(
    State(engine): State<Engine>,
    Name(id): Name,
    Query(query): Query<ResizeQuery>,
) -> ApiResult {
    let (height, width) = query.size()?;
    engine.resize_exec(&id, height, width).await?;
    Ok(StatusCode::OK.into_response())
}

/// Inspect an exec session
#[utoipa::path(get, path = "/exec/{id}/json", operation_id = "ExecInspect", tag = "Exec",
    params(("id" = String, Path, description = "Id of the session")),
    responses(
        (status = 200, description = "The session", body = ExecInspect),
        (status = 404, description = "No such session", body = ErrorResponse),
    ))]
async fn inspect(State(engine): State<Engine>, Name(id): Name) -> ApiResult<Response> {
    Ok(reply::json(&ExecInspect::from(engine.exec(&id)?)))
}
