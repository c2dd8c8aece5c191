//! Archives that are small on the line, and would take more memory or time than anything is worth.

use serde_json::json;

use crate::image::item;
use crate::layouts::{CONFIG, MANIFEST};
use crate::{Case, Image, Layout, Raw, gzip, refused};

/// Every archive of that kind.
pub fn archives() -> Vec<Case> {
    [dockers(), layouts()].concat()
}

fn dockers() -> Vec<Case> {
    let image = Image::of(b"1");
    let honest = item("c.json", &json!(["x:1"]), &json!(["l.tar"]));
    let list = |what: &str, count: usize| format!("[{}]", vec![what; count].join(","));
    let with_config = |config: &str, manifest: &str| {
        Raw::new()
            .file("l.tar", &image.layer)
            .file("c.json", config.as_bytes())
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    let mut padded = image.config.clone();
    padded["pad"] = json!("x".repeat(3 << 20));
    let same = list(r#"{"Config":"c.json","Layers":["l.tar"]}"#, 1000);
    let history = image.config.to_string();
    let history = history.replacen('{', &format!("{{\"history\":{},", list("{}", 1_300_000)), 1);
    let env = image.config.to_string();
    let env = env.replacen(
        "\"Cmd\"",
        &format!("\"Env\":{},\"Cmd\"", list("\"\"", 1_300_000)),
        1,
    );
    let tags = honest.replacen("\"x:1\"", &vec!["\"x\""; 1_000_000].join(","), 1);
    let spread = format!(
        r#"{{"Config":"c.json","Layers":["l.tar"],"RepoTags":[{}]}}"#,
        vec!["\"x\""; 50].join(",")
    );
    let spread = list(&spread, 1000);
    let layers = honest.replacen("\"l.tar\"", &vec!["\"\""; 1_300_000].join(","), 1);
    let long = vec![b'n'; 4000];
    let names = (0..2300).fold(Raw::new(), |tar, n| {
        let name = [format!("{n:08}/").as_bytes(), &long].concat();
        tar.pax(&[("path", &name)]).file("x", b"")
    });
    let links = (0..1200).fold(Raw::new(), |tar, n| {
        let name = [format!("{n:08}/").as_bytes(), &long].concat();
        tar.pax(&[("path", &name), ("linkpath", &name)])
            .symlink("x", "x")
    });
    let files = Raw::new().file("f", b"").cut().repeat(65_600);
    let json = (0..9).fold(Raw::new(), |tar, n| {
        let text = format!("[{}]", " ".repeat((4 << 20) - 2));
        tar.file(format!("{n}.json"), text.as_bytes())
    });
    vec![
        refused(
            "one large configuration for a thousand images",
            with_config(&padded.to_string(), &same),
            "bytes of configuration",
        ),
        refused(
            "history of a million steps",
            with_config(&history, &honest),
            "entries",
        ),
        refused(
            "environment of a million words",
            with_config(&env, &honest),
            "entries",
        ),
        refused(
            "a million names of one image",
            image.archive(tags.as_bytes()),
            "entries",
        ),
        refused(
            "names of a thousand images",
            image.archive(spread.as_bytes()),
            "names in the archive",
        ),
        refused(
            "a million layers of one image",
            image.archive(layers.as_bytes()),
            "entries",
        ),
        refused("names of 9 MB", gzip(&names.end()), "bytes of names"),
        refused("links of 9 MB", gzip(&links.end()), "bytes of names"),
        refused("65,600 files", files, "more than 65536 files"),
        refused("JSON of 36 MB", gzip(&json.end()), "bytes of JSON"),
    ]
}

fn layouts() -> Vec<Case> {
    let mut layout = Layout::default();
    let mut manifest = layout.parts();
    manifest["layers"] = json!(vec![manifest["layers"][0].clone(); 600]);
    let many_layers = layout.json(MANIFEST, &manifest);
    let mut padded = Layout::default();
    let mut manifest = padded.parts();
    let mut config = Image::of(b"1").config;
    config["pad"] = json!("x".repeat(3 << 20));
    manifest["config"] = padded.json(CONFIG, &config);
    let entries: Vec<_> = (0..20)
        .map(|n| {
            manifest["annotations"] = json!({"n": n.to_string()});
            padded.json(MANIFEST, &manifest)
        })
        .collect();
    vec![
        refused(
            "manifest of 600 layers",
            layout.clone().end(std::slice::from_ref(&many_layers)),
            "layers",
        ),
        refused(
            "a thousand times a manifest of 600 layers",
            gzip(&layout.end(&vec![many_layers; 1000])),
            "layers",
        ),
        refused(
            "one large configuration for many manifests",
            gzip(&padded.end(&entries)),
            "bytes of configuration",
        ),
        refused(
            "index of 1,100 images",
            {
                let mut layout = Layout::default();
                let manifest = layout.parts();
                let entry = layout.json(MANIFEST, &manifest);
                layout.end(&vec![entry; 1100])
            },
            "the most allowed are 1024",
        ),
    ]
}
