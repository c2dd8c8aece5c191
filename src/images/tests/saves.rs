//! Images saved, and loaded again: here, and in another store.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use model::{ImageRecord, Kind};
use serde_json::{Value, json};

use super::archives::Oci;
use super::{Fixture, docker_archive, gzip, layer_of, zstd};
use crate::ToSave;
use crate::digesting::digest_of;

fn save(f: &Fixture, images: &[(&ImageRecord, &[&str])]) -> Vec<u8> {
    let images = images.iter().map(|(record, names)| ToSave {
        record: Arc::new((*record).clone()),
        references: names.iter().map(|n| n.parse().unwrap()).collect(),
    });
    let mut archive = Vec::new();
    let images: Vec<_> = images.collect();
    f.images.save(&images, &mut archive).unwrap();
    archive
}

/// The members of an archive, each once.
fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|h| !h.is_empty()) {
            assert_eq!(digest_of(&content).hex(), hex);
        }
        assert!(members.insert(name, content).is_none(), "twice");
    }
    members
}

fn json_of(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&members[name]).unwrap()
}

#[test]
fn images_that_share_layers_are_saved_with_each_blob_once() {
    let f = Fixture::new();
    let (base, top) = (layer_of("base", &[1; 9000]), layer_of("top", b"2"));
    let both = docker_archive(&[base.clone(), top.clone()], &["a:1"]);
    let one = f.load(&both).unwrap().remove(0).record;
    let two = f
        .load(&docker_archive(std::slice::from_ref(&base), &["b:1"]))
        .unwrap()
        .remove(0)
        .record;
    let archive = save(&f, &[(&one, &["a:1", "r.test/a:2"]), (&two, &[])]);
    let members = members(&archive);
    // Two layers, two configurations, two manifests, and what is beside them.
    assert_eq!(members.len(), 6 + 2 + 4, "{:?}", members.keys());
    let place = |bytes: &[u8]| format!("blobs/sha256/{}", digest_of(bytes).hex());
    let items = json_of(&members, "manifest.json");
    assert_eq!(items[0]["RepoTags"], json!(["a:1", "r.test/a:2"]));
    assert_eq!(items[0]["Layers"], json!([place(&base), place(&top)]));
    assert_eq!(items[1]["RepoTags"], Value::Null);
    assert_eq!(
        items[1]["LayerSources"][digest_of(&base).as_ref()],
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": base.len(),
            "digest": digest_of(&base)})
    );
    let index = json_of(&members, "index.json");
    let names = |at: usize| index["manifests"][at]["annotations"].clone();
    assert_eq!(
        names(0)["io.containerd.image.name"],
        "docker.io/library/a:1"
    );
    assert_eq!(names(1)["org.opencontainers.image.ref.name"], "2");
    assert_eq!(names(2), Value::Null);
    let hex = digest_of(&top).hex().to_owned();
    assert_eq!(
        json_of(&members, "repositories"),
        json!({"a": {"1": hex}, "r.test/a": {"2": hex}})
    );
    assert_eq!(
        save(&f, &[(&one, &["a:1", "r.test/a:2"]), (&two, &[])]),
        archive
    );

    let other = Fixture::new();
    let loaded = other.load(&archive).unwrap();
    assert_eq!(loaded[0].record.id, one.id);
    assert_eq!(loaded[0].record.layers, one.layers);
    assert_eq!(loaded[0].references.len(), 2);
    assert_eq!(loaded[1].record.id, two.id);
    // It has a manifest now, and is saved with the same.
    let again: Vec<_> = loaded.iter().map(|l| l.record.clone()).collect();
    let again = save(
        &other,
        &[(&again[0], &["a:1", "r.test/a:2"]), (&again[1], &[])],
    );
    assert!(again == archive);
}

#[test]
fn what_came_compressed_is_given_on_as_it_was() {
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let f = Fixture::new();
        let layers = [layer_of("a", b"1"), layer_of("b", &[2; 70_000])];
        let mut layout = Oci::default();
        let manifest = layout.manifest(&layers, pack);
        layout.entries = vec![manifest.clone()];
        let record = f.load(&layout.archive()).unwrap().remove(0).record;
        let archive = save(&f, &[(&record, &["x:1"])]);
        let saved = members(&archive);
        for (hex, blob) in &layout.blobs {
            assert!(saved[&format!("blobs/sha256/{hex}")] == *blob);
        }
        let index = json_of(&saved, "index.json");
        assert_eq!(index["manifests"][0]["digest"], manifest["digest"]);
        let other = Fixture::new();
        let loaded = other.load(&archive).unwrap().remove(0);
        assert_eq!(loaded.record, record);
        // Without one of the blobs it is an image of plain layers.
        let blob = record.layers[1].blob.clone().unwrap();
        std::fs::remove_file(f.root.join("blobs/sha256").join(blob.digest.hex())).unwrap();
        let mut plain = record.clone();
        f.load(&docker_archive(&layers, &["x:1"])).unwrap();
        plain.layers[1].blob = None;
        let archive = save(&f, &[(&plain, &["x:1"])]);
        assert!(
            members(&archive)
                .contains_key(&format!("blobs/sha256/{}", digest_of(&layers[1]).hex()))
        );
        let other = Fixture::new();
        assert_eq!(other.load(&archive).unwrap()[0].record.id, record.id);
    }
}

#[test]
fn a_save_that_cannot_be_whole_does_not_begin() {
    let f = Fixture::new();
    let record = f
        .load(&docker_archive(&[layer_of("a", b"1")], &["x:1"]))
        .unwrap()
        .remove(0)
        .record;
    let dir = f.root.join("trees").join(record.layers[0].diff_id.hex());
    let old = json!({"diff_id": record.layers[0].diff_id, "blob": record.layers[0].diff_id,
        "blob_bytes": 1, "size_bytes": 1});
    std::fs::write(dir.join("tree.json"), old.to_string()).unwrap();
    let wanted = ToSave {
        record: Arc::new(record),
        references: Vec::new(),
    };
    let mut out = Vec::new();
    let e = f.images.save(&[wanted], &mut out).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    assert!(out.is_empty());
}
