//! The store over time: imports, sweeps, crashes, a full disk, two daemons.

use model::{ImageConfig, Kind};

use super::{Fixture, Tar, docker_archive, gzip, layer_of, read};
use crate::Images;

#[test]
fn an_import_is_an_image_of_one_layer() {
    let f = Fixture::new();
    let tar = Tar::default().file("bin/sh", b"#!").end();
    let created = "2026-01-02T03:04:05Z".parse().unwrap();
    let config = ImageConfig {
        architecture: "amd64".into(),
        os: "linux".into(),
        cmd: Some(vec!["/bin/sh".into()]),
        ..ImageConfig::default()
    };
    let import = |bytes: &[u8]| {
        f.images
            .import(&mut &bytes[..], config.clone(), "Imported from -", created)
            .unwrap()
    };
    let image = import(&tar);
    let r = &image.record;
    assert_eq!((r.layers.len(), r.size_bytes), (1, 2));
    assert_eq!(r.config.history[0].comment, "Imported from -");
    assert_eq!(r.config.created, Some(created));
    let blob = f.images.config_blob(&r.id).unwrap();
    assert_eq!(crate::config::parse(&blob).unwrap().config, r.config);
    assert_eq!(crate::digesting::digest_of(&blob), r.id);
    assert_eq!(import(&gzip(&tar)).record, *r);
    assert_eq!(f.staged(), 0);
}

#[test]
fn a_sweep_removes_what_no_record_names_and_no_lease_holds() {
    let f = Fixture::new();
    let (base, one, two) = (
        layer_of("b", &[1; 100]),
        layer_of("1", &[1; 10]),
        layer_of("2", &[1; 20]),
    );
    let a = f
        .load(&docker_archive(&[base.clone(), one], &["a:1"]))
        .unwrap()
        .remove(0);
    let b = f
        .load(&docker_archive(&[base, two], &["b:1"]))
        .unwrap()
        .remove(0);
    let (a_record, b_record) = (a.record.clone(), b.record.clone());
    let nobody = f
        .images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
    assert_eq!((nobody.trees, nobody.blobs), (0, 0), "both are held");
    drop(b);
    let config_bytes = f.images.config_blob(&b_record.id).unwrap().len() as u64;
    let swept = f
        .images
        .sweep(crate::Partials::Old, || Ok(vec![a_record.clone().into()]))
        .unwrap();
    assert_eq!((swept.trees, swept.blobs), (1, 1));
    assert!(swept.bytes >= 20 + config_bytes, "{swept:?}");
    assert_eq!(
        f.images.config_blob(&b_record.id).unwrap_err().kind(),
        Kind::NotFound
    );
    drop(a);
    // A record that is written and a lease that is given up while the sweep asks.
    let c = f
        .load(&docker_archive(&[layer_of("c", b"1")], &["c:1"]))
        .unwrap()
        .remove(0);
    let c_record = c.record.clone();
    let swept = f
        .images
        .sweep(crate::Partials::Old, || {
            drop(c);
            Ok(vec![a_record.clone().into()])
        })
        .unwrap();
    assert_eq!(swept.trees, 0, "held when the sweep began");
    // Work that begins when the records were asked for, and ends before the sweep comes to what it made.
    let swept = f
        .images
        .sweep(crate::Partials::Old, || {
            drop(f.images.hold(&c_record));
            Ok(vec![a_record.clone().into()])
        })
        .unwrap();
    assert_eq!((swept.trees, swept.blobs), (0, 0), "held since it began");
    let failed = f
        .images
        .sweep(crate::Partials::Old, || Err(model::Error::system("ledger")));
    assert_eq!(failed.unwrap_err().message(), "ledger");
    assert_eq!(
        f.images
            .sweep(crate::Partials::Old, || Ok(vec![c_record.into()]))
            .unwrap()
            .trees,
        2
    );
    assert_eq!(
        f.images
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap()
            .trees,
        1
    );
    assert_eq!(f.staged(), 0);
}

#[test]
fn what_a_killed_daemon_left_is_gone_at_the_next_start() {
    let f = Fixture::new();
    let image = f
        .load(&docker_archive(&[layer_of("f", b"1")], &["x:1"]))
        .unwrap()
        .remove(0);
    let record = image.record.clone();
    drop(image);
    for name in ["0/1/tree/deep/er", "17", "18/x", "strange"] {
        std::fs::create_dir_all(f.root.join("staging").join(name)).unwrap();
    }
    std::fs::write(f.root.join("staging/0/1/tree/deep/file"), "x").unwrap();
    std::fs::write(f.root.join("blobs/sha256/.abc.1-1.tmp"), "x").unwrap();
    // A stray file in the way of no digest is not ours to remove.
    std::fs::write(f.root.join("trees/README"), "x").unwrap();
    let root = &f.root;
    let busy = Images::open(root, None).unwrap_err();
    assert_eq!(busy.kind(), Kind::Unavailable, "{busy}");
    let again = reopen(&f);
    assert_eq!(f.staged(), 0);
    assert!(!root.join("blobs/sha256/.abc.1-1.tmp").exists());
    assert!(root.join("trees/README").exists());
    assert!(!again.config_blob(&record.id).unwrap().is_empty());
    assert_eq!(read(f.tree(&record).join("f")), "1");
}

/// Opens the store again as the next daemon would: the lock goes with the process, so here its
/// file is put aside.
fn reopen(f: &Fixture) -> Images {
    std::fs::remove_file(f.root.join("lock")).unwrap();
    Images::open(&f.root, None).unwrap()
}

#[test]
fn an_overlay_that_a_killed_daemon_left_mounted_is_unmounted() {
    let f = Fixture::new();
    let left = f.root.canonicalize().unwrap().join("staging/77/fsopen");
    let dir = |name: &str| {
        let dir = left.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    };
    let (upper, work, merged) = (dir("upper"), dir("work"), dir("merged"));
    let overlay = sys::overlay::Overlay {
        lower: &[dir("top")],
        upper: &upper,
        work: &work,
        ids: None,
        label: None,
    };
    let api = *f.images.storage.overlay.as_ref().unwrap();
    sys::overlay::overlay(api, overlay, &merged).unwrap();
    reopen(&f);
    assert!(sys::mount::below(&f.root).unwrap().is_empty());
    assert_eq!(f.staged(), 0);
}

#[test]
fn what_cannot_be_removed_does_not_keep_the_store_shut() {
    let f = Fixture::new();
    // Where a file was expected: the removal fails for root as well.
    let blob = f.root.join("blobs/sha256/.not-a-file.tmp");
    std::fs::create_dir(&blob).unwrap();
    let other = f.root.join("blobs/sha256/.a-file.tmp");
    std::fs::write(&other, "").unwrap();
    reopen(&f);
    assert!(blob.exists() && !other.exists());
}

/// Set for the process that is to be killed: the root of its store.
const VICTIM: &str = "MOORED_TEST_LOAD_FOR_EVER";

#[test]
fn a_load_that_is_killed_leaves_nothing() {
    if let Some(root) = std::env::var_os(VICTIM) {
        // The killed side: a load whose archive never ends.
        let images = Images::open(root.as_ref(), None).unwrap();
        let head = docker_archive(&[layer_of("first", &[1; 100_000])], &["x:1"]);
        let head = &head[..head.len() - 3072];
        let mut endless = std::io::Read::chain(head, std::io::stdin());
        images.load(&mut endless, &mut |_| {}).unwrap();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("images");
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::stores::a_load_that_is_killed_leaves_nothing",
        ])
        .env(VICTIM, &root)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The first layer is complete and the rest does not come.
    let first = |dir: &std::path::Path| -> bool {
        let Ok(loads) = std::fs::read_dir(dir) else {
            return false;
        };
        let complete = |path: std::path::PathBuf| {
            (1..9).any(|n| path.join(format!("{n}/tree/first")).exists())
        };
        loads.flatten().any(|load| complete(load.path()))
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !first(&root.join("staging")) {
        assert!(std::time::Instant::now() < deadline, "it never got there");
        assert!(victim.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let images = Images::open(&root, None).unwrap();
    assert_eq!(std::fs::read_dir(root.join("staging")).unwrap().count(), 0);
    let swept = images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
    assert_eq!((swept.trees, swept.blobs), (0, 0));
    assert!(sys::mount::below(&root).unwrap().is_empty());
}

#[test]
fn a_damaged_configuration_is_told() {
    let f = Fixture::new();
    let image = f
        .load(&docker_archive(&[layer_of("f", b"1")], &["x:1"]))
        .unwrap()
        .remove(0);
    let path = f.root.join("blobs/sha256").join(image.record.id.hex());
    std::fs::write(&path, "{}").unwrap();
    let e = f.images.config_blob(&image.record.id).unwrap_err();
    assert_eq!(e.kind(), Kind::System);
    assert!(e.message().contains("is damaged"), "{e}");
}

#[test]
fn a_full_disk_is_named_and_left_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let small = temp.path().canonicalize().unwrap();
    let options = sys::mount::MountOptions::default();
    sys::mount::tmpfs(&small, 4 << 20, 0o755, options).unwrap();
    // Unmounted before the directory goes, however the test ends.
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = sys::mount::unmount(&self.0, true);
        }
    }
    let _unmount = Unmount(small.clone());
    let images = Images::open(&small.join("images"), None).unwrap();
    let used = || {
        std::fs::read_dir(small.join("images/staging"))
            .unwrap()
            .count()
    };
    let big = docker_archive(
        &[layer_of("ok", b"1"), layer_of("big", &vec![1; 6 << 20])],
        &["x:1"],
    );
    for _ in 0..2 {
        let e = images.load(&mut &big[..], &mut |_| {}).unwrap_err();
        assert_eq!(e.kind(), Kind::System, "{e}");
        assert!(
            e.message().contains("tree/big") && e.message().contains("No space left"),
            "{e}"
        );
        assert_eq!(used(), 0);
    }
    let fits = docker_archive(&[layer_of("ok", &vec![1; 1 << 20])], &["x:1"]);
    assert_eq!(images.load(&mut &fits[..], &mut |_| {}).unwrap().len(), 1);
}
