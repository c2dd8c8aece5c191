//! Blobs on their way to a registry.

use bytes::Bytes;
use model::Blob;

use super::*;

fn blob(content: &[u8]) -> Blob {
    Blob {
        digest: digest_of(content),
        size_bytes: content.len() as u64,
        media_type: String::new(),
    }
}

fn pieces(content: &[u8]) -> impl futures_core::Stream<Item = std::io::Result<Bytes>> + use<> {
    let pieces: Vec<_> = content
        .chunks(5)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    futures_util::stream::iter(pieces)
}

#[tokio::test]
async fn a_blob_is_sent_in_one_go_and_named_at_the_end() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "POST" => Answer::new(202, "").with("Location", "/v2/a/b/blobs/uploads/1?state=x"),
        "PATCH" => Answer::new(202, "").with("Location", "/v2/a/b/blobs/uploads/1?state=y"),
        "PUT" => Answer::new(201, ""),
        _ => Answer::new(200, ""),
    })
    .await;
    let registries = registries(Settings::default());
    let target = registries
        .target(&named(&fake), Credentials::Anonymous)
        .await
        .unwrap();
    let mut upload = target.begin().await.unwrap();
    upload.send(pieces(b"some content")).await.unwrap();
    upload.commit(&blob(b"some content")).await.unwrap();
    let asked = fake.asked();
    let targets: Vec<_> = asked.iter().map(|a| a.target.as_str()).collect();
    let digest = digest_of(b"some content").to_string().replace(':', "%3A");
    assert_eq!(
        targets,
        [
            "/v2/a/b/blobs/uploads/".to_owned(),
            "/v2/a/b/blobs/uploads/1?state=x".to_owned(),
            format!("/v2/a/b/blobs/uploads/1?state=y&digest={digest}"),
        ]
    );
    assert_eq!(asked[1].body, b"some content");
}

#[tokio::test]
async fn an_upload_that_goes_elsewhere_takes_no_credentials_along() {
    let other = Fake::start(|asked| match asked.method.as_str() {
        "PATCH" => Answer::new(202, "").with("Location", "/up"),
        _ => Answer::new(201, ""),
    })
    .await;
    let location = format!("http://{}/up", other.host);
    let fake = Fake::start(move |asked| match asked.header("authorization") {
        None => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::new(202, "").with("Location", location.clone()),
    })
    .await;
    let registries = registries(Settings::default());
    let target = registries.target(&named(&fake), password()).await.unwrap();
    let mut upload = target.begin().await.unwrap();
    upload.send(pieces(b"x")).await.unwrap();
    upload.commit(&blob(b"x")).await.unwrap();
    let asked = other.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|a| a.header("authorization").is_none()));
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up_and_one_that_refuses_is_heard() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "POST" => Answer::new(202, "").with("Location", "/up"),
        "PATCH" => Answer {
            stalls: true,
            cut: Some(0),
            ..Answer::new(202, "x").with("Content-Length", "100000")
        }
        .with("Location", "/up"),
        "PUT" => Answer {
            stalls: true,
            ..Answer::new(0, "")
        },
        _ => Answer::new(200, ""),
    })
    .await;
    let registries = registries(Settings::default());
    let target = registries
        .target(&named(&fake), Credentials::Anonymous)
        .await
        .unwrap();
    let mut upload = target.begin().await.unwrap();
    upload.send(pieces(b"x")).await.unwrap();
    let e = upload.commit(&blob(b"x")).await.unwrap_err();
    assert!(e.message().starts_with("Put "), "{e}");
    let denied = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => Answer::new(403, denied),
    })
    .await;
    let target = registries
        .target(&named(&fake), Credentials::Anonymous)
        .await
        .unwrap();
    let e = target.begin().await.unwrap_err();
    assert_eq!(e.message(), "denied: not yours");
    assert!(!target.mount(&digest_of(b"x"), "c").await.unwrap());
}

/// A server may look long at what it stores; what asks a question waits less.
#[tokio::test]
async fn a_manifest_that_is_stored_is_waited_for_longer_than_one_that_is_fetched() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => Answer {
            is_mute: true,
            ..Answer::default()
        },
    })
    .await;
    let registries = paced(Settings::default(), Duration::from_secs(1));
    let target = registries
        .target(&named(&fake), Credentials::Anonymous)
        .await
        .unwrap();
    let e = target.put_manifest("1", "x/y", b"{}").await.unwrap_err();
    assert!(e.message().ends_with("nothing came for 1 s"), "{e}");
    let e = target.has(&digest_of(b"x")).await.unwrap_err();
    assert!(e.message().ends_with("nothing came for 0 s"), "{e}");
}
