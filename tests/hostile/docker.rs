//! docker-archives: a manifest that is missing, lies, or names what is not the archive's.

use serde_json::{Value, json};

use crate::image::item;
use crate::{Case, Fate, Found, Image, Raw, digest, gzip, refused};

/// Every docker-archive.
pub fn archives() -> Vec<Case> {
    [manifests(), configs(), paths(), tags(), layers()].concat()
}

fn taken(name: &'static str, bytes: Vec<u8>, content: &'static [u8]) -> Case {
    let fate = Fate::Taken(vec![("f", Found::File(content))]);
    Case { name, bytes, fate }
}

fn manifests() -> Vec<Case> {
    let image = Image::of(b"1");
    let with = |text: &str| image.archive(text.as_bytes());
    let bad = "bad manifest.json";
    let none = "not an archive of images";
    let honest = item("c.json", &json!(["x:1"]), &json!(["l.tar"]));
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let many = format!(
        "[{}]",
        vec![r#"{"Config":"c.json","Layers":["l.tar"]}"#; 2000].join(",")
    );
    let twice = |last: &str| {
        image
            .members()
            .file("manifest.json", honest.as_bytes())
            .file("./manifest.json", last.as_bytes())
            .end()
    };
    vec![
        refused("nothing", Vec::new(), none),
        refused("an empty tar", Raw::new().end(), none),
        refused("text", b"hello".to_vec(), "truncated"),
        refused("a layer for an archive", image.layer.clone(), none),
        refused("no manifest", image.members().end(), none),
        refused(
            "Docker's oldest form",
            image
                .members()
                .file("repositories", b"{\"x\":{\"1\":\"0\"}}")
                .end(),
            none,
        ),
        refused("manifest cut off", with("[{"), bad),
        refused("object for a list", with("{}"), bad),
        refused("list of nulls", with("[null]"), bad),
        refused("null", with("null"), "not JSON"),
        refused(
            "numbers for names",
            with(r#"[{"Config":1,"Layers":[2]}]"#),
            bad,
        ),
        refused(
            "list of no configuration",
            with(r#"[{"Layers":["l.tar"]}]"#),
            bad,
        ),
        refused("deep JSON", with(&deep), bad),
        refused(
            "manifest of 10 MB",
            with(&format!("[{}]", " ".repeat(10 << 20))),
            "not JSON, or too large",
        ),
        refused(
            "manifest that is no text",
            image.archive(b"[\"\xff\xfe\"]"),
            bad,
        ),
        refused(
            "two thousand images",
            with(&many),
            "the most allowed are 1024",
        ),
        refused(
            "manifest that is a directory",
            image.members().dir("manifest.json").end(),
            none,
        ),
        refused(
            "manifest that is a link out",
            image
                .members()
                .symlink("manifest.json", "../../etc/passwd")
                .end(),
            "leaves the root",
        ),
        refused(
            "manifest that is a link to the configuration",
            image.members().symlink("manifest.json", "c.json").end(),
            bad,
        ),
        refused(
            "manifest that is a link to itself",
            image
                .members()
                .symlink("manifest.json", "manifest.json")
                .end(),
            none,
        ),
        refused("second manifest is bad", twice("[{"), bad),
        taken("second manifest counts", twice(&honest), b"1"),
    ]
}

fn configs() -> Vec<Case> {
    let image = Image::of(b"1");
    let manifest = item("c.json", &json!(["x:1"]), &json!(["l.tar"]));
    let with = |config: &str| {
        Raw::new()
            .file("l.tar", &image.layer)
            .file("c.json", config.as_bytes())
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut config = image.config.clone();
        change(&mut config);
        with(&config.to_string())
    };
    let diff_ids = |ids: Value| changed(&|c| c["rootfs"]["diff_ids"] = ids.clone());
    let bad = "bad image configuration";
    let other = digest(b"other");
    let own = digest(&image.layer);
    let promised = format!("{}.json", &digest(b"promised")[7..]);
    let hex = "A".repeat(64);
    vec![
        refused("configuration null", with("null"), "not JSON"),
        refused("configuration a list", with("[]"), bad),
        refused("configuration empty", with("{}"), bad),
        refused("configuration of no text", with("{\"a\":\"\u{0}\"}"), bad),
        refused(
            "configuration of 5 MB",
            changed(&|c| c["pad"] = json!("x".repeat(5 << 20))),
            "not JSON, or too large",
        ),
        refused(
            "configuration of wrong types",
            changed(&|c| c["config"] = json!({"Env": 7})),
            bad,
        ),
        refused("layers in an object", diff_ids(json!({"0": own})), bad),
        refused("rootfs a list", changed(&|c| c["rootfs"] = json!([])), bad),
        refused(
            "rootfs of another type",
            changed(&|c| c["rootfs"]["type"] = json!("base")),
            bad,
        ),
        refused(
            "image of Windows",
            changed(&|c| c["os"] = json!("windows")),
            "cannot be used on this platform",
        ),
        refused(
            "layer of another digest",
            diff_ids(json!([other])),
            "has the digest",
        ),
        refused(
            "diff_id of sha512",
            diff_ids(json!([format!("sha512:{}", "0".repeat(128))])),
            "invalid digest",
        ),
        refused(
            "diff_id that is a path",
            diff_ids(json!(["sha256:../../../etc/passwd"])),
            "invalid digest",
        ),
        refused(
            "diff_id in upper case",
            diff_ids(json!([format!("sha256:{hex}")])),
            "invalid digest",
        ),
        refused("diff_id null", diff_ids(json!([null])), bad),
        refused(
            "no diff_ids",
            diff_ids(Value::Null),
            "the configuration names 0 layers",
        ),
        refused(
            "more diff_ids than layers",
            diff_ids(json!([own, own])),
            "the manifest 1",
        ),
        refused(
            "501 diff_ids",
            diff_ids(json!(vec![own.clone(); 501])),
            "the most allowed are",
        ),
        refused(
            "configuration that is not what its name says",
            image
                .members()
                .file(&promised, image.config.to_string().as_bytes())
                .file(
                    "manifest.json",
                    item(&promised, &json!([]), &json!(["l.tar"])).as_bytes(),
                )
                .end(),
            "has the digest",
        ),
    ]
}

fn paths() -> Vec<Case> {
    let image = Image::of(b"1");
    let config = |path: &str| image.archive(item(path, &json!([]), &json!(["l.tar"])).as_bytes());
    let layer = |path: &str| image.archive(item("c.json", &json!([]), &json!([path])).as_bytes());
    let climbs = "leaves the root";
    let absent = "is not in the archive";
    let linked = |kind: u8, target: &str| {
        let manifest = item("c.json", &json!([]), &json!(["a/link.tar"]));
        let link = crate::Head::new(kind, "a/link.tar").link(target);
        image
            .members()
            .put(link, b"")
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    vec![
        refused(
            "configuration out of the archive",
            config("../../etc/passwd"),
            climbs,
        ),
        refused("configuration of the host", config("/etc/passwd"), absent),
        refused("configuration absent", config("absent.json"), absent),
        refused("configuration of no name", config(""), absent),
        refused("layer for a configuration", config("l.tar"), "not JSON"),
        refused(
            "name of the configuration with a NUL",
            config("c.json\u{0}"),
            "NUL",
        ),
        refused(
            "name of the configuration of 10 kB",
            config(&"c".repeat(10_000)),
            "name of 10000 bytes",
        ),
        refused(
            "layer out of the archive",
            layer("../../../etc/passwd"),
            climbs,
        ),
        refused("layer of the host", layer("/etc/passwd"), absent),
        refused("layer absent", layer("absent.tar"), absent),
        refused("layer that is the root", layer("."), absent),
        refused(
            "configuration for a layer",
            layer("c.json"),
            "is not a tar archive",
        ),
        refused(
            "layer that is a directory",
            {
                let manifest = item("c.json", &json!([]), &json!(["d"]));
                image
                    .members()
                    .dir("d")
                    .file("manifest.json", manifest.as_bytes())
                    .end()
            },
            absent,
        ),
        refused(
            "layer that is a link out",
            linked(b'2', "../../etc/passwd"),
            climbs,
        ),
        refused(
            "layer that is a hard link out",
            linked(b'1', "../etc/passwd"),
            climbs,
        ),
        refused(
            "layer that is a link to the host",
            linked(b'2', "/etc/passwd"),
            absent,
        ),
        refused(
            "layer that is a link to itself",
            linked(b'2', "link.tar"),
            absent,
        ),
        refused(
            "member out of the archive",
            image.members().file("../evil", b"x").end(),
            climbs,
        ),
        refused(
            "links in a circle",
            {
                let manifest = item("a", &json!([]), &json!([]));
                let tar = Raw::new().symlink("a", "b").symlink("b", "a");
                tar.file("manifest.json", manifest.as_bytes()).end()
            },
            absent,
        ),
        taken(
            "layer that is a link to another",
            linked(b'2', "../l.tar"),
            b"1",
        ),
        taken(
            "layer that is a hard link to another",
            linked(b'1', "l.tar"),
            b"1",
        ),
        taken(
            "names with dots and slashes",
            image.archive(item("./x/../c.json", &json!([]), &json!(["//l.tar"])).as_bytes()),
            b"1",
        ),
    ]
}

fn tags() -> Vec<Case> {
    let image = Image::of(b"1");
    let with =
        |tag: &str| image.archive(item("c.json", &json!([tag]), &json!(["l.tar"])).as_bytes());
    let bad = "bad name";
    let pinned = format!("x@{}", digest(b"x"));
    vec![
        refused("name that climbs", with("../x"), bad),
        refused("name with a newline", with("x\n:1"), bad),
        refused("name of 10 kB", with(&"x".repeat(10_000)), bad),
        refused("empty name", with(""), bad),
        refused("name in upper case", with("UPPER:x y"), bad),
        refused("name with a NUL", with("x\u{0}y:1"), bad),
        refused("name of 64 digits", with(&"a".repeat(64)), bad),
        refused("name with a digest", with(&pinned), "invalid tag"),
        refused("name of an algorithm", with("sha256:abc"), "ambiguous tag"),
        refused(
            "name that is none",
            image.archive(item("c.json", &json!([7]), &json!(["l.tar"])).as_bytes()),
            "bad manifest.json",
        ),
        taken(
            "no names",
            image.archive(item("c.json", &Value::Null, &json!(["l.tar"])).as_bytes()),
            b"1",
        ),
    ]
}

fn layers() -> Vec<Case> {
    let image = Image::of(b"1");
    let with = |layers: Value| image.archive(item("c.json", &json!([]), &layers).as_bytes());
    let replaced = |layer: &[u8]| {
        let other = Image {
            layer: layer.to_vec(),
            ..image.clone()
        };
        other.docker_archive()
    };
    let mut trailing = image.layer.clone();
    trailing.extend_from_slice(&[0; 512]);
    let cut = &image.layer[..700];
    vec![
        refused(
            "fewer layers than the configuration",
            with(json!([])),
            "the manifest 0",
        ),
        refused("layers null", with(Value::Null), "the manifest 0"),
        refused(
            "more layers than the configuration",
            with(json!(["l.tar", "l.tar"])),
            "the manifest 2",
        ),
        refused(
            "another layer than configured",
            replaced(&Image::of(b"2").layer),
            "has the digest",
        ),
        refused(
            "layer with zeros after it",
            replaced(&trailing),
            "has the digest",
        ),
        refused("layer cut off", replaced(cut), "truncated"),
        refused("layer of nothing", replaced(b""), "is not a tar archive"),
        refused(
            "layer of zeros alone",
            replaced(&[0; 1024]),
            "has the digest",
        ),
        refused(
            "layer compressed with xz",
            replaced(b"\xfd7zXZ\0rest"),
            "compressed with xz",
        ),
        refused(
            "layer compressed and cut",
            replaced(&gzip(&image.layer)[..60]),
            "truncated",
        ),
        refused(
            "layer twice, the second of other content",
            {
                let manifest = item("c.json", &json!([]), &json!(["l.tar"]));
                let tar = image.members().file("l.tar", &Image::of(b"2").layer);
                tar.file("manifest.json", manifest.as_bytes()).end()
            },
            "has the digest",
        ),
        taken(
            "layer twice, the second is right",
            {
                let manifest = item("c.json", &json!([]), &json!(["l.tar"]));
                let tar = Raw::new().file("l.tar", &Image::of(b"2").layer);
                let members = image.members().cut();
                tar.bytes(&members)
                    .file("manifest.json", manifest.as_bytes())
                    .end()
            },
            b"1",
        ),
        taken(
            "archive compressed, and its layer too",
            gzip(&{
                let packed = Image {
                    layer: gzip(&image.layer),
                    ..image.clone()
                };
                packed.docker_archive()
            }),
            b"1",
        ),
    ]
}
