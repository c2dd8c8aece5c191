//! Upper directories as overlayfs leaves them, beside the layers they are made on.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use sys::beneath::Node;

use super::*;

struct Bed {
    temp: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["upper", "top", "bottom"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        Self { temp }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn dir(&self, path: &str) {
        fs::create_dir_all(self.at(path)).unwrap();
    }

    fn whiteout(&self, path: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let dir = Dir::open(path.parent().unwrap()).unwrap();
        let none = Node::CharDevice(Default::default());
        dir.mknod(path.file_name().unwrap(), none).unwrap();
    }

    fn opaque(&self, path: &str) {
        self.dir(path);
        let dir = Dir::open(&self.at(path)).unwrap();
        dir.set_own_xattr(OsStr::new("trusted.overlay.opaque"), b"y")
            .unwrap();
    }

    fn changes(&self, has_run: bool) -> Vec<String> {
        let layers = Layers {
            changed: Changed::Upper(self.at("upper")),
            lower: vec![self.at("top"), self.at("bottom")],
            has_run,
        };
        let words = of(&layers).unwrap().into_iter().map(|change| {
            let word = match change.kind {
                ChangeKind::Modified => "C",
                ChangeKind::Added => "A",
                ChangeKind::Deleted => "D",
            };
            format!("{word} {}", change.path.display())
        });
        words.collect()
    }
}

#[test]
fn a_change_tells_of_the_directories_above_it() {
    let bed = Bed::new();
    bed.file("bottom/a/b/same", "1");
    bed.file("bottom/a/b/changed", "1");
    bed.dir("bottom/quiet");
    bed.file("upper/a/b/changed", "22");
    bed.file("upper/a/b/new", "");
    bed.file("upper/fresh/deep/file", "");
    bed.dir("upper/quiet");
    assert_eq!(
        bed.changes(false),
        [
            "C /a",
            "C /a/b",
            "C /a/b/changed",
            "A /a/b/new",
            "A /fresh",
            "A /fresh/deep",
            "A /fresh/deep/file",
        ]
    );
    fs::set_permissions(bed.at("upper/quiet"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(bed.changes(false).contains(&"C /quiet".to_owned()));
}

#[test]
fn what_is_removed_is_told_once_and_only_if_it_was_there() {
    let bed = Bed::new();
    bed.file("bottom/d/one", "");
    bed.file("bottom/d/two", "");
    bed.whiteout("top/d/two");
    bed.file("bottom/gone/x", "");
    bed.whiteout("upper/gone");
    bed.whiteout("upper/never");
    bed.whiteout("upper/d/one");
    bed.whiteout("upper/d/two");
    assert_eq!(bed.changes(false), ["D /gone", "C /d", "D /d/one"]);
}

#[test]
fn a_directory_made_anew_has_lost_what_was_in_it() {
    let bed = Bed::new();
    bed.file("bottom/d/kept", "same");
    bed.file("bottom/d/lost", "");
    bed.file("top/d/above", "");
    bed.file("bottom/e/hidden", "");
    bed.opaque("top/e");
    bed.opaque("upper/d");
    fs::copy(bed.at("bottom/d/kept"), bed.at("upper/d/kept")).unwrap();
    let time = fs::metadata(bed.at("bottom/d/kept"))
        .unwrap()
        .modified()
        .unwrap();
    let kept = fs::File::options()
        .write(true)
        .open(bed.at("upper/d/kept"))
        .unwrap();
    kept.set_modified(time).unwrap();
    bed.opaque("upper/e");
    assert_eq!(bed.changes(false), ["C /d", "D /d/above", "D /d/lost"]);
    // A file instead of a directory is a change, and what was in it is not told of.
    let bed = Bed::new();
    bed.file("bottom/d/x", "");
    bed.file("upper/d", "");
    assert_eq!(bed.changes(false), ["C /d"]);
}

#[test]
fn what_every_container_finds_is_no_change() {
    let bed = Bed::new();
    bed.dir("bottom/bin");
    for name in [
        "upper/.dockerenv",
        "upper/etc/hostname",
        "upper/etc/hosts",
        "upper/etc/resolv.conf",
    ] {
        bed.file(name, "");
        fs::set_permissions(bed.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for dir in ["upper/proc", "upper/sys", "upper/dev"] {
        bed.dir(dir);
    }
    symlink("/proc/mounts", bed.at("upper/etc/mtab")).unwrap();
    assert_eq!(bed.changes(true), Vec::<String>::new());
    bed.file("upper/etc/own", "");
    assert_eq!(bed.changes(true), ["C /etc", "A /etc/own"]);
    fs::remove_file(bed.at("upper/etc/own")).unwrap();
    fs::write(bed.at("upper/etc/hosts"), "1").unwrap();
    fs::remove_file(bed.at("upper/.dockerenv")).unwrap();
    assert_eq!(
        bed.changes(true),
        ["D /.dockerenv", "C /etc", "A /etc/hosts"]
    );
    // One that never ran has none of it.
    let bed = Bed::new();
    assert_eq!(bed.changes(false), Vec::<String>::new());
}
