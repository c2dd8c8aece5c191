//! `/volumes`: what is decided before the engine is asked.

use super::{send, send_body};

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \
    \"docker swarm join\" to connect this node to swarm and try again.";

#[tokio::test]
async fn there_are_no_volumes_of_a_cluster() {
    send("PUT", "/volumes/any").await.assert_error(
        503,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    );
}

#[tokio::test]
async fn what_no_local_volume_can_be_is_refused() {
    let create =
        |body: &'static str| send_body("POST", "/volumes/create", "application/json", body);
    create(r#"{"Name":"v","Driver":"nfs"}"#).await.assert_error(
        404,
        "create v: error looking up volume plugin nfs: plugin \"nfs\" not found",
    );
    create(r#"{"Name":"vv","DriverOpts":{"type":"tmpfs"}}"#)
        .await
        .assert_error(400, "create vv: missing required option: \"device\"");
    create(r#"{"Name":"vv","ClusterVolumeSpec":{}}"#)
        .await
        .assert_error(503, NO_SWARM);
    create(r#"{"Name":"v"}"#).await.assert_error(
        400,
        "create v: volume name is too short, names should be at least two alphanumeric characters",
    );
    create(r#"{"Name":"a/b","DriverOpts":null,"ClusterVolumeSpec":null,"Nosuch":1}"#)
        .await
        .assert_error(
            400,
            "create a/b: \"a/b\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
             directory, use absolute path",
        );
}
