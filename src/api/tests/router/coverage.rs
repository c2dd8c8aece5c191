//! The built routes and the tables of what is not built, together, are Docker's whole API.

use std::collections::BTreeSet;

use api::routes::not_built::{NOT_BUILT, SWARM};
use axum::http::Method;

use super::send;

/// Every endpoint of Docker's router at API 1.56: method, tab, path.
const ENDPOINTS: &str = include_str!("endpoints.tsv");

/// In neither list, on purpose: BuildKit's two have Docker's 404, OPTIONS answers on any path.
const ELSEWHERE: [&str; 3] = ["POST /session", "POST /grpc", "OPTIONS /{any}"];

/// Ours, not Docker's.
const OWN: [&str; 11] = [
    "GET /openapi.json",
    "GET /moored/events",
    "GET /moored/containers/{id}/execs",
    "GET /moored/containers/{id}/checkpoints/{checkpoint}",
    "GET /moored/containers/{id}/checkpoints/{checkpoint}/export",
    "POST /moored/containers/import",
    "POST /moored/exec/{id}/attach",
    "POST /moored/exec/{id}/wait",
    "POST /moored/exec/{id}/kill",
    "POST /moored/exec/{id}/stop",
    "DELETE /moored/exec/{id}",
];

fn built() -> BTreeSet<String> {
    let document = serde_json::to_value(api::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let mut built = BTreeSet::new();
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            built.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    built
}

fn refused() -> BTreeSet<String> {
    NOT_BUILT
        .iter()
        .chain(SWARM)
        .map(|(method, path)| format!("{method} {path}"))
        .collect()
}

#[test]
fn no_endpoint_is_missing_and_none_is_in_both_lists() {
    let (built, refused) = (built(), refused());
    let both: Vec<_> = built.intersection(&refused).collect();
    assert!(both.is_empty(), "built, and still refused: {both:?}");

    let ours: BTreeSet<String> = built.union(&refused).cloned().collect();
    let mut dockers: BTreeSet<String> = ENDPOINTS
        .lines()
        .map(|line| line.replace('\t', " "))
        .collect();
    for endpoint in ELSEWHERE {
        assert!(dockers.remove(endpoint), "{endpoint}");
    }
    dockers.extend(OWN.map(str::to_owned));
    let missing: Vec<_> = dockers.difference(&ours).collect();
    let invented: Vec<_> = ours.difference(&dockers).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not routed at all: {missing:?}\nnot Docker's: {invented:?}"
    );
}

#[tokio::test]
async fn every_refused_endpoint_answers_its_refusal() {
    for (table, status) in [(NOT_BUILT, 501), (SWARM, 503)] {
        for (method, path) in table {
            // Of any plugin it is known that it is not there.
            let status = match *path {
                "/plugins/{name}/json" => 404,
                _ => status,
            };
            let path = path.replace(['{', '}'], "");
            let answer = send(method.as_str(), &path).await;
            assert_eq!(answer.status, status, "{method} {path}");
            let shown = *method == Method::HEAD || answer.json()["message"].is_string();
            assert!(shown, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_plugin_is_not_found() {
    let answer = send("GET", "/plugins/nosuch/json").await;
    answer.assert_error(404, "plugin \"nosuch\" not found");
}
