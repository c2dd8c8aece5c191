//! A registry that is private, and spoken to by TLS.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{BUSYBOX, Daemon, Reached, Registry};

use super::{NONE, failure, pull_as, push_as, remove_all, tag};
use crate::options;

pub(super) fn credentials(text: &Value) -> String {
    data_encoding::BASE64URL.encode(text.to_string().as_bytes())
}

#[test]
fn a_registry_with_tls_and_a_password_is_asked_with_both() {
    let certs = tempfile::tempdir().expect("a directory");
    let config = format!("[registries]\ncerts-dirs = [{:?}]\n", certs.path());
    let d = Daemon::start(options().and_config(&config));
    let registry = Registry::start(&d, Reached::ByTls);
    let name = format!("{}/busybox", registry.host());
    tag(&d, BUSYBOX, &name, "1");
    // Nobody vouches for it yet.
    let unknown = failure(&push_as(&d, &name, "1", NONE)).expect("a failure");
    assert_eq!(
        unknown,
        format!(
            "Get \"{}/v2/\": tls: failed to verify certificate: x509: certificate signed by \
             unknown authority",
            registry.url()
        )
    );
    trust(certs.path(), &registry);
    let anonymous = failure(&push_as(&d, &name, "1", NONE)).expect("a failure");
    assert!(
        anonymous.ends_with("no basic auth credentials"),
        "{anonymous}"
    );
    let right = credentials(&json!({"username": "test", "password": "secret"}));
    let wrong = credentials(&json!({"username": "test", "password": "guess"}));
    let with = |value: &str| [("X-Registry-Auth", value.to_owned())];
    let refused = with(&wrong);
    let refused = refused.each_ref().map(|(k, v)| (*k, v.as_str()));
    let e = failure(&push_as(&d, &name, "1", &refused)).expect("a failure");
    assert!(e.starts_with("unauthorized: "), "{e}");
    let allowed = with(&right);
    let allowed = allowed.each_ref().map(|(k, v)| (*k, v.as_str()));
    assert_eq!(failure(&push_as(&d, &name, "1", &allowed)), None);
    remove_all(&d);
    pull_as(&d, &format!("{name}:1"), &[], &refused).error(500);
    let pulled = pull_as(&d, &format!("{name}:1"), &[], &allowed).expect(200);
    assert_eq!(failure(&pulled), None);
    let login = |password: &str| {
        let body = json!({"username": "test", "password": password,
            "serveraddress": registry.url()});
        d.http.post_json("/auth", &body)
    };
    assert_eq!(
        login("secret").expect(200).text(),
        "{\"IdentityToken\":\"\",\"Status\":\"Login Succeeded\"}\n"
    );
    login("guess").error(401);
    drop(registry);
    d.finish();
}

pub(super) fn trust(certs: &Path, registry: &Registry) {
    let dir = certs.join(registry.host());
    std::fs::create_dir(&dir).expect("a directory in ours");
    std::fs::copy(registry.certificate(), dir.join("ca.crt")).expect("a file in ours");
}
