//! The routes, one file or directory per resource, named as Docker's paths and the tags of the
//! OpenAPI document are.

#![expect(
    unused_qualifications,
    reason = "utoipa::path repeats the names of query structs"
)]

pub mod containers;
pub mod distribution;
pub mod events;
pub mod execs;
pub mod images;
pub mod networks;
pub mod not_built;
pub mod plugins;
pub mod system;
pub mod usage;
pub mod volumes;

use engine::Engine;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use wire::Document;

/// Every route that is built, with its description.
pub fn all() -> OpenApiRouter<Engine> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(system::router())
        .merge(containers::router())
        .merge(events::router())
        .merge(execs::router())
        .merge(images::router())
        .merge(networks::router())
        .merge(plugins::router())
        .merge(distribution::router())
        .merge(usage::router())
        .merge(volumes::router())
}
