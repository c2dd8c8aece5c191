//! Requests that are wrong in themselves: bodies, queries, filters.

use super::{send, send_body};

const CREATE: &str = "/v1.45/volumes/create";

#[tokio::test]
async fn broken_json_is_told_in_gos_words() {
    let answer = send_body("POST", CREATE, "application/json", "{bad").await;
    answer.assert_error(
        400,
        "invalid JSON: invalid character 'b' looking for beginning of object key string",
    );
    send_body("POST", CREATE, "application/json", "{")
        .await
        .assert_error(400, "invalid JSON: unexpected EOF");
    send_body("POST", CREATE, "application/json", "{} x")
        .await
        .assert_error(400, "unexpected content after JSON");
}

#[tokio::test]
async fn wrong_types_and_depth_are_refused() {
    for body in [r#"{"Name":1}"#, "[]", r#"{"Labels":["a"]}"#] {
        let answer = send_body("POST", CREATE, "application/json", body).await;
        assert_eq!(answer.status, 400, "{body}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("invalid JSON: "), "{message}");
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    send_body("POST", CREATE, "application/json", deep)
        .await
        .assert_error(400, "invalid JSON: exceeded max depth");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let body = format!("{{\"Name\":\"{}\"}}", "a".repeat(5 << 20));
    let answer = send_body("POST", CREATE, "application/json", body).await;
    answer.assert_error(400, "request body is larger than 4194304 bytes");
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    send_body("POST", CREATE, "text/plain", "{}")
        .await
        .assert_error(
            400,
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        );
    // A charset is fine, and so is no content type without a body.
    let answer = send_body("POST", CREATE, "application/json; charset=utf-8", "{bad").await;
    assert!(answer.body.contains("invalid JSON"));
    let request = http::Request::post(CREATE)
        .body(axum::body::Body::from("{}"))
        .unwrap();
    super::send_with(api::Options::default(), request)
        .await
        .assert_error(400, "malformed Content-Type header (): mime: no media type");
}

#[tokio::test]
async fn malformed_filters_and_queries_are_refused() {
    send("GET", "/volumes?filters=%7Bbad")
        .await
        .assert_error(400, "invalid filter");
    send("GET", "/volumes?filters=%zz")
        .await
        .assert_error(400, "invalid URL escape \"%zz\"");
    send("GET", "/images/%FF/json")
        .await
        .assert_error(400, "Invalid URL: Invalid UTF-8 in `name`");
}
