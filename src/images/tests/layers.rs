//! What a well-meant layer becomes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use std::path::Path;
use std::process::Command;

use sys::beneath::Dir;

use super::{Fixture, Tar, read};

/// A v2 capability value: cap_net_raw=ep.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn owners_modes_times_and_kinds_are_kept() {
    let f = Fixture::new();
    let mut tar = Tar::default();
    tar.push(b'5', "./", "", b"", |h| h.set_mode(0o711));
    tar.push(b'5', "d/", "", b"", |h| {
        h.set_mode(0o1777);
        h.set_uid(3);
        h.set_mtime(77);
    });
    tar.push(b'0', "d/suid", "", b"#!", |h| {
        h.set_mode(0o4755);
        h.set_uid(1000);
        h.set_gid(1001);
        h.set_mtime(99);
    });
    let tar = tar
        .symlink("d/link", "/somewhere/else")
        .hard_link("d/other", "d/suid")
        .device(b'3', "null", 1, 3)
        .device(b'4', "disk", 8, 1)
        .entry(b'6', "pipe", "", b"")
        .pax(&[("mtime", b"123.456"), ("uid", b"4000000000")])
        .file("implicit/parent/f", b"x");
    let tree = f.unpack(&tar.end()).unwrap();
    let meta = |name: &str| std::fs::symlink_metadata(tree.join(name)).unwrap();
    assert_eq!(meta("").mode() & 0o7777, 0o711);
    let d = meta("d");
    assert_eq!((d.mode() & 0o7777, d.uid(), d.mtime()), (0o1777, 3, 77));
    let suid = meta("d/suid");
    assert_eq!(suid.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(
        (suid.uid(), suid.gid(), suid.mtime(), suid.nlink()),
        (1000, 1001, 99, 2)
    );
    assert_eq!(meta("d/other").ino(), suid.ino());
    assert!(meta("d/link").file_type().is_symlink());
    assert_eq!(meta("d/link").mtime(), 1_000_000);
    assert!(meta("null").file_type().is_char_device());
    assert_eq!(meta("null").rdev(), (1 << 8) | 3);
    assert!(meta("disk").file_type().is_block_device());
    assert!(meta("pipe").file_type().is_fifo());
    assert_eq!(meta("implicit").mode() & 0o7777, 0o755);
    let file = meta("implicit/parent/f");
    assert_eq!(
        (file.mtime(), file.mtime_nsec(), file.uid()),
        (123, 456_000_000, 4_000_000_000)
    );
}

#[test]
fn attributes_are_kept_but_for_those_of_overlayfs_and_the_host() {
    let f = Fixture::new();
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", CAPABILITY),
            ("SCHILY.xattr.user.note", b"\0binary"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"label"),
        ])
        .file("ping", b"x")
        .pax(&[("SCHILY.xattr.user.note", b"on a link is not possible")])
        .symlink("link", "ping")
        .pax(&[
            ("SCHILY.xattr.trusted.mine", b"1"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ])
        .dir("d");
    let tree = Dir::open(&f.unpack(&tar.end()).unwrap()).unwrap();
    let mut found = tree.xattrs(OsStr::new("ping")).unwrap();
    found.sort();
    assert_eq!(
        found,
        [
            ("security.capability".into(), CAPABILITY.to_vec()),
            ("user.note".into(), b"\0binary".to_vec())
        ]
    );
    assert_eq!(tree.xattrs(OsStr::new("link")).unwrap(), []);
    assert_eq!(
        tree.xattrs(OsStr::new("d")).unwrap(),
        [("trusted.mine".into(), b"1".to_vec())]
    );
}

#[test]
fn later_entries_replace_earlier_ones_and_directories_merge() {
    let f = Fixture::new();
    let tar = Tar::default()
        .file("a", b"old")
        .file("a", b"new")
        .file("d/x/deep/file", b"1")
        .dir("d")
        .file("d/y", b"2")
        .symlink("s", "d")
        .file("was-dir/f", b"3")
        .file("was-dir", b"4")
        .symlink("was-link", "/etc")
        .dir("was-link")
        .file("was-link/f", b"5")
        .file("same", b"6")
        .hard_link("same2", "same")
        .hard_link("same2", "same");
    let tree = f.unpack(&tar.end()).unwrap();
    assert_eq!(read(tree.join("a")), "new");
    assert_eq!(read(tree.join("d/x/deep/file")), "1");
    assert_eq!(read(tree.join("d/y")), "2");
    assert_eq!(read(tree.join("was-dir")), "4");
    assert!(
        std::fs::symlink_metadata(tree.join("was-link"))
            .unwrap()
            .is_dir()
    );
    assert_eq!(read(tree.join("was-link/f")), "5");
    assert_eq!(read(tree.join("same2")), "6");
    assert_eq!(f.staged(), 0);
}

#[test]
fn links_among_parents_are_followed_inside_as_docker_does() {
    let f = Fixture::new();
    let tar = Tar::default()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/a", b"1")
        .symlink("abs", "/usr/lib")
        .file("abs/b", b"2")
        .symlink("up", "../../../../usr/lib")
        .file("up/new/c", b"3");
    let tree = f.unpack(&tar.end()).unwrap();
    for (name, content) in [("a", "1"), ("b", "2"), ("new/c", "3")] {
        assert_eq!(read(tree.join("usr/lib").join(name)), content);
    }
}

#[test]
fn sparse_files_are_written_with_their_holes() {
    let f = Fixture::new();
    let tar = Tar::default()
        .pax(&[
            ("GNU.sparse.size", b"1073741824"),
            ("GNU.sparse.map", b"0,3,1073741820,2"),
            ("GNU.sparse.name", b"big"),
        ])
        .file("GNUSparseFile.1/big", b"abcde");
    let tree = f.unpack(&tar.end()).unwrap();
    let found = std::fs::metadata(tree.join("big")).unwrap();
    assert_eq!(found.len(), 1 << 30);
    assert!(found.blocks() * 512 < 1 << 20);
}

#[test]
fn what_follows_the_end_marker_counts_for_the_digest_only() {
    let f = Fixture::new();
    let mut layer = Tar::default().file("f", b"x").end();
    layer.extend(Tar::default().file("hidden", b"y").end());
    let created = "2024-01-01T00:00:00Z".parse().unwrap();
    let image = f
        .images
        .import(&mut &layer[..], model::ImageConfig::default(), "", created)
        .unwrap();
    assert_eq!(
        image.record.layers[0].diff_id,
        crate::digesting::digest_of(&layer)
    );
    assert!(!f.tree(&image.record).join("hidden").exists());
}

/// Every path with all that a layer keeps of it.
fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        let handle = Dir::open(&dir).unwrap();
        for name in handle.names().unwrap() {
            let path = dir.join(&name);
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let link = std::fs::read_link(&path).unwrap_or_default();
            let content = if meta.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let mut xattrs = handle.xattrs(&name).unwrap();
            xattrs.sort();
            found.insert(
                path.strip_prefix(root).unwrap().display().to_string(),
                format!(
                    "{:o} {}:{} {} {} {} {link:?} {xattrs:?} {}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.mtime(),
                    meta.rdev(),
                    if meta.is_dir() { 0 } else { meta.nlink() },
                    crate::digesting::digest_of(&content),
                ),
            );
            if meta.is_dir() {
                waiting.push(path);
            }
        }
    }
    found
}

#[test]
fn what_gnu_tar_packs_is_unpacked_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    let long = "a-long-directory-name/".repeat(12);
    std::fs::create_dir_all(source.join(&long)).unwrap();
    std::fs::write(source.join(&long).join("f"), "deep").unwrap();
    std::fs::create_dir_all(source.join("d")).unwrap();
    std::fs::write(source.join("d/suid"), "#!").unwrap();
    std::os::unix::fs::chown(source.join("d/suid"), Some(12), Some(34)).unwrap();
    let suid = std::fs::Permissions::from_mode(0o6755);
    std::fs::set_permissions(source.join("d/suid"), suid).unwrap();
    std::fs::hard_link(source.join("d/suid"), source.join("d/again")).unwrap();
    std::os::unix::fs::symlink("x".repeat(300), source.join("long-link")).unwrap();
    let dir = Dir::open(&source).unwrap();
    let device = sys::beneath::DeviceNumber { major: 1, minor: 5 };
    dir.mknod(OsStr::new("zero"), sys::beneath::Node::CharDevice(device))
        .unwrap();
    dir.mknod(OsStr::new("pipe"), sys::beneath::Node::Fifo)
        .unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    for at in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[at; 4096], u64::from(at) * 65_536)
            .unwrap();
    }
    sparse.set_len(40 * 65_536).unwrap();
    let plain = listing(&source);
    dir.set_xattr(OsStr::new("sparse"), OsStr::new("user.note"), b"x")
        .unwrap();
    dir.set_xattr(
        OsStr::new("d"),
        OsStr::new("security.capability"),
        CAPABILITY,
    )
    .unwrap();
    let with_xattrs = listing(&source);
    let posix = ["--format=posix", "--xattrs", "--xattrs-include=*"];
    let cases: [(&[&str], &BTreeMap<_, _>); 6] = [
        (&["--format=gnu"], &plain),
        (&["--format=gnu", "-S"], &plain),
        (&posix, &with_xattrs),
        (
            &[posix[0], posix[1], posix[2], "-S", "--sparse-version=1.0"],
            &with_xattrs,
        ),
        (
            &[posix[0], posix[1], posix[2], "-S", "--sparse-version=0.1"],
            &with_xattrs,
        ),
        (
            &[posix[0], posix[1], posix[2], "-S", "--sparse-version=0.0"],
            &with_xattrs,
        ),
    ];
    for (options, expected) in cases {
        let f = Fixture::new();
        let packed = Command::new("tar")
            .args(options)
            .args([
                "-C".as_ref(),
                source.as_os_str(),
                "-cf-".as_ref(),
                ".".as_ref(),
            ])
            .output()
            .unwrap();
        assert!(packed.status.success(), "{packed:?}");
        let tree = f.unpack(&packed.stdout).unwrap();
        assert_eq!(listing(&tree), *expected, "{options:?}");
        if options.contains(&"-S") {
            let blocks = std::fs::metadata(tree.join("sparse")).unwrap().blocks();
            assert!(blocks * 512 < 1 << 20, "{options:?}: {blocks} blocks");
        }
    }
}
