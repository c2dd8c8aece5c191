//! Images: load in every form, list, inspect, tag, remove, import; hostile archives.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::{BUSYBOX, Daemon, Image, Response, TarBuilder, query};

use crate::{daemon, options};

fn empty() -> Daemon {
    Daemon::start(options().bare())
}

fn load(d: &Daemon, archive: &[u8]) -> Response {
    let tar = [("Content-Type", "application/x-tar")];
    d.http.send("POST", "/images/load?quiet=1", &tar, archive)
}

/// Pipes bytes through a program.
fn piped(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is needed, of the package of that name: {e}"));
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let bytes = bytes.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes).expect("it reads all"));
    let output = child.wait_with_output().expect("it is our child");
    feeder.join().expect("it reads all");
    output.stdout
}

#[test]
fn every_form_of_archive_gives_the_same_image() {
    let image = Image::busybox();
    for archive in [
        image.docker_archive(),
        image.oci_archive(),
        piped("gzip", &image.docker_archive()),
        piped("gzip", &image.oci_archive()),
    ] {
        let d = empty();
        let answer = load(&d, &archive).expect(200);
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
        let text = answer.text();
        let last: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["stream"], "Loaded image: busybox:latest\n", "{text}");
        let inspect = d.http.get("/images/busybox/json").expect(200).json();
        assert_eq!(inspect["Id"], image.id().as_str());
        let out = d.run("it-runs", json!({"Cmd": ["echo", "hi"]}));
        assert_eq!((out.code, out.output.stdout.as_str()), (0, "hi\n"));
        d.finish();
    }
}

#[test]
fn list_and_inspect_show_what_clients_read() {
    let d = daemon();
    let list = d.http.get("/images/json").expect(200).json();
    let [image] = list.as_array().expect("a list").as_slice() else {
        panic!("one image: {list}");
    };
    assert_eq!(image["Id"], Image::busybox().id().as_str());
    assert_eq!(image["RepoTags"], json!([BUSYBOX]));
    assert_eq!(image["RepoDigests"], json!([]));
    assert_eq!(image["Created"], 1_704_067_200);
    assert_eq!(image["Containers"], -1);
    assert_eq!(image["SharedSize"], -1);
    assert!(image["Size"].as_u64().expect("a number") > 1_000_000);

    let inspect = d.http.get("/images/busybox:latest/json").expect(200).json();
    assert_eq!(inspect["Config"]["Cmd"], json!(["sh"]));
    assert_eq!(inspect["Os"], "linux");
    assert_eq!(inspect["RootFS"]["Type"], "layers");
    assert_eq!(
        inspect["RootFS"]["Layers"].as_array().map(Vec::len),
        Some(1)
    );
    let top = inspect["GraphDriver"]["Data"]["UpperDir"].as_str();
    let top = std::path::Path::new(top.expect("text"));
    assert!(top.join("bin/busybox").exists(), "{}", top.display());
    let id = inspect["Id"].as_str().expect("text");
    for name in [id, &id[..19], &id["sha256:".len()..][..12], "busybox"] {
        d.http.get(&format!("/images/{name}/json")).expect(200);
    }
    d.http
        .get("/images/nosuch/json")
        .expect_error(404, "No such image: nosuch:latest");
    d.finish();
}

#[test]
fn tags_are_added_and_removed_and_the_last_one_takes_the_image() {
    let d = daemon();
    let tag = |repo: &str, tag: &str| {
        d.http.post(&query(
            "/images/busybox/tag",
            &[("repo", repo), ("tag", tag)],
        ))
    };
    tag("registry.test:5000/a/b", "v1").expect(201);
    tag("UPPER", "x").error(400);
    tag("sha256", "x").expect_error(
        400,
        "refusing to create an ambiguous tag using digest algorithm as name",
    );
    tag(&format!("a@{}", Image::busybox().id()), "")
        .expect_error(400, "cannot import digest reference");
    d.http
        .post("/images/nosuch/tag?repo=a&tag=b")
        .expect_error(404, "No such image: nosuch:latest");
    let by_tag = d
        .http
        .get("/images/registry.test:5000/a/b:v1/json")
        .expect(200)
        .json();
    assert_eq!(
        by_tag["RepoTags"],
        json!(["busybox:latest", "registry.test:5000/a/b:v1"])
    );
    let filtered = |pattern: &str| {
        let filters = json!({"reference": [pattern]}).to_string();
        d.http.get(&query("/images/json", &[("filters", &filters)]))
    };
    let of_tag = filtered("registry.test:5000/[a-c]/?:v*").expect(200).json();
    assert_eq!(of_tag[0]["RepoTags"], json!(["registry.test:5000/a/b:v1"]));
    filtered("[a").expect_error(400, "syntax error in pattern");
    let gone = d.http.delete("/images/busybox:latest").expect(200).json();
    assert_eq!(gone, json!([{"Untagged": "busybox:latest"}]));
    let gone = d
        .http
        .delete("/images/registry.test:5000/a/b:v1")
        .expect(200)
        .json();
    assert_eq!(gone[0], json!({"Untagged": "registry.test:5000/a/b:v1"}));
    assert_eq!(gone[1], json!({"Deleted": Image::busybox().id()}));
    assert_eq!(d.http.get("/images/json").expect(200).json(), json!([]));
    d.finish();
}

#[test]
fn an_image_in_use_stays() {
    let d = daemon();
    let id = d.create("user", json!({"Cmd": ["true"]}));
    let short_image = &Image::busybox().id()["sha256:".len()..][..12].to_owned();
    for name in ["busybox:latest", "busybox"] {
        d.http.delete(&format!("/images/{name}")).expect_error(
            409,
            &format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - \
                 container {} is using its referenced image {short_image}",
                &id[..12]
            ),
        );
    }
    d.http.delete("/containers/user").expect(204);
    d.http.delete("/images/busybox:latest").expect(200);
    d.finish();
}

#[test]
fn an_imported_root_file_system_runs() {
    let d = empty();
    let layer = Image::busybox().layers.remove(0);
    let path = query(
        "/images/create",
        &[
            ("fromSrc", "-"),
            ("repo", "imported"),
            ("tag", "one"),
            ("changes", "CMD [\"echo\", \"from import\"]"),
        ],
    );
    let tar = [("Content-Type", "application/x-tar")];
    let answer = d.http.send("POST", &path, &tar, &layer).expect(200);
    assert!(answer.text().contains("sha256:"), "{}", answer.text());
    let out = d.run("import", json!({"Image": "imported:one"}));
    assert_eq!(out.output.stdout, "from import\n");
    let inspect = d.http.get("/images/imported:one/json").expect(200).json();
    assert_eq!(inspect["Comment"], "Imported from -");
    let changed = |changes: &str| {
        let pairs = [("fromSrc", "-"), ("repo", "changed"), ("changes", changes)];
        d.http
            .send("POST", &query("/images/create", &pairs), &tar, &layer)
    };
    changed("EXPOSE x").expect_error(400, "invalid containerPort: x");
    changed("").expect_error(400, "file with no instructions");
    d.http.get("/images/changed/json").expect(404);
    changed("ONBUILD RUN make\nEXPOSE 80-81").expect(200);
    let config = d.http.get("/images/changed/json").expect(200).json()["Config"].clone();
    assert_eq!(config["OnBuild"], json!(["RUN make"]));
    let ports = json!({"80/tcp": {}, "81/tcp": {}});
    assert_eq!(config["ExposedPorts"], ports);
    d.finish();
}

/// Layers on top of each other: a whiteout hides, an opaque directory hides all, hard links and
/// modes survive.
#[test]
fn layers_are_applied_with_whiteouts_and_links() {
    let mut lower = TarBuilder::new();
    lower
        .dir("d/", 0o755)
        .file("d/old", 0o644, b"old")
        .file("d/kept", 0o600, b"kept")
        .dir("o/", 0o755)
        .file("o/below", 0o644, b"below")
        .file("f", 0o4755, b"setuid")
        .hard_link("g", "f");
    let mut upper = TarBuilder::new();
    upper
        .file("d/.wh.old", 0o644, b"")
        .dir("o/", 0o755)
        .file("o/.wh..wh..opq", 0o644, b"")
        .file("o/above", 0o644, b"above");
    let mut image = Image::busybox();
    image.tags = vec!["layered:1".to_owned()];
    image.layers.extend([lower.finish(), upper.finish()]);
    let d = daemon();
    d.load(&image);
    let script = "ls d o; cat d/kept; echo; stat -c '%a %h' f g";
    let out = d.run(
        "layers",
        json!({"Image": "layered:1", "Cmd": ["sh", "-c", script]}),
    );
    assert_eq!(out.output.stderr, "");
    assert_eq!(
        out.output.stdout,
        "d:\nkept\n\no:\nabove\nkept\n4755 2\n4755 2\n"
    );
    d.finish();
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let d = empty();
    let good = Image::busybox();
    let with_layer = |layer: TarBuilder| {
        let mut image = good.clone();
        image.layers.push(layer.finish());
        image.docker_archive()
    };
    let mut climbing = TarBuilder::new();
    climbing.file("../../../../../../tmp/moored-escape", 0o644, b"out");
    let mut through_link = TarBuilder::new();
    through_link
        .symlink("way", "/tmp")
        .file("way/moored-escape", 0o644, b"out");
    let mut linked = TarBuilder::new();
    linked.hard_link("passwd", "../../../../../../etc/passwd");
    let whole = good.docker_archive();
    for (what, archive, refused) in [
        ("a path that climbs", with_layer(climbing), false),
        ("a path through a link", with_layer(through_link), false),
        ("a hard link that climbs", with_layer(linked), false),
        ("half an archive", whole[..whole.len() / 2].to_vec(), true),
        ("no archive", b"this is not a tar".repeat(100), true),
        ("nothing", Vec::new(), true),
        ("an empty tar", TarBuilder::new().finish(), true),
    ] {
        let answer = load(&d, &archive);
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let failed = answer.text().contains("errorDetail");
        if refused {
            assert!(failed, "{what}: {}", answer.text());
        }
        let escaped = std::fs::exists("/tmp/moored-escape").expect("/tmp can be asked");
        assert!(!escaped, "{what} got out");
        if failed {
            let list = d.http.get("/images/json").expect(200).json();
            assert_eq!(list, json!([]), "{what} left an image");
        } else {
            d.http.delete("/images/busybox:latest").expect(200);
        }
    }
    d.http.get("/_ping").expect(200);
    d.finish();
}

/// The configuration names the layer by its digest; other bytes are another layer.
#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let d = empty();
    let image = Image::busybox();
    let mut archive = image.docker_archive();
    let marker = b"root:x:0:0:root";
    let at = archive
        .windows(marker.len())
        .position(|w| w == marker)
        .expect("the layer has a passwd");
    archive[at] = b'X';
    let answer = load(&d, &archive);
    assert_eq!(answer.status, 200);
    let told = answer.json();
    let message = told["error"].as_str().expect("text");
    assert!(message.contains("cannot load"), "{message}");
    assert_eq!(
        told,
        json!({"errorDetail": {"message": message}, "error": message})
    );
    assert_eq!(d.http.get("/images/json").expect(200).json(), json!([]));
    d.finish();
}

/// More uploads than the daemon has threads for work that blocks.
#[test]
fn uploads_that_stand_still_hold_nothing_up() {
    let d = daemon();
    let stalled: Vec<UnixStream> = (0..600)
        .map(|_| {
            let mut upload = d.http.connect().expect("it takes connections");
            let head = b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nx";
            upload.write_all(head).expect("it reads the head");
            upload
        })
        .collect();
    // Time for each to take a thread, if it could.
    std::thread::sleep(std::time::Duration::from_secs(1));
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    let out = d.run("meanwhile", json!({"Cmd": ["echo", "hi"]}));
    assert_eq!(out.output.stdout, "hi\n");
    drop(stalled);
    // The queue moves on when they are gone.
    load(&d, &Image::busybox().docker_archive()).expect(200);
    d.finish();
}

#[test]
fn a_health_check_and_what_builds_need_are_kept() {
    let d = empty();
    let mut image = Image::busybox();
    let check = json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Retries": 3});
    image.config["Healthcheck"] = check.clone();
    image.config["OnBuild"] = json!(["RUN make"]);
    image.config["Shell"] = json!(["/bin/ash", "-c"]);
    d.load(&image);
    let shown = d.http.get("/images/busybox/json").expect(200).json();
    assert_eq!(shown["Config"]["Healthcheck"], check);
    assert_eq!(shown["Config"]["OnBuild"], json!(["RUN make"]));
    assert_eq!(shown["Config"]["Shell"], json!(["/bin/ash", "-c"]));
    let warnings = |extra: serde_json::Value| {
        let mut body = json!({"Image": "busybox", "Cmd": ["true"]});
        body["Healthcheck"] = extra;
        let made = d.http.post_json("/containers/create", &body).expect(201);
        made.json()["Warnings"].clone()
    };
    assert_eq!(warnings(json!(null)), json!([]));
    assert_eq!(warnings(json!({"Test": ["NONE"]})), json!([]));
    d.finish();
}
