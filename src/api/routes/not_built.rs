//! Everything else Docker has: an honest 501 for each, 503 for swarm's.
//!
//! With the routes that are built this table is the whole of Docker's API; a test compares the
//! two with the full list, so an endpoint leaves this table when it enters a routes file.
//! `/session` and `/grpc` are in neither: buildx takes their 404 as "no BuildKit here" and
//! brings its own, any other answer as a failure.

use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use engine::Engine;
use model::{Error, Kind};

use translate::NotBuilt;
pub(crate) use translate::network::NO_SWARM;
use web::error::ApiError;

/// An endpoint: method and Docker's path.
pub type Endpoint = (Method, &'static str);

/// The endpoints that are not built.
pub const NOT_BUILT: &[Endpoint] = &[
    (Method::POST, "/build"),
    (Method::POST, "/build/cancel"),
    (Method::GET, "/images/{name}/attestations"),
    (Method::GET, "/images/search"),
    (Method::GET, "/plugins/privileges"),
    (Method::POST, "/plugins/pull"),
    (Method::POST, "/plugins/create"),
    (Method::GET, "/plugins/{name}/json"),
    (Method::DELETE, "/plugins/{name}"),
    (Method::POST, "/plugins/{name}/enable"),
    (Method::POST, "/plugins/{name}/disable"),
    (Method::POST, "/plugins/{name}/upgrade"),
    (Method::POST, "/plugins/{name}/push"),
    (Method::POST, "/plugins/{name}/set"),
    (Method::GET, "/debug/vars"),
    (Method::GET, "/debug/pprof/{name}"),
];

/// Swarm's endpoints: this engine is never part of one.
pub const SWARM: &[Endpoint] = &[
    (Method::GET, "/nodes"),
    (Method::GET, "/nodes/{id}"),
    (Method::DELETE, "/nodes/{id}"),
    (Method::POST, "/nodes/{id}/update"),
    (Method::GET, "/swarm"),
    (Method::POST, "/swarm/init"),
    (Method::POST, "/swarm/join"),
    (Method::POST, "/swarm/leave"),
    (Method::POST, "/swarm/update"),
    (Method::GET, "/swarm/unlockkey"),
    (Method::POST, "/swarm/unlock"),
    (Method::GET, "/services"),
    (Method::POST, "/services/create"),
    (Method::GET, "/services/{id}"),
    (Method::DELETE, "/services/{id}"),
    (Method::POST, "/services/{id}/update"),
    (Method::GET, "/services/{id}/logs"),
    (Method::GET, "/tasks"),
    (Method::GET, "/tasks/{id}"),
    (Method::GET, "/tasks/{id}/logs"),
    (Method::GET, "/secrets"),
    (Method::POST, "/secrets/create"),
    (Method::GET, "/secrets/{id}"),
    (Method::DELETE, "/secrets/{id}"),
    (Method::POST, "/secrets/{id}/update"),
    (Method::GET, "/configs"),
    (Method::POST, "/configs/create"),
    (Method::GET, "/configs/{id}"),
    (Method::DELETE, "/configs/{id}"),
    (Method::POST, "/configs/{id}/update"),
];

/// The routes of both tables.
pub fn router() -> Router<Engine> {
    let mut router = Router::new();
    for (method, path) in NOT_BUILT {
        router = match *path {
            PLUGIN => router.route(path, get(unknown_plugin)),
            _ => router.route(path, refusing(method, || not_built(method, path))),
        };
    }
    for (method, path) in SWARM {
        router = router.route(path, refusing(method, no_swarm));
    }
    router
}

const PLUGIN: &str = "/plugins/{name}/json";

/// There are no plugins.
async fn unknown_plugin(Path(name): Path<String>) -> Response {
    let shown: String = name.chars().take(256).collect();
    ApiError(Error::not_found(format!("plugin {shown:?} not found"))).into_response()
}

/// The refusal of one endpoint.
pub(crate) fn not_built(method: &Method, path: &str) -> Response {
    ApiError(NotBuilt::error(&format!("{method} {path}"))).into_response()
}

fn no_swarm() -> Response {
    ApiError(Error::new(Kind::Unavailable, NO_SWARM)).into_response()
}

fn refusing(
    method: &Method,
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> MethodRouter<Engine> {
    let filter = MethodFilter::try_from(method.clone())
        .expect("the tables hold methods that axum can route");
    on(filter, move || std::future::ready(answer()))
}
