//! One name for images of several platforms.

use serde_json::{Value, json};
use testkit::{Daemon, Reached, Registry, TarBuilder, query};

use super::{NONE, failure, pull, pull_as, push, remove_all};
use crate::daemon;

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
        d.http.send("POST", &path, NONE, &tar).expect(200);
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
        NONE,
    );
    assert_eq!(failure(&other.expect(200)), None);
    assert_eq!(architecture_of(&format!("{name}:all")), "s390x");
    let none = pull_as(
        &d,
        &name,
        &[("tag", "all"), ("platform", "linux/riscv64")],
        NONE,
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
    let mut events = d.http.events("/events");
    let all = pull_as(&d, &name, &[], NONE).expect(200);
    assert_eq!(failure(&all), None);
    // Told once, by what was asked for.
    let told = events.up_to("pull").pop().expect("an event");
    assert_eq!(told["Actor"]["ID"], name.as_str());
    drop(events);
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
