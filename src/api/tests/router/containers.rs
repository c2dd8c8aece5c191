//! `/containers`: what is refused before the engine is asked.

use axum::http::Request;

use super::{send, send_body};

#[tokio::test]
async fn bad_queries_are_told_in_dockers_words() {
    let table = [
        (
            "GET",
            "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D",
            "invalid filter 'nosuch'",
        ),
        (
            "GET",
            "/containers/json?limit=x",
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "POST",
            "/containers/prune?filters=%7B%22name%22%3A%5B%22x%22%5D%7D",
            "invalid filter 'name'",
        ),
        (
            "GET",
            "/containers/cap1/logs",
            "Bad parameters: you must choose at least one stream",
        ),
        (
            "GET",
            "/containers/cap1/logs?stdout=1&since=x",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "POST",
            "/containers/cap1/wait?condition=never",
            "invalid condition: \"never\"",
        ),
        (
            "POST",
            "/containers/cap2/resize?h=24",
            "strconv.Atoi: parsing \"\": invalid syntax",
        ),
        (
            "POST",
            "/containers/cap1/kill?signal=NOPE",
            "cannot kill container: cap1: invalid signal: NOPE",
        ),
        (
            "POST",
            "/containers/cap1/stop?t=soon",
            "strconv.Atoi: parsing \"soon\": invalid syntax",
        ),
        (
            "POST",
            "/containers/cap1/restart?signal=NOPE",
            "invalid signal: NOPE",
        ),
        (
            "POST",
            "/containers/cap1/rename",
            "Neither old nor new names may be empty",
        ),
        (
            "POST",
            "/containers/cap1/rename?name=..bad",
            "Error when allocating new name: Invalid container name (..bad), only \
             [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
    ];
    for (method, path, message) in table {
        send(method, path).await.assert_error(400, message);
    }
}

#[tokio::test]
async fn a_signal_of_a_stop_is_not_looked_at_before_1_42() {
    let old = send("POST", "/v1.41/containers/cap1/stop?signal=NOPE").await;
    assert_ne!(old.status, 400);
    let new = send("POST", "/v1.42/containers/cap1/stop?signal=NOPE").await;
    assert_eq!(new.status, 400);
}

#[tokio::test]
async fn what_is_not_built_is_named() {
    for (method, path, what) in [
        ("DELETE", "/containers/cap1?link=1", "link"),
        ("GET", "/containers/cap1/checkpoints?dir=/elsewhere", "dir"),
    ] {
        let message = format!("{what} is not implemented by moored yet");
        send(method, path).await.assert_error(501, &message);
    }
}

#[tokio::test]
async fn a_checkpoint_has_a_name_and_docker_words() {
    let start = "/containers/cap1/start?checkpoint=one&checkpoint-dir=/elsewhere";
    let answer = send("POST", start).await;
    answer.assert_error(403, "custom checkpointdir is not supported");
    let message = "Invalid checkpoint ID (..), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed";
    for (method, path) in [
        ("POST", "/containers/cap1/start?checkpoint=.."),
        ("DELETE", "/containers/cap1/checkpoints/.."),
    ] {
        send(method, path).await.assert_error(400, message);
    }
}

#[tokio::test]
async fn a_start_carries_no_configuration() {
    let answer = send_with_length("/containers/cap1/start", r#"{"Binds":null}"#).await;
    answer.assert_error(
        400,
        "starting container with non-empty request body was deprecated since API v1.22 and \
         removed in v1.24",
    );
}

async fn send_with_length(path: &str, body: &'static str) -> super::Answer {
    let request = Request::post(path)
        .header("content-length", body.len())
        .body(body.into())
        .unwrap();
    super::send_with(api::Options::default(), request).await
}

#[tokio::test]
async fn bad_create_requests() {
    let json = "application/json";
    let table = [
        (
            "/containers/create",
            "{bad",
            "invalid JSON: invalid character 'b' looking for beginning of object key string",
        ),
        (
            "/containers/create",
            "",
            "invalid JSON: got EOF while reading request body",
        ),
        (
            "/containers/create",
            "{}",
            "config cannot be empty in order to create a container",
        ),
        (
            "/v1.43/containers/create",
            r#"{"Image":"x","HostConfig":{"Binds":["a:b:c:d"]}}"#,
            "invalid volume specification: 'a:b:c:d'",
        ),
    ];
    for (path, body, message) in table {
        let answer = send_body("POST", path, json, body).await;
        answer.assert_error(400, message);
    }
    let answer = send_body(
        "POST",
        "/containers/create",
        json,
        r#"{"Image":"x","HostConfig":{"Cgroup":"container:b"}}"#,
    )
    .await;
    answer.assert_error(501, "HostConfig.Cgroup is not implemented by moored yet");
}
