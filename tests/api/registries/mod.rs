//! Pull and push against a real registry: what is sent and fetched, and what is told of it.

mod credentials;
mod indexes;
mod lines;

use serde_json::{Value, json};
use testkit::{BUSYBOX, Daemon, Image, Reached, Registry, Response, query};

use crate::daemon;

/// No headers besides those of every request.
const NONE: &[(&str, &str)] = &[];

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
    let answer = pull_as(d, name, &[], NONE).expect(200);
    assert_eq!(failure(&answer), None);
    answer
}

fn push_as(d: &Daemon, repository: &str, tag: &str, headers: &[(&str, &str)]) -> Response {
    let path = query(&format!("/images/{repository}/push"), &[("tag", tag)]);
    d.http.send("POST", &path, headers, b"").expect(200)
}

/// Pushes, and gives the digest.
fn push(d: &Daemon, repository: &str, tag: &str) -> String {
    let answer = push_as(d, repository, tag, NONE);
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
    let here = [
        "Pulling from some/busybox".to_owned(),
        format!("Digest: {digest}"),
        format!("Status: Image is up to date for {repository}:1"),
    ];
    assert_eq!(told, here);
    let after = registry.answered("GET /v2/some/busybox/blobs/").len();
    assert_eq!(after, before);
    drop(registry);
    d.finish();
}

/// One that has a digest and no tag.
#[test]
fn an_image_pulled_by_its_digest_is_dangling() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let repository = format!("{}/some/busybox", registry.host());
    tag(&d, BUSYBOX, &repository, "1");
    let name = format!("{repository}@{}", push(&d, &repository, "1"));
    remove_all(&d);
    let told = messages(&pull(&d, &name));
    assert_eq!(told[0]["id"], name.as_str());
    let listed = |dangling: &str| {
        let filters = json!({"dangling": [dangling]}).to_string();
        let rows = d.http.get(&query("/images/json", &[("filters", &filters)]));
        rows.expect(200).json()[0]["RepoDigests"].clone()
    };
    assert_eq!(listed("true"), json!([name]));
    assert_eq!(listed("false"), json!([name]));
    tag(&d, &name, &repository, "1");
    assert_eq!(listed("true"), Value::Null);
    drop(registry);
    d.finish();
}

/// As compose files write it. What the tag has come to mean does not matter.
#[test]
fn beside_a_digest_a_tag_says_nothing() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let repository = format!("{}/pinned", registry.host());
    tag(&d, BUSYBOX, &repository, "1");
    let digest = push(&d, &repository, "1");
    remove_all(&d);
    let name = format!("{repository}:1@{digest}");
    pull(&d, &name);
    let inspect = d.http.get(&format!("/images/{name}/json")).expect(200);
    assert_eq!(inspect.json()["RepoTags"], json!([]));
    let out = d.run("pinned", json!({"Image": name, "Cmd": ["echo", "hi"]}));
    assert_eq!(out.output.stdout, "hi\n");
    d.http.delete("/containers/pinned").expect(204);
    d.http.get(&format!("/images/{name}/get")).expect(200);
    tag(&d, &name, "other", "x");
    let removed = d.http.delete(&format!("/images/{name}")).expect(200).json();
    assert_eq!(removed, json!([{"Untagged": name}]));
    d.http.get(&format!("/images/{name}/json")).expect(404);
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
    let sent = push_as(&d, &second, "x", NONE);
    // The registry has the layer in its other repository.
    assert!(statuses(&sent).contains(&"Mounted from one".to_owned()));
    let aux = messages(&sent).pop().expect("a message");
    assert_eq!(aux["aux"]["Digest"], digest.as_str());
    assert!(
        registry.answered("PATCH /v2/two/").len() <= 1,
        "the config alone"
    );
    let again = push_as(&d, &second, "x", NONE);
    assert!(statuses(&again).contains(&"Layer already exists".to_owned()));
    drop(registry);
    d.finish();
}

#[test]
fn what_a_registry_does_not_have_is_told_in_dockers_words() {
    let d = daemon();
    let registry = Registry::start(&d, Reached::Openly);
    let host = registry.host();
    tag(&d, BUSYBOX, &format!("{host}/busybox"), "1");
    push(&d, &format!("{host}/busybox"), "1");
    pull_as(&d, &format!("{host}/busybox:2"), &[], NONE).expect_error(
        404,
        &format!("manifest for {host}/busybox:2 not found: manifest unknown: manifest unknown"),
    );
    pull_as(&d, "127.0.0.1:1/x:1", &[], NONE).expect_error(
        500,
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
    );
    pull_as(&d, "UPPER", &[], NONE).error(400);
    pull_as(&d, "x", &[("tag", "a b")], NONE).error(400);
    pull_as(&d, "x", &[("platform", "no/such/platform/at/all")], NONE).error(400);
    d.http.send("POST", "/images/create", NONE, b"").error(400);
    let none = push_as(&d, &format!("{host}/nosuch"), "1", NONE);
    assert_eq!(
        failure(&none).expect("a failure"),
        format!("An image does not exist locally with the tag: {host}/nosuch")
    );
    let none = push_as(&d, &format!("{host}/busybox"), "7", NONE);
    assert_eq!(
        failure(&none).expect("a failure"),
        format!("tag does not exist: {host}/busybox:7")
    );
    d.http
        .send(
            "POST",
            &format!("/images/{host}/busybox/push?platform=%7B%7D"),
            NONE,
            b"",
        )
        .error(501);
    d.http
        .get(&format!("/distribution/{host}/none/json"))
        .error(404);
    drop(registry);
    d.finish();
}
