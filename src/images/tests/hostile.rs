//! Archives that mean harm: refused with a clear message or kept inside, and nothing left behind.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use hostile::{Case, Fate, Found};
use model::image::Blob;
use model::{Error, Kind};

use super::{Fixture, Tar, docker_archive, gzip, layer_of, read};
use crate::{Images, Partials, WantedLayer};

/// A store with something of the host's beside it.
struct Bed {
    f: Fixture,
    beside: Vec<String>,
    empty: Vec<String>,
}

impl Bed {
    fn new() -> Self {
        let f = Fixture::new();
        let canary = f.root.parent().unwrap().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("keep"), "safe").unwrap();
        fs::create_dir(canary.join("sub")).unwrap();
        std::os::unix::fs::symlink("keep", canary.join("link")).unwrap();
        Self {
            beside: listing(&canary),
            empty: names(&f.root),
            f,
        }
    }

    /// Nothing outside the store was touched.
    #[track_caller]
    fn expect_untouched(&self, name: &str) {
        let parent = self.f.root.parent().unwrap();
        assert_eq!(listing(&parent.join("canary")), self.beside, "{name}");
        let beside = fs::read_dir(parent).unwrap().count();
        assert_eq!(beside, 2, "{name}: something is beside the store");
    }

    /// And nothing is in it, not even for a sweep.
    #[track_caller]
    fn expect_empty(&self, name: &str) {
        self.expect_untouched(name);
        assert_eq!(names(&self.f.root), self.empty, "{name}");
    }

    #[track_caller]
    fn expect_refused(&self, name: &str, e: &Error, why: &str) {
        assert_eq!(e.kind(), Kind::InvalidParameter, "{name}: {e}");
        assert!(e.message().contains(why), "{name}: {e}");
        assert!(e.message().len() < 2000, "{name}: {e}");
        self.expect_empty(name);
    }

    /// What was taken in is as it should be, and a sweep takes all of it away.
    #[track_caller]
    fn expect_found(&self, name: &str, tree: &Path, found: &[(&str, Found)]) {
        self.expect_untouched(name);
        assert_eq!(self.f.staged(), 0, "{name}");
        for (path, wanted) in found {
            expect_is(name, tree, path, *wanted);
        }
    }

    fn sweep(&self, name: &str) {
        let swept = self.f.images.sweep(Partials::Old, || Ok(Vec::new()));
        swept.unwrap();
        self.expect_empty(name);
    }

    /// A layer as the body of an import.
    fn import(&self, case: &Case) {
        let name = format!("{}, imported", case.name);
        match (self.f.unpack(&case.bytes), &case.fate) {
            (Err(e), Fate::Refused(why)) => self.expect_refused(&name, &e, why),
            (Ok(tree), Fate::Taken(found)) => self.expect_found(&name, &tree, found),
            (other, _) => panic!("{name}: {other:?}"),
        }
        self.sweep(&name);
    }

    /// A layer within an archive of images.
    fn load_layer(&self, case: &Case) {
        let mut image = hostile::Image::with_layer(&unpacked(&case.bytes));
        image.layer.clone_from(&case.bytes);
        self.load(&Case {
            bytes: image.docker_archive(),
            ..case.clone()
        });
    }

    fn load(&self, case: &Case) {
        let name = format!("{}, loaded", case.name);
        match (self.f.load(&case.bytes), &case.fate) {
            (Err(e), Fate::Refused(why)) => self.expect_refused(&name, &e, why),
            (Ok(loaded), Fate::Taken(found)) => {
                let tree = self.f.tree(&loaded[0].record);
                self.expect_found(&name, &tree, found);
            }
            (Err(e), Fate::Taken(_)) => panic!("{name}: {e}"),
            (Ok(loaded), Fate::Refused(_)) => panic!("{name}: {loaded:?}"),
        }
        self.sweep(&name);
    }

    /// A layer as a registry sends it.
    fn pull(&self, case: &Case) {
        let name = format!("{}, pulled", case.name);
        let wanted = WantedLayer {
            blob: Blob {
                digest: crate::digesting::digest_of(&case.bytes),
                size_bytes: case.bytes.len() as u64,
                media_type: String::new(),
            },
            diff_id: crate::digesting::digest_of(&unpacked(&case.bytes)),
        };
        let images: &Images = &self.f.images;
        let done = images.pull_layer(&wanted, 0, &mut &case.bytes[..]);
        match (done, &case.fate) {
            (Err(e), Fate::Refused(why)) => self.expect_refused(&name, &e, why),
            (Ok(()), Fate::Taken(found)) => {
                let tree = self.f.root.join("trees").join(wanted.diff_id.hex());
                self.expect_found(&name, &tree.join("tree"), found);
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
        self.sweep(&name);
    }
}

/// What the case is a compression of; of what cannot be unpacked whatever came.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(mut source) = archive::Unpacked::new(bytes) {
        let _ = source.read_to_end(&mut out);
    }
    out
}

/// Everything below `path`: names, kinds, sizes, modes, times, content.
fn listing(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(at) = waiting.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        let content = match meta.is_file() {
            true => fs::read(&at).unwrap(),
            false => Vec::new(),
        };
        found.push(format!(
            "{} {:o} {} {} {} {}.{} {} {content:?}",
            at.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ino(),
        ));
        if meta.is_dir() {
            let entries = fs::read_dir(&at).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

/// Everything below `path` by name.
fn names(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn expect_is(name: &str, tree: &Path, path: &str, wanted: Found) {
    let at: PathBuf = tree.join(path);
    let meta = match (fs::symlink_metadata(&at), wanted) {
        (Err(_), Found::Nothing) => return,
        (found, _) => found.unwrap_or_else(|e| panic!("{name}: {path}: {e}")),
    };
    let device = |block: bool, major: u64, minor: u64| {
        let kind = meta.file_type();
        let is_one = if block {
            kind.is_block_device()
        } else {
            kind.is_char_device()
        };
        // The kernel's encoding of small numbers (makedev(3)).
        is_one && meta.rdev() == (major << 8 | minor)
    };
    let opaque = || archive::is_opaque(&sys::beneath::Dir::open(&at).unwrap()).unwrap();
    let is = match wanted {
        Found::Nothing => false,
        Found::Dir => meta.is_dir() && !opaque(),
        Found::OpaqueDir => meta.is_dir() && opaque(),
        Found::Whiteout => device(false, 0, 0),
        Found::File(content) => meta.is_file() && fs::read(&at).unwrap() == content,
        Found::Hole(size) => meta.is_file() && meta.size() == size && meta.blocks() <= 16,
        Found::Link(text) => meta.is_symlink() && fs::read_link(&at).unwrap() == Path::new(text),
        Found::Fifo => meta.file_type().is_fifo(),
        Found::Device(block, major, minor) => device(block, major.into(), minor.into()),
        Found::SameAs(other) => {
            let other = fs::symlink_metadata(tree.join(other)).unwrap();
            (other.dev(), other.ino()) == (meta.dev(), meta.ino())
        }
        Found::Changed(secs, nanos) => {
            (meta.mtime(), meta.mtime_nsec()) == (secs, i64::from(nanos))
        }
    };
    assert!(is, "{name}: {path} is {meta:?}, not {wanted:?}");
}

#[test]
fn hostile_layers_do_nothing_to_the_host_and_leave_nothing() {
    let bed = Bed::new();
    let cases = hostile::layers();
    assert!(cases.len() > 150, "{}", cases.len());
    for case in &cases {
        bed.import(case);
        bed.load_layer(case);
        bed.pull(case);
    }
}

#[test]
fn hostile_archives_of_images_leave_nothing() {
    let bed = Bed::new();
    let cases = [
        hostile::docker_archives(),
        hostile::layouts(),
        hostile::floods(),
    ]
    .concat();
    assert!(cases.len() > 130, "{}", cases.len());
    for case in &cases {
        bed.load(case);
    }
}

#[test]
fn what_docker_contains_is_contained() {
    let f = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("keep"), "safe").unwrap();
    let before = listing(host.path());
    let target = host.path().to_str().unwrap();
    let tar = Tar::default()
        .file("/absolute", b"1")
        .symlink("abs", target)
        .dir(target.trim_start_matches('/'))
        .file("abs/new", b"2")
        .file("abs/keep", b"3")
        .symlink("to-file", &format!("{target}/keep"))
        .file("to-file", b"4")
        .symlink("chmod", &format!("{target}/keep"))
        .dir("chmod")
        .file("a/../b", b"5");
    let tree = f.unpack(&tar.end()).unwrap();
    assert_eq!(listing(host.path()), before);
    assert_eq!(read(tree.join("absolute")), "1");
    let inside = tree.join(target.trim_start_matches('/'));
    assert_eq!(read(inside.join("new")), "2");
    assert_eq!(read(inside.join("keep")), "3");
    assert_eq!(read(tree.join("to-file")), "4");
    assert_eq!(read(tree.join("b")), "5");
}

#[test]
fn a_tree_deeper_than_recursion_goes_is_made_and_removed() {
    let f = Fixture::new();
    let deep = "d/".repeat(2000);
    let link_chain = (0..200).fold(Tar::default().dir("l0"), |t, n| {
        t.symlink(&format!("l{}", n + 1), &format!("l{n}"))
    });
    assert!(f.unpack(&link_chain.file("l200/f", b"").end()).is_err());
    let tar = Tar::default()
        .pax(&[("path", deep.as_bytes())])
        .dir("x")
        .file("d", b"takes its place");
    let tree = f.unpack(&tar.end()).unwrap();
    assert_eq!(read(tree.join("d")), "takes its place");
    let tar = Tar::default().pax(&[("path", deep.as_bytes())]).dir("x");
    f.unpack(&tar.end()).unwrap();
    let swept = f.images.sweep(Partials::Old, || Ok(Vec::new())).unwrap();
    assert_eq!(swept.trees, 2);
    assert_eq!(f.staged(), 0);
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let f = Fixture::new();
    let archive = docker_archive(&[layer_of("f", &[7; 3000])], &["x:1"]);
    let whole = f.load(&archive).unwrap();
    drop(whole);
    f.images.sweep(Partials::Old, || Ok(Vec::new())).unwrap();
    let needed = archive.len() - 1024;
    for packed in [false, true] {
        let bytes = if packed {
            gzip(&archive)
        } else {
            archive.clone()
        };
        let end = if packed { bytes.len() } else { needed };
        for cut in (0..end).step_by(if packed { 7 } else { 97 }) {
            let e = f.load(&bytes[..cut]).expect_err("cut");
            assert_eq!(e.kind(), Kind::InvalidParameter, "{cut}: {e}");
            assert_eq!(f.staged(), 0, "{cut}");
        }
    }
    assert_eq!(
        f.images
            .sweep(Partials::Old, || Ok(Vec::new()))
            .unwrap()
            .trees,
        0
    );
}

/// Each link leads further down, in the end beyond what a path can say. What is recorded cannot be there;
/// what is not can, and goes again.
#[test]
fn a_tree_deeper_than_paths_are_is_refused_or_removed() {
    let bed = Bed::new();
    let bytes = hostile::deep_through_links().end();
    let fate = Fate::Refused("bad path");
    let case = Case {
        name: "deeper than paths are",
        bytes,
        fate,
    };
    bed.import(&case);
    let fate = Fate::Taken(Vec::new());
    bed.pull(&Case { fate, ..case });
}
