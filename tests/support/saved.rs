//! Whether an archive of images is whole, found out by nobody but this: each blob is what its name says,
//! and each layer unpacks to what its configuration says.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{TarEntry, tar_entries};

/// Checks an archive that the daemon saved; the ids of its images, in its order.
///
/// # Panics
/// Saying what is not as it should be.
pub fn whole_images(tar: &[u8]) -> Vec<String> {
    let entries = tar_entries(tar);
    let files = entries.into_iter().filter(|entry| entry.kind == '0');
    let files: BTreeMap<String, TarEntry> =
        files.map(|entry| (entry.name.clone(), entry)).collect();
    for (name, entry) in &files {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(hex_of(&entry.content), hex, "a blob that is another");
        }
    }
    let content = |name: &Value| {
        let name = name.as_str().expect("a name");
        let entry = files.get(name);
        &entry.unwrap_or_else(|| panic!("{name} is missing")).content
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let manifest = json(content(&Value::from("manifest.json")));
    let images = list(&manifest).into_iter().map(|image| {
        let config = content(&image["Config"]);
        let wanted = list(&json(config)["rootfs"]["diff_ids"]);
        let layers = list(&image["Layers"]);
        assert_eq!(layers.len(), wanted.len(), "{image}");
        for (layer, diff_id) in layers.iter().zip(&wanted) {
            let digest = format!("sha256:{}", hex_of(&unpacked(content(layer))));
            assert_eq!(diff_id, &digest, "what layer {layer} unpacks to");
        }
        format!("sha256:{}", hex_of(config))
    });
    images.collect()
}

fn unpacked(layer: &[u8]) -> Vec<u8> {
    if !layer.starts_with(&[0x1f, 0x8b]) {
        return layer.to_vec();
    }
    let mut tar = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(layer);
    reader.read_to_end(&mut tar).expect("a whole gzip");
    tar
}

fn hex_of(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}
