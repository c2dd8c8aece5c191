//! Layers that are fetched once, go on where they were, or are left.

use serde_json::json;
use testkit::{Daemon, Image, Reached, Registry, TarBuilder, query, until};

use super::credentials::{credentials, trust};
use super::{NONE, failure, pull, pull_as, push, push_as, remove_all, tag};
use crate::options;

/// Files and directories of the image store that are not there for good.
fn unfinished(d: &Daemon, kind: &str) -> Vec<std::path::PathBuf> {
    let dir = d.inside(d.root().join("data/images").join(kind));
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Bytes that no compression makes smaller, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(next).collect()
}

/// busybox and a layer of that many bytes on it.
fn large(name: &str, bytes: usize) -> Image {
    let mut image = Image::with(name, &json!({}));
    let mut layer = TarBuilder::new();
    layer.file("noise", 0o644, &noise(bytes));
    image.layers.push(layer.finish());
    image
}

#[test]
fn two_pulls_at_once_fetch_what_they_share_once() {
    let d = Daemon::start(options().bare());
    let registry = Registry::start(&d, Reached::Openly);
    let base = large("base:1", 8 << 20);
    let mut other = base.clone();
    other.tags = vec!["other:1".to_owned()];
    other.config["Labels"] = json!({"is": "other"});
    let names = ["base", "other"].map(|name| format!("{}/{name}", registry.host()));
    for (image, name) in [&base, &other].into_iter().zip(&names) {
        d.load(image);
        tag(&d, &image.tags[0], name, "1");
        push(&d, name, "1");
    }
    remove_all(&d);
    let before = registry
        .answered("GET /v2/")
        .iter()
        .filter(|l| l.contains("/blobs/"))
        .count();
    std::thread::scope(|scope| {
        for name in &names {
            let d = &d;
            scope.spawn(move || pull(d, &format!("{name}:1")));
        }
    });
    let log = registry.answered("GET /v2/");
    let blobs = log.iter().filter(|l| l.contains("/blobs/")).count() - before;
    // Two layers, and a configuration each.
    assert_eq!(blobs, 4, "{log:#?}");
    for (image, name) in [&base, &other].into_iter().zip(&names) {
        let inspect = d
            .http
            .get(&format!("/images/{name}:1/json"))
            .expect(200)
            .json();
        assert_eq!(inspect["Id"], image.id().as_str());
    }
    drop(registry);
    d.finish();
}

/// The largest beginning of a layer that is kept.
fn partial_bytes(d: &Daemon) -> u64 {
    let sizes = unfinished(d, "partial")
        .into_iter()
        .filter_map(|p| p.metadata().ok());
    sizes.map(|found| found.len()).max().unwrap_or_default()
}

#[test]
fn a_pull_goes_on_where_a_killed_daemon_was() {
    let mut d = Daemon::start(options().bare());
    let registry = Registry::start(&d, Reached::Openly);
    let image = large("large:1", 96 << 20);
    let name = format!("{}/large", registry.host());
    d.load(&image);
    tag(&d, "large:1", &name, "1");
    push(&d, &name, "1");
    remove_all(&d);
    let path = query("/images/create", &[("fromImage", &name), ("tag", "1")]);
    let stream = d.http.stream("POST", &path, NONE, b"");
    assert_eq!(stream.status, 200);
    until("some of it came", || partial_bytes(&d) > 1 << 20);
    registry.freeze(true);
    d.kill9();
    drop(stream);
    registry.freeze(false);
    let came = partial_bytes(&d);
    assert!(came < 96 << 20, "it was all there");
    d.restart();
    assert_eq!(unfinished(&d, "staging").len(), 0);
    assert!(d.http.get("/images/json").expect(200).json() == json!([]));
    pull(&d, &format!("{name}:1"));
    assert!(
        !registry.answered(" 206 ").is_empty(),
        "the rest was asked for"
    );
    assert_eq!(unfinished(&d, "partial").len(), 0);
    let inspect = d
        .http
        .get(&format!("/images/{name}:1/json"))
        .expect(200)
        .json();
    assert_eq!(inspect["Id"], image.id().as_str());
    drop(registry);
    d.finish();
}

/// A layer that a registry brings which then stands still is had from another one meanwhile.
#[test]
fn a_pull_does_not_wait_for_another_registry() {
    let certs = tempfile::tempdir().expect("a directory");
    let config = format!("[registries]\ncerts-dirs = [{:?}]\n", certs.path());
    let d = Daemon::start(options().bare().and_config(&config));
    let slow = Registry::start(&d, Reached::Openly);
    let other = Registry::start(&d, Reached::ByTls);
    trust(certs.path(), &other);
    let allowed = credentials(&json!({"username": "test", "password": "secret"}));
    let allowed = [("X-Registry-Auth", allowed.as_str())];
    let image = large("large:1", 96 << 20);
    let names = [&slow, &other].map(|registry| format!("{}/large", registry.host()));
    d.load(&image);
    for name in &names {
        tag(&d, "large:1", name, "1");
        assert_eq!(failure(&push_as(&d, name, "1", &allowed)), None);
    }
    remove_all(&d);
    let path = query("/images/create", &[("fromImage", &names[0]), ("tag", "1")]);
    let stream = d.http.stream("POST", &path, NONE, b"");
    until("some of it came", || partial_bytes(&d) > 1 << 20);
    slow.freeze(true);
    let came = partial_bytes(&d);
    let pulled = pull_as(&d, &format!("{}:1", names[1]), &[], &allowed).expect(200);
    assert_eq!(failure(&pulled), None);
    let shown = d
        .http
        .get(&format!("/images/{}:1/json", names[1]))
        .expect(200)
        .json();
    assert_eq!(shown["Id"], image.id().as_str());
    assert!(came < 96 << 20, "the first one had it all");
    slow.freeze(false);
    drop(stream);
    until("its work is over", || unfinished(&d, "staging").is_empty());
    d.http.post("/images/prune").expect(200);
    assert_eq!(unfinished(&d, "partial").len(), 0);
    drop((slow, other));
    d.finish();
}

#[test]
fn a_client_that_leaves_ends_its_pull_and_nothing_is_left_of_it() {
    let d = Daemon::start(options().bare());
    let registry = Registry::start(&d, Reached::Openly);
    let name = format!("{}/large", registry.host());
    d.load(&large("large:1", 96 << 20));
    tag(&d, "large:1", &name, "1");
    push(&d, &name, "1");
    remove_all(&d);
    let path = query("/images/create", &[("fromImage", &name), ("tag", "1")]);
    let stream = d.http.stream("POST", &path, NONE, b"");
    until("some of it came", || partial_bytes(&d) > 1 << 20);
    registry.freeze(true);
    drop(stream);
    until("its work is over", || unfinished(&d, "staging").is_empty());
    registry.freeze(false);
    assert!(d.http.get("/images/json").expect(200).json() == json!([]));
    assert!(partial_bytes(&d) > 1 << 20, "what came is kept");
    drop(registry);
    d.finish();
}
