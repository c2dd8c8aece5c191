//! What comes in can be given on, byte for byte.

use std::io::Read;

use model::{Digest, ImageConfig, ImageRecord, Kind, Layer};
use serde_json::json;

use super::archives::Oci;
use super::{Fixture, Tar, config_of, docker_archive, docker_archive_with, gzip, layer_of, zstd};
use crate::digesting::digest_of;
use crate::{Images, StoreUsage};

/// A layer with what is hard to write again: repeated names, padding, and more after the end.
fn odd_layer() -> Vec<u8> {
    let mut layer = Tar::default()
        .dir("d/")
        .file("d/f", b"first")
        .pax(&[("mtime", b"1.25"), ("SCHILY.xattr.user.x", b"1")])
        .file("d/f", &[7; 3000])
        .file(".wh.gone", b"with content")
        .hard_link("d/g", "d/f")
        .end();
    layer.resize(10_240, 0);
    layer.extend_from_slice(b"after the end");
    layer
}

fn tar_of(images: &Images, layer: &Layer) -> model::Result<Vec<u8>> {
    let mut source = images.layer_tar(layer)?;
    let mut tar = Vec::new();
    source.read_to_end(&mut tar).map_err(archive::reading)?;
    assert_eq!(tar.len() as u64, source.size_bytes());
    Ok(tar)
}

fn blob_of(images: &Images, digest: &Digest) -> Vec<u8> {
    let mut source = images.blob(digest).unwrap();
    let mut blob = Vec::new();
    source.read_to_end(&mut blob).unwrap();
    assert_eq!(blob.len() as u64, source.size_bytes());
    blob
}

fn oci(layers: &[Vec<u8>], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut layout = Oci::default();
    let manifest = layout.manifest(layers, pack);
    layout.entries = vec![manifest];
    layout.archive()
}

fn loaded(f: &Fixture, archive: &[u8]) -> ImageRecord {
    f.load(archive).unwrap().remove(0).record
}

#[test]
fn a_plain_layer_is_given_back_from_its_tree() {
    let f = Fixture::new();
    let layers = [odd_layer(), layer_of("b", &[2; 50_000])];
    let record = loaded(&f, &docker_archive(&layers, &["x:1"]));
    for (layer, bytes) in record.layers.iter().zip(&layers) {
        assert_eq!(layer.blob, None);
        assert!(tar_of(&f.images, layer).unwrap() == *bytes);
    }
    assert_eq!(record.manifest, None);
    let imported = |tar: &[u8]| {
        let created = "2024-01-01T00:00:00Z".parse().unwrap();
        let config = ImageConfig::default();
        f.images
            .import(&mut &tar[..], config, "", created)
            .unwrap()
            .record
    };
    let other = Tar::default().file("other", b"3").end();
    let record = imported(&gzip(&other));
    assert!(tar_of(&f.images, &record.layers[0]).unwrap() == other);
    let StoreUsage {
        trees_bytes,
        frames_bytes,
        blobs_bytes,
    } = f.images.usage().unwrap();
    assert_eq!(trees_bytes, 5 + 3000 + 12 + 50_000 + 1);
    assert!(frames_bytes > 5 && frames_bytes < 2000, "{frames_bytes}");
    assert!(blobs_bytes > 300 && blobs_bytes < 2000, "{blobs_bytes}");
}

#[test]
fn a_compressed_layer_is_kept_as_it_came() {
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let f = Fixture::new();
        let layers = [odd_layer(), layer_of("b", b"2")];
        let record = loaded(&f, &oci(&layers, pack));
        for (layer, bytes) in record.layers.iter().zip(&layers) {
            let blob = layer.blob.as_ref().unwrap();
            let packed = pack(bytes);
            assert_eq!(blob.digest, digest_of(&packed));
            assert_eq!(blob.size_bytes, packed.len() as u64);
            assert!(blob.media_type.ends_with("zip") || blob.media_type.ends_with("zstd"));
            assert!(blob_of(&f.images, &blob.digest) == packed);
            assert!(tar_of(&f.images, layer).unwrap() == *bytes);
            assert_eq!(layer.diff_id, digest_of(bytes));
        }
        let manifest = f
            .images
            .read_blob(record.manifest.as_ref().unwrap())
            .unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], record.id.as_ref());
        // Everything of it is named, and nothing of it when it is gone.
        let swept = f
            .images
            .sweep(crate::Partials::Old, || Ok(vec![record.clone().into()]))
            .unwrap();
        assert_eq!((swept.trees, swept.blobs), (0, 0));
        // The same once more is known by its names, and the same image.
        assert_eq!(loaded(&f, &oci(&layers, pack)), record);
        let swept = f
            .images
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap();
        assert_eq!((swept.trees, swept.blobs), (2, 4));
        assert_eq!(f.images.usage().unwrap(), StoreUsage::default());
        assert_eq!(f.staged(), 0);
    }
}

#[test]
fn a_layer_whose_blob_alone_survived_is_not_kept_twice() {
    let f = Fixture::new();
    let archive = oci(&[layer_of("b", &[7; 5000])], gzip);
    let record = loaded(&f, &archive);
    let tree = f.tree(&record);
    let layer = tree.parent().unwrap();
    // As a daemon leaves it that is killed between the two.
    std::fs::remove_dir_all(layer).unwrap();
    assert_eq!(loaded(&f, &archive), record);
    let mut kept: Vec<_> = std::fs::read_dir(layer)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["tree", "tree.json"]);
}

#[test]
fn docker_25_writes_a_manifest_too_and_it_is_kept() {
    let f = Fixture::new();
    let layer = layer_of("a", b"1");
    let plain: fn(&[u8]) -> Vec<u8> = |b| b.to_vec();
    let mut layout = Oci::default();
    let manifest = layout.manifest(std::slice::from_ref(&layer), plain);
    layout.entries = vec![manifest.clone()];
    let config = config_of(std::slice::from_ref(&layer));
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", digest_of(bytes).hex());
    let item = json!([{"Config": blob(&config), "RepoTags": ["x:1"], "Layers": [blob(&layer)]}]);
    let mut archive = layout.archive();
    archive.truncate(archive.len() - 1024);
    let manifest_file = Tar::default().file("manifest.json", item.to_string().as_bytes());
    archive.extend(manifest_file.end());
    let image = f.load(&archive).unwrap().remove(0);
    assert_eq!(image.references.len(), 1);
    let kept = image.record.manifest.unwrap();
    assert_eq!(kept.as_ref(), manifest["digest"].as_str().unwrap());
}

/// As a daemon left it that kept no archives.
fn forget(f: &Fixture, layer: &Layer) {
    let dir = f.root.join("trees").join(layer.diff_id.hex());
    std::fs::remove_file(dir.join("frame")).unwrap();
    let old = json!({"diff_id": layer.diff_id, "blob": layer.diff_id, "blob_bytes": 1,
        "size_bytes": layer.size_bytes});
    std::fs::write(dir.join("tree.json"), old.to_string()).unwrap();
}

#[test]
fn a_tree_of_an_older_daemon_is_completed_when_its_image_is_loaded_again() {
    let f = Fixture::new();
    let layers = [odd_layer()];
    for again in [
        docker_archive(&layers, &["x:1"]),
        oci(&layers, gzip),
        oci(&layers, <[u8]>::to_vec),
    ] {
        let record = loaded(&f, &docker_archive(&layers, &["x:1"]));
        forget(&f, &record.layers[0]);
        let e = tar_of(&f.images, &record.layers[0]).unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict);
        assert!(e.message().contains("load the image again"), "{e}");
        assert!(f.images.usage().unwrap().trees_bytes > 0);
        let record = loaded(&f, &again);
        assert!(tar_of(&f.images, &record.layers[0]).unwrap() == layers[0]);
        assert_eq!(f.staged(), 0);
        f.images
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap();
    }
}

#[test]
fn an_image_keeps_what_its_layers_are_given_back_from() {
    let f = Fixture::new();
    let layers = [odd_layer()];
    // The tree came of a blob, and its frame was never made: the plain image lives on the blob.
    loaded(&f, &oci(&layers, gzip));
    let known_by_name = loaded(&f, &oci(&layers, <[u8]>::to_vec));
    assert!(known_by_name.layers[0].blob.is_some());
    f.images
        .sweep(crate::Partials::Old, || {
            Ok(vec![known_by_name.clone().into()])
        })
        .unwrap();
    assert!(tar_of(&f.images, &known_by_name.layers[0]).unwrap() == layers[0]);
    // Where the plain tar passed, it got a frame and needs no blob.
    let plain = loaded(&f, &docker_archive(&layers, &["x:1"]));
    assert_eq!(plain.layers[0].blob, None);
    f.images
        .sweep(crate::Partials::Old, || Ok(vec![plain.clone().into()]))
        .unwrap();
    assert!(tar_of(&f.images, &plain.layers[0]).unwrap() == layers[0]);
    // And the other way: a blob that comes later is kept beside the frame.
    let packed = loaded(&f, &oci(&layers, zstd));
    let blob = packed.layers[0].blob.clone().unwrap();
    f.images
        .sweep(crate::Partials::Old, || Ok(vec![plain.clone().into()]))
        .unwrap();
    assert!(!f.images.has_blob(&blob.digest));
    // A blob that was swept is not taken for one that is there.
    let packed = loaded(&f, &oci(&layers, zstd));
    assert!(blob_of(&f.images, &packed.layers[0].blob.clone().unwrap().digest) == zstd(&layers[0]));
}

#[test]
fn what_is_held_is_not_swept() {
    let f = Fixture::new();
    let layers = [odd_layer()];
    let record = loaded(&f, &oci(&layers, gzip));
    let lease = f.images.hold(&record);
    let swept = f
        .images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
    assert_eq!((swept.trees, swept.blobs), (0, 0));
    drop(lease);
    let swept = f
        .images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
    assert_eq!((swept.trees, swept.blobs), (1, 3));
}

#[test]
fn a_layer_that_is_not_what_it_was_is_told() {
    let f = Fixture::new();
    let record = loaded(&f, &docker_archive(&[layer_of("f", b"12345")], &["x:1"]));
    let layer = &record.layers[0];
    std::fs::write(f.tree(&record).join("f"), "12346").unwrap();
    let e = tar_of(&f.images, layer).unwrap_err();
    assert_eq!(e.kind(), Kind::System);
    assert!(e.message().contains("is damaged"), "{e}");
    // Also for one who reads no further than it says.
    let mut source = f.images.layer_tar(layer).unwrap();
    let mut whole = vec![0; usize::try_from(source.size_bytes()).unwrap()];
    source.read_exact(&mut whole).unwrap_err();
}

/// Whoever sends it on, or saves it, is told before he takes it for whole.
#[test]
fn a_blob_that_rotted_is_told_at_its_end() {
    let f = Fixture::new();
    let layer = layer_of("a", b"1");
    let packed = gzip(&layer);
    let packed_archive = docker_archive_with(
        std::slice::from_ref(&packed),
        &config_of(&[layer]),
        &["x:1"],
    );
    let record = f.load(&packed_archive).unwrap().remove(0).record;
    let digest = record.layers[0].blob.clone().unwrap().digest;
    assert_eq!(blob_of(&f.images, &digest), packed);
    let path = f.root.join("blobs/sha256").join(digest.hex());
    let mut rotten = packed.clone();
    *rotten.last_mut().unwrap() ^= 1;
    for content in [&rotten[..], &packed[1..], b""] {
        std::fs::write(&path, content).unwrap();
        let mut source = f.images.blob(&digest).unwrap();
        let read = source.read_to_end(&mut Vec::new());
        let e = archive::reading(read.unwrap_err());
        assert_eq!(e.kind(), Kind::System, "{e}");
        assert!(e.message().contains("is damaged"), "{e}");
    }
}
