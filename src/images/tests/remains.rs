//! What a daemon that was killed, or one that was slower than another, leaves in the store.

use std::collections::BTreeSet;
use std::path::Path;

use model::ImageRecord;

use super::{Fixture, config_of, docker_archive, docker_archive_with, gzip, layer_of};
use crate::Partials;
use crate::digesting::digest_of;

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// An image of one layer that comes compressed, and that blob.
fn packed(f: &Fixture, content: &[u8]) -> (ImageRecord, Vec<u8>) {
    let layer = layer_of("a", content);
    let blob = gzip(&layer);
    let config = config_of(&[layer]);
    let archive = docker_archive_with(std::slice::from_ref(&blob), &config, &["a:1"]);
    (f.load(&archive).unwrap().remove(0).record, blob)
}

#[test]
fn a_sweep_takes_what_is_left_beside_a_layer_and_no_frame_that_is_spoken_of() {
    let f = Fixture::new();
    let (packed, _) = packed(&f, b"1");
    let framed = f.load(&docker_archive(&[layer_of("b", b"2")], &["b:1"]));
    let framed = framed.unwrap().remove(0).record;
    let dirs = [&packed, &framed].map(|r| f.tree(r).parent().unwrap().to_owned());
    for dir in &dirs {
        std::fs::write(dir.join(".tree.json.1-2.tmp"), "{").unwrap();
    }
    // Its frame came, and the daemon died before the description spoke of it.
    std::fs::write(dirs[0].join("frame"), "x").unwrap();
    std::fs::create_dir(dirs[0].join("extra")).unwrap();
    std::fs::write(dirs[0].join("extra/0"), "x").unwrap();
    let live = vec![packed.into(), framed.into()];
    f.images.sweep(Partials::Old, || Ok(live)).unwrap();
    assert_eq!(names(&dirs[0]), set(&["tree", "tree.json"]));
    assert_eq!(names(&dirs[1]), set(&["frame", "tree", "tree.json"]));
}

/// Two that unpack the same layer: the blob of the first is there, its tree is not yet.
#[test]
fn a_blob_that_came_twice_is_there_once() {
    let f = Fixture::new();
    let blob = gzip(&layer_of("a", b"1"));
    let place = f.root.join("blobs/sha256").join(digest_of(&blob).hex());
    std::fs::write(place, &blob).unwrap();
    let (record, _) = packed(&f, b"1");
    let dir = f.tree(&record).parent().unwrap().to_owned();
    assert_eq!(names(&dir), set(&["tree", "tree.json"]));
    assert_eq!(f.staged(), 0);
}

#[test]
fn the_beginning_of_a_blob_that_is_here_goes_with_the_next_sweep() {
    let f = Fixture::new();
    let (record, blob) = packed(&f, b"1");
    let (here, other) = (digest_of(&blob), digest_of(b"other"));
    let partial = f.root.join("partial");
    for digest in [&here, &other] {
        std::fs::write(partial.join(digest.hex()), "x").unwrap();
    }
    let live = vec![record.into()];
    f.images.sweep(Partials::Old, || Ok(live)).unwrap();
    assert_eq!(names(&partial), set(&[other.hex()]));
}
