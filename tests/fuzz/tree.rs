//! Archives put into trees, and trees into archives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use archive::{Applier, CleanPath, Form, Onto, Reader, Replay, Writer};
use model::{Kind, Result};
use sys::beneath::Dir;

/// Directories for one input after the other.
struct Bed {
    temp: tempfile::TempDir,
    beside: Vec<String>,
}

thread_local! {
    static BED: RefCell<Option<Bed>> = const { RefCell::new(None) };
}

impl Bed {
    fn new() -> Self {
        let temp = scratch();
        let canary = temp.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("keep"), "safe").unwrap();
        std::os::unix::fs::symlink("keep", canary.join("link")).unwrap();
        let mut bed = Self {
            temp,
            beside: Vec::new(),
        };
        bed.beside = bed.canary();
        bed
    }

    /// What must never change: with owners, modes, links and times.
    fn canary(&self) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["", "keep", "link"] {
            let at = self.temp.path().join("canary").join(name);
            let m = fs::symlink_metadata(&at).unwrap();
            let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
            found.push(format!(
                "{name} {:o} {} {} {times:?}",
                m.mode(),
                m.uid(),
                m.nlink()
            ));
        }
        let names = fs::read_dir(self.temp.path().join("canary")).unwrap();
        found.push(names.count().to_string());
        found
    }

    /// A fresh directory.
    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.temp.path().join(name);
        self.remove(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn remove(&self, name: &str) {
        let parent = Dir::open(self.temp.path()).unwrap();
        sys::beneath::remove_tree(&parent, name.as_ref()).unwrap();
    }
}

/// In memory where that can be.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = tempfile::Builder::new()
        .prefix("moored-fuzz-")
        .tempdir_in(memory);
    dir.or_else(|_| tempfile::tempdir()).unwrap()
}

/// An archive as a layer and as a client's upload: nothing beside the tree is touched, what is refused is
/// the archive's fault, what is recorded is given back byte for byte, and what is packed again gives the
/// same tree.
pub fn tar_apply(input: &[u8]) {
    BED.with_borrow_mut(|bed| {
        let bed = bed.get_or_insert_with(Bed::new);
        // As it is, and with checksums that are right: no fuzzer guesses one.
        let mut sealed = input.to_vec();
        hostile::reseal(&mut sealed);
        if sealed != input {
            one(bed, input);
        }
        one(bed, &sealed);
        assert_eq!(
            bed.canary(),
            bed.beside,
            "something beside the tree was touched"
        );
    });
}

fn one(bed: &Bed, tar: &[u8]) {
    let plain = bed.dir("plain");
    told(&onto(&plain, tar));
    bed.remove("plain");
    let layer = bed.dir("layer");
    fs::create_dir(layer.join("tree")).unwrap();
    if told(&record(&layer, tar)) {
        let mut again = Vec::new();
        let mut replay = Replay::open(&layer).unwrap();
        replay.read_to_end(&mut again).unwrap();
        assert!(again == tar, "a recorded archive is given back as it was");
        let tree = bed.dir("tree");
        assert!(
            told(&apply(&tree, tar)),
            "what can be recorded can be applied"
        );
        pack_again(bed, &tree);
        bed.remove("tree");
    }
    bed.remove("layer");
}

/// Whether it went well; a failure must be the archive's fault.
fn told(done: &Result<u64>) -> bool {
    if let Err(e) = done {
        // In a directory in use a hard link to nothing is Docker's 404.
        let is_theirs = matches!(e.kind(), Kind::InvalidParameter | Kind::NotFound);
        assert!(is_theirs, "{:?}: {e}", e.kind());
        assert!(e.message().len() < 10_000, "{e}");
    }
    done.is_ok()
}

fn apply(tree: &Path, tar: &[u8]) -> Result<u64> {
    Applier::new(tree, Form::Layer)?.all(&mut Reader::new(tar))
}

fn onto(root: &Path, tar: &[u8]) -> Result<u64> {
    fs::create_dir_all(root.join("a/b")).unwrap();
    let root = Dir::open(root).unwrap();
    let onto = Onto {
        dir: root.in_root(Path::new("a/b")).unwrap(),
        root,
        path: CleanPath::parse(b"a/b")?,
        keeps_kinds: tar.len().is_multiple_of(2),
        owner: None,
        ids: None,
    };
    Applier::onto(onto).all(&mut Reader::new(tar))
}

fn record(dir: &Path, tar: &[u8]) -> Result<u64> {
    let (recorded, recording) = archive::record(tar, dir)?;
    let mut reader = Reader::new(recorded);
    let applier = Applier::new(&dir.join("tree"), Form::Layer)?.recording(recording);
    let size = applier.all(&mut reader)?;
    let mut recorded = reader.into_inner();
    io::copy(&mut recorded, &mut io::sink()).map_err(archive::reading)?;
    recorded.finish()?;
    Ok(size)
}

fn pack_again(bed: &Bed, tree: &Path) {
    let listed = listing(tree);
    // Holes of gigabytes are no content, but a name that means something in a layer cannot be packed.
    let is_mark = |path: &PathBuf| {
        path.components()
            .any(|c| c.as_os_str().as_encoded_bytes().starts_with(b".wh."))
    };
    if listed.keys().any(is_mark) {
        return;
    }
    let mut writer = Writer::new(Vec::new());
    archive::pack(&mut writer, tree, "", Form::Layer).unwrap();
    let tar = writer.finish().unwrap();
    let again = bed.dir("again");
    apply(&again, &tar).unwrap();
    let second = listing(&again);
    for (path, line) in &listed {
        assert_eq!(second.get(path), Some(line), "{}", path.display());
    }
    assert_eq!(second.len(), listed.len());
    bed.remove("again");
}

/// Everything in a tree: kinds, owners, modes, times, content, links, attributes.
fn listing(tree: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut first_names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let at = tree.join(&path);
        let m = fs::symlink_metadata(&at).unwrap();
        if m.file_type().is_char_device() && m.rdev() == 0 {
            // A mark has nothing else to tell.
            found.insert(path, "whiteout".to_owned());
            continue;
        }
        let mut line = format!(
            "{:o} {} {} {}.{} {}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec(),
            m.rdev()
        );
        if m.is_dir() {
            let mut names: Vec<OsString> = fs::read_dir(&at)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            waiting.extend(names.iter().rev().map(|name| path.join(name)));
        } else {
            let first = first_names.entry(m.ino()).or_insert_with(|| path.clone());
            line.push_str(&format!(" {}", first.display()));
        }
        if m.is_symlink() {
            line.push_str(&format!(" {:?}", fs::read_link(&at).unwrap()));
        }
        if m.is_file() {
            line.push_str(&format!(" {} {:?}", m.len(), start(&at)));
        }
        let (parent, name) = (at.parent().unwrap(), at.file_name().unwrap());
        let mut attributes = Dir::open(parent).unwrap().xattrs(name).unwrap();
        attributes.sort();
        line.push_str(&format!(" {attributes:?}"));
        found.insert(path, line);
    }
    found
}

/// The first of a file: some are of gigabytes.
fn start(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let file = fs::File::open(path).unwrap();
    file.take(100_000).read_to_end(&mut content).unwrap();
    content
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let plain = hostile::layers().into_iter().map(|case| case.bytes);
    plain.filter(|bytes| bytes.len() < 32 << 10).collect()
}
