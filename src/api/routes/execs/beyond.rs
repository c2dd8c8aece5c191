//! What Docker has not: sessions listed, waited for, signalled, stopped, forgotten, and attached
//! to again.

use std::time::Duration;

use axum::extract::State;
use engine::Engine;
use model::{Signal, limits};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::WaitResponse;
use wire::exec::ExecInspect;

use crate::routes::containers::{content_type, outcome_later};
use web::error::ApiResult;
use web::extract::{DockerBool, Name, Query, integer};
use web::reply;
use web::serve::hijack::Hijack;
use web::session;
use web::version::Asked;

pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(attach))
        .routes(routes!(wait))
        .routes(routes!(kill))
        .routes(routes!(stop))
        .routes(routes!(remove))
}

/// List a container's exec sessions
///
/// Oldest first; those that ended in the last five minutes are among them. Not Docker's.
#[utoipa::path(get, path = "/moored/containers/{id}/execs", operation_id = "MooredExecList",
    tag = "Exec",
    params(("id" = String, Path, description = "Id, id prefix or name of the container")),
    responses(
        (status = 200, description = "The sessions", body = Vec<ExecInspect>),
        (status = 404, description = "No such container", body = ErrorResponse),
    ))]
async fn list(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    let sessions = engine.container_execs(&name)?.into_iter();
    let shown: Vec<ExecInspect> = sessions.map(ExecInspect::from).collect();
    Ok(reply::json(&shown))
}

/// The query of an attach.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AttachQuery {
    /// How many bytes of the output the client has already, both streams together and without
    /// frames: it gets what comes after those, as far as that is there.
    #[param(value_type = u64, required = false)]
    since: Option<String>,
}

/// Attach to an exec session that runs
///
/// As starting it attached: what it writes from now on, or with `since` from that byte on, and
/// its stdin. `Moored-Offset` in the head is then the number of the first byte that comes: what
/// lacks between the two is kept no more. A session with `KeepOutput` has what is in its log, two
/// files of 8 MiB, whatever becomes of the daemon, and can be attached to with `since` for an hour
/// after its end; any other up to 512 KiB, while it runs and only from the daemon that started it.
/// Not Docker's.
#[utoipa::path(post, path = "/moored/exec/{id}/attach", operation_id = "MooredExecAttach",
    tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"), AttachQuery),
    responses(
        (status = 101, description = "The streams, after an Upgrade header",
            headers(("Moored-Offset" = u64, description = "Of the first byte, with `since`"))),
        (status = 200, description = "The streams, without one",
            headers(("Moored-Offset" = u64, description = "Of the first byte, with `since`")),
            content((Vec<u8> = "application/vnd.docker.raw-stream"))),
        (status = 400, description = "It has written less than `since`", body = ErrorResponse),
        (status = 404, description = "No such session", body = ErrorResponse),
        (status = 409, description = "It is over; with `since` also: it was not started, or its output is not kept", body = ErrorResponse),
    ))]
async fn attach(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(id): Name,
    Query(query): Query<AttachQuery>,
    mut hijack: Hijack,
) -> ApiResult {
    let since = integer(query.since.as_deref())?.map(|since| {
        let negative = |_| model::Error::invalid(format!("invalid offset: {since}"));
        u64::try_from(since).map_err(negative)
    });
    let attachment = engine.attach_exec(&id, since.transpose()?).await?;
    if let Some(offset) = attachment.begins_at {
        hijack = hijack.own_header("Moored-Offset", offset);
    }
    let kind = content_type(attachment.tty, version);
    Ok(hijack.respond(kind, move |io| session::session(attachment, io)))
}

/// Wait for an exec session's end
///
/// The head of the answer is sent at once. Not Docker's.
#[utoipa::path(post, path = "/moored/exec/{id}/wait", operation_id = "MooredExecWait",
    tag = "Exec",
    params(("id" = String, Path, description = "Id of the session")),
    responses(
        (status = 200, description = "It has ended", body = WaitResponse),
        (status = 404, description = "No such session", body = ErrorResponse),
    ))]
async fn wait(State(engine): State<Engine>, Name(id): Name) -> ApiResult {
    Ok(outcome_later(engine.wait_exec(&id)?))
}

/// The query of a kill.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct KillQuery {
    /// The signal, by name or number; `KILL` when empty.
    signal: Option<String>,
}

/// Send a signal to an exec session's process
///
/// Not Docker's.
#[utoipa::path(post, path = "/moored/exec/{id}/kill", operation_id = "MooredExecKill",
    tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"), KillQuery),
    responses(
        (status = 204, description = "It was sent"),
        (status = 400, description = "Bad signal", body = ErrorResponse),
        (status = 404, description = "No such session", body = ErrorResponse),
        (status = 409, description = "It does not run", body = ErrorResponse),
    ))]
async fn kill(
    State(engine): State<Engine>,
    Name(id): Name,
    Query(query): Query<KillQuery>,
) -> ApiResult {
    let signal = match query.signal.as_deref().unwrap_or_default() {
        "" => Signal::KILL,
        text => text.parse()?,
    };
    engine.kill_exec(&id, signal).await?;
    Ok(reply::no_content())
}

/// The query of a stop.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct StopQuery {
    /// Seconds between SIGTERM and SIGKILL; 10 when not given.
    #[param(value_type = u32, required = false)]
    t: Option<String>,
}

/// Stop an exec session
///
/// SIGTERM, then SIGKILL. One that has ended is no error. Not Docker's.
#[utoipa::path(post, path = "/moored/exec/{id}/stop", operation_id = "MooredExecStop",
    tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"), StopQuery),
    responses(
        (status = 204, description = "It has ended"),
        (status = 400, description = "Bad time", body = ErrorResponse),
        (status = 404, description = "No such session", body = ErrorResponse),
        (status = 409, description = "It was not started", body = ErrorResponse),
    ))]
async fn stop(
    State(engine): State<Engine>,
    Name(id): Name,
    Query(query): Query<StopQuery>,
) -> ApiResult {
    let grace = match integer(query.t.as_deref())? {
        None => limits::STOP_GRACE_DEFAULT,
        Some(seconds) => Duration::from_secs(
            u64::try_from(seconds)
                .map_err(|_| model::Error::invalid(format!("invalid time to wait: {seconds} s")))?,
        ),
    };
    engine.stop_exec(&id, grace).await?;
    Ok(reply::no_content())
}

/// The query of a removal.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Kill it first if it runs.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    force: DockerBool,
}

/// Forget an exec session
///
/// Not Docker's, which forgets them by itself, as this engine does too.
#[utoipa::path(delete, path = "/moored/exec/{id}", operation_id = "MooredExecRemove",
    tag = "Exec",
    params(("id" = String, Path, description = "Id of the session"), RemoveQuery),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "No such session", body = ErrorResponse),
        (status = 409, description = "It runs, and force is not set", body = ErrorResponse),
    ))]
async fn remove(
    State(engine): State<Engine>,
    Name(id): Name,
    Query(query): Query<RemoveQuery>,
) -> ApiResult {
    engine.remove_exec(&id, query.force.0).await?;
    Ok(reply::no_content())
}
