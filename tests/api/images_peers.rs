//! Images that other engines made: `peers/` has their archives, and says how they came about.

use serde_json::{Value, json};
use testkit::{Daemon, Image, Response, TarBuilder, tree_listing};

use crate::{daemon, options};

const DOCKERD: &[u8] = include_bytes!("peers/dockerd-20.10.24.tar.gz");
const DOCKERD_TREE: &str = include_str!("peers/dockerd-20.10.24.tree");
const PODMAN: &[u8] = include_bytes!("peers/podman-4.3.1-docker-archive.tar.gz");
const PODMAN_OCI: &[u8] = include_bytes!("peers/podman-4.3.1-oci-archive.tar.gz");
const PODMAN_MULTI: &[u8] = include_bytes!("peers/podman-4.3.1-multi.tar.gz");
const PODMAN_TREE: &str = include_str!("peers/podman-4.3.1.tree");

/// What dockerd and podman say that these images are.
const ODD: [(&str, &str); 3] = [
    (
        "odd:1",
        "sha256:b81cffb9d3bb7fc7bb85f5777007f6bf54d07b5aad98220fd404f889a4f163cc",
    ),
    (
        "odd:2",
        "sha256:32577807280b41827643819ce7045a6ce26b50c050f6820227fc0052b6d426d3",
    ),
    (
        "odd:3",
        "sha256:e6f28b03f7912159cadbd1dbd74b0ffd191b22010f6efe54557dc926cb17d234",
    ),
];
const PODD_1: (&str, &str) = (
    "localhost/podd:1",
    "sha256:85e51390b28d3522872229eb9ad2fab37c7cece618c8fc0eb85f0346ea0d388c",
);
const PODD_2: (&str, &str) = (
    "localhost/podd:2",
    "sha256:e9ec4bbc23e222f3990624dbec7907e0838e565e8f934aef179b93be2b20bca9",
);

/// What every container has.
const MADE: [&str; 10] = [
    ".dockerenv",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "sys",
];

fn load(d: &Daemon, archive: &[u8]) -> Response {
    let head = [("Content-Type", "application/x-tar")];
    d.http.send("POST", "/images/load", &head, archive)
}

fn texts(answer: &Response) -> Vec<String> {
    let lines = answer.text().lines().map(str::to_owned).collect::<Vec<_>>();
    let objects = lines.iter().map(|line| serde_json::from_str::<Value>(line));
    let text = |object: Value| object["stream"].as_str().unwrap_or_default().to_owned();
    objects.map(|o| text(o.expect("JSON"))).collect()
}

fn image(d: &Daemon, name: &str) -> Value {
    d.http
        .get(&format!("/images/{name}/json"))
        .expect(200)
        .json()
}

fn check_ids(d: &Daemon, wanted: &[(&str, &str)]) {
    for (name, id) in wanted {
        assert_eq!(image(d, name)["Id"], *id, "{name}");
    }
}

/// The image's tree as containers have it: what an export of Docker's leaves out (attributes, parts of a
/// second) is part of it, so its layers are looked at themselves.
fn tree(d: &Daemon, name: &str) -> Vec<String> {
    let id = d.create("shown", json!({"Image": name, "Cmd": ["x"]}));
    let shown = d.http.get(&format!("/containers/{id}/json")).expect(200);
    let layers = shown.json()["GraphDriver"]["Data"]["LowerDir"].clone();
    let layers = layers.as_str().expect("directories").to_owned();
    let at = |name: &str| d.root().join(name);
    for dir in ["nothing", "shown"] {
        std::fs::create_dir_all(at(dir)).expect("a directory in ours");
    }
    let inside = |program: &str, args: &[&std::ffi::OsStr]| {
        let status = d.command_inside(program).args(args).status();
        assert!(status.is_ok_and(|status| status.success()), "{program}");
    };
    // One layer alone is not enough for a mount.
    let lower = format!("lowerdir={layers}:{}", at("nothing").display());
    let place = at("shown");
    let mount = ["-t", "overlay", "-o", &lower, "overlay"].map(std::ffi::OsStr::new);
    inside("mount", &[&mount[..], &[place.as_os_str()]].concat());
    let found = tree_listing(&d.inside(&place), &MADE, &["dev", "etc"]);
    inside("umount", &[place.as_os_str()]);
    d.http.delete(&format!("/containers/{id}")).expect(204);
    found
}

fn assert_tree(d: &Daemon, name: &str, wanted: &str) {
    let found = tree(d, name);
    let wanted: Vec<&str> = wanted.lines().collect();
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn what_dockerd_saved_is_the_same_here_and_goes_on_the_same() {
    let d = daemon();
    let names = ODD.map(|(name, _)| format!("Loaded image: {name}\n"));
    assert_eq!(texts(&load(&d, DOCKERD).expect(200)), names);
    let check = |d: &Daemon| {
        check_ids(d, &ODD);
        // An archive of several says which was made from which.
        let parents = ODD.map(|(name, _)| image(d, name)["Parent"].clone());
        assert_eq!(parents, [json!(""), json!(ODD[0].1), json!(ODD[1].1)]);
        let third = image(d, "odd:3");
        assert_eq!(third["DockerVersion"], "20.10.24+dfsg1");
        let said = (&third["Author"], &third["Comment"]);
        assert_eq!(said, (&json!("me"), &json!("third")));
        let history = d.http.get("/images/odd:3/history").expect(200).json();
        let ids = [0, 1, 2].map(|at| history[at]["Id"].clone());
        assert_eq!(ids, [2, 1, 0].map(|at| json!(ODD[at].1)));
        // As `docker history` there: 6 bytes are "late\n" and a link.
        let sizes = [0, 1, 2].map(|at| history[at]["Size"].clone());
        assert_eq!(sizes, [json!(6), json!(24), json!(200_434)]);
        assert_tree(d, "odd:3", DOCKERD_TREE);
    };
    check(&d);
    let saved = d.http.get("/images/get?names=odd").expect(200).body;
    let other = Daemon::start(options().bare());
    load(&other, &saved).expect(200);
    check(&other);
    other.finish();
    d.finish();
}

#[test]
fn what_podman_saved_is_the_same_here() {
    let d = daemon();
    for archive in [PODMAN, PODMAN_OCI] {
        let told = texts(&load(&d, archive).expect(200));
        assert_eq!(told, [format!("Loaded image: {}\n", PODD_2.0)]);
        check_ids(&d, &[PODD_2]);
        assert_tree(&d, PODD_2.0, PODMAN_TREE);
        d.http.delete(&format!("/images/{}", PODD_2.0)).expect(200);
    }
    load(&d, PODMAN_MULTI).expect(200);
    check_ids(&d, &[PODD_1, PODD_2, ("localhost/odd:3", ODD[2].1)]);
    assert_tree(&d, PODD_2.0, PODMAN_TREE);
    assert_tree(&d, "localhost/odd:3", DOCKERD_TREE);
    d.finish();
}

#[test]
fn a_load_that_takes_a_name_away_says_so() {
    let d = daemon();
    load(&d, DOCKERD).expect(200);
    let target = "/images/odd:1/tag?repo=odd&tag=3";
    d.http.send("POST", target, &[], b"").expect(201);
    let told = texts(&load(&d, DOCKERD).expect(200));
    let moved = format!(
        "The image odd:3 already exists, renaming the old one with ID {} to empty string\n",
        ODD[0].1
    );
    let loaded = ODD.map(|(name, _)| format!("Loaded image: {name}\n"));
    assert_eq!(told[..2], loaded[..2]);
    assert_eq!(told[2..], [moved, loaded[2].clone()]);
    check_ids(&d, &ODD);
    d.finish();
}

/// An archive that says that one image was made from another whose history it does not go on.
#[test]
fn a_parent_that_is_none_is_refused_and_nothing_is_loaded() {
    let d = Daemon::start(options().bare());
    let mut tar = TarBuilder::new();
    let mut items = Vec::new();
    for (at, tag) in ["first:1", "second:1"].into_iter().enumerate() {
        let layer = TarBuilder::new().finish();
        let mut image = Image::with(tag, &json!({"Labels": {"n": tag}}));
        image.layers = vec![layer.clone()];
        let name = format!("{at}.json");
        tar.file(&name, 0o644, &image.config_blob());
        tar.file(&format!("{at}/layer.tar"), 0o644, &layer);
        items.push((image.id(), name, tag, format!("{at}/layer.tar")));
    }
    let parent = |at: usize| items[1 - at].0.clone();
    let listed: Vec<Value> = (0..2)
        .map(|at| {
            let (_, config, tag, layer) = &items[at];
            json!({"Config": config, "RepoTags": [tag], "Layers": [layer], "Parent": parent(at)})
        })
        .collect();
    tar.file("manifest.json", 0o644, json!(listed).to_string().as_bytes());
    let answer = load(&d, &tar.finish()).expect(200);
    let wanted = format!(
        "image {} is not a valid parent for {}",
        items[1].0, items[0].0
    );
    assert!(answer.text().contains(&wanted), "{}", answer.text());
    assert_eq!(d.http.get("/images/json").expect(200).json(), json!([]));
    d.finish();
}
