//! Trees packed and applied again, and packed and read by another program.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::process::Command;

use sys::beneath::Node;

use super::content::{COPY_BYTES, SMALL_BYTES};
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
    let old = FileTime {
        secs: -2,
        nanos: 750_000_000,
    };
    dir.set_times("none".as_ref(), old, old).unwrap();
    let far = FileTime {
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

/// Cuts a file off when something was written, and keeps that.
struct Shrinking(PathBuf, Vec<u8>);

impl Write for Shrinking {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        // The header is out, what is left of the content is not read yet.
        let file = fs::OpenOptions::new().write(true).open(&self.0);
        file.and_then(|file| file.set_len(3)).unwrap();
        self.1.extend_from_slice(content);
        Ok(content.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn source(dir: &Path) -> Source {
    Source {
        dir: Dir::open(dir).unwrap(),
        file: None,
        shown: dir.to_owned(),
        prefix: Vec::new(),
        bare: true,
        ids: None,
    }
}

/// One that should be at rest ends it; of one in use the rest is zeros, as tar does. A small one is never
/// told of with a size that it has not.
#[test]
fn what_shrinks_is_filled_up_or_ends_it() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    for (size, policy, ends_it) in [
        (SMALL_BYTES, Policy::FILES, false),
        (SMALL_BYTES, Policy::LAYER, false),
        (SMALL_BYTES + 1, Policy::FILES, false),
        (3 * COPY_BYTES, Policy::FILES, false),
        (SMALL_BYTES + 1, Policy::LAYER, true),
        (SMALL_BYTES + 1, Policy::exact(Form::Plain), true),
    ] {
        fs::write(&file, vec![1; size]).unwrap();
        let mut writer = Writer::new(Shrinking(file.clone(), Vec::new()));
        let done = Packer::of(&mut writer, source(base.path()), policy).all();
        if ends_it {
            let e = done.unwrap_err();
            assert!(
                e.message()
                    .ends_with("has become shorter while it was read"),
                "{e}"
            );
            // Its content is missing, and nobody may end it as if it were not.
            std::mem::forget(writer);
            continue;
        }
        done.unwrap();
        let tar = writer.finish().unwrap().1;
        let mut reader = Reader::new(&tar[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert_eq!((entry.size_bytes, content.len()), (size as u64, size));
        let ones = content.iter().filter(|b| **b == 1).count();
        let whole = if size <= SMALL_BYTES { size } else { 3 };
        assert_eq!(ones, whole, "of {size}");
    }
}

#[test]
fn what_vanishes_or_turns_into_something_else_is_left_out() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::of(&mut writer, source(base.path()), Policy::FILES);
    packer.path = b"file".to_vec();
    // It was a file when the directory was read.
    let mut one = || packer.one(&dir, "file".as_ref(), Some(Kind::File));
    assert!(!one().unwrap());
    dir.mknod("file".as_ref(), Node::Fifo).unwrap();
    assert!(!one().unwrap());
    fs::remove_file(base.path().join("file")).unwrap();
    symlink("elsewhere", base.path().join("file")).unwrap();
    assert!(!one().unwrap());
    fs::remove_file(base.path().join("file")).unwrap();
    dir.mkdir("file".as_ref()).unwrap();
    assert!(one().unwrap());
    let tar = writer.finish().unwrap();
    let mut reader = Reader::new(&tar[..]);
    let mut kinds = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        kinds.push(entry.kind);
    }
    let link = EntryKind::Symlink(b"elsewhere".to_vec());
    assert_eq!(kinds, [EntryKind::Fifo, link]);
}

/// As Docker's archives are, for programs that know no more than those have.
#[test]
fn what_goes_out_has_whole_seconds_no_holes_and_no_ids_of_the_host() {
    let base = tempfile::tempdir().unwrap();
    let file = File::create(base.path().join("file")).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(b"end", (1 << 20) - 3).unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let name = OsStr::new("file");
    let mut capability = vec![1, 0, 0, 2];
    capability.resize(20, 0);
    let mut of_somebody = capability.clone();
    crate::capability::capability_of(&mut of_somebody, 100_000);
    let set = |attribute: &str, value: &[u8]| dir.set_xattr(name, attribute.as_ref(), value);
    set("user.x", b"1").unwrap();
    set("trusted.x", b"1").unwrap();
    set("security.capability", &of_somebody).unwrap();
    let at = FileTime {
        secs: 1_000_000,
        nanos: 999_999_999,
    };
    dir.set_times(name, at, at).unwrap();
    let whole = FileTime { nanos: 0, ..at };
    for (policy, modified, kept) in [
        (Policy::FILES, whole, 2),
        (Policy::LAYER, whole, 3),
        (Policy::exact(Form::Plain), at, 3),
    ] {
        let mut writer = Writer::new(Vec::new());
        Packer::of(&mut writer, source(base.path()), policy)
            .all()
            .unwrap();
        let tar = writer.finish().unwrap();
        let mut reader = Reader::new(&tar[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.modified, modified);
        assert_eq!(entry.segments.is_some(), policy.is_exact);
        assert_eq!(entry.xattrs.len(), kept, "{:?}", entry.xattrs);
        let found = entry.xattrs.iter().find(|(name, _)| name == CAPABILITY);
        let wanted = match policy.is_exact {
            true => &of_somebody,
            false => &capability,
        };
        assert_eq!(&found.unwrap().1, wanted);
        if !policy.is_exact {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            assert_eq!(content, fs::read(base.path().join("file")).unwrap());
        }
    }
}

#[test]
fn what_links_take_of_memory_has_an_end() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("a"), "x").unwrap();
    fs::hard_link(base.path().join("a"), base.path().join("b")).unwrap();
    let kinds = |taken: usize| {
        let mut writer = Writer::new(Vec::new());
        let mut packer = Packer::of(&mut writer, source(base.path()), Policy::FILES);
        packer.links.bytes = taken;
        packer.all().unwrap();
        assert_eq!(packer.links.bytes, taken);
        let tar = writer.finish().unwrap();
        let mut reader = Reader::new(&tar[..]);
        let mut kinds = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            kinds.push(entry.kind);
        }
        kinds
    };
    let link = EntryKind::HardLink(b"a".to_vec());
    assert_eq!(kinds(0), [EntryKind::File, link]);
    let full = kinds(limits::PACK_LINKS_BYTES_MAX);
    assert_eq!(full, [EntryKind::File, EntryKind::File]);
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::of(&mut writer, source(base.path()), Policy::FILES);
    packer.names_bytes = limits::PACK_NAMES_BYTES_MAX;
    let e = packer.all().unwrap_err();
    assert!(e.message().contains("more names than"), "{e}");
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
