//! The router in this process, request by request, beside the bytes that dockerd 26 answered.
//!
//! What needs a container, an image or a file is not here; the whole daemon's tests have that.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod containers;
mod coverage;
mod errors;
mod images;
mod networks;
mod openapi;
mod ping;
mod system;
mod versions;
mod volumes;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use api::Options;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use engine::{Config, Engine, Host, RuntimeConfig};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Docker's form of an error, byte for byte.
    #[track_caller]
    fn assert_error(&self, status: u16, message: &str) {
        let message = serde_json::to_string(message).unwrap();
        assert_eq!(self.body, format!("{{\"message\":{message}}}\n"));
        assert_eq!(self.status, status);
        assert_eq!(self.header("content-type"), Some("application/json"));
    }
}

/// An engine on empty roots; the requests here never reach further.
async fn engine(roots: &Path) -> Engine {
    let run_root = roots.join("run");
    let mut runtime = RuntimeConfig::new(&run_root);
    // Nothing is to run here, a probe for the best runtime neither.
    runtime.default_runtime = Some("runc".to_owned());
    let config = Config {
        networks: Default::default(),
        api_sockets: Vec::new(),
        registries: engine::RegistrySettings::default(),
        labels: Vec::new(),
        data_root: roots.join("data"),
        runtime,
        run_root,
        spill_bytes_max: 0,
        log_default: model::LogConfig::default(),
        selinux: false,
        storage_driver: None,
        cdi_dirs: Vec::new(),
        ids: engine::IdSource::default(),
        init_paths: Vec::new(),
    };
    // No two ids are the same.
    let drawn = AtomicU8::new(7);
    let host = Host {
        now: Arc::new(jiff::Timestamp::now),
        random: Arc::new(move || [drawn.fetch_add(1, Ordering::Relaxed); 32]),
        boot_id: "router-test".to_owned(),
    };
    Engine::open(config, host).await.unwrap()
}

async fn send_with(options: Options, request: Request<Body>) -> Answer {
    let roots = tempfile::tempdir().unwrap();
    let engine = engine(roots.path()).await;
    let response = api::app(engine, options).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Sends a request without a body.
async fn send(method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    send_with(Options::default(), request.body(Body::empty()).unwrap()).await
}

/// Sends a request with a body of a content type.
async fn send_body(method: &str, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(body.into())
        .unwrap();
    send_with(Options::default(), request).await
}
