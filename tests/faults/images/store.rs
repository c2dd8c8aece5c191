//! What a daemon that has just started must have on the disk: what its records name, and nothing else;
//! the same after one start more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Daemon, until, whole_images};

/// What there may be in the directory of a layer.
const OF_LAYERS: [&str; 5] = ["extra", "frame", "moved", "tree", "tree.json"];
/// And without a frame.
const OF_FRAMES: [&str; 3] = ["extra", "frame", "moved"];

fn root(d: &Daemon) -> PathBuf {
    d.inside(d.root().join("data/images"))
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries
        .map(|entry| name(entry.expect("it is read")))
        .collect()
}

/// Starts a daemon that is dead, and waits until it has swept what nobody names.
pub(super) fn start_swept(d: &mut Daemon) {
    let from = d.root().join("log").metadata().expect("its log").len();
    d.restart();
    until("it has swept its store", || {
        let mut log = fs::File::open(d.root().join("log")).expect("its log");
        log.seek(SeekFrom::Start(from)).expect("it is a file");
        let mut said = Vec::new();
        log.read_to_end(&mut said).expect("it is a file");
        String::from_utf8_lossy(&said).contains("swept the image store")
    });
}

/// The records of the ledger, as it has them.
fn records(d: &Daemon) -> Vec<Value> {
    let lines = ask_ledger(d, "SELECT record FROM images ORDER BY id");
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect()
}

fn ask_ledger(d: &Daemon, sql: &str) -> String {
    let data = d.inside(d.root().join("data"));
    let ledger = names(&data).into_iter().find(|name| name.ends_with(".db"));
    let out = std::process::Command::new(testkit::require("sqlite3", "sqlite3"))
        .args(["-readonly", "-cmd", ".timeout 5000"])
        .arg(data.join(ledger.expect("a ledger")))
        .arg(sql)
        .output()
        .expect("sqlite3 runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    String::from_utf8(out.stdout).expect("text")
}

fn hex(digest: &Value) -> Option<String> {
    Some(digest.as_str()?.strip_prefix("sha256:")?.to_owned())
}

/// What is on the disk: each name with its kind, mode, size and, of files, time of change.
pub(super) fn listing(d: &Daemon) -> BTreeMap<String, String> {
    fn walk(dir: &Path, below: &str, found: &mut BTreeMap<String, String>) {
        for name in names(dir) {
            let path = dir.join(&name);
            let shown = format!("{below}/{name}");
            let meta = path.symlink_metadata().expect("nobody is at work");
            let content = match meta.is_dir() {
                true => "a directory".to_owned(),
                false => format!(
                    "{} bytes of {}.{}",
                    meta.len(),
                    meta.mtime(),
                    meta.mtime_nsec()
                ),
            };
            found.insert(shown.clone(), format!("{:o} {content}", meta.mode()));
            // It is written anew by each.
            if shown == "/lock" {
                found.insert(shown.clone(), String::new());
            }
            if meta.is_dir() {
                walk(&path, &shown, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root(d), "", &mut found);
    let rows = "SELECT id, record FROM images UNION ALL SELECT reference, image_id FROM tags \
                UNION ALL SELECT id, state FROM container_states ORDER BY 1, 2";
    found.insert("the ledger".to_owned(), ask_ledger(d, rows));
    found
}

/// Waits until work that failed is over, which may have been several's.
///
/// # Panics
/// When it goes on and on.
#[cfg(feature = "failpoints")]
pub(super) fn wait_idle(d: &Daemon) {
    let staging = root(d).join("staging");
    until("its work is over", || names(&staging).is_empty());
}

/// Whether there is a layer or a blob that no record names.
#[cfg(feature = "failpoints")]
fn has_unnamed(d: &Daemon) -> bool {
    let found = ["trees", "blobs/sha256"].map(|dir| names(&root(d).join(dir)));
    let records = ask_ledger(d, "SELECT record FROM images");
    let mut found = found.iter().flatten();
    found.any(|hex| !records.contains(hex))
}

/// Prunes, when work that failed is over: it may be held for a moment longer than it takes room.
///
/// # Panics
/// When a prune leaves layers again and again.
#[cfg(feature = "failpoints")]
pub(super) fn prune(d: &Daemon) {
    until("a prune takes what no image needs", || {
        d.http.post("/images/prune").expect(200);
        !has_unnamed(d)
    });
}

/// Checks the store of a daemon at which nobody is at work.
///
/// # Panics
/// Saying what is there and should not be, or the other way.
pub(super) fn check(d: &Daemon) {
    let root = root(d);
    let records = records(d);
    let listed = d.http.get("/images/json?all=1").expect(200).json();
    let listed: BTreeSet<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|image| hex(&image["Id"]))
        .collect();
    let ids: BTreeSet<_> = records.iter().filter_map(|r| hex(&r["id"])).collect();
    assert_eq!(listed, ids, "what is listed is what the ledger has");
    let layers = || {
        records
            .iter()
            .flat_map(|r| r["layers"].as_array().expect("a list"))
    };

    let known = [
        "blobs", "empty", "lock", "partial", "staging", "trees", "writable",
    ];
    assert_eq!(names(&root), known.map(str::to_owned).into());
    assert_eq!(names(&root.join("empty")), BTreeSet::new());
    // What a failure has left is taken away there, soon after it was told.
    let staging = root.join("staging");
    until("no work is unfinished", || names(&staging).is_empty());
    let trees: BTreeSet<_> = layers().filter_map(|l| hex(&l["diff_id"])).collect();
    assert_eq!(
        names(&root.join("trees")),
        trees,
        "trees on the disk, and in records"
    );
    let of_layers = layers().filter_map(|l| hex(&l["blob"]["digest"]));
    let manifests = records.iter().filter_map(|r| hex(&r["manifest"]));
    let blobs: BTreeSet<_> = of_layers.chain(manifests).chain(ids).collect();
    assert_eq!(names(&root.join("blobs")), ["sha256".to_owned()].into());
    assert_eq!(
        names(&root.join("blobs/sha256")),
        blobs,
        "blobs on the disk, and in records"
    );
    for partial in names(&root.join("partial")) {
        assert!(
            !blobs.contains(&partial),
            "the beginning of a blob that is here"
        );
    }
    let containers = d.http.get("/containers/json?all=1").expect(200).json();
    let containers = containers.as_array().expect("a list").iter();
    let containers: BTreeSet<_> = containers
        .map(|c| c["Id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(names(&root.join("writable")), containers, "writable layers");

    let mut trees_bytes = 0;
    for tree in trees {
        trees_bytes += check_layer(&root.join("trees").join(tree));
    }
    let usage = d.http.get("/system/df").expect(200).json();
    assert_eq!(usage["LayersSize"], trees_bytes);
}

/// A layer's directory; the bytes of its files and links.
fn check_layer(dir: &Path) -> u64 {
    let info = fs::read(dir.join("tree.json")).expect("a description");
    let info: Value = serde_json::from_slice(&info).expect("JSON");
    let has = names(dir);
    let may_have: BTreeSet<_> = OF_LAYERS.map(str::to_owned).into();
    assert!(has.is_subset(&may_have), "{}: {has:?}", dir.display());
    let has_frame = OF_FRAMES.iter().any(|name| has.contains(*name));
    assert_eq!(
        has_frame,
        info["frame_bytes"].is_u64(),
        "{}: {has:?}, {info}",
        dir.display()
    );
    let mut seen = BTreeSet::new();
    let bytes = bytes_of(&dir.join("tree"), &mut seen);
    // A file that comes twice counts twice, as in Docker, and is there once.
    let told = info["size_bytes"].as_u64().expect("a number");
    assert!(
        (bytes..bytes + 16).contains(&told),
        "{}: {bytes}, {info}",
        dir.display()
    );
    told
}

fn bytes_of(dir: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let sizes = names(dir).into_iter().map(|name| {
        let path = dir.join(name);
        let meta = path.symlink_metadata().expect("it is there");
        match (meta.is_dir(), meta.is_file() || meta.is_symlink()) {
            (true, _) => bytes_of(&path, seen),
            (_, true) if seen.insert(meta.ino()) => meta.len(),
            _ => 0,
        }
    });
    sizes.collect::<Vec<_>>().into_iter().sum()
}

/// Checks that an image can be looked at, and that all of it is there.
///
/// # Panics
/// Saying what is not.
pub(super) fn check_image(d: &Daemon, id: &str) {
    let shown = d.http.get(&format!("/images/{id}/json")).expect(200).json();
    assert_eq!(shown["Id"], id);
    let history = d.http.get(&format!("/images/{id}/history")).expect(200);
    let steps = history.json().as_array().expect("a list").len();
    let layers = shown["RootFS"]["Layers"].as_array().map_or(0, Vec::len);
    assert!(steps >= layers, "{steps} steps made {layers} layers");
    let saved = d.http.get(&format!("/images/{id}/get")).expect(200);
    assert_eq!(whole_images(&saved.body), [id.to_owned()]);
}

/// Checks a daemon that has just died: what it left is consistent after one start, and no other after
/// a second.
///
/// # Panics
/// Saying what does not hold.
pub(super) fn check_twice(d: &mut Daemon) {
    start_swept(d);
    check(d);
    let before = listing(d);
    d.kill9();
    start_swept(d);
    let after = listing(d);
    for (name, found) in &before {
        assert_eq!(after.get(name), Some(found), "{name} after a second start");
    }
    let more = after.keys().filter(|name| !before.contains_key(*name));
    assert_eq!(
        more.collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "made by a second start"
    );
}

/// Checks that nothing at all is left of any image.
///
/// # Panics
/// Saying what is.
pub(super) fn check_empty(d: &Daemon) {
    let root = root(d);
    for dir in ["blobs/sha256", "partial", "staging", "trees", "writable"] {
        assert_eq!(names(&root.join(dir)), BTreeSet::new(), "in {dir}");
    }
    let usage = d.http.get("/system/df").expect(200).json();
    assert_eq!(usage["LayersSize"], 0);
    assert_eq!(usage["Images"], serde_json::json!([]));
}
