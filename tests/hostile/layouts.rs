//! OCI layouts: indexes, manifests and descriptors that are not what they say.

use serde_json::{Value, json};

use crate::{Case, Fate, Found, Image, Raw, digest, refused};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout that is being written, blob after blob.
#[derive(Debug, Clone, Default)]
pub struct Layout(Raw);

impl Layout {
    /// Adds a blob under its digest; its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.blob_as(&digest, bytes);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn blob_as(&mut self, digest: &str, bytes: &[u8]) {
        let name = format!("blobs/sha256/{}", &digest["sha256:".len()..]);
        self.0 = std::mem::take(&mut self.0).file(name, bytes);
    }

    pub(crate) fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// The parts of an honest manifest.
    pub(crate) fn parts(&mut self) -> Value {
        let image = Image::of(b"1");
        let config = self.json(CONFIG, &image.config);
        let layer = self.blob(LAYER, &image.layer);
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
    }

    /// With an `index.json` of these entries.
    pub fn end(self, entries: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        self.end_as(index.as_bytes(), br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    fn end_as(self, index: &[u8], layout: &[u8]) -> Vec<u8> {
        self.0
            .file("index.json", index)
            .file("oci-layout", layout)
            .end()
    }
}

/// Every layout.
pub fn archives() -> Vec<Case> {
    [indexes(), descriptors(), manifests(), names()].concat()
}

/// An honest image, but for what `change` does to its manifest.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut layout = Layout::default();
    let mut manifest = layout.parts();
    change(&mut manifest);
    let entry = layout.json(MANIFEST, &manifest);
    layout.end(&[entry])
}

/// An honest image, but for what `change` does to its line in the index.
fn described(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut layout = Layout::default();
    let manifest = layout.parts();
    let mut entry = layout.json(MANIFEST, &manifest);
    change(&mut entry);
    layout.end(&[entry])
}

fn taken(name: &'static str, bytes: Vec<u8>) -> Case {
    let fate = Fate::Taken(vec![("f", Found::File(b"1"))]);
    Case { name, bytes, fate }
}

fn indexes() -> Vec<Case> {
    let whole = |index: &str, version: &str| {
        let mut layout = Layout::default();
        layout.parts();
        layout.end_as(index.as_bytes(), version.as_bytes())
    };
    let version = r#"{"imageLayoutVersion":"1.0.0"}"#;
    let empty = r#"{"schemaVersion":2,"manifests":[]}"#;
    let nested = |depth: usize| {
        let mut layout = Layout::default();
        let manifest = layout.parts();
        let mut entry = layout.json(MANIFEST, &manifest);
        for _ in 0..depth {
            let index = json!({"schemaVersion": 2, "manifests": [entry]});
            entry = layout.json(INDEX, &index);
        }
        layout.end(&[entry])
    };
    let mut circle = Layout::default();
    let itself = json!({"mediaType": INDEX, "digest": digest(b"itself"), "size": 6});
    let index = json!({"schemaVersion": 2, "manifests": [itself]}).to_string();
    circle.blob_as(&digest(b"itself"), index.as_bytes());
    let linked = Layout(Raw::new().symlink(
        format!("blobs/sha256/{}", &digest(b"itself")[7..]),
        "../../index.json",
    ));
    vec![
        refused(
            "no oci-layout",
            {
                let mut layout = Layout::default();
                layout.parts();
                layout.0.file("index.json", empty.as_bytes()).end()
            },
            "oci-layout is not in the archive",
        ),
        refused(
            "oci-layout of the future",
            whole(empty, r#"{"imageLayoutVersion":"2.0"}"#),
            "unknown version",
        ),
        refused(
            "oci-layout of nothing",
            whole(empty, "{}"),
            "bad oci-layout",
        ),
        refused("oci-layout no JSON", whole(empty, "1.0.0"), "not JSON"),
        refused(
            "index of nothing",
            whole(empty, version),
            "there is no image",
        ),
        refused("index cut off", whole("{", version), "bad JSON"),
        refused("index a list", whole("[]", version), "bad JSON"),
        refused(
            "index a manifest",
            whole(
                r#"{"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[]}"#,
                version,
            ),
            "is not an index",
        ),
        refused(
            "index of numbers",
            whole(r#"{"schemaVersion":2,"manifests":[1]}"#, version),
            "bad JSON",
        ),
        refused("index a hundred deep", nested(100), "more than 4 indexes"),
        refused(
            "index that names itself",
            circle.end(std::slice::from_ref(&itself)),
            "has the digest",
        ),
        refused(
            "index that is a link to index.json",
            linked.end(&[itself]),
            "has the digest",
        ),
        refused(
            "index of another platform",
            described(|e| {
                *e = json!({"mediaType": INDEX, "digest": digest(b"absent"), "size": 1});
            }),
            "is not in the archive",
        ),
        refused(
            "index of nothing that is an image",
            described(|e| {
                e["platform"] = json!({"os": "unknown", "architecture": "unknown"});
            }),
            "there is no image",
        ),
        taken("four indexes within one another", nested(4)),
    ]
}

fn descriptors() -> Vec<Case> {
    let upper = "A".repeat(64);
    let invalid = "invalid digest";
    let layer_digest = |text: String| changed(|m| m["layers"][0]["digest"] = json!(text));
    let entry_digest = |text: String| described(|e| e["digest"] = json!(text));
    let config_size = |size: Value| changed(|m| m["config"]["size"] = size);
    vec![
        refused(
            "manifest of another digest",
            {
                let mut layout = Layout::default();
                let entry = layout.json(MANIFEST, &json!({"schemaVersion": 2}));
                let mut other = Layout::default();
                let manifest = other.parts();
                let digest = entry["digest"].as_str().expect("text");
                other.blob_as(digest, manifest.to_string().as_bytes());
                other.end(&[entry])
            },
            "has the digest",
        ),
        refused(
            "manifest that is not there",
            entry_digest(digest(b"absent")),
            "is not in the archive",
        ),
        refused(
            "manifest by sha512",
            entry_digest(format!("sha512:{}", "0".repeat(128))),
            invalid,
        ),
        refused(
            "manifest by md5",
            entry_digest(format!("md5:{}", "0".repeat(32))),
            invalid,
        ),
        refused(
            "manifest by a path",
            entry_digest("sha256:../../../../etc/passwd".to_owned()),
            invalid,
        ),
        refused(
            "manifest by a digest in upper case",
            entry_digest(format!("sha256:{upper}")),
            invalid,
        ),
        refused(
            "manifest by no digest",
            entry_digest(String::new()),
            invalid,
        ),
        refused(
            "manifest by two digests",
            entry_digest(format!("{0}{0}", digest(b""))),
            invalid,
        ),
        refused(
            "layer by a path",
            layer_digest(format!("sha256:..{}", "/".repeat(62))),
            invalid,
        ),
        refused(
            "layer by sha512",
            layer_digest(format!("sha512:{}", "0".repeat(128))),
            invalid,
        ),
        refused(
            "layer that is not there",
            layer_digest(digest(b"absent")),
            "is not in the archive",
        ),
        refused(
            "foreign layer that is elsewhere",
            changed(|m| {
                m["layers"][0] = json!({
                    "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                    "digest": digest(b"elsewhere"), "size": 9,
                    "urls": ["file:///etc/passwd", "http://127.0.0.1:1/x"],
                });
            }),
            "is not in the archive",
        ),
        refused(
            "size one too large",
            described(|e| e["size"] = json!(e["size"].as_u64().map(|n| n + 1))),
            "has the digest",
        ),
        refused(
            "size of a configuration wrong",
            config_size(json!(1)),
            "has the digest",
        ),
        refused("size negative", config_size(json!(-1)), "bad JSON"),
        refused("size with a fraction", config_size(json!(1.5)), "bad JSON"),
        refused("size of text", config_size(json!("9")), "bad JSON"),
        refused(
            "size of 2^64 - 1",
            described(|e| e["size"] = json!(u64::MAX)),
            "has the digest",
        ),
        taken(
            "layer with urls, and here",
            changed(|m| {
                m["layers"][0]["urls"] = json!(["file:///etc/passwd"]);
            }),
        ),
        taken("blobs that are there twice", {
            let mut layout = Layout::default();
            layout.parts();
            let manifest = layout.parts();
            let entry = layout.json(MANIFEST, &manifest);
            layout.end(&[entry])
        }),
        refused(
            "blob that is there twice, the second of other content",
            {
                let mut layout = Layout::default();
                let manifest = layout.parts();
                let config = manifest["config"]["digest"]
                    .as_str()
                    .expect("text")
                    .to_owned();
                layout.blob_as(&config, b"{\"rootfs\":{\"diff_ids\":[]}}");
                let entry = layout.json(MANIFEST, &manifest);
                layout.end(&[entry])
            },
            "has the digest",
        ),
    ]
}

fn manifests() -> Vec<Case> {
    let fields = "its fields are neither";
    vec![
        refused(
            "manifest that is also an index",
            changed(|m| m["manifests"] = json!([])),
            fields,
        ),
        refused(
            "manifest described as an index",
            described(|e| e["mediaType"] = json!(INDEX)),
            fields,
        ),
        refused(
            "manifest that calls itself an index",
            changed(|m| m["mediaType"] = json!(INDEX)),
            fields,
        ),
        refused(
            "manifest without layers",
            changed(|m| m["layers"] = Value::Null),
            fields,
        ),
        refused(
            "manifest without a configuration",
            changed(|m| m["config"] = Value::Null),
            fields,
        ),
        refused("manifest of nothing", changed(|m| *m = json!({})), fields),
        refused(
            "manifest of version 1",
            changed(|m| m["schemaVersion"] = json!(1)),
            "version 1",
        ),
        refused(
            "manifest of the type of version 1",
            changed(|m| {
                m["mediaType"] = json!("application/vnd.docker.distribution.manifest.v1+prettyjws");
            }),
            "version 1",
        ),
        refused(
            "configuration of a chart",
            changed(|m| {
                m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
            }),
            "not a container image",
        ),
        refused(
            "layer for a configuration",
            changed(|m| {
                m["config"]["digest"] = m["layers"][0]["digest"].clone();
            }),
            "not JSON",
        ),
        refused(
            "configuration for a layer",
            changed(|m| {
                m["layers"][0] = m["config"].clone();
            }),
            "is not a tar archive",
        ),
        refused(
            "manifest for a configuration",
            {
                let mut layout = Layout::default();
                let parts = layout.parts();
                let inner = layout.json(MANIFEST, &parts);
                let mut outer = parts.clone();
                outer["config"]["digest"] = inner["digest"].clone();
                outer["config"]["size"] = inner["size"].clone();
                let entry = layout.json(MANIFEST, &outer);
                layout.end(&[entry])
            },
            "bad image configuration",
        ),
        refused(
            "more layers than the configuration",
            changed(|m| {
                let layer = m["layers"][0].clone();
                m["layers"] = json!([layer, layer]);
            }),
            "the manifest 2",
        ),
    ]
}

fn names() -> Vec<Case> {
    let named = |key: &str, name: &str| described(|e| e["annotations"] = json!({key: name}));
    let full = "io.containerd.image.name";
    let bare = "org.opencontainers.image.ref.name";
    let bad = "bad name";
    vec![
        refused("name that climbs", named(full, "../x"), bad),
        refused("name with a newline", named(bare, "x/y\n:1"), bad),
        refused("name of 10 kB", named(full, &"x".repeat(10_000)), bad),
        refused(
            "name of another digest",
            named(full, &format!("x@{}", digest(b"x"))),
            "invalid name",
        ),
        refused(
            "name of an algorithm",
            named(bare, "sha256:1"),
            "ambiguous tag",
        ),
        refused(
            "name that is no text",
            described(|e| e["annotations"] = json!({full: 7})),
            "bad JSON",
        ),
        taken(
            "a tag alone names nothing",
            named(bare, "UPPER case and \n"),
        ),
    ]
}
