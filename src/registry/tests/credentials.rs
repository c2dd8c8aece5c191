//! Who is shown a password or a token, and who is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::Kind;

use super::*;
use crate::Wanted;

/// `user:secret`.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn tag() -> Wanted {
    Wanted::Tag("1".to_owned())
}

/// A registry that wants a token of the server `auth`, for which it takes any.
async fn of_tokens(auth: &Fake) -> Fake {
    let realm = format!(
        "Bearer realm=\"http://{}/token\",service=\"the registry\"",
        auth.host
    );
    Fake::start(move |asked| match asked.header("authorization") {
        None => Answer::new(401, "").with("WWW-Authenticate", realm.clone()),
        Some(_) => Answer::new(200, "{}"),
    })
    .await
}

#[tokio::test]
async fn a_password_gets_a_token_which_serves_until_it_is_refused() {
    let auth = Fake::start(|_| Answer::new(200, r#"{"token":"t0k","expires_in":300}"#)).await;
    let registry = of_tokens(&auth).await;
    let registries = registries(Settings::default());
    for _ in 0..3 {
        let source = registries
            .source(&named(&registry), password())
            .await
            .unwrap();
        source.manifest(&tag()).await.unwrap();
    }
    let asked = auth.asked();
    assert_eq!(asked.len(), 1, "it is kept");
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    assert_eq!(
        asked[0].target,
        "/token?service=the+registry&scope=repository%3Aa%2Fb%3Apull&account=user"
    );
    for asked in registry.asked() {
        assert_eq!(asked.header("authorization"), Some("Bearer t0k"));
    }
    // Another one does not get it.
    let source = registries
        .source(&named(&registry), Credentials::Anonymous)
        .await
        .unwrap();
    source.manifest(&tag()).await.unwrap();
    assert_eq!(auth.asked()[1].header("authorization"), None);
}

#[tokio::test]
async fn a_token_that_is_no_good_any_more_is_asked_for_again() {
    let given = AtomicUsize::new(0);
    let auth = Fake::start(move |_| {
        let n = given.fetch_add(1, Ordering::SeqCst);
        Answer::new(
            200,
            format!(r#"{{"access_token":"t{n}","expires_in":300}}"#),
        )
    })
    .await;
    let realm = format!("Bearer realm=\"http://{}/token\"", auth.host);
    let registry = Fake::start(move |asked| match asked.header("authorization") {
        Some("Bearer t1") => Answer::new(200, "{}"),
        _ => Answer::new(401, "").with("WWW-Authenticate", realm.clone()),
    })
    .await;
    let source = source(&registry, password()).await;
    source.manifest(&tag()).await.unwrap();
    assert_eq!(auth.asked().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_shown_to_the_token_server_alone() {
    let auth = Fake::start(|_| Answer::new(200, r#"{"access_token":"t"}"#)).await;
    let registry = of_tokens(&auth).await;
    let source = source(&registry, Credentials::Identity("refresh me".to_owned())).await;
    source.manifest(&tag()).await.unwrap();
    let asked = &auth.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/token")
    );
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        "grant_type=refresh_token&service=the+registry&client_id=moored\
         &scope=repository%3Aa%2Fb%3Apull&refresh_token=refresh+me"
    );
    for asked in registry.asked() {
        assert_eq!(asked.header("authorization"), Some("Bearer t"));
    }
}

#[tokio::test]
async fn a_registry_that_wants_a_password_and_gets_none_says_so() {
    let basic = |asked: &Asked| match asked.header("authorization") {
        Some(BASIC) => Answer::new(200, "{}"),
        _ => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    };
    let fake = Fake::start(basic).await;
    let e = source(&fake, Credentials::Anonymous)
        .await
        .manifest(&tag())
        .await
        .unwrap_err();
    assert!(e.message().ends_with(": no basic auth credentials"), "{e}");
    source(&fake, password())
        .await
        .manifest(&tag())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along() {
    let other = Fake::start(|_| Answer::new(200, "{}")).await;
    let location = format!(
        "http://{}/elsewhere",
        other.host.replace("127.0.0.1", "localhost")
    );
    let fake = Fake::start(move |asked| match asked.header("authorization") {
        None => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::new(307, "").with("Location", location.clone()),
    })
    .await;
    source(&fake, password())
        .await
        .manifest(&tag())
        .await
        .unwrap();
    let asked = other.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn a_login_is_good_or_unauthorized() {
    let auth = Fake::start(|asked| match asked.header("authorization") {
        Some(BASIC) => Answer::new(200, r#"{"token":"t","refresh_token":"keep me"}"#),
        _ => Answer::new(401, r#"{"details":"incorrect username or password"}"#),
    })
    .await;
    let registry = of_tokens(&auth).await;
    let registries = registries(Settings::default());
    let login = registries.login(&registry.host, &password()).await.unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("keep me"));
    assert!(auth.asked()[0].target.contains("offline_token=true"));
    let wrong = Credentials::Password {
        username: "user".to_owned(),
        password: "wrong".to_owned(),
    };
    let e = registries.login(&registry.host, &wrong).await.unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (
            Kind::Unauthorized,
            "unauthorized: incorrect username or password"
        )
    );
    let e = registries
        .login("127.0.0.1:1", &password())
        .await
        .unwrap_err();
    assert_eq!(
        e.message(),
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
}

#[tokio::test]
async fn a_registry_may_say_what_it_wants_only_when_it_is_asked_for_something() {
    let fake = Fake::start(
        |asked| match (asked.target.as_str(), asked.header("authorization")) {
            ("/v2/", _) => Answer::new(200, ""),
            (_, Some(BASIC)) => Answer::new(200, "{}"),
            _ => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        },
    )
    .await;
    source(&fake, password())
        .await
        .manifest(&tag())
        .await
        .unwrap();
    let e = source(&fake, Credentials::Anonymous)
        .await
        .manifest(&tag())
        .await
        .unwrap_err();
    assert!(e.message().ends_with(": no basic auth credentials"), "{e}");
}

#[tokio::test]
async fn a_login_shows_a_mirror_no_password() {
    let basic = "Basic realm=\"x\"";
    let ask = move |asked: &Asked| match asked.header("authorization") {
        None => Answer::new(401, "").with("WWW-Authenticate", basic),
        Some(_) => Answer::new(200, ""),
    };
    let (origin, mirror) = (Fake::start(ask).await, Fake::start(ask).await);
    let dir = tempfile::tempdir().unwrap();
    let of = dir.path().join(&origin.host);
    std::fs::create_dir(&of).unwrap();
    let hosts = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\n",
        origin.host, mirror.host
    );
    std::fs::write(of.join("hosts.toml"), hosts).unwrap();
    let mut registries = registries(Settings::default());
    registries.settings = Arc::new(Settings {
        certs_dirs: vec![dir.path().to_owned()],
        ..Settings::default()
    });
    registries.login(&origin.host, &password()).await.unwrap();
    assert!(mirror.all().is_empty());
    assert!(
        origin
            .all()
            .iter()
            .any(|a| a.header("authorization") == Some(BASIC))
    );
}

#[tokio::test]
async fn a_token_server_that_is_busy_is_asked_again() {
    let calls = AtomicUsize::new(0);
    let auth = Fake::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(502, ""),
        1 => Answer::new(429, "").with("Retry-After", "0"),
        _ => Answer::new(200, r#"{"token":"t0k"}"#),
    })
    .await;
    let registry = of_tokens(&auth).await;
    let asked = source(&registry, password()).await;
    asked.manifest(&tag()).await.unwrap();
    assert_eq!(auth.asked().len(), 3);
    // A password that is no good is not tried again.
    let auth = Fake::start(|_| Answer::new(401, "")).await;
    let registry = of_tokens(&auth).await;
    let asked = source(&registry, password()).await;
    asked.manifest(&tag()).await.unwrap_err();
    assert_eq!(auth.asked().len(), 1);
}
