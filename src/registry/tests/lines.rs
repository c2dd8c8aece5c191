//! Lines that drop, stand still or lead elsewhere, and answers that are not true.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::Kind;

use super::*;
use crate::{Insecure, Wanted};

const CONTENT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

#[tokio::test]
async fn a_line_may_drop_at_every_byte() {
    for at in 0..=CONTENT.len() {
        let dropped = AtomicUsize::new(0);
        let fake = Fake::start(move |asked| {
            let mut answer = Answer::range(asked, CONTENT);
            if asked.target != "/v2/" && dropped.fetch_add(1, Ordering::SeqCst) == 0 {
                answer.cut = Some(at);
            }
            answer
        })
        .await;
        let (bytes, pauses) = blob_from(&fake, CONTENT, 0).await.unwrap();
        assert_eq!(bytes, CONTENT, "dropped at {at}");
        assert_eq!(pauses, u32::from(at < CONTENT.len()));
        let asked = fake.asked();
        let begun: Vec<usize> = asked.iter().map(Asked::from).collect();
        match at < CONTENT.len() {
            true => assert_eq!(begun, [0, at]),
            false => assert_eq!(begun, [0]),
        }
    }
}

#[tokio::test]
async fn a_line_that_brings_a_byte_at_a_time_is_good_enough() {
    let fake = Fake::start(|asked| Answer {
        cut: Some(1),
        ..Answer::range(asked, CONTENT)
    })
    .await;
    let (bytes, _) = blob_from(&fake, CONTENT, 0).await.unwrap();
    assert_eq!(bytes, CONTENT);
    assert_eq!(fake.asked().len(), CONTENT.len());
}

#[tokio::test]
async fn one_who_goes_on_gets_the_rest_also_of_a_server_without_ranges() {
    let ranges = Fake::start(|asked| Answer::range(asked, CONTENT)).await;
    let none = Fake::start(|_| Answer::new(200, CONTENT)).await;
    for fake in [ranges, none] {
        let (bytes, _) = blob_from(&fake, CONTENT, 10).await.unwrap();
        assert_eq!(bytes, &CONTENT[10..]);
        let (bytes, _) = blob_from(&fake, CONTENT, CONTENT.len() as u64)
            .await
            .unwrap();
        assert!(bytes.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_refuses_ranges_is_asked_for_all() {
    let fake = Fake::start(|asked| match asked.header("range") {
        Some(_) => Answer::new(416, ""),
        None => Answer::new(200, CONTENT),
    })
    .await;
    let (bytes, pauses) = blob_from(&fake, CONTENT, 10).await.unwrap();
    assert_eq!((bytes, pauses), (CONTENT[10..].to_vec(), 0));
}

#[tokio::test]
async fn another_part_than_was_asked_for_is_refused() {
    let fake =
        Fake::start(|_| Answer::new(206, &CONTENT[5..]).with("Content-Range", "bytes 5-35/36"))
            .await;
    let e = blob_from(&fake, CONTENT, 7).await.unwrap_err();
    assert!(e.message().contains("another part"), "{e}");
}

#[tokio::test]
async fn more_than_the_manifest_says_is_refused() {
    let fake = Fake::start(|_| Answer::new(200, vec![7; 1 << 20])).await;
    let e = blob_from(&fake, CONTENT, 0).await.unwrap_err();
    assert!(e.message().contains("more than the 36 bytes"), "{e}");
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up() {
    let fake = Fake::start(|asked| Answer {
        cut: Some(3.min(CONTENT.len() - asked.from())),
        stalls: asked.target != "/v2/",
        ..Answer::range(asked, CONTENT)
    })
    .await;
    // It brings something each time, so it is borne with.
    let (bytes, _) = blob_from(&fake, CONTENT, 0).await.unwrap();
    assert_eq!(bytes, CONTENT);
    let fake = Fake::start(|asked| Answer {
        cut: Some(0),
        stalls: asked.target != "/v2/",
        ..Answer::range(asked, CONTENT)
    })
    .await;
    let e = blob_from(&fake, CONTENT, 0).await.unwrap_err();
    assert!(e.message().contains("nothing came for"), "{e}");
    assert_eq!(fake.asked().len(), 5);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_one_that_has_none_is_not() {
    let calls = AtomicUsize::new(0);
    let busy = Fake::start(move |asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::new(503, "").with("Retry-After", "0"),
            1 => Answer::new(429, ""),
            _ => Answer::range(asked, CONTENT),
        },
    })
    .await;
    let (bytes, pauses) = blob_from(&busy, CONTENT, 0).await.unwrap();
    assert_eq!((bytes, pauses), (CONTENT.to_vec(), 2));
    let none = Fake::start(|asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => Answer::new(404, ""),
    })
    .await;
    let e = blob_from(&none, CONTENT, 0).await.unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert_eq!(none.asked().len(), 1);
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        target => Answer::new(307, "").with("Location", target),
    })
    .await;
    let e = blob_from(&fake, CONTENT, 0).await.unwrap_err();
    assert!(e.message().contains("stopped after 10 redirects"), "{e}");
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says_and_of_a_bounded_size() {
    let huge = vec![b' '; 5 << 20];
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v2/a/b/manifests/huge" => Answer::new(200, huge.clone()),
        _ => Answer::new(200, "{}").with("Content-Type", "application/x; charset=utf-8"),
    })
    .await;
    let source = source(&fake, Credentials::Anonymous).await;
    let fetched = source.manifest(&Wanted::Tag("1".to_owned())).await.unwrap();
    assert_eq!(fetched.digest, digest_of(b"{}"));
    assert_eq!(fetched.media_type, "application/x");
    let other = Wanted::Digest(digest_of(b"other"));
    let e = source.manifest(&other).await.unwrap_err();
    assert!(
        e.message().starts_with("manifest verification failed"),
        "{e}"
    );
    let e = source
        .manifest(&Wanted::Tag("huge".to_owned()))
        .await
        .unwrap_err();
    assert!(e.message().contains("more than 4194304 bytes"), "{e}");
}

#[tokio::test]
async fn tags_come_page_after_page_and_a_page_that_repeats_ends_them() {
    let fake = Fake::start(|asked| {
        let page = |tag: &str, next: &str| {
            let body = format!(r#"{{"name":"a/b","tags":["{tag}"]}}"#);
            Answer::new(200, body).with("Link", format!("<{next}>; rel=\"next\""))
        };
        match asked.target.as_str() {
            "/v2/a/b/tags/list" => page("one", "/v2/a/b/tags/list?last=one"),
            "/v2/a/b/tags/list?last=one" => page("two", "/v2/a/b/tags/list?last=one"),
            _ => Answer::new(200, ""),
        }
    })
    .await;
    let tags = source(&fake, Credentials::Anonymous).await.tags().await;
    assert_eq!(tags.unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn what_a_mirror_lacks_the_registry_has_and_it_learns_no_password() {
    let origin = Fake::start(|asked| match asked.target.as_str() {
        "/v2/" => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        _ => Answer::range(asked, CONTENT),
    })
    .await;
    let mirror = Fake::start(|asked| match asked.target.as_str() {
        "/sub/v2/" => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        _ => Answer::new(404, ""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let of = dir.path().join(&origin.host);
    std::fs::create_dir(&of).unwrap();
    let hosts = format!(
        "server = \"http://{}\"\n[host.\"http://{}/sub\"]\n",
        origin.host, mirror.host
    );
    std::fs::write(of.join("hosts.toml"), hosts).unwrap();
    let mut registries = registries(Settings::default());
    registries.settings = Arc::new(Settings {
        certs_dirs: vec![dir.path().to_owned()],
        insecure: vec![Insecure::from("none.test")],
        ..Settings::default()
    });
    let source = registries
        .source(&named(&origin), password())
        .await
        .unwrap();
    let stream = source.blob(&digest_of(CONTENT), CONTENT.len() as u64, 0);
    assert_eq!(all(stream).await.unwrap().0, CONTENT);
    let of_mirror = mirror.asked();
    assert!(of_mirror.len() > 1, "it was asked first");
    assert!(
        of_mirror
            .iter()
            .all(|a| a.header("authorization").is_none())
    );
    assert!(origin.asked()[0].header("authorization").is_some());
}

#[tokio::test]
async fn a_manifest_is_asked_for_again_where_that_may_help() {
    const MANIFEST: &str = r#"{"schemaVersion":2}"#;
    let calls = AtomicUsize::new(0);
    let busy = Fake::start(move |asked| match asked.target.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::new(503, "").with("Retry-After", "0"),
            1 => Answer {
                cut: Some(3),
                ..Answer::new(200, MANIFEST)
            },
            _ => Answer::new(200, MANIFEST),
        },
    })
    .await;
    let tag = Wanted::Tag("1".to_owned());
    let asked = source(&busy, Credentials::Anonymous).await;
    let fetched = asked.manifest(&tag).await.unwrap();
    assert_eq!(fetched.bytes, MANIFEST.as_bytes());
    assert_eq!(busy.asked().len(), 3);
    // Not for ever, and not for what is said for good.
    for (status, times) in [(503, 4), (404, 1), (403, 1)] {
        let fake = Fake::start(move |asked| match asked.target.as_str() {
            "/v2/" => Answer::new(200, ""),
            _ => Answer::new(status, ""),
        })
        .await;
        let asked = source(&fake, Credentials::Anonymous).await;
        asked.manifest(&tag).await.unwrap_err();
        assert_eq!(fake.asked().len(), times, "{status}");
    }
}
