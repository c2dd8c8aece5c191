//! Images on their way out and after it: save, history, prune, commit, what all of it takes.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{Daemon, Image, TarBuilder, query, require};

use crate::{daemon, options};

/// Everything a layer's directory holds, as a digest: content, owners, modes, attributes, links, and times
/// but those of whiteouts, and of directories that no entry names.
fn listing(d: &Daemon, name: &str) -> String {
    let inspect = d
        .http
        .get(&format!("/images/{name}/json"))
        .expect(200)
        .json();
    let data = inspect["GraphDriver"]["Data"].clone();
    let dirs =
        ["UpperDir", "LowerDir"].map(|key| data[key].as_str().unwrap_or_default().to_owned());
    let dirs = dirs.join(":");
    let sums = dirs.split(':').filter(|dir| !dir.is_empty()).map(|dir| {
        let tar = "cd \"$0\" && { tar --create --sort=name --format=posix --numeric-owner --xattrs \
            --xattrs-include='*' --pax-option=exthdr.name=%f,delete=atime,delete=ctime \
            --mtime=@0 . && find . '(' ! -type d ! -type c -o -path ./d ')' -printf '%p %T@\n' | sort; } | sha256sum";
        let out = Command::new("bash")
            .args(["-o", "pipefail", "-c", tar, dir])
            .output();
        let out = out.expect("bash is there");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("hex")
    });
    sums.collect()
}

/// busybox and a layer with all that is hard to keep.
fn odd_image() -> Image {
    let mut layer = TarBuilder::new();
    layer
        .dir("d/", 0o1777)
        .file("d/f", 0o4711, b"first")
        .file("d/f", 0o4711, &[7; 70_000])
        .hard_link("d/g", "d/f")
        .symlink("way", "d")
        .file("way/through", 0o600, b"a link")
        .file("bin/.wh.vi", 0o644, b"");
    let mut image = Image::busybox();
    image.tags = vec!["odd:1".to_owned()];
    image.layers.push(layer.finish());
    image
}

fn names_of(archive: &[u8]) -> Value {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a.tar");
    std::fs::write(&path, archive).expect("written");
    let out = Command::new("tar")
        .args(["--extract", "--to-stdout", "--file"])
        .arg(&path)
        .arg("manifest.json")
        .output()
        .expect("tar is there");
    let items: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let names = items.as_array().expect("a list").iter();
    names.map(|item| item["RepoTags"].clone()).collect()
}

#[test]
fn a_saved_image_is_the_same_in_another_daemon() {
    let d = daemon();
    let image = odd_image();
    d.load(&image);
    let answer = d.http.get("/images/odd:1/get").expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/x-tar"));
    let other = Daemon::start(options().bare());
    other
        .http
        .send("POST", "/images/load", &[], &answer.body)
        .expect(200);
    let inspect = other.http.get("/images/odd:1/json").expect(200).json();
    assert_eq!(inspect["Id"], image.id().as_str());
    assert_eq!(listing(&other, "odd:1"), listing(&d, "odd:1"));
    let again = other.http.get("/images/odd:1/get").expect(200);
    assert!(again.body == answer.body);
    // And a program that knows Docker's archives and OCI's finds the same image in both.
    let skopeo = require("skopeo", "skopeo");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a.tar");
    std::fs::write(&path, &answer.body).expect("written");
    for form in ["docker-archive", "oci-archive"] {
        let source = format!("{form}:{}", path.display());
        let raw = Command::new(&skopeo)
            .args(["inspect", "--config", "--raw", &source])
            .output();
        let raw = raw.expect("skopeo is there");
        assert_eq!(String::from_utf8_lossy(&raw.stderr), "");
        assert_eq!(raw.stdout, image.config_blob(), "{form}");
        let copied = dir.path().join(form);
        let copy = Command::new(&skopeo)
            .args(["copy", "--insecure-policy", "--quiet", &source])
            .arg(format!("{form}:{}:odd:copied", copied.display()))
            .output()
            .expect("skopeo is there");
        assert!(copy.status.success(), "{copy:?}");
        let copied = std::fs::read(copied).expect("written");
        let third = Daemon::start(options().bare());
        third
            .http
            .send("POST", "/images/load", &[], &copied)
            .expect(200);
        let inspect = third.http.get("/images/odd:copied/json").expect(200).json();
        assert_eq!(inspect["Id"], image.id().as_str(), "{form}");
        assert_eq!(
            listing(&third, "odd:copied"),
            listing(&d, "odd:1"),
            "{form}"
        );
        third.finish();
    }
    for daemon in [d, other] {
        daemon.finish();
    }
}

#[test]
fn names_say_what_is_saved_and_under_which_names() {
    let d = daemon();
    for (repo, tag) in [("busybox", "two"), ("other", "v1")] {
        let path = query("/images/busybox/tag", &[("repo", repo), ("tag", tag)]);
        d.http.post(&path).expect(201);
    }
    d.load(&odd_image());
    let id = Image::busybox().id();
    let get = |names: &[&str]| {
        let pairs: Vec<_> = names.iter().map(|name| ("names", *name)).collect();
        d.http.get(&query("/images/get", &pairs))
    };
    let saved = |names: &[&str]| names_of(&get(names).expect(200).body);
    assert_eq!(
        saved(&["busybox"]),
        json!([["busybox:latest", "busybox:two"]])
    );
    assert_eq!(saved(&["busybox:two"]), json!([["busybox:two"]]));
    assert_eq!(saved(&[&id]), json!([null]));
    assert_eq!(saved(&[&id[7..19]]), json!([null]));
    assert_eq!(
        saved(&["odd:1", &id, "other:v1", "other:v1"]),
        json!([["odd:1"], ["other:v1"]])
    );
    get(&["busybox", "nosuch"]).expect_error(404, "No such image: nosuch");
    get(&["busybox:nosuch"]).expect_error(404, "reference does not exist");
    d.http
        .get("/images/busybox:nosuch/get")
        .expect_error(404, "reference does not exist");
    let platform = query("/images/busybox/get", &[("platform", "{}")]);
    assert!(d.http.get(&platform).error(501).contains("platform"));
    d.finish();
}

#[test]
fn what_is_removed_meanwhile_is_still_sent() {
    let d = daemon();
    let mut image = Image::busybox();
    image.tags = vec!["large:1".to_owned()];
    let mut layer = TarBuilder::new();
    // More than what waits on the way to a client that does not read.
    for n in 0..16 {
        layer.file(&format!("large{n}"), 0o644, &vec![n; 4 << 20]);
    }
    image.layers.push(layer.finish());
    d.load(&image);
    let mut archive = d.http.stream("GET", "/images/large:1/get", &[], b"");
    let first = archive.body.piece().expect("it begins");
    d.http.delete("/images/large:1").expect(200);
    let rest = archive.body.read_to_end();
    let other = Daemon::start(options().bare());
    let whole = [first, rest].concat();
    other
        .http
        .send("POST", "/images/load", &[], &whole)
        .expect(200);
    let inspect = other.http.get("/images/large:1/json").expect(200).json();
    assert_eq!(inspect["Id"], image.id().as_str());
    other.finish();
    d.finish();
}

#[test]
fn a_history_begins_with_the_image_itself() {
    let d = daemon();
    d.load(&odd_image());
    let history = d.http.get("/images/odd:1/history").expect(200).json();
    let steps = history.as_array().expect("a list");
    let inspect = d.http.get("/images/odd:1/json").expect(200).json();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0]["Id"], inspect["Id"]);
    assert_eq!(steps[0]["Tags"], json!(["odd:1"]));
    assert_eq!(steps[0]["CreatedBy"], "moored tests");
    assert_eq!(steps[0]["Created"], 1_704_067_200);
    assert_eq!(
        (&steps[1]["Id"], &steps[1]["Tags"]),
        (&json!("<missing>"), &Value::Null)
    );
    let sizes = steps
        .iter()
        .map(|step| step["Size"].as_u64().expect("a number"));
    assert_eq!(Some(sizes.sum::<u64>()), inspect["Size"].as_u64());
    d.http
        .get("/images/nosuch/history")
        .expect_error(404, "No such image: nosuch:latest");
    // That is when somebody named it here, which the archive did not.
    let tagged = || {
        let inspect = d.http.get("/images/odd:1/json").expect(200).json();
        inspect["Metadata"]["LastTagTime"].to_string()
    };
    assert_eq!(tagged(), "\"0001-01-01T00:00:00Z\"");
    d.http.post("/images/odd:1/tag?repo=odd&tag=1").expect(201);
    assert_ne!(tagged(), "\"0001-01-01T00:00:00Z\"");
    // What the two share is the layer of the lower one.
    let list = d.http.get("/images/json?shared-size=1").expect(200).json();
    for image in list.as_array().expect("a list") {
        assert_eq!(image["SharedSize"], steps[1]["Size"]);
    }
    let older = d.http.get("/v1.41/images/json?shared-size=1").expect(200);
    assert_eq!(older.json()[0]["SharedSize"], -1);
    d.finish();
}

#[test]
fn a_prune_takes_what_nothing_needs() {
    let d = daemon();
    let prune = |filters: Value| {
        let path = query("/images/prune", &[("filters", &filters.to_string())]);
        d.http.post(&path)
    };
    assert_eq!(
        d.http.post("/images/prune").expect(200).text().trim(),
        r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#
    );
    assert_eq!(
        prune(json!({"nosuch": ["1"]})).error(400),
        "invalid filter 'nosuch'"
    );
    // A name that moves on leaves an image without one.
    let mut second = odd_image();
    second.config["Labels"] = json!({"keep": "no"});
    d.load(&odd_image());
    let archive = second.docker_archive();
    let told = d.http.send("POST", "/images/load", &[], &archive);
    let old = odd_image().id();
    let moved = format!(
        "The image odd:1 already exists, renaming the old one with ID {old} to empty string\\n"
    );
    assert!(told.expect(200).text().contains(&moved));
    let kept = prune(json!({"label": ["other"]})).expect(200).json();
    assert_eq!(kept["ImagesDeleted"], Value::Null);
    let young = prune(json!({"until": ["2023-01-01"]})).expect(200).json();
    assert_eq!(young["ImagesDeleted"], Value::Null);
    let gone = prune(json!({"dangling": ["true"]})).expect(200).json();
    assert_eq!(
        gone,
        json!({"ImagesDeleted": [{"Deleted": odd_image().id()}], "SpaceReclaimed": 0})
    );
    // All that no container uses, with its names and layers.
    let user = d.create("user", json!({"Cmd": ["true"]}));
    let gone = prune(json!({"dangling": ["false"]})).expect(200).json();
    let items = gone["ImagesDeleted"].as_array().expect("a list");
    assert_eq!(items[0], json!({"Untagged": "odd:1"}));
    assert_eq!(items[1], json!({"Deleted": second.id()}));
    assert_eq!(items.len(), 3, "{gone}");
    assert!(gone["SpaceReclaimed"].as_u64().expect("a number") >= 70_000);
    d.http.get("/images/busybox/json").expect(200);
    d.http.delete(&format!("/containers/{user}")).expect(204);
    d.finish();
}

#[test]
fn what_everything_takes_is_told() {
    let d = daemon();
    d.load(&odd_image());
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    let body = json!({"Cmd": ["sh", "-c", "echo 12345 > /v/f; echo 123 > /f"],
        "HostConfig": {"Binds": ["vol:/v"]}});
    let user = d.run("user", body);
    assert_eq!(user.code, 0, "{user:?}");
    let usage = d.http.get("/system/df").expect(200).json();
    let odd = d.http.get("/images/odd:1/json").expect(200).json();
    assert_eq!(usage["LayersSize"], odd["Size"], "the layer below is one");
    let images = usage["Images"].as_array().expect("a list");
    let of = |tag: &str| {
        let mut images = images.iter();
        let image = images.find(|i| i["RepoTags"] == json!([tag]));
        image.unwrap_or_else(|| panic!("no {tag}: {usage}"))
    };
    let (busybox, odd) = (of("busybox:latest"), of("odd:1"));
    assert_eq!(
        (&busybox["Containers"], &odd["Containers"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(busybox["SharedSize"], busybox["Size"]);
    assert_eq!(odd["SharedSize"], busybox["Size"]);
    assert_eq!(usage["Containers"][0]["SizeRw"], 4);
    let volume = &usage["Volumes"][0];
    assert_eq!(volume["Name"], "vol");
    assert_eq!(volume["UsageData"], json!({"RefCount": 1, "Size": 6}));
    assert_eq!(usage["BuildCache"], json!([]));
    let only = d.http.get("/system/df?type=volume").expect(200).json();
    assert_eq!(
        (&only["Images"], &only["LayersSize"]),
        (&Value::Null, &json!(0))
    );
    assert_eq!(only["Volumes"], usage["Volumes"]);
    d.http
        .get("/system/df?type=nosuch")
        .expect_error(400, "unknown object type: nosuch");
    assert_eq!(
        d.http.post("/build/prune").expect(200).text().trim(),
        r#"{"CachesDeleted":null,"SpaceReclaimed":0}"#
    );
    d.finish();
}
