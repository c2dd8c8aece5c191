//! Versions in the path, unknown paths, and what is not built.

use crate::{daemon, options};
use testkit::Daemon;

fn bare() -> Daemon {
    Daemon::start(options().bare())
}

#[test]
fn versions_beyond_ours_are_refused_in_dockers_words() {
    let d = bare();
    d.http.get("/v1.99/info").expect_error(
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.47",
    );
    d.http.get("/v1.23/info").expect_error(
        400,
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade \
         your client to a newer version",
    );
    for known in ["/v1.24/info", "/v1.47/info", "/info"] {
        d.http.get(known).expect(200);
    }
    d.finish();
}

#[test]
fn an_unknown_path_or_method_is_a_404_without_dockers_headers() {
    let d = bare();
    for (method, path) in [
        ("GET", "/nosuch"),
        ("GET", "/v1.45/nosuch"),
        ("PUT", "/_ping"),
        ("POST", "/containers/json"),
        ("GET", "/"),
    ] {
        let answer = d.http.send(method, path, &[], b"");
        assert_eq!(answer.header("Api-Version"), None, "{method} {path}");
        answer.expect_error(404, "page not found");
    }
    d.finish();
}

#[test]
fn what_is_not_built_says_so() {
    let d = daemon();
    for (method, path) in [
        ("POST", "/images/create?fromSrc=http://x/y.tar"),
        ("GET", "/images/search?term=x"),
        ("POST", "/build"),
    ] {
        let message = d.http.send(method, path, &[], b"").error(501);
        assert_ne!(message, "", "{method} {path}");
    }
    let plugins = d.http.get("/plugins").expect(200);
    assert_eq!(plugins.text(), "[]\n", "there are none");
    for path in ["/swarm", "/services", "/nodes", "/secrets"] {
        let message = d.http.get(path).error(503);
        assert!(
            message.starts_with("This node is not a swarm manager."),
            "{path}: {message}"
        );
    }
    for path in ["/grpc", "/session"] {
        d.http.post(path).expect(404);
    }
    d.finish();
}

#[test]
fn the_openapi_document_is_served_and_knows_the_routes() {
    let d = bare();
    let document = d.http.get("/openapi.json").expect(200).json();
    let version = document["openapi"].as_str().expect("text");
    assert!(version.starts_with("3.1"), "{version}");
    for path in [
        "/_ping",
        "/containers/create",
        "/containers/{id}/attach",
        "/images/load",
        "/volumes/create",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    d.finish();
}
