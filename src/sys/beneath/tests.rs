//! What a [`Dir`] must refuse, and that removal reaches everything but what links point at.

use super::*;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn links_in_a_path_end_at_the_root() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("root/etc")).unwrap();
    std::fs::create_dir(temp.path().join("outside")).unwrap();
    symlink("/etc", temp.path().join("root/absolute")).unwrap();
    symlink("../../../etc", temp.path().join("root/dots")).unwrap();
    symlink("/proc/self/root", temp.path().join("root/magic")).unwrap();
    let root = Dir::open(&temp.path().join("root")).unwrap();
    let inode = |d: &Dir| d.own_metadata().unwrap().inode;
    let etc = inode(&root.child(os("etc")).unwrap());
    for path in [
        "etc",
        "/etc",
        "absolute",
        "dots",
        "../../etc",
        "dots/../etc",
    ] {
        assert_eq!(
            inode(&root.in_root(Path::new(path)).unwrap()),
            etc,
            "{path}"
        );
    }
    assert_eq!(inode(&root.in_root(Path::new("")).unwrap()), inode(&root));
    assert!(root.in_root(Path::new("magic")).is_err());
    for path in ["absolute", "dots", "../outside", "/etc"] {
        assert!(root.beneath(Path::new(path)).is_err(), "{path}");
    }
    assert!(root.child(os("absolute")).is_err());
}

#[test]
fn a_name_is_one_component() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    for name in ["", ".", "..", "a/b", "/a", "../a"] {
        assert!(dir.mkdir(os(name)).is_err(), "{name:?}");
        assert!(dir.create_file(os(name)).is_err(), "{name:?}");
        assert!(dir.unlink(os(name)).is_err(), "{name:?}");
    }
}

#[test]
fn nothing_is_created_or_changed_through_a_link() {
    let temp = tempfile::tempdir().unwrap();
    let victim = temp.path().join("victim");
    std::fs::write(&victim, "safe").unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    symlink(&victim, temp.path().join("d/link")).unwrap();
    let dir = Dir::open(&temp.path().join("d")).unwrap();
    let before = std::fs::metadata(&victim).unwrap();
    let exists = dir.create_file(os("link")).unwrap_err();
    assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
    assert!(dir.open_file(os("link")).is_err());
    dir.set_owner(os("link"), 7, 8).unwrap();
    let long_ago = FileTime { secs: 1, nanos: 2 };
    dir.set_times(os("link"), long_ago, long_ago).unwrap();
    dir.set_xattr(os("link"), os("trusted.x"), b"1").unwrap();
    assert_eq!(
        dir.xattrs(os("link")).unwrap(),
        [("trusted.x".into(), b"1".to_vec())]
    );
    let link = dir.metadata(os("link")).unwrap().unwrap();
    assert_eq!((link.kind, link.uid, link.gid), (Kind::Symlink, 7, 8));
    assert_eq!(link.modified, long_ago);
    assert_eq!(dir.read_link(os("link")).unwrap(), victim);
    let after = std::fs::metadata(&victim).unwrap();
    assert_eq!((after.uid(), after.mtime()), (before.uid(), before.mtime()));
    assert!(dir.set_owner(os("link"), u32::MAX, 0).is_err());
}

#[test]
fn special_files_keep_their_numbers() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    let device = DeviceNumber {
        major: 300,
        minor: 70_000,
    };
    dir.mknod(os("c"), Node::CharDevice(device)).unwrap();
    dir.mknod(os("p"), Node::Fifo).unwrap();
    dir.set_mode(os("p"), 0o6751).unwrap();
    let found = dir.metadata(os("c")).unwrap().unwrap();
    assert_eq!((found.kind, found.device), (Kind::CharDevice, device));
    let fifo = dir.metadata(os("p")).unwrap().unwrap();
    assert_eq!((fifo.kind, fifo.mode), (Kind::Fifo, 0o6751));
    assert_eq!(dir.metadata(os("absent")).unwrap(), None);
}

#[test]
fn removal_takes_depth_breadth_and_links_but_not_their_targets() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "keep").unwrap();
    let parent = Dir::open(temp.path()).unwrap();
    parent.mkdir(os("tree")).unwrap();
    let top = parent.child(os("tree")).unwrap();
    for n in 0..5000 {
        top.create_file(os(&format!("f{n}"))).unwrap();
    }
    // Names that the removal might come to use itself.
    for n in 0..20 {
        top.mkdir(os(&n.to_string())).unwrap();
        let child = top.child(os(&n.to_string())).unwrap();
        child.mkdir(os("7")).unwrap();
        child.create_file(os("0")).unwrap();
        child.child(os("7")).unwrap().mkdir(os("8")).unwrap();
    }
    let mut file = top.create_file(os("big")).unwrap();
    file.write_all(&[1; 1000]).unwrap();
    top.link(os("big"), &top, os("big2")).unwrap();
    // Deeper than any path can name and than descriptors could be held.
    let mut deepest = parent.child(os("tree")).unwrap();
    for _ in 0..3000 {
        deepest.mkdir(os("dd")).unwrap();
        deepest = deepest.child(os("dd")).unwrap();
    }
    deepest.symlink(outside.as_os_str(), os("out")).unwrap();
    drop(deepest);
    assert_eq!(remove_tree(&parent, os("tree")).unwrap(), 1000);
    assert_eq!(parent.metadata(os("tree")).unwrap(), None);
    assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"keep");
    assert_eq!(remove_tree(&parent, os("tree")).unwrap(), 0);
}

#[test]
fn a_copy_keeps_holes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    let mut from = dir.create_file(os("from")).unwrap();
    let hole = 64_u64 << 20;
    from.write_all(b"start").unwrap();
    rustix::fs::seek(&from, rustix::fs::SeekFrom::Start(hole)).unwrap();
    from.write_all(b"end").unwrap();
    from.set_len(2 * hole).unwrap();
    let to = dir.create_file(os("to")).unwrap();
    copy_content(&dir.open_file(os("from")).unwrap(), &to, 2 * hole).unwrap();
    let copied = std::fs::metadata(temp.path().join("to")).unwrap();
    assert_eq!(copied.len(), 2 * hole);
    assert!(
        copied.blocks() * 512 < 1 << 20,
        "{} blocks",
        copied.blocks()
    );
    let content = std::fs::read(temp.path().join("to")).unwrap();
    let at = usize::try_from(hole).unwrap();
    assert_eq!(&content[..6], b"start\0");
    assert_eq!(&content[at..at + 3], b"end");
}

#[test]
fn usage_counts_files_once_and_nothing_behind_links() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("in/a/b/c")).unwrap();
    std::fs::create_dir(temp.path().join("out")).unwrap();
    std::fs::write(temp.path().join("out/f"), [0; 1000]).unwrap();
    let root = temp.path().join("in");
    std::fs::write(root.join("a/f"), [0; 10]).unwrap();
    std::fs::write(root.join("a/b/c/f"), [0; 5]).unwrap();
    std::fs::hard_link(root.join("a/f"), root.join("a/b/g")).unwrap();
    symlink(temp.path().join("out"), root.join("dir")).unwrap();
    symlink(temp.path().join("out/f"), root.join("file")).unwrap();
    let usage = |depth, entries| {
        let found = tree_usage(Dir::open(&root).unwrap(), depth, entries).unwrap();
        (found.bytes, found.cut)
    };
    // A link is as long as what it says.
    let links = 2 * temp.path().as_os_str().len() as u64 + "/out/out/f".len() as u64;
    assert_eq!(usage(4, 8), (15 + links, false));
    assert_eq!(usage(3, 8), (10 + links, true));
    assert!(usage(4, 7).1);
    assert_eq!(usage(4, 0), (0, true));
}

/// Directories turn into links to the outside and back while the tree is walked.
#[test]
fn usage_is_not_led_out_of_the_tree() {
    let temp = tempfile::tempdir().unwrap();
    let (root, out) = (temp.path().join("in"), temp.path().join("out"));
    std::fs::create_dir_all(root.join("d")).unwrap();
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("f"), [0; 1000]).unwrap();
    symlink(&out, root.join("l")).unwrap();
    let stop = AtomicBool::new(false);
    let done = || stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = Dir::open(&root).unwrap();
            while !done() {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&dir, "d", &dir, "l", flags).unwrap();
            }
        });
        for _ in 0..300 {
            let found = tree_usage(Dir::open(&root).unwrap(), 8, 100).unwrap();
            // The link, which may be met under both names.
            assert!(found.bytes <= 2 * out.as_os_str().len() as u64, "{found:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_tree_deeper_than_any_stack_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("t");
    std::fs::create_dir(&tree).unwrap();
    let mut deepest = Dir::open(&tree).unwrap();
    for _ in 0..5000 {
        deepest.mkdir("d".as_ref()).unwrap();
        deepest = deepest.child("d".as_ref()).unwrap();
    }
    drop(deepest);
    // In proportion to the 2 MiB of the daemon's threads and what a container can make.
    let remove = move || remove_all(&tree).map(|()| tree.exists());
    let worker = std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(remove);
    assert!(!worker.unwrap().join().unwrap().unwrap());
    remove_all(&temp.path().join("absent")).unwrap();
}

#[test]
fn what_is_mounted_in_a_tree_is_not_removed_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, other) = (temp.path().join("t"), temp.path().join("other"));
    std::fs::create_dir_all(tree.join("a/at")).unwrap();
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("kept"), "x").unwrap();
    let _guard = crate::mount::tests::Mounted(tree.join("a/at"));
    crate::mount::bind(&other, &tree.join("a/at"), false, Default::default()).unwrap();
    let parent = Dir::open(temp.path()).unwrap();
    remove_tree(&parent, "t".as_ref()).unwrap_err();
    assert!(other.join("kept").exists());
}

/// Overlayfs moves no directory of a lower layer.
#[test]
fn directories_of_lower_layers_are_removed() {
    use crate::overlay::{Overlay, OverlayApi, overlay};
    let temp = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let dir = temp.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    };
    let (upper, work, target) = (dir("upper"), dir("work"), dir("target"));
    let lower = [dir("lower")];
    dir(&format!("lower/t/{}", "d/".repeat(200)));
    dir("lower/t/a/b/c");
    std::fs::write(temp.path().join("lower/t/a/b/c/f"), "x").unwrap();
    let _guard = crate::mount::tests::Mounted(target.clone());
    let wanted = Overlay {
        lower: &lower,
        upper: &upper,
        work: &work,
        ids: None,
        label: None,
    };
    overlay(OverlayApi::MountOptions, wanted, &target).unwrap();
    std::fs::create_dir_all(target.join("t/a/b/new/deeper")).unwrap();
    let root = Dir::open(&target).unwrap();
    remove_tree(&root, os("t")).unwrap();
    assert_eq!(root.metadata(os("t")).unwrap(), None);
    assert!(lower[0].join("t/a/b/c/f").exists());
}

/// Modes of what turns into a link to the outside and back.
#[test]
fn a_mode_is_never_set_behind_a_link() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("out"), "").unwrap();
    let dir = temp.path().join("d");
    std::fs::create_dir(&dir).unwrap();
    symlink(temp.path().join("out"), dir.join("l")).unwrap();
    let before = std::fs::metadata(temp.path().join("out")).unwrap().mode();
    Dir::open(&dir)
        .unwrap()
        .set_mode("l".as_ref(), 0o777)
        .unwrap_err();
    let after = std::fs::metadata(temp.path().join("out")).unwrap().mode();
    assert_eq!(before, after);
}
