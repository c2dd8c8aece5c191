//! `/containers`: create, start, stop, wait, attach and the rest of a container's life.

mod archive;
mod attach;
mod attach_ws;
mod change;
mod checkpoint;
mod create;
mod end;
mod inspect;
mod list;
mod logs;
mod run;
mod stats;
mod transfer;
mod update;
mod wait;

pub(super) use attach::content_type;
use engine::Engine;
pub(super) use list::rows;
use utoipa_axum::router::OpenApiRouter;
pub(super) use wait::outcome_later;

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .merge(list::router())
        .merge(create::router())
        .merge(inspect::router())
        .merge(run::router())
        .merge(change::router())
        .merge(update::router())
        .merge(wait::router())
        .merge(attach::router())
        .merge(attach_ws::router())
        .merge(logs::router())
        .merge(stats::router())
        .merge(checkpoint::router())
        .merge(archive::router())
        .merge(transfer::router())
        .merge(end::router())
}
