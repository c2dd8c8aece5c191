//! `/volumes`: what is decided before the engine is asked.

use super::send_body;

#[tokio::test]
async fn what_no_local_volume_can_be_is_refused() {
    let create =
        |body: &'static str| send_body("POST", "/volumes/create", "application/json", body);
    create(r#"{"Name":"v","Driver":"nfs"}"#).await.assert_error(
        404,
        "create v: error looking up volume plugin nfs: plugin \"nfs\" not found",
    );
    create(r#"{"Name":"v","DriverOpts":{"type":"tmpfs"}}"#)
        .await
        .assert_error(501, "DriverOpts is not implemented by moored yet");
    create(r#"{"Name":"v","ClusterVolumeSpec":{}}"#)
        .await
        .assert_error(501, "ClusterVolumeSpec is not implemented by moored yet");
    create(r#"{"Name":"a/b","DriverOpts":null,"ClusterVolumeSpec":null,"Nosuch":1}"#)
        .await
        .assert_error(
            400,
            "create a/b: \"a/b\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
             directory, use absolute path",
        );
}
