//! Archives as the `tar` crate and by hand, read back.

use super::*;
use proptest::prelude::*;

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(failure::reading)?;
        found.push((entry, content));
    }
    Ok(found)
}

fn header(name: &str, kind: u8, size: u64) -> tar::Header {
    let mut h = tar::Header::new_gnu();
    h.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    // Byte 0 would be written as '0'.
    h.as_mut_bytes()[156] = kind;
    h.set_size(size);
    h.set_mode(0o644);
    h.set_uid(0);
    h.set_gid(0);
    h.set_mtime(5);
    h.set_cksum();
    h
}

fn block(header: &tar::Header, content: &[u8]) -> Vec<u8> {
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn long_names_of_both_kinds_are_joined_to_their_entry() {
    let long = format!("{}/file", "d".repeat(200));
    let mut gnu = tar::Builder::new(Vec::new());
    let mut h = header("", b'0', 2);
    gnu.append_data(&mut h, &long, &b"hi"[..]).unwrap();
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([
        ("path", long.as_bytes()),
        ("uid", b"3000000000"),
        ("mtime", b"7.5"),
    ])
    .unwrap();
    pax.append(&header("short", b'0', 2), &b"hi"[..]).unwrap();
    for (archive, uid) in [(gnu, 0), (pax, 3_000_000_000)] {
        let found = read_all(&archive.into_inner().unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.path, long.as_bytes());
        assert_eq!(found[0].0.uid, uid);
        assert_eq!(found[0].1, b"hi");
    }
}

/// As Go's archive/tar decides it, in whichever order they come.
#[test]
fn a_gnu_name_wins_over_a_pax_name() {
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", &b"pax"[..]), ("linkpath", b"pax-link")])
        .unwrap();
    let mut pax = pax.into_inner().unwrap();
    pax.truncate(pax.len() - 1024);
    let name = block(&header("././@LongLink", b'L', 4), b"gnu\0");
    let link = block(&header("././@LongLink", b'K', 9), b"gnu-link\0");
    let none = block(&header("././@LongLink", b'L', 1), b"\0");
    let entry = block(&header("short", b'2', 0), b"");
    for (archive, path, target) in [
        ([&pax, &name, &link, &entry], "gnu", "gnu-link"),
        ([&link, &name, &pax, &entry], "gnu", "gnu-link"),
        ([&none, &link, &pax, &entry], "pax", "gnu-link"),
    ] {
        let found = read_all(&archive.map(Vec::as_slice).concat()).unwrap();
        assert_eq!(found[0].0.path, path.as_bytes());
        assert_eq!(found[0].0.kind, EntryKind::Symlink(target.into()));
    }
}

#[test]
fn a_ustar_prefix_is_part_of_the_name() {
    let mut h = tar::Header::new_ustar();
    let path = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    h.set_path(&path).unwrap();
    h.set_size(0);
    h.set_mode(0o4755);
    h.set_cksum();
    let found = read_all(&block(&h, b"")).unwrap();
    assert_eq!(found[0].0.path, path.as_bytes());
    assert_eq!(found[0].0.mode, 0o4755);
}

#[test]
fn sizes_of_entries_without_content_are_ignored_and_pax_sizes_obeyed() {
    let archive = [
        block(&header("d", b'5', 512), b""),
        block(&header("l", b'2', 1024), b""),
        {
            let mut pax = tar::Builder::new(Vec::new());
            pax.append_pax_extensions([("size", &b"3"[..])]).unwrap();
            let mut bytes = pax.into_inner().unwrap();
            bytes.truncate(1024);
            bytes
        },
        block(&header("f", b'0', 0), b"abc"),
        block(&header("old/", 0, 0), b""),
        block(&header("end", b'0', 1), b"z"),
    ]
    .concat();
    let found = read_all(&archive).unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|(e, _)| String::from_utf8_lossy(&e.path))
        .collect();
    assert_eq!(names, ["d", "l", "f", "old/", "end"]);
    assert_eq!(found[2].1, b"abc");
    assert_eq!(found[3].0.kind, EntryKind::Dir);
}

#[test]
fn every_sparse_dialect_gives_the_same_map() {
    let segments = vec![
        Segment {
            offset: 0,
            length: 3,
        },
        Segment {
            offset: 1000,
            length: 2,
        },
    ];
    let mut old = header("f", b'S', 5);
    {
        let bytes = old.as_mut_bytes();
        for (at, text) in [
            (386, "00000000000"),
            (398, "00000000003"),
            (410, "00000001750"),
            (422, "00000000002"),
            (483, "00000010000"),
        ] {
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
    }
    old.set_cksum();
    let with_pax = |records: &[(&str, &str)], content: &[u8]| {
        let mut pax = tar::Builder::new(Vec::new());
        pax.append_pax_extensions(records.iter().map(|(k, v)| (*k, v.as_bytes())))
            .unwrap();
        let mut bytes = pax.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(block(
            &header("GNUSparseFile.0/f", b'0', content.len() as u64),
            content,
        ));
        bytes
    };
    let v00 = with_pax(
        &[
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "1000"),
            ("GNU.sparse.numbytes", "2"),
        ],
        b"abcde",
    );
    let v01 = with_pax(
        &[
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.map", "0,3,1000,2"),
            ("GNU.sparse.name", "f"),
        ],
        b"abcde",
    );
    let mut map = b"2\n0\n3\n1000\n2\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abcde");
    let v10 = with_pax(
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.realsize", "4096"),
        ],
        &map,
    );
    for (name, archive) in [
        ("old", block(&old, b"abcde")),
        ("0.0", v00),
        ("0.1", v01),
        ("1.0", v10),
    ] {
        let found = read_all(&archive).unwrap();
        let (entry, content) = &found[0];
        assert_eq!(entry.segments.as_ref(), Some(&segments), "{name}");
        assert_eq!(entry.size_bytes, 4096, "{name}");
        assert_eq!(content, b"abcde", "{name}");
    }
}

#[test]
fn impossible_sparse_maps_are_refused() {
    let map = |pairs: &[(u64, u64)]| sparse::Map {
        size_bytes: 100,
        segments: pairs
            .iter()
            .map(|(offset, length)| Segment {
                offset: *offset,
                length: *length,
            })
            .collect(),
    };
    assert!(map(&[(0, 10), (10, 5)]).check(15).is_ok());
    for bad in [
        &[(10, 5), (0, 10)][..],
        &[(0, 10), (5, 5)],
        &[(90, 15)],
        &[(u64::MAX, 15)],
        &[(0, 14)],
    ] {
        assert!(map(bad).check(15).is_err(), "{bad:?}");
    }
}

#[test]
fn ends_are_seen_and_cuts_are_told() {
    let whole = [block(&header("a", b'0', 700), &[1; 700]), vec![0; 1024]].concat();
    assert_eq!(read_all(&whole).unwrap().len(), 1);
    // No end marker: accepted, as Go does, but only between two entries.
    assert_eq!(read_all(&whole[..1536]).unwrap().len(), 1);
    assert!(read_all(b"").unwrap().is_empty());
    for cut in [1, 511, 513, 1211, 1300, 1535] {
        let e = read_all(&whole[..cut]).unwrap_err();
        assert_eq!(e.message(), "the archive is truncated", "{cut}");
    }
    let dangling = block(&header("././@LongLink", b'L', 5), b"name\0");
    assert!(read_all(&dangling).is_err());
    assert!(read_all(&[dangling.clone(), dangling].concat()).is_err());
}

#[test]
fn headers_that_claim_too_much_are_refused_before_they_are_read() {
    for (kind, size) in [
        (b'L', 10_000),
        (b'K', 1 << 40),
        (b'x', 2 << 20),
        (b'0', 1 << 50),
    ] {
        let e = read_all(&block(&header("x", kind, size), b"")).unwrap_err();
        assert!(e.message().contains("allowed"), "{e}");
    }
    let mut damaged = header("x", b'0', 0);
    damaged.as_mut_bytes()[0] ^= 1;
    assert!(read_all(damaged.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_input_panics_or_reads_forever(
        mut bytes in prop::collection::vec(any::<u8>(), 0..3000),
        kinds in prop::collection::vec(prop::sample::select(b"0125xLKSg".to_vec()), 0..5),
        sizes in prop::collection::vec(0_u64..2000, 5),
    ) {
        // Valid checksums in front of arbitrary content, so that the depths are reached.
        let mut archive = Vec::new();
        for (kind, size) in kinds.iter().zip(sizes) {
            archive.extend_from_slice(header("n", *kind, size).as_bytes());
            let rest = bytes.split_off(bytes.len().min(700));
            archive.extend_from_slice(&bytes);
            bytes = rest;
        }
        archive.extend_from_slice(&bytes);
        let _ = read_all(&archive);
    }

    #[test]
    fn what_the_tar_crate_writes_is_read_back(
        files in prop::collection::vec(("[a-z]{1,120}(/[a-z]{1,120}){0,3}", prop::collection::vec(any::<u8>(), 0..1500), 0_u32..0o7777), 0..6)
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content, mode) in &files {
            let mut h = tar::Header::new_gnu();
            h.set_size(content.len() as u64);
            h.set_mode(*mode);
            builder.append_data(&mut h, name, &content[..]).unwrap();
        }
        let found = read_all(&builder.into_inner().unwrap()).unwrap();
        prop_assert_eq!(found.len(), files.len());
        for ((entry, content), (name, wanted, mode)) in found.iter().zip(&files) {
            prop_assert_eq!(&entry.path, name.as_bytes());
            prop_assert_eq!(content, wanted);
            prop_assert_eq!(entry.mode, *mode);
        }
    }
}
