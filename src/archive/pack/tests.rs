//! Trees packed and applied again, and packed and read by another program.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::process::Command;

use sys::beneath::Node;

use super::*;
use crate::apply::Applier;
use crate::tar::Reader;

fn packed(tree: &Path, prefix: &str, form: Form) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    pack(&mut writer, tree, prefix, form).unwrap();
    writer.finish().unwrap()
}

/// What is in a tree, in words.
fn listing(tree: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let dir = Dir::open(&tree.join(&path)).unwrap();
        let own = dir.own_metadata().unwrap();
        let attributes = dir.own_xattrs().unwrap();
        lines.push(format!(
            "{path:?} {:o} {:?} {attributes:?}",
            own.mode, own.modified
        ));
        for name in dir.names().unwrap() {
            let found = dir.metadata(&name).unwrap().unwrap();
            let entry = path.join(&name);
            if found.kind == Kind::Dir {
                waiting.push(entry);
                continue;
            }
            if is_whiteout(&found) {
                lines.push(format!("{entry:?} is removed"));
                continue;
            }
            let content = match found.kind {
                Kind::File => format!("{:?}", fs::read(tree.join(&entry)).unwrap().len()),
                Kind::Symlink => format!("{:?}", dir.read_link(&name).unwrap()),
                _ => String::new(),
            };
            lines.push(format!(
                "{entry:?} {:?} {:o} {}:{} {:?} {} {} {:?} {content}",
                found.kind,
                found.mode,
                found.uid,
                found.gid,
                found.device,
                found.size,
                found.links,
                (found.modified, dir.xattrs(&name).unwrap()),
            ));
        }
    }
    lines.sort();
    lines
}

/// One of everything.
fn tree_of_all(tree: &Path) {
    fs::create_dir_all(tree.join("d/empty")).unwrap();
    let long = "n".repeat(200);
    fs::create_dir_all(tree.join(&long)).unwrap();
    fs::write(tree.join("d/file"), vec![7; 300_001]).unwrap();
    fs::write(tree.join("d/none"), "").unwrap();
    fs::write(tree.join(&long).join("\u{e9}\nb"), "x").unwrap();
    fs::hard_link(tree.join("d/file"), tree.join("z-link")).unwrap();
    symlink("../nowhere", tree.join("d/link")).unwrap();
    symlink("l".repeat(150), tree.join("far")).unwrap();
    let sparse = File::create(tree.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    let dir = Dir::open(&tree.join("d")).unwrap();
    dir.mknod("fifo".as_ref(), Node::Fifo).unwrap();
    let null = sys::beneath::DeviceNumber { major: 1, minor: 3 };
    dir.mknod("null".as_ref(), Node::CharDevice(null)).unwrap();
    dir.set_owner("file".as_ref(), 3_000_000, 12).unwrap();
    dir.set_mode("file".as_ref(), 0o4751).unwrap();
    dir.set_xattr("file".as_ref(), "user.note".as_ref(), b"a\0b=c\n")
        .unwrap();
    let old = sys::beneath::FileTime {
        secs: -2,
        nanos: 750_000_000,
    };
    dir.set_times("none".as_ref(), old, old).unwrap();
    let far = sys::beneath::FileTime {
        secs: 32_503_680_000,
        nanos: 0,
    };
    dir.set_times("null".as_ref(), far, far).unwrap();
    dir.set_own_mode(0o1777).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let base = tempfile::tempdir().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    for (form, prefix) in [
        (Form::Plain, ""),
        (Form::Layer, "rootfs"),
        (Form::Plain, "a/b"),
    ] {
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        tree_of_all(&from);
        if form == Form::Plain {
            // Of a volume: it has no layers below it.
            fs::write(from.join(".wh.file"), "mine").unwrap();
            // Of an engine in the container: overlayfs shares its marks.
            let dir = Dir::open(&from.join("d/empty")).unwrap();
            let mark = Node::CharDevice(Default::default());
            dir.mknod("gone".as_ref(), mark).unwrap();
            dir.link("gone".as_ref(), &dir, "gone-too".as_ref())
                .unwrap();
            dir.set_own_xattr(OPAQUE.0.as_ref(), OPAQUE.1).unwrap();
        } else {
            let dir = Dir::open(&from.join("d")).unwrap();
            dir.mknod("gone".as_ref(), Node::CharDevice(Default::default()))
                .unwrap();
            dir.set_own_xattr(OPAQUE.0.as_ref(), OPAQUE.1).unwrap();
        }
        let archive = packed(&from, prefix, form);
        let mut reader = Reader::new(&archive[..]);
        let mut applier = Applier::new(&to, form).unwrap();
        while let Some(mut entry) = reader.next_entry().unwrap() {
            let below = |path: &[u8]| path.strip_prefix(prefix.as_bytes()).unwrap().to_vec();
            entry.path = below(&entry.path);
            if let EntryKind::HardLink(target) = &mut entry.kind {
                *target = below(target);
            }
            applier.entry(&mut reader, &entry).unwrap();
        }
        applier.finish().unwrap();
        assert_eq!(listing(&to), listing(&from));
        let blocks = |tree: &Path| fs::metadata(tree.join("sparse")).unwrap().blocks();
        assert!(blocks(&to) <= blocks(&from) + 16, "holes are kept");
        fs::remove_dir_all(&from).unwrap();
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn gnu_tar_reads_it() {
    let base = tempfile::tempdir().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    tree_of_all(&from);
    let archive = base.path().join("it.tar");
    fs::write(&archive, packed(&from, "", Form::Plain)).unwrap();
    let read = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(&archive)
        .arg("-C")
        .arg(&to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&read.stderr);
    // It finds 1969 implausible, and 2446 too, and takes both.
    let odd = ["implausibly old", "in the future"];
    let complains = said
        .lines()
        .any(|line| !odd.iter().any(|odd| line.contains(odd)));
    assert!(read.status.success() && !complains, "{said}");
    assert_eq!(listing(&to), listing(&from));
}

#[test]
fn what_a_layer_cannot_say_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let refused = || {
        let mut writer = Writer::new(Vec::new());
        let e = pack(&mut writer, base.path(), "", Form::Layer).unwrap_err();
        e.message().to_owned()
    };
    fs::write(base.path().join(".wh.x"), "").unwrap();
    assert!(refused().contains("means something else in a layer"));
    fs::remove_file(base.path().join(".wh.x")).unwrap();
    let dir = Dir::open(base.path()).unwrap();
    dir.mkdir("moved".as_ref()).unwrap();
    dir.set_xattr("moved".as_ref(), "trusted.overlay.redirect".as_ref(), b"/x")
        .unwrap();
    assert!(refused().contains("redirect_dir=off"));
}

#[test]
fn what_vanishes_is_left_out_and_what_shrinks_ends_it() {
    struct Shrinking(PathBuf, Vec<u8>);
    impl Write for Shrinking {
        fn write(&mut self, content: &[u8]) -> io::Result<usize> {
            // The header is out, the content is not read yet.
            drop(
                fs::OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(&self.0),
            );
            self.1.extend_from_slice(content);
            Ok(content.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, vec![1; 5000]).unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let found = dir.metadata("file".as_ref()).unwrap().unwrap();
    let mut writer = Writer::new(Shrinking(file.clone(), Vec::new()));
    let source = Source {
        dir: Dir::open(base.path()).unwrap(),
        file: None,
        shown: base.path().to_owned(),
        prefix: Vec::new(),
        bare: false,
        ids: None,
    };
    let mut packer = Packer::of(&mut writer, source, Form::Plain);
    let listed = packer.entry(b"file".to_vec(), EntryKind::File, &found);
    let e = packer.file(
        &dir,
        "file".as_ref(),
        listed.clone(),
        &found,
        Path::new("file"),
    );
    let e = e.unwrap_err();
    assert!(
        e.message()
            .ends_with("has become shorter while it was read"),
        "{e}"
    );
    fs::remove_file(&file).unwrap();
    let gone = packer.file(&dir, "file".as_ref(), listed, &found, Path::new("file"));
    gone.expect("it is left out");
}

/// What is in use is called as it was asked for, has the ids inside, and nothing that the kernel makes up.
#[test]
fn a_source_is_called_as_it_was_asked_for() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir_all(base.path().join("d/sub")).unwrap();
    fs::write(base.path().join("d/f"), "x").unwrap();
    std::os::unix::fs::chown(base.path().join("d/f"), Some(1007), Some(1)).unwrap();
    let proc = base.path().join("d/proc");
    fs::create_dir(&proc).unwrap();
    let _guard = Unmounted(proc.clone());
    sys::mount::bind(Path::new("/proc"), &proc, false, Default::default()).unwrap();
    let model::UserNamespace::Mapped(maps) = model::UserNamespace::parse("0:1000:10").unwrap()
    else {
        panic!("mapped");
    };
    let entries = |prefix: &str, file: Option<&str>, bare: bool| {
        let source = Source {
            dir: Dir::open(&base.path().join("d")).unwrap(),
            file: file.map(OsString::from),
            shown: "/d".into(),
            prefix: prefix.into(),
            bare,
            ids: Some(maps.clone()),
        };
        let mut writer = Writer::new(Vec::new());
        pack_source(&mut writer, source).unwrap();
        let tar = writer.finish().unwrap();
        let mut reader = Reader::new(&tar[..]);
        let mut all = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            all.push((String::from_utf8(entry.path).unwrap(), entry.uid, entry.gid));
        }
        all
    };
    let names = |prefix: &str, file, bare| {
        let all = entries(prefix, file, bare).into_iter();
        all.map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("d", None, false), ["d/", "d/f", "d/proc/", "d/sub/"]);
    assert_eq!(names(".", None, false), ["./", "./f", "./proc/", "./sub/"]);
    assert_eq!(names("/", None, false), ["/", "/f", "/proc/", "/sub/"]);
    assert_eq!(names("", None, true), ["f", "proc/", "sub/"]);
    assert_eq!(
        entries("g", Some("f"), false),
        [("g".to_owned(), 7, NOBODY)]
    );
}

struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = sys::mount::unmount(&self.0, true);
    }
}
