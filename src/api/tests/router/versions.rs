//! Version prefixes, paths nobody knows, and the headers of routed answers.

use api::{ApiVersion, Options};
use axum::body::Body;
use axum::http::Request;

use super::{send, send_with};

#[tokio::test]
async fn a_version_out_of_range_is_refused_in_dockers_words() {
    let new = send("GET", "/v1.99/info").await;
    new.assert_error(
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.47",
    );
    assert_eq!(new.header("api-version"), Some("1.47"));
    send("GET", "/v1.23/info").await.assert_error(
        400,
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade \
         your client to a newer version",
    );
}

#[tokio::test]
async fn the_operator_can_narrow_the_range() {
    let options = Options::new(ApiVersion::v1(44), ApiVersion::v1(45)).unwrap();
    let ask = |path: &str| send_with(options, Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(ask("/v1.43/version").await.status, 400);
    assert_eq!(ask("/v1.46/version").await.status, 400);
    let version = ask("/v1.44/version").await;
    assert_eq!(version.header("api-version"), Some("1.45"));
    assert_eq!(version.json()["ApiVersion"], "1.45");
    assert_eq!(version.json()["MinAPIVersion"], "1.44");
}

#[tokio::test]
async fn every_version_between_is_served() {
    for minor in 24..=47 {
        let answer = send("GET", &format!("/v1.{minor}/version")).await;
        assert_eq!(answer.status, 200, "1.{minor}");
    }
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_plain_404_without_dockers_headers() {
    for (method, path) in [
        ("GET", "/nosuch"),
        ("GET", "/v1.45/nosuch"),
        ("GET", "/v1.99/nosuch"),
        ("GET", "/"),
        ("GET", "/v1.47"),
        ("GET", "/info/"),
        ("PATCH", "/info"),
        ("DELETE", "/version"),
        ("GET", "/containers/create"),
        // buildx takes these as "no BuildKit here".
        ("POST", "/grpc"),
        ("POST", "/session"),
    ] {
        let answer = send(method, path).await;
        answer.assert_error(404, "page not found");
        for header in [
            "api-version",
            "ostype",
            "server",
            "docker-experimental",
            "allow",
        ] {
            assert_eq!(answer.header(header), None, "{method} {path}: {header}");
        }
    }
}

/// axum would answer HEAD with what GET has; Docker does not.
#[tokio::test]
async fn head_is_known_only_where_docker_has_it() {
    for path in ["/info", "/version", "/volumes", "/v1.45/images/json"] {
        let answer = send("HEAD", path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, ""));
        assert_eq!(answer.header("api-version"), None, "{path}");
    }
}

#[tokio::test]
async fn routed_answers_carry_dockers_headers_errors_included() {
    for path in ["/info", "/v1.30/swarm", "/system/df", "/v1.99/info"] {
        let answer = send("GET", path).await;
        assert_eq!(answer.header("api-version"), Some("1.47"), "{path}");
        assert_eq!(answer.header("ostype"), Some("linux"));
        assert_eq!(answer.header("docker-experimental"), Some("false"));
        assert!(answer.header("server").unwrap().starts_with("Moored/"));
    }
}
