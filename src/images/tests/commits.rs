//! What was changed in a writable tree, as an image.

use std::sync::Arc;

use model::image::HistoryEntry;
use model::{ImageConfig, ImageRecord, Kind, StorageDriver};
use sys::overlay::OverlayApi;

use super::{Fixture, docker_archive, layer_of};
use crate::storage::Storage;
use crate::{Commit, Images};

fn commit(images: &Images, base: &ImageRecord, key: &str) -> model::Result<ImageRecord> {
    let wanted = Commit {
        base: Arc::new(base.clone()),
        changes: images.paths(key, &base.layers)?.changed,
        config: ImageConfig::default(),
        step: HistoryEntry::default(),
    };
    images.commit(wanted).map(|made| made.record)
}

#[test]
fn who_reads_the_changes_of_a_removed_container_finds_them_whole() {
    let f = Fixture::new();
    let archive = docker_archive(&[layer_of("f", b"1")], &["x:1"]);
    let base = f.load(&archive).unwrap().remove(0).record;
    f.images.create_writable("k").unwrap();
    let upper = f.images.paths("k", &base.layers).unwrap().changed;
    std::fs::write(upper.dir().join("new"), "1234567890").unwrap();
    let (one, two) = (f.images.hold_changes("k"), f.images.hold_changes("k"));
    assert_eq!(f.images.remove_writable("k").unwrap(), 0);
    drop(one);
    let made = commit(&f.images, &base, "k").unwrap();
    assert_eq!(made.layers.len(), 2);
    assert_eq!(f.images.writable_keys().unwrap(), ["k"]);
    drop(two);
    let begun = std::time::Instant::now();
    while !f.images.writable_keys().unwrap().is_empty() {
        assert!(begun.elapsed().as_secs() < 10, "the last reader removes it");
        std::thread::yield_now();
    }
    // Nobody reads it.
    f.images.create_writable("k").unwrap();
    drop(f.images.hold_changes("k"));
    assert_eq!(f.images.writable_keys().unwrap(), ["k"]);
    f.images.remove_writable("k").unwrap();
    assert!(f.images.writable_keys().unwrap().is_empty());
}

#[test]
fn one_layer_too_many_is_found_before_it_is_packed() {
    let f = Fixture::new();
    let old = Images {
        storage: Arc::new(Storage {
            overlay: Ok(OverlayApi::MountOptions),
            driver: StorageDriver::Overlay2,
        }),
        ..f.images.clone()
    };
    let layers: Vec<_> = (0..old.storage.layers_max())
        .map(|n| layer_of(&format!("f{n}"), b"x"))
        .collect();
    let base = f.load(&docker_archive(&layers, &["x:1"])).unwrap();
    let base = base.into_iter().next().unwrap().record;
    old.create_writable("k").unwrap();
    // Nothing was changed: that makes no layer.
    assert_eq!(commit(&old, &base, "k").unwrap().layers, base.layers);
    let upper = old.paths("k", &base.layers).unwrap().changed;
    // Whoever packs it finds that this cannot be in a layer.
    std::fs::write(upper.dir().join("+a"), "").unwrap();
    std::fs::write(upper.dir().join(".wh.b"), "").unwrap();
    let e = commit(&old, &base, "k").unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (Kind::System, "max depth exceeded")
    );
}
