//! Exec sessions: Docker's endpoints, and ours beyond them.

mod beyond;
mod docker;

use engine::Engine;
use utoipa_axum::router::OpenApiRouter;

/// The routes.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .merge(docker::router())
        .merge(beyond::router())
}
