//! `/networks` and `/plugins`: what is decided before the engine is asked.

use super::{send, send_body};

const JSON: &str = "application/json";

#[tokio::test]
async fn what_no_network_can_be_is_refused() {
    let create = |body: &'static str| send_body("POST", "/networks/create", JSON, body);
    create(r#"{"Name":"n","Driver":"overlay"}"#).await.assert_error(
        403,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
         connect this node to swarm and try again.",
    );
    create(r#"{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.1/8"}]}}"#)
        .await
        .assert_error(
            400,
            "invalid network config:\ninvalid subnet 10.0.0.1/8: it should be 10.0.0.0/8",
        );
    create(r#"{"Name":"n","ConfigOnly":true}"#)
        .await
        .assert_error(501, "ConfigOnly is not implemented by moored yet");
}

#[tokio::test]
async fn nobody_finds_what_is_not_there() {
    for path in ["/networks/nosuch", "/networks/host?scope=swarm"] {
        let name = &path["/networks/".len()..];
        let name = name.split('?').next().unwrap();
        let message = format!("network {name} not found");
        send("GET", path).await.assert_error(404, &message);
    }
    send("DELETE", "/networks/nosuch")
        .await
        .assert_error(404, "network nosuch not found");
    send("GET", "/networks/host?verbose=maybe")
        .await
        .assert_error(
            400,
            "invalid value for verbose: maybe: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
}

#[tokio::test]
async fn bad_settings_are_told_before_anything_is_looked_for() {
    let body = r#"{"Container":"c","EndpointConfig":{"Aliases":["a"]}}"#;
    send_body("POST", "/networks/bridge/connect", JSON, body)
        .await
        .assert_error(
            400,
            "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in \
             user defined networks",
        );
}

#[tokio::test]
async fn there_are_no_plugins() {
    let answer = send(
        "GET",
        "/plugins?filters=%7B%22enabled%22%3A%5B%22true%22%5D%7D",
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "[]\n")
    );
    send("GET", "/plugins?filters=%7B%22x%22%3A%5B%22y%22%5D%7D")
        .await
        .assert_error(400, "invalid filter 'x'");
}
