//! Trees as containers see them: through real overlay mounts.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{Fixture, Tar, docker_archive, layer_of, read};
use crate::Shown;

pub(super) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let f = Fixture::new();
    let bottom = Tar::default()
        .file("gone", b"1")
        .file("dir-gone/x", b"1")
        .file("opaque/old", b"1")
        .file("merged/old", b"1")
        .file("again/old", b"1")
        .file("again2/old", b"1")
        .file("again3/old", b"1")
        .file("kept", b"low")
        .end();
    let top = Tar::default()
        .file(".wh.gone", b"")
        .file(".wh.dir-gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"2")
        .file("merged/new", b"2")
        // Removed and made again, in each order and way.
        .file(".wh.again", b"")
        .dir("again")
        .file("again/new", b"2")
        .dir("again2")
        .file("again2/new", b"2")
        .file(".wh.again2", b"")
        .file(".wh.again3", b"")
        .file("again3/new", b"2")
        .file("kept", b"high")
        .file(".wh.kept", b"")
        .file(".wh..wh.plnk", b"")
        .end();
    let image = f
        .load(&docker_archive(&[bottom, top], &["x:1"]))
        .unwrap()
        .remove(0);
    assert_eq!(f.size("k1", &[]), 0);
    f.images.create_writable("k1").unwrap();
    let merged = f
        .images
        .mount("k1", &image.record.layers, Shown::default())
        .unwrap();
    assert_eq!(
        names(&merged),
        ["again", "again2", "again3", "kept", "merged", "opaque"]
    );
    assert_eq!(names(&merged.join("opaque")), ["new"]);
    assert_eq!(names(&merged.join("merged")), ["new", "old"]);
    for dir in ["again", "again2", "again3"] {
        assert_eq!(names(&merged.join(dir)), ["new"], "{dir}");
    }
    assert_eq!(read(merged.join("kept")), "high");
}

#[test]
fn a_writable_tree_lives_from_create_to_remove() {
    let f = Fixture::new();
    let image = f
        .load(&docker_archive(&[layer_of("f", b"image")], &["x:1"]))
        .unwrap()
        .remove(0);
    let layers = &image.record.layers;
    assert!(f.images.mount("nokey", layers, Shown::default()).is_err());
    for _ in 0..2 {
        f.images.create_writable("k1").unwrap();
    }
    let merged = f.images.mount("k1", layers, Shown::default()).unwrap();
    assert_eq!(
        f.images.mount("k1", layers, Shown::default()).unwrap(),
        merged
    );
    assert_eq!(sys::mount::below(&merged).unwrap().len(), 1);
    assert_eq!(
        std::fs::metadata(&merged).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    std::fs::write(merged.join("f"), "changed!").unwrap();
    std::fs::write(merged.join("g"), "12").unwrap();
    std::fs::hard_link(merged.join("g"), merged.join("h")).unwrap();
    assert_eq!(f.size("k1", layers), 10);
    let paths = f.images.paths("k1", layers).unwrap();
    assert_eq!(read(paths.changed.dir().join("f")), "changed!");
    assert_eq!(read(f.tree(&image.record).join("f")), "image");
    assert_eq!(f.images.writable_keys().unwrap(), ["k1"]);
    for _ in 0..2 {
        f.images.unmount("k1").unwrap();
    }
    // The changes outlive the mount, and an open file does not keep it.
    let merged = f.images.mount("k1", layers, Shown::default()).unwrap();
    assert_eq!(read(merged.join("f")), "changed!");
    let open = std::fs::File::open(merged.join("f")).unwrap();
    assert_eq!(f.images.remove_writable("k1").unwrap(), 10);
    drop(open);
    assert_eq!(f.images.remove_writable("k1").unwrap(), 0);
    assert!(f.images.writable_keys().unwrap().is_empty());
    assert_eq!(f.staged(), 0);
    for bad in ["", "..", "a/b", "A", &"a".repeat(201)] {
        assert!(f.images.create_writable(bad).is_err(), "{bad}");
        assert!(f.images.remove_writable(bad).is_err(), "{bad}");
    }
}

#[test]
fn many_layers_and_none_can_be_mounted() {
    let f = Fixture::new();
    let layers: Vec<_> = (0..60).map(|n| layer_of(&format!("f{n}"), b"x")).collect();
    let image = f
        .load(&docker_archive(&layers, &["x:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("many").unwrap();
    let merged = f
        .images
        .mount("many", &image.record.layers, Shown::default())
        .unwrap();
    assert_eq!(names(&merged).len(), 60);
    // The way of older kernels, all options in one page.
    let paths = f.images.paths("old", &image.record.layers).unwrap();
    f.images.create_writable("old").unwrap();
    let overlay = sys::overlay::Overlay {
        lower: &paths.lower,
        upper: paths.changed.dir(),
        work: &paths.work,
        ids: None,
        label: None,
    };
    sys::overlay::overlay(
        sys::overlay::OverlayApi::MountOptions,
        overlay,
        &paths.merged,
    )
    .unwrap();
    assert_eq!(names(&paths.merged).len(), 60);

    let nothing = f
        .load(&docker_archive(&[], &["scratch:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("none").unwrap();
    let merged = f
        .images
        .mount("none", &nothing.record.layers, Shown::default())
        .unwrap();
    assert_eq!(names(&merged).len(), 0);
    std::fs::write(merged.join("f"), "").unwrap();
}

#[test]
fn what_could_not_be_mounted_is_not_loaded() {
    let f = Fixture::new();
    let old = crate::Images {
        storage: std::sync::Arc::new(crate::storage::Storage {
            driver: model::StorageDriver::Overlay2,
            overlay: Ok(sys::overlay::OverlayApi::MountOptions),
        }),
        ..f.images.clone()
    };
    let most = old.storage.layers_max();
    let mut layers: Vec<_> = (0..most)
        .map(|n| layer_of(&format!("f{n}"), b"x"))
        .collect();
    // The same again counts for nothing.
    layers.push(layers[0].clone());
    let load = |archive: &[u8]| old.load(&mut &archive[..], &mut |_| {});
    let image = load(&docker_archive(&layers, &["x:1"])).unwrap().remove(0);
    old.create_writable("most").unwrap();
    let merged = old
        .mount("most", &image.record.layers, Shown::default())
        .unwrap();
    assert_eq!(names(&merged).len(), most);
    old.unmount("most").unwrap();

    layers.push(layer_of("one more", b"x"));
    let e = load(&docker_archive(&layers, &["x:2"])).unwrap_err();
    assert_eq!(e.kind(), model::Kind::InvalidParameter);
    assert!(e.message().contains("this kernel can mount"), "{e}");
    f.load(&docker_archive(&layers, &["x:2"])).unwrap();
}

#[test]
fn a_missing_layer_is_named() {
    let f = Fixture::new();
    let image = f
        .load(&docker_archive(&[layer_of("f", b"1")], &["x:1"]))
        .unwrap()
        .remove(0);
    std::fs::remove_dir_all(f.tree(&image.record)).unwrap();
    f.images.create_writable("k").unwrap();
    let e = f
        .images
        .mount("k", &image.record.layers, Shown::default())
        .unwrap_err();
    assert!(
        e.message().contains("is missing: load the image again"),
        "{e}"
    );
}

#[test]
fn a_volume_starts_with_what_the_image_has_there() {
    let f = Fixture::new();
    let mut tar = Tar::default();
    tar.push(b'5', "srv/data", "", b"", |h| {
        h.set_mode(0o2750);
        h.set_uid(7);
        h.set_mtime(55);
    });
    let tar = tar
        .pax(&[("SCHILY.xattr.user.note", b"hi"), ("uid", b"9")])
        .file("srv/data/f", b"content")
        .hard_link("srv/data/sub/same", "srv/data/f")
        .symlink("srv/data/out", "/etc/passwd")
        .device(b'3', "srv/data/null", 1, 3)
        .entry(b'6', "srv/data/pipe", "", b"")
        .symlink("link", "/srv/data")
        .dir("srv/empty")
        .symlink("escape", "../../../../../../etc")
        .file("plain", b"x");
    let image = f
        .load(&docker_archive(&[tar.end()], &["x:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("k").unwrap();
    let merged = f
        .images
        .mount("k", &image.record.layers, Shown::default())
        .unwrap();
    let volume = tempfile::tempdir().unwrap();
    let copy = |inside: &str, to: &Path| f.images.copy_out(&merged, Path::new(inside), to).unwrap();
    for nothing in ["/absent", "/plain", "/escape"] {
        assert!(!copy(nothing, volume.path()), "{nothing}");
    }
    assert!(copy("/link", volume.path()));
    let meta = |name: &str| std::fs::symlink_metadata(volume.path().join(name)).unwrap();
    let own = meta("");
    assert_eq!(
        (own.mode() & 0o7777, own.uid(), own.mtime()),
        (0o2750, 7, 55)
    );
    assert_eq!(names(volume.path()), ["f", "null", "out", "pipe", "sub"]);
    assert_eq!(read(volume.path().join("f")), "content");
    assert_eq!(meta("f").uid(), 9);
    assert_eq!(meta("f").ino(), meta("sub/same").ino());
    assert_eq!(meta("f").mtime(), 1_000_000);
    assert!(meta("out").file_type().is_symlink());
    assert_eq!(meta("null").rdev(), (1 << 8) | 3);
    let xattrs = sys::beneath::Dir::open(volume.path())
        .unwrap()
        .xattrs("f".as_ref())
        .unwrap();
    assert_eq!(xattrs, [("user.note".into(), b"hi".to_vec())]);
    // What most images have there.
    let empty = tempfile::tempdir().unwrap();
    assert!(copy("/srv/empty", empty.path()));
    assert_eq!(names(empty.path()), [""; 0]);
    let own = std::fs::metadata(empty.path()).unwrap();
    assert_eq!((own.mode() & 0o7777, own.mtime()), (0o755, 1_000_000));
    // A volume with anything in it is left alone.
    let used = tempfile::tempdir().unwrap();
    symlink("nowhere", used.path().join("x")).unwrap();
    assert!(!copy("/srv/data", used.path()));
    assert_eq!(names(used.path()), ["x"]);
}

#[test]
fn a_copy_that_was_cut_short_is_made_anew_or_finished_never_taken_for_whole() {
    let f = Fixture::new();
    let tar = Tar::default()
        .dir("d")
        .file("d/a", b"from the image")
        .file("d/b", b"from the image");
    let image = f
        .load(&docker_archive(&[tar.end()], &["x:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("k").unwrap();
    let merged = f
        .images
        .mount("k", &image.record.layers, Shown::default())
        .unwrap();
    let volume = tempfile::tempdir().unwrap();
    let [data, part, whole] = ["_data", "_data.part", "_data.whole"].map(|n| volume.path().join(n));
    let copy = || f.images.copy_out(&merged, Path::new("/d"), &data).unwrap();

    // Killed while it copied: half of it is worth nothing.
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir_all(part.join("deep")).unwrap();
    std::fs::write(part.join("a"), "ha").unwrap();
    assert!(copy());
    assert_eq!(names(volume.path()), ["_data"]);
    assert_eq!(read(data.join("a")), "from the image");

    // Killed while it moved: the rest is moved, and what came in meanwhile stays.
    std::fs::create_dir(&whole).unwrap();
    std::fs::rename(data.join("b"), whole.join("b")).unwrap();
    std::fs::write(whole.join("a"), "old").unwrap();
    assert!(copy());
    assert_eq!(names(volume.path()), ["_data"]);
    assert_eq!(names(&data), ["a", "b"]);
    assert_eq!(read(data.join("a")), "from the image");
}

/// In a file system of the volume's own it is copied there, and who has it mounted cannot send it
/// elsewhere.
#[test]
fn a_volume_that_is_mounted_is_filled_in_its_place() {
    let f = Fixture::new();
    let tar = Tar::default().dir("d").file("d/a", b"a").file("d/b", b"b");
    let image = f
        .load(&docker_archive(&[tar.end()], &["x:1"]))
        .unwrap()
        .remove(0);
    f.images.create_writable("k").unwrap();
    let layers = &image.record.layers;
    let merged = f.images.mount("k", layers, Shown::default()).unwrap();
    let volume = tempfile::tempdir().unwrap();
    let [data, precious] = ["_data", "precious"].map(|n| volume.path().join(n));
    for dir in [&data, &precious] {
        std::fs::create_dir(dir).unwrap();
    }
    std::fs::write(precious.join("file"), "").unwrap();
    let options = sys::mount::MountOptions::default();
    sys::mount::tmpfs(&data, 1 << 20, 0o700, options).unwrap();
    let copy = || f.images.copy_out(&merged, Path::new("/d"), &data).unwrap();
    symlink(&precious, data.join(".moored-copy.whole")).unwrap();
    assert!(!copy(), "it is not empty");
    std::fs::remove_file(data.join(".moored-copy.whole")).unwrap();
    // A container can make what looks like a copy that was cut short: it is not taken for one.
    let planted = data.join(".moored-copy.whole");
    std::fs::create_dir(&planted).unwrap();
    std::os::unix::fs::chown(&planted, Some(1000), Some(1000)).unwrap();
    assert!(!copy(), "it is not empty");
    let own = std::fs::metadata(&data).unwrap();
    assert_eq!((own.mode() & 0o7777, own.uid()), (0o700, 0));
    std::fs::rename(&planted, data.join(".moored-copy.part")).unwrap();
    assert!(copy());
    assert_eq!(names(&data), ["a", "b"]);
    assert_eq!(std::fs::metadata(&data).unwrap().uid(), 0);
    for name in ["a", "b"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    symlink(&precious, data.join(".moored-copy.part")).unwrap();
    assert!(copy());
    assert_eq!(names(&data), ["a", "b"]);
    assert_eq!(names(&precious), ["file"]);
    let own = std::fs::metadata(&data).unwrap();
    assert_eq!((own.mode() & 0o7777, own.mtime()), (0o755, 1_000_000));
    assert!(!copy(), "once");
    assert!(sys::mount::unmount(&data, true).unwrap());
    assert_eq!(names(volume.path()), ["_data", "precious"]);
}

/// Whoever unmounts it: a tree that is held stays, and goes with the last who held it.
#[test]
fn a_tree_that_is_held_stays_mounted() {
    let f = Fixture::new();
    f.images.create_writable("held").unwrap();
    let mount = || f.images.mount("held", &[], Shown::default()).unwrap();
    let is_mounted = || f.images.is_mounted("held").unwrap();
    mount();
    let (one, two) = (f.images.hold_tree("held"), f.images.hold_tree("held"));
    f.images.unmount("held").unwrap();
    drop(one);
    assert!(is_mounted() && f.images.is_held("held"));
    drop(two);
    assert!(!is_mounted() && !f.images.is_held("held"));
    // Needed again meanwhile.
    mount();
    let hold = f.images.hold_tree("held");
    f.images.unmount("held").unwrap();
    mount();
    drop(hold);
    assert!(is_mounted());
    // Somebody looks, and nobody else needs it.
    let hold = f.images.hold_tree("held");
    f.images.unmount("held").unwrap();
    f.images.mount_held("held", &[], Shown::default()).unwrap();
    drop(hold);
    assert!(!is_mounted());
}

/// Who holds a tree that is removed is told, and who holds another is not.
#[test]
fn a_removal_is_told_to_those_who_hold_it() {
    let f = Fixture::new();
    for key in ["gone", "kept"] {
        f.images.create_writable(key).unwrap();
    }
    let (gone, kept) = (f.images.hold_tree("gone"), f.images.hold_tree("kept"));
    assert!(!gone.is_doomed());
    f.images.remove_writable("gone").unwrap();
    assert!(gone.is_doomed() && !kept.is_doomed());
}
