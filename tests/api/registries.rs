//! Pull and push against a real registry: what is sent and fetched, and what is told of it.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{BUSYBOX, Daemon, Image, Reached, Registry, Response, TarBuilder, query, until};

use crate::{daemon, options};

const KEEP: &[(&str, &str)] = &[];

/// The messages of a stream.
fn messages(answer: &Response) -> Vec<Value> {
    let text = answer.text();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// What went wrong in a stream, if anything did.
fn failure(answer: &Response) -> Option<String> {
    let last = messages(answer).pop()?;
    let error = last["errorDetail"]["message"].as_str()?;
    assert_eq!(last["error"], error);
    Some(error.to_owned())
}

fn statuses(answer: &Response) -> Vec<String> {
    let status = |message: &Value| message["status"].as_str().map(str::to_owned);
    messages(answer).iter().filter_map(status).collect()
}

fn pull_as(d: &Daemon, name: &str, more: &[(&str, &str)], headers: &[(&str, &str)]) -> Response {
    let pairs = [&[("fromImage", name)], more].concat();
    d.http
        .send("POST", &query("/images/create", &pairs), headers, b"")
}

/// Pulls, and fails when it does.
fn pull(d: &Daemon, name: &str) -> Response {
    let answer = pull_as(d, name, &[], KEEP).expect(200);
    assert_eq!(failure(&answer), None);
    answer
}

fn push_as(d: &Daemon, repository: &str, tag: &str, headers: &[(&str, &str)]) -> Response {
    let path = query(&format!("/images/{repository}/push"), &[("tag", tag)]);
    d.http.send("POST", &path, headers, b"").expect(200)
}

/// Pushes, and gives the digest.
fn push(d: &Daemon, repository: &str, tag: &str) -> String {
    let answer = push_as(d, repository, tag, KEEP);
    assert_eq!(failure(&answer), None);
    let aux = messages(&answer).pop().expect("a message")["aux"].clone();
    assert_eq!(aux["Tag"], tag);
    aux["Digest"].as_str().expect("a digest").to_owned()
}

fn tag(d: &Daemon, name: &str, repository: &str, tag: &str) {
    let path = query(
        &format!("/images/{name}/tag"),
        &[("repo", repository), ("tag", tag)],
    );
    d.http.post(&path).expect(201);
}

fn remove_all(d: &Daemon) {
    let all = d.http.get("/images/json?all=1").expect(200).json();
    for image in all.as_array().expect("a list") {
        let id = image["Id"].as_str().expect("an id");
        d.http.delete(&format!("/images/{id}?force=1")).expect(200);
    }
}

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
fn what_is_pushed_is_pulled_with_the_same_id_and_runs() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let repository = format!("{}/some/busybox", registry.host());
    tag(&d, BUSYBOX, &repository, "1");
    let digest = push(&d, &repository, "1");
    let inspect = d
        .http
        .get(&format!("/images/{repository}:1/json"))
        .expect(200)
        .json();
    assert_eq!(
        inspect["RepoDigests"],
        json!([format!("{repository}@{digest}")])
    );
    remove_all(&d);
    let told = statuses(&pull(&d, &format!("{repository}:1")));
    assert_eq!(told[0], "Pulling from some/busybox");
    assert_eq!(told[1], "Pulling fs layer");
    assert_eq!(
        told[told.len() - 2..],
        [
            format!("Digest: {digest}"),
            format!("Status: Downloaded newer image for {repository}:1")
        ]
    );
    assert!(told.contains(&"Pull complete".to_owned()), "{told:?}");
    let inspect = d
        .http
        .get(&format!("/images/{repository}:1/json"))
        .expect(200)
        .json();
    assert_eq!(inspect["Id"], Image::busybox().id().as_str());
    assert_eq!(
        inspect["RepoDigests"],
        json!([format!("{repository}@{digest}")])
    );
    let image = format!("{repository}@{digest}");
    let out = d.run("runs", json!({"Image": image, "Cmd": ["echo", "hi"]}));
    assert_eq!(out.output.stdout, "hi\n");
    // What is here is not fetched again, and its name does not change.
    let before = registry.answered("GET /v2/some/busybox/blobs/").len();
    let told = statuses(&pull(&d, &format!("{repository}:1")));
    let last = told.last().expect("a status");
    assert_eq!(
        *last,
        format!("Status: Image is up to date for {repository}:1")
    );
    let after = registry.answered("GET /v2/some/busybox/blobs/").len();
    assert_eq!(after, before);
    drop(registry);
    d.finish();
}

#[test]
fn a_pulled_image_goes_on_as_it_came() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let (first, second) = (
        format!("{}/one", registry.host()),
        format!("{}/two", registry.host()),
    );
    tag(&d, BUSYBOX, &first, "1");
    let digest = push(&d, &first, "1");
    remove_all(&d);
    pull(&d, &format!("{first}:1"));
    tag(&d, &format!("{first}:1"), &second, "x");
    let sent = push_as(&d, &second, "x", KEEP);
    // The registry has the layer in its other repository.
    assert!(statuses(&sent).contains(&"Mounted from one".to_owned()));
    let aux = messages(&sent).pop().expect("a message");
    assert_eq!(aux["aux"]["Digest"], digest.as_str());
    assert!(
        registry.answered("PATCH /v2/two/").len() <= 1,
        "the config alone"
    );
    let again = push_as(&d, &second, "x", KEEP);
    assert!(statuses(&again).contains(&"Layer already exists".to_owned()));
    drop(registry);
    d.finish();
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
    let stream = d.http.stream("POST", &path, KEEP, b"");
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
    let stream = d.http.stream("POST", &path, KEEP, b"");
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

fn credentials(text: &Value) -> String {
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
    let unknown = failure(&push_as(&d, &name, "1", KEEP)).expect("a failure");
    assert_eq!(
        unknown,
        format!(
            "Get \"{}/v2/\": tls: failed to verify certificate: x509: certificate signed by \
             unknown authority",
            registry.url()
        )
    );
    trust(certs.path(), &registry);
    let anonymous = failure(&push_as(&d, &name, "1", KEEP)).expect("a failure");
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

fn trust(certs: &Path, registry: &Registry) {
    let dir = certs.join(registry.host());
    std::fs::create_dir(&dir).expect("a directory in ours");
    std::fs::copy(registry.certificate(), dir.join("ca.crt")).expect("a file in ours");
}

#[test]
fn of_an_index_the_image_that_runs_here_is_pulled() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let name = format!("{}/multi", registry.host());
    let mut entries = Vec::new();
    for (architecture, os) in [(own_architecture(), "linux"), ("s390x", "linux")] {
        let mut tar = TarBuilder::new();
        tar.file("arch", 0o644, architecture.as_bytes());
        let tar = tar.finish();
        let path = query(
            "/images/create",
            &[
                ("fromSrc", "-"),
                ("repo", &name),
                ("tag", architecture),
                ("platform", &format!("{os}/{architecture}")),
            ],
        );
        d.http.send("POST", &path, KEEP, &tar).expect(200);
        let digest = push(&d, &name, architecture);
        let size = manifest_bytes(&d, &registry, &digest);
        entries.push(json!({
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": digest, "size": size,
            "platform": {"architecture": architecture, "os": os},
        }));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    put_manifest(&d, &registry, &index);
    remove_all(&d);
    let architecture_of = |reference: &str| {
        let inspect = d
            .http
            .get(&format!("/images/{reference}/json"))
            .expect(200)
            .json();
        inspect["Architecture"].as_str().expect("text").to_owned()
    };
    pull(&d, &format!("{name}:all"));
    assert_eq!(architecture_of(&format!("{name}:all")), own_architecture());
    let other = pull_as(
        &d,
        &name,
        &[("tag", "all"), ("platform", "linux/s390x")],
        KEEP,
    );
    assert_eq!(failure(&other.expect(200)), None);
    assert_eq!(architecture_of(&format!("{name}:all")), "s390x");
    let none = pull_as(
        &d,
        &name,
        &[("tag", "all"), ("platform", "linux/riscv64")],
        KEEP,
    );
    assert_eq!(
        failure(&none.expect(200)).expect("a failure"),
        "no matching manifest for linux/riscv64 in the manifest list entries"
    );
    let found = d
        .http
        .get(&format!("/distribution/{name}:all/json"))
        .expect(200)
        .json();
    let platforms = found["Platforms"].as_array().expect("a list");
    assert_eq!(platforms.len(), 2);
    assert_eq!(
        platforms[1],
        json!({"architecture": "s390x", "os": "linux"})
    );
    // Without a tag Docker means all of them.
    remove_all(&d);
    let all = pull_as(&d, &name, &[], KEEP).expect(200);
    assert_eq!(failure(&all), None);
    for tag in ["all", own_architecture(), "s390x"] {
        d.http
            .get(&format!("/images/{name}:{tag}/json"))
            .expect(200);
    }
    drop(registry);
    d.finish();
}

/// Go's name of this machine's architecture.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn curl(d: &Daemon, args: &[&str]) -> Vec<u8> {
    let mut curl = d.command_inside("curl");
    let output = curl.args(["-sf"]).args(args).output().expect("curl runs");
    assert!(output.status.success(), "curl {args:?}: {}", output.status);
    output.stdout
}

fn manifest_bytes(d: &Daemon, registry: &Registry, digest: &str) -> usize {
    let url = format!("{}/v2/multi/manifests/{digest}", registry.url());
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    curl(d, &["-H", accept, &url]).len()
}

fn put_manifest(d: &Daemon, registry: &Registry, index: &Value) {
    let url = format!("{}/v2/multi/manifests/all", registry.url());
    let kind = "Content-Type: application/vnd.oci.image.index.v1+json";
    curl(
        d,
        &["-X", "PUT", "-H", kind, "-d", &index.to_string(), &url],
    );
}

#[test]
fn what_a_registry_does_not_have_is_told_in_dockers_words() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let host = registry.host();
    tag(&d, BUSYBOX, &format!("{host}/busybox"), "1");
    push(&d, &format!("{host}/busybox"), "1");
    pull_as(&d, &format!("{host}/busybox:2"), &[], KEEP).expect_error(
        404,
        &format!("manifest for {host}/busybox:2 not found: manifest unknown: manifest unknown"),
    );
    pull_as(&d, "127.0.0.1:1/x:1", &[], KEEP).expect_error(
        500,
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
    );
    pull_as(&d, "UPPER", &[], KEEP).error(400);
    pull_as(&d, "x", &[("tag", "a b")], KEEP).error(400);
    pull_as(&d, "x", &[("platform", "no/such/platform/at/all")], KEEP).error(400);
    d.http.send("POST", "/images/create", KEEP, b"").error(400);
    let none = push_as(&d, &format!("{host}/nosuch"), "1", KEEP);
    assert_eq!(
        failure(&none).expect("a failure"),
        format!("An image does not exist locally with the tag: {host}/nosuch")
    );
    let none = push_as(&d, &format!("{host}/busybox"), "7", KEEP);
    assert_eq!(
        failure(&none).expect("a failure"),
        format!("tag does not exist: {host}/busybox:7")
    );
    d.http
        .send(
            "POST",
            &format!("/images/{host}/busybox/push?platform=%7B%7D"),
            KEEP,
            b"",
        )
        .error(501);
    d.http
        .get(&format!("/distribution/{host}/none/json"))
        .error(404);
    drop(registry);
    d.finish();
}
