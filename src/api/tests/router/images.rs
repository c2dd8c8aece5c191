//! `/images`: what is decided before the engine is asked.

use super::{send, send_body};

#[tokio::test]
async fn a_bad_create_asks_nobody() {
    send("POST", "/v1.45/images/create?fromImage=BusyBox&tag=latest")
        .await
        .assert_error(
            400,
            "invalid reference format: repository name (library/BusyBox) must be lowercase",
        );
    send("POST", "/images/create?fromImage=x&tag=sha256:00")
        .await
        .assert_error(400, "invalid digest: \"sha256:00\"");
    send("POST", "/images/create?fromImage=x&platform=nosuch")
        .await
        .assert_error(
            400,
            "\"nosuch\": unknown operating system or architecture: invalid argument",
        );
    send("POST", "/images/create?fromSrc=http://x/y.tar")
        .await
        .assert_error(
            501,
            "importing from a URL (fromSrc) is not implemented by moored yet",
        );
    send("POST", "/images/create")
        .await
        .assert_error(400, "one of fromImage and fromSrc must be given");
}

#[tokio::test]
async fn a_bad_name_is_refused_before_the_body_is_read() {
    let answer = send_body(
        "POST",
        "/images/create?fromSrc=-&repo=UPPER",
        "application/x-tar",
        vec![0; 1024],
    )
    .await;
    answer.assert_error(
        400,
        "invalid reference format: repository name (library/UPPER) must be lowercase",
    );
    send("POST", "/images/x/tag?repo=a&tag=%20")
        .await
        .assert_error(400, "invalid tag format");
    send("POST", "/images/x/tag")
        .await
        .assert_error(400, "invalid reference format");
}
