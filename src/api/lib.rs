//! Docker's Engine API, path by path: routing, versions, and what each handler does.
//!
//! A handler translates, makes one call of the engine and translates the answer back; it
//! decides nothing and checks no state first (a check before the call is a race). What Docker
//! wrote on the wire is spelled in [`wire`] and nowhere else; large translations stand in
//! [`translate`].
//!
//! A request passes, in this order: [`web::serve`] (the connection), `normalise` (version prefix
//! off, slashes of names encoded, headers on the answer), the router, the gate, the
//! extractors of [`web::extract`], the handler in [`routes`]. Every error leaves through
//! [`web::error`].
//!
//! This room must never see the ledger, the layers, the runtime or a system call.

mod gate;
mod normalise;
pub mod routes;

use std::convert::Infallible;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use engine::Engine;
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tower::{Layer as _, ServiceExt as _};
use utoipa::openapi::OpenApi;
use web::error;

pub use translate::container::log_default;
pub use wire::version::{ApiVersion, Options};

/// The whole API as one service, ready for [`web::serve`].
pub fn app(engine: Engine, options: Options) -> Router {
    let (router, _document) = routes::all().split_for_parts();
    let routed = router.merge(routes::not_built::router());
    dressed(routed.with_state(engine), options)
}

/// The same for an engine that is being opened: it answers `/_ping` at once, and everything else
/// when [`Opening::opened`] was called, so that nobody is told half the truth.
pub fn app_to_be(options: Options) -> (Opening, Router) {
    let (router, _document) = routes::system::early_router().split_for_parts();
    let early = dressed(router, options);
    let (app, opened) = watch::channel(None);
    let handler = move |request: Request| {
        let (early, mut opened) = (early.clone(), opened.clone());
        async move {
            if is_ping(request.uri().path()) {
                return early.oneshot(request).await;
            }
            let app: Option<Router> = match opened.wait_for(Option::is_some).await {
                Ok(app) => app.clone(),
                // The daemon ends, for the engine could not be opened.
                Err(_) => None,
            };
            match app {
                Some(app) => app.oneshot(request).await,
                None => Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
            }
        }
        .map(|answer: Result<Response, Infallible>| match answer {
            Ok(answer) => answer,
            Err(never) => match never {},
        })
    };
    (Opening { app, options }, Router::new().fallback(handler))
}

/// The engine behind [`app_to_be`].
#[derive(Debug)]
pub struct Opening {
    app: watch::Sender<Option<Router>>,
    options: Options,
}

impl Opening {
    /// It is there: everything is answered.
    pub fn opened(self, engine: Engine) {
        self.app.send_replace(Some(app(engine, self.options)));
    }
}

/// With a version in front or without; the gate looks at that.
fn is_ping(path: &str) -> bool {
    path == "/_ping" || (path.starts_with("/v") && path.ends_with("/_ping"))
}

fn dressed(routed: Router, options: Options) -> Router {
    let routed = routed
        // The gate wraps matched routes only, so it must come before the fallbacks: an unknown
        // path of a bad version is Docker's plain 404.
        .route_layer(middleware::from_fn_with_state(options, gate::gate))
        .fallback(error::page_not_found)
        .method_not_allowed_fallback(error::page_not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(axum::Extension(options));
    // A router's own layers run after routing; rewriting the path must happen before it, hence
    // a router whose only route is "everything, through the normaliser".
    let normalised = middleware::from_fn_with_state(options, normalise::around).layer(routed);
    Router::new().fallback_service(normalised)
}

/// The OpenAPI 3.1 document of everything that is built, generated from the handlers.
pub fn openapi() -> OpenApi {
    routes::all().into_openapi()
}

/// [`openapi`] as text: what `moored openapi` prints and what is committed as
/// `openapi/moored.json`.
pub fn openapi_json() -> String {
    let mut text = openapi()
        .to_pretty_json()
        .expect("the document is maps with string keys");
    text.push('\n');
    text
}
