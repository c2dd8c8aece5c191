//! An honest image, to make dishonest archives of.

use serde_json::{Value, json};

use crate::{Raw, digest};

/// An honest image of one layer, the file `f`, to make a dishonest archive of.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its layer.
    pub layer: Vec<u8>,
    /// Its configuration.
    pub config: Value,
}

impl Image {
    /// With this in the file.
    pub fn of(content: &[u8]) -> Self {
        let layer = Raw::new().file("f", content).end();
        Self {
            config: config(&[digest(&layer)]),
            layer,
        }
    }

    /// With this layer.
    pub fn with_layer(layer: &[u8]) -> Self {
        Self {
            layer: layer.to_vec(),
            config: config(&[digest(layer)]),
        }
    }

    /// `l.tar` and `c.json`.
    pub(crate) fn members(&self) -> Raw {
        Raw::new()
            .file("l.tar", &self.layer)
            .file("c.json", self.config.to_string().as_bytes())
    }

    /// An archive of both, with this `manifest.json`.
    pub fn archive(&self, manifest: &[u8]) -> Vec<u8> {
        self.members().file("manifest.json", manifest).end()
    }

    /// An honest archive of it.
    pub fn docker_archive(&self) -> Vec<u8> {
        self.archive(item("c.json", &json!(["x:1"]), &json!(["l.tar"])).as_bytes())
    }
}

fn config(diff_ids: &[String]) -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

pub(crate) fn item(config: &str, tags: &Value, layers: &Value) -> String {
    json!([{"Config": config, "RepoTags": tags, "Layers": layers}]).to_string()
}
