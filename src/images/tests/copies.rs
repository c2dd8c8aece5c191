//! Trees that are copies: the same to see as an overlay, whole or not there, and what is not a copy is
//! never taken for one.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::Changed;
use model::StorageDriver;
use model::image::HistoryEntry;
use sys::beneath::Dir;

use super::overlays::names;
use super::{Fixture, Tar, docker_archive, layer_of, read};
use crate::storage::Storage;
use crate::{Commit, Images, Shown};

/// The same store, of which new trees are copies.
fn copying(f: &Fixture) -> Images {
    Images {
        storage: Arc::new(Storage {
            driver: StorageDriver::Vfs,
            overlay: f.images.storage.overlay.clone(),
        }),
        ..f.images.clone()
    }
}

fn mount(images: &Images, key: &str, layers: &[model::Layer]) -> PathBuf {
    images.create_writable(key).unwrap();
    images.mount(key, layers, Shown::default()).unwrap()
}

/// Everything there is to see of a tree but the time of its root, which is when it was made.
fn listing(root: &Path) -> Vec<String> {
    let (mut told, mut first) = (Vec::new(), HashMap::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let dir = Dir::open(&root.join(&path)).unwrap();
        for name in names(&root.join(&path)) {
            let (at, name) = (path.join(&name), std::ffi::OsString::from(name));
            let m = std::fs::symlink_metadata(root.join(&at)).unwrap();
            let mut xattrs = dir.xattrs(&name).unwrap();
            xattrs.sort();
            let content = match (m.is_file(), m.is_symlink()) {
                (true, _) => format!("{:?}", read(root.join(&at)).len()),
                (_, true) => format!("{:?}", std::fs::read_link(root.join(&at)).unwrap()),
                _ => String::new(),
            };
            let size = if m.is_dir() { 0 } else { m.size() };
            let is_whiteout = m.mode() & 0o170_000 == 0o020_000 && m.rdev() == 0;
            let modified = (!is_whiteout).then_some((m.mtime(), m.mtime_nsec()));
            let same = first
                .entry((m.dev(), m.ino()))
                .or_insert_with(|| at.clone());
            told.push(format!(
                "{} {:o} {}:{} {size} {modified:?} {} {xattrs:?} {content} {same:?}",
                at.display(),
                m.mode(),
                m.uid(),
                m.gid(),
                m.rdev(),
            ));
            if m.is_dir() {
                waiting.push(at);
            }
        }
    }
    told
}

fn rich_image() -> Vec<u8> {
    let mut bottom = Tar::default();
    bottom.push(b'5', "srv", "", b"", |h| {
        h.set_mode(0o2751);
        h.set_uid(7);
        h.set_mtime(77);
    });
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bottom = bottom
        .pax(&[("SCHILY.xattr.user.note", b"hi"), ("mtime", b"12.345678")])
        .file("srv/f", b"content")
        .hard_link("srv/again", "srv/f")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("able", b"x")
        .symlink("srv/link", "/etc/passwd")
        .device(b'3', "srv/null", 1, 3)
        .entry(b'6', "srv/pipe", "", b"")
        .file("gone", b"1")
        .file("dir-gone/x", b"1")
        .file("opaque/old", b"1")
        .file("merged/old", b"1")
        .file("again/old", b"1")
        .file("turned/in", b"1")
        .file("kept", b"low")
        .end();
    let mut top = Tar::default();
    top.push(b'0', "suid", "", b"s", |h| h.set_mode(0o4755));
    let top = top
        .file(".wh.gone", b"")
        .file(".wh.dir-gone", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"2")
        .dir("merged")
        .file("merged/new", b"2")
        .dir("again")
        .file("again/new", b"2")
        .file(".wh.again", b"")
        .file(".wh.turned", b"")
        .file("turned", b"a file")
        .dir("gone2")
        .file("kept", b"high")
        .hard_link("kept-too", "kept")
        .end();
    docker_archive(&[bottom, top], &["x:1"])
}

#[test]
fn a_copy_looks_as_an_overlay_does_and_goes_on_as_what_it_is() {
    let f = Fixture::new();
    let image = f.load(&rich_image()).unwrap().remove(0);
    let layers = &image.record.layers;
    let copying = copying(&f);
    let overlay = mount(&f.images, "o", layers);
    let copy = mount(&copying, "c", layers);
    assert_eq!(listing(&copy), listing(&overlay));
    assert_eq!(std::fs::metadata(&copy).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(sys::mount::below(&copy).unwrap().len(), 1);
    assert_eq!((f.size("c", layers), f.staged()), (0, 0));
    // Whatever is chosen later.
    std::fs::write(copy.join("kept"), "mine").unwrap();
    for (images, key, driver) in [
        (&f.images, "c", StorageDriver::Vfs),
        (&copying, "o", StorageDriver::Overlay2),
    ] {
        images.unmount(key).unwrap();
        assert_eq!(images.paths(key, layers).unwrap().driver(), driver);
        mount(images, key, layers);
    }
    assert_eq!(read(copy.join("kept")), "mine");
    assert_eq!(read(f.tree(&image.record).join("kept")), "high");
    // Of both its names.
    assert_eq!(f.size("c", layers), 4);
    assert!(f.images.remove_writable("c").unwrap() > 4);
    assert_eq!(f.images.writable_keys().unwrap(), ["o"]);
}

#[test]
fn both_kinds_of_trees_make_the_same_layer() {
    let f = Fixture::new();
    let image = f.load(&rich_image()).unwrap().remove(0);
    let layers = &image.record.layers;
    let mut seen = Vec::new();
    for (images, key) in [(&f.images, "o"), (&copying(&f), "c")] {
        let root = mount(images, key, layers);
        images.furnish(&root).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(99);
        let write = |name: &str, text: &str| {
            std::fs::write(root.join(name), text).unwrap();
            let file = std::fs::File::open(root.join(name)).unwrap();
            file.set_modified(time).unwrap();
        };
        write("new", "1");
        // Not what has two names: an overlay parts them where it is written, and a copy does not.
        write("turned", "A FILE");
        std::fs::remove_dir_all(root.join("merged")).unwrap();
        std::fs::remove_file(root.join("suid")).unwrap();
        let changed = images.paths(key, layers).unwrap().changed;
        let made = images.commit(Commit {
            base: Arc::new(image.record.clone()),
            changes: changed.clone(),
            config: image.record.config.clone(),
            step: HistoryEntry::default(),
        });
        let made = made.unwrap();
        let tree = listing(&f.tree(&made.record));
        let root = mount(&f.images, &format!("{key}2"), &made.record.layers);
        assert!(!root.join("merged").exists() && !root.join("suid").exists());
        assert!(matches!(changed, Changed::Upper(_)) == (key == "o"));
        seen.push((tree, listing(&root)));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_copy_is_whole_or_not_there() {
    let temp = tempfile::tempdir().unwrap();
    let small = temp.path().canonicalize().unwrap();
    let options = sys::mount::MountOptions::default();
    sys::mount::tmpfs(&small, 8 << 20, 0o755, options).unwrap();
    let f = Fixture::at(&small.join("images"), Some(StorageDriver::Vfs), temp);
    let layer = Tar::default()
        .file("ok", b"1")
        .file("big", &vec![1; 5 << 20]);
    let image = f
        .load(&docker_archive(&[layer.end()], &["x:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("k").unwrap();
    for _ in 0..2 {
        let e = f.images.mount("k", &image.record.layers, Shown::default());
        let e = e.unwrap_err();
        assert_eq!(e.kind(), model::Kind::System);
        for part in ["cannot copy the image's files", "big", "No space left"] {
            assert!(e.message().contains(part), "{e}");
        }
        assert_eq!(f.staged(), 0);
        assert_eq!(names(&f.root.join("writable/k")), ["merged"]);
    }
    sys::mount::unmount(&small, true).unwrap();
}

#[test]
fn changes_that_came_are_taken_into_the_copy_once() {
    let f = Fixture::new();
    let image = f.load(&rich_image()).unwrap().remove(0);
    let images = copying(&f);
    let place = images.place_of_changes("k").unwrap();
    let changes = Tar::default()
        .file(".wh.kept", b"")
        .file("srv/came", b"1")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .end();
    let applier = archive::Applier::new(&place, archive::Form::Layer).unwrap();
    applier
        .all(&mut archive::Reader::new(&changes[..]))
        .unwrap();
    // They are what it has changed, before it has a copy.
    assert_eq!(f.size("k", &image.record.layers), 1);
    let root = mount(&images, "k", &image.record.layers);
    assert_eq!(f.size("k", &image.record.layers), 1);
    assert!(!root.join("kept").exists() && root.join("kept-too").exists());
    assert_eq!(read(root.join("srv/came")), "1");
    assert!(names(&root.join("opaque")).is_empty());
    assert_eq!(names(&f.root.join("writable/k")), ["copy", "merged"]);
    // Of an overlay they are its own.
    let place = f.images.place_of_changes("o").unwrap();
    assert_eq!(place, f.root.join("writable/o/upper"));
}

/// A data root on an overlay, as in a container: no overlay can be mounted on it, and it has no
/// whiteouts.
#[test]
fn where_no_overlay_can_be_had_layers_are_marked_by_names() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = temp.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let merged = at("merged");
    let overlay = sys::overlay::Overlay {
        lower: &[at("low")],
        upper: &at("top/upper"),
        work: &at("top/work"),
        ids: None,
        label: None,
    };
    sys::overlay::overlay(sys::overlay::OverlayApi::MountOptions, overlay, &merged).unwrap();
    let root = merged.join("images");
    let refused = Images::open(&root, Some(StorageDriver::Overlay2)).unwrap_err();
    assert!(
        refused.message().contains("storage-driver is overlay2"),
        "{refused}"
    );
    assert!(crate::look_at_storage(&root).unwrap().overlay.is_err());
    std::fs::remove_file(root.join("lock")).unwrap();
    let f = Fixture::at(&root, None, temp);
    assert_eq!(f.images.driver(), StorageDriver::Vfs);
    let image = f.load(&rich_image()).unwrap().remove(0);
    let copy = mount(&f.images, "c", &image.record.layers);

    let plain = Fixture::new();
    let same = plain.load(&rich_image()).unwrap().remove(0);
    assert_eq!(same.record.id, image.record.id);
    let seen = mount(&plain.images, "o", &same.record.layers);
    assert_eq!(listing(&copy), listing(&seen));
    // It gives on the very bytes it got.
    let tar = |f: &Fixture| {
        let mut bytes = Vec::new();
        let layer = image.record.layers.last().unwrap();
        let mut tar = f.images.layer_tar(layer).unwrap();
        std::io::Read::read_to_end(&mut tar, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(tar(&f), tar(&plain));

    // What is an overlay is neither shown empty nor taken for a copy.
    std::fs::create_dir_all(root.join("writable/old/upper")).unwrap();
    let reopen = |driver| {
        std::fs::remove_file(root.join("lock")).unwrap();
        Images::open(&root, driver)
    };
    let refused = reopen(None).unwrap_err();
    for part in [
        "1 containers",
        "old the first",
        "modprobe overlay",
        "storage-driver = \"vfs\"",
    ] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let asked = reopen(Some(StorageDriver::Vfs)).unwrap();
    let refused = asked.mount("old", &image.record.layers, Shown::default());
    let refused = refused.unwrap_err();
    assert!(
        refused
            .message()
            .contains("an overlay of its image's and its own"),
        "{refused}"
    );
    assert_eq!(crate::look_at_storage(&root).unwrap().overlays, 1);
    drop(asked);
    sys::mount::unmount(&copy, true).unwrap();
    sys::mount::unmount(&merged, true).unwrap();
}

#[test]
fn a_choice_is_followed_and_many_layers_are_no_matter() {
    let f = Fixture::new();
    let images = copying(&f);
    let layers: Vec<_> = (0..300).map(|n| layer_of(&format!("f{n}"), b"x")).collect();
    let archive = docker_archive(&layers, &["x:1"]);
    let image = images
        .load(&mut &archive[..], &mut |_| {})
        .unwrap()
        .remove(0);
    let root = mount(&images, "many", &image.record.layers);
    assert_eq!(names(&root).len(), 300);
    let root = mount(&images, "none", &[]);
    assert!(names(&root).is_empty());
    std::fs::write(root.join("f"), "1").unwrap();
    assert_eq!(f.size("none", &[]), 1);
}
