//! `/_ping` and `/version`: what clients negotiate with.

use crate::{daemon, options};
use testkit::Daemon;

#[test]
fn ping_says_ok_with_dockers_headers() {
    let d = Daemon::start(options().bare());
    let get = d.http.get("/_ping").expect(200);
    assert_eq!(get.text(), "OK");
    for (name, value) in [
        ("Api-Version", "1.47"),
        ("Ostype", "linux"),
        ("Docker-Experimental", "false"),
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "2"),
    ] {
        assert_eq!(get.header(name), Some(value), "{name}");
    }
    let head = d.http.send("HEAD", "/_ping", &[], b"").expect(200);
    assert_eq!(head.header("Content-Length"), Some("0"));
    assert_eq!(head.header("Api-Version"), Some("1.47"));
    for prefix in ["/v1.24", "/v1.41", "/v1.47"] {
        d.http.get(&format!("{prefix}/_ping")).expect(200);
    }
    d.finish();
}

#[test]
fn version_tells_what_clients_read() {
    let d = daemon();
    let version = d.http.get("/version").expect(200).json();
    assert_eq!(version["ApiVersion"], "1.47");
    assert_eq!(version["MinAPIVersion"], "1.24");
    assert_eq!(version["Os"], "linux");
    let arch = version["Arch"].as_str().expect("text");
    assert!(["amd64", "arm64"].contains(&arch), "{arch}");
    let components = version["Components"].as_array().expect("a list");
    for name in ["Engine", "conmon", "runc"] {
        let found = components.iter().find(|c| c["Name"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} in {components:#?}"));
        assert_ne!(found["Version"], "", "{name}");
    }
    d.finish();
}
