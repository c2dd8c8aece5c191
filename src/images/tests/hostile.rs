//! Archives that mean harm: refused with a clear message or kept inside, and nothing left behind.

use std::path::Path;

use model::Kind;

use super::{
    Fixture, Tar, config_of, docker_archive, docker_archive_with, gzip, layer_of, read, zstd,
};

/// Everything below `path` with sizes and modes, to see that nothing changed.
fn listing(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            found.push(format!(
                "{} {} {:?}",
                entry.path().display(),
                meta.len(),
                meta.permissions()
            ));
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn hostile_layers_are_refused_with_nothing_left() {
    let long_pax = "n/".repeat(3000);
    let long_name = vec![b'n'; 300];
    let t = Tar::default;
    let ok = || t().file("ok", b"x");
    let mut bad_checksum = ok().end();
    bad_checksum[0] ^= 1;
    let mut garbage_after = ok().bytes();
    garbage_after.extend_from_slice(&[7; 512]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("dot-dot", ok().file("../evil", b"x").end()),
        ("dot-dot inside", ok().file("a/../../evil", b"x").end()),
        ("absolute dot-dot", ok().file("/../evil", b"x").end()),
        ("directory out", ok().dir("..").end()),
        ("link named dot-dot", ok().symlink("a/../..", "x").end()),
        (
            "hard link out",
            ok().hard_link("h", "../../../etc/passwd").end(),
        ),
        (
            "hard link to an absolute host file",
            ok().hard_link("h", "/etc/passwd").end(),
        ),
        (
            "hard link through a link",
            ok().symlink("e", "/etc").hard_link("h", "e/passwd").end(),
        ),
        ("hard link to nothing", ok().hard_link("h", "absent").end()),
        ("hard link to the root", ok().hard_link("h", ".").end()),
        (
            "hard link to a directory",
            ok().dir("d").hard_link("h", "d").end(),
        ),
        ("hard link to itself", ok().hard_link("h", "h").end()),
        (
            "hard link to what it replaces",
            ok().file("d/f", b"").hard_link("d", "d/f").end(),
        ),
        ("link to nothing", ok().symlink("s", "").end()),
        ("root as a file", ok().file(".", b"x").end()),
        ("root as a link", ok().symlink("./", "/etc").end()),
        ("empty name as a file", ok().file("", b"x").end()),
        ("through a file", ok().file("ok/below", b"x").end()),
        (
            "through a dangling link",
            ok().symlink("e", "/nowhere").file("e/f", b"x").end(),
        ),
        (
            "through links in a circle",
            ok().symlink("a", "b")
                .symlink("b", "a")
                .file("a/f", b"")
                .end(),
        ),
        (
            "through a magic link",
            ok().symlink("e", "/proc/self/root").file("e/f", b"x").end(),
        ),
        (
            "through a device",
            ok().device(b'3', "dev", 1, 3).file("dev/f", b"x").end(),
        ),
        ("whiteout of dot", ok().file(".wh..", b"").end()),
        ("whiteout of dot-dot", ok().file(".wh...", b"").end()),
        ("whiteout of nothing", ok().file(".wh.", b"").end()),
        (
            "over-long path",
            ok().pax(&[("path", long_pax.as_bytes())])
                .file("x", b"")
                .end(),
        ),
        (
            "over-long component",
            ok().pax(&[("path", &long_name)]).file("x", b"").end(),
        ),
        (
            "NUL in a name",
            ok().pax(&[("path", b"a\0b")]).file("x", b"").end(),
        ),
        (
            "owner out of range",
            ok().pax(&[("uid", b"4294967295")]).file("x", b"").end(),
        ),
        (
            "negative size",
            ok().pax(&[("size", b"-1")]).file("x", b"").end(),
        ),
        (
            "size beyond the limit",
            ok().pax(&[("size", b"99999999999999")])
                .file("x", b"")
                .end(),
        ),
        ("unknown type", ok().entry(b'M', "m", "", b"").end()),
        (
            "truncated content",
            ok().file("f", &[1; 5000]).bytes()[..2048].to_vec(),
        ),
        (
            "truncated header",
            ok().file("f", b"").bytes()[..1200].to_vec(),
        ),
        ("bad checksum", bad_checksum),
        ("garbage after an entry", garbage_after),
        (
            "sparse map beyond its file",
            ok().pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,50")])
                .file("s", &[0; 50])
                .end(),
        ),
        (
            "sparse file of an exabyte",
            ok().pax(&[
                ("GNU.sparse.size", b"1152921504606846976"),
                ("GNU.sparse.map", b"0,1"),
            ])
            .file("s", b"x")
            .end(),
        ),
        ("truncated gzip", {
            let g = gzip(&ok().end());
            g[..g.len() - 9].to_vec()
        }),
        ("truncated zstd", {
            let z = zstd(&ok().end());
            z[..z.len() - 2].to_vec()
        }),
        ("not a tar", vec![b'x'; 4096]),
    ];
    let f = Fixture::new();
    let outside = f.root.parent().unwrap().join("evil");
    let trees = || std::fs::read_dir(f.root.join("trees")).unwrap().count();
    let etc = std::fs::read("/etc/passwd").unwrap();
    for (name, layer) in &cases {
        let e = f.unpack(layer).expect_err(name);
        assert_eq!(e.kind(), Kind::InvalidParameter, "{name}: {e}");
        assert!(e.message().len() > 30, "{name}: {e}");
        // The same within an archive of images.
        let archive = docker_archive(std::slice::from_ref(layer), &["x:1"]);
        let e = f.load(&archive).expect_err(name);
        assert_eq!(e.kind(), Kind::InvalidParameter, "{name}: {e}");
        assert_eq!((f.staged(), trees()), (0, 0), "{name}");
        assert!(!outside.exists(), "{name}");
    }
    assert_eq!(std::fs::read("/etc/passwd").unwrap(), etc);
}

#[test]
fn what_docker_contains_is_contained() {
    let f = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("keep"), "safe").unwrap();
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
    let swept = f
        .images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
    assert_eq!(swept.trees, 2);
    assert_eq!(f.staged(), 0);
}

#[test]
fn hostile_archives_of_images_are_refused() {
    let f = Fixture::new();
    let layer = layer_of("f", b"x");
    let layers = [layer.clone()];
    let manifest = |text: &str| {
        Tar::default()
            .file("l.tar", &layer)
            .file("c.json", &config_of(&layers))
            .file("manifest.json", text.as_bytes())
            .end()
    };
    let many = format!(
        "[{}]",
        vec![r#"{"Config":"c.json","Layers":["l.tar"]}"#; 2000].join(",")
    );
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let mut damaged_config = config_of(&layers);
    damaged_config.push(b' ');
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no manifest", layer.clone()),
        ("nothing", Vec::new()),
        ("text", b"hello".to_vec()),
        (
            "manifest out of the archive",
            manifest(r#"[{"Config":"../../etc/passwd","Layers":[]}]"#),
        ),
        (
            "layer out of the archive",
            manifest(r#"[{"Config":"c.json","Layers":["../../../etc/passwd"]}]"#),
        ),
        (
            "absent layer",
            manifest(r#"[{"Config":"c.json","Layers":["absent.tar"]}]"#),
        ),
        (
            "absent configuration",
            manifest(r#"[{"Config":"absent.json","Layers":["l.tar"]}]"#),
        ),
        (
            "configuration as a layer",
            manifest(r#"[{"Config":"c.json","Layers":["c.json"]}]"#),
        ),
        (
            "layer as a configuration",
            manifest(r#"[{"Config":"l.tar","Layers":["l.tar"]}]"#),
        ),
        (
            "fewer layers than the configuration",
            manifest(r#"[{"Config":"c.json","Layers":[]}]"#),
        ),
        (
            "more layers",
            manifest(r#"[{"Config":"c.json","Layers":["l.tar","l.tar"]}]"#),
        ),
        (
            "bad name",
            manifest(r#"[{"Config":"c.json","RepoTags":["UPPER:x y"],"Layers":["l.tar"]}]"#),
        ),
        ("bad JSON", manifest("[{")),
        ("object for a list", manifest("{}")),
        ("too many images", manifest(&many)),
        ("deep JSON", manifest(&deep)),
        (
            "link out",
            Tar::default().symlink("l.tar", "../../etc/passwd").end(),
        ),
        (
            "links in a circle",
            Tar::default()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("manifest.json", br#"[{"Config":"a","Layers":[]}]"#)
                .end(),
        ),
        ("changed configuration", {
            let name = format!(
                "{}.json",
                crate::digesting::digest_of(&config_of(&layers)).hex()
            );
            let manifest = format!(r#"[{{"Config":"{name}","Layers":["l.tar"]}}]"#);
            Tar::default()
                .file("l.tar", &layer)
                .file(&name, &damaged_config)
                .file("manifest.json", manifest.as_bytes())
                .end()
        }),
        (
            "another layer than configured",
            docker_archive_with(&[layer_of("f", b"other")], &config_of(&layers), &["x:1"]),
        ),
        (
            "layer compressed with xz",
            docker_archive_with(&[b"\xfd7zXZ\0rest".to_vec()], &config_of(&layers), &["x:1"]),
        ),
    ];
    for (name, archive) in &cases {
        let e = f.load(archive).expect_err(name);
        assert_eq!(e.kind(), Kind::InvalidParameter, "{name}: {e}");
        assert_eq!(f.staged(), 0, "{name}");
    }
    assert_eq!(
        f.images
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap()
            .trees,
        0
    );
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let f = Fixture::new();
    let archive = docker_archive(&[layer_of("f", &[7; 3000])], &["x:1"]);
    let whole = f.load(&archive).unwrap();
    drop(whole);
    f.images
        .sweep(crate::Partials::Old, || Ok(Vec::new()))
        .unwrap();
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
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap()
            .trees,
        0
    );
}
