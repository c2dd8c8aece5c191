//! Whatever a tar holds, its frame and the tree give it back.

use std::io::Read;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{Applier, Form, Reader};

/// Applies `tar` to a fresh tree in `dir`; an error comes with the number of the entry it was at.
fn apply(tar: &[u8], dir: &Path) -> std::result::Result<Framed, (usize, Error)> {
    let places = FramePlaces::of(dir);
    std::fs::create_dir(&places.tree).unwrap();
    let (recorded, recording) = record(tar, dir).unwrap();
    let mut reader = Reader::new(recorded);
    let mut applier = Applier::new(&places.tree, Form::Layer)
        .unwrap()
        .recording(recording);
    let mut entries = 0;
    let mut step = || -> Result<bool> {
        let Some(entry) = reader.next_entry()? else {
            return Ok(false);
        };
        applier.entry(&mut reader, &entry).map(|()| true)
    };
    loop {
        match step() {
            Ok(true) => entries += 1,
            Ok(false) => break,
            Err(e) => return Err((entries, e)),
        }
    }
    applier.finish().unwrap();
    let mut recorded = reader.into_inner();
    io::copy(&mut recorded, &mut io::sink()).unwrap();
    Ok(recorded.finish().unwrap().0)
}

fn replay(dir: &Path) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    let mut replay = Replay::open(dir)?;
    replay
        .read_to_end(&mut tar)
        .map_err(crate::failure::reading)?;
    Ok(tar)
}

fn header(kind: u8, name: &[u8], link: &[u8], size: u64) -> tar::Header {
    let mut h = tar::Header::new_gnu();
    h.as_mut_bytes()[..name.len()].copy_from_slice(name);
    h.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    h.as_mut_bytes()[156] = kind;
    h.set_size(size);
    h.set_mode(0o751);
    h.set_uid(3);
    h.set_gid(4);
    h.set_mtime(5);
    h
}

/// An entry with content; what pads it is not always zeros.
fn block(mut header: tar::Header, content: &[u8], padding: u8) -> Vec<u8> {
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), padding);
    out
}

fn entry(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let header = header(kind, name.as_bytes(), link.as_bytes(), content.len() as u64);
    block(header, content, b'#')
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let records = records.iter().map(|(k, v)| (*k, v.as_bytes()));
    builder.append_pax_extensions(records).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// GNU's sparse files of the old kind, and of version 1.0.
fn sparse(name: &str, content: &[u8], old: bool) -> Vec<u8> {
    let (half, at) = (content.len() / 2, 100_000);
    let rest = content.len() - half;
    let size = at + rest + 7;
    if !old {
        let size = size.to_string();
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", &size),
        ];
        let mut map = format!("2\n0\n{half}\n{at}\n{rest}\n").into_bytes();
        map.resize(512, 0);
        map.extend_from_slice(content);
        return [pax(&records), entry(b'0', "GNUSparseFile.0/x", "", &map)].concat();
    }
    let mut header = header(b'S', name.as_bytes(), b"", content.len() as u64);
    let numbers = [(386, 0), (398, half), (410, at), (422, rest), (483, size)];
    for (place, number) in numbers {
        let text = format!("{number:011o}");
        header.as_mut_bytes()[place..place + 11].copy_from_slice(text.as_bytes());
    }
    block(header, content, 0)
}

/// An entry of any kind; the names are few, so that they meet.
fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    let name = "(\\./)?[abc](/[abc]){0,2}";
    let content = prop::collection::vec(any::<u8>(), 0..1500);
    let kinds = "ffffffdddlhhpwoaszSgLx".bytes().collect::<Vec<_>>();
    (prop::sample::select(kinds), name, name, content).prop_map(|(kind, name, other, content)| {
        let base = name.rsplit('/').next().unwrap_or_default();
        let marked = |mark: &str| name[..name.len() - base.len()].to_owned() + mark;
        match kind {
            b'd' => entry(b'5', &name, "", b""),
            b'l' => entry(b'2', &name, &format!("/{other}"), b""),
            b'h' => entry(b'1', &name, &other, b""),
            b'p' => entry(b'6', &name, "", b""),
            b'w' => entry(b'0', &marked(&format!(".wh.{base}")), "", &content),
            b'o' => entry(b'0', &marked(".wh..wh..opq"), "", b""),
            b'a' => entry(b'0', &marked(".wh..wh.aufs"), "", &content),
            b's' => sparse(&name, &content, true),
            b'S' => sparse(&name, &content, false),
            b'z' => entry(b'7', &name, "", &content),
            b'g' => [
                entry(b'g', "pax_global_header", "", &content),
                entry(b'0', &name, "", b"1"),
            ]
            .concat(),
            b'L' => [
                entry(b'L', "././@LongLink", "", format!("{name}\0").as_bytes()),
                entry(b'0', "cut", "", &content),
            ]
            .concat(),
            b'x' => [
                pax(&[("path", &name), ("mtime", "1.5")]),
                entry(b'0', "cut", "", &content),
            ]
            .concat(),
            _ => entry(b'0', &name, "", &content),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_tar_is_given_back_byte_for_byte(
        mut entries in prop::collection::vec(any_entry(), 0..40),
        end in prop::collection::vec(any::<u8>(), 0..3000),
        is_ended: bool,
    ) {
        let (temp, tar, framed) = loop {
            let mut tar = entries.concat();
            if is_ended {
                tar.extend_from_slice(&[0; 1024]);
                tar.extend_from_slice(&end);
            }
            let temp = tempfile::tempdir().unwrap();
            match apply(&tar, temp.path()) {
                Ok(framed) => break (temp, tar, framed),
                // What cannot be applied (a link to nothing, a file as a directory) is left out.
                Err((at, _)) => drop(entries.remove(at)),
            }
        };
        prop_assert_eq!(framed.tar_bytes, tar.len() as u64);
        prop_assert!(replay(temp.path()).unwrap() == tar);
    }
}

#[test]
fn what_was_replaced_is_kept_aside_and_not_in_the_tree() {
    let temp = tempfile::tempdir().unwrap();
    let tar = [
        entry(b'0', "d/deep/f", "", b"first"),
        entry(b'0', "d/deep/f", "", b"second"),
        entry(b'2', "way", "d/deep", b""),
        entry(b'0', "way/g", "", b"through a link"),
        entry(b'0', "way/g", "", b"again"),
        entry(b'2', "d", "elsewhere", b""),
        entry(b'0', "e", "", b"in the end"),
        entry(b'1', "e2", "e", b""),
        entry(b'0', "e", "", b"in the very end"),
        vec![0; 1024],
        b"what nobody should write here".to_vec(),
    ]
    .concat();
    apply(&tar, temp.path()).unwrap();
    assert!(replay(temp.path()).unwrap() == tar);
    let mut names: Vec<_> = std::fs::read_dir(temp.path().join("tree"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["d", "e", "e2", "way"]);
    let read = |name: &str| std::fs::read(temp.path().join(name)).unwrap();
    assert_eq!(read("extra/0"), b"first");
    assert_eq!(read("extra/2/deep/f"), b"second");
    assert_eq!(read("tree/e2"), b"in the end");
    // Only what is no content is in the frame.
    let frame = std::fs::metadata(temp.path().join("frame")).unwrap().len();
    assert!(frame < 1000, "{frame}");
}

#[test]
fn a_hard_link_to_what_was_put_aside_leads_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let tar = [
        entry(b'0', "d/f", "", b"content"),
        entry(b'1', "d", "d/f", b""),
    ]
    .concat();
    let (at, e) = apply(&tar, temp.path()).unwrap_err();
    assert_eq!((at, e.kind()), (1, model::Kind::InvalidParameter), "{e}");
}

#[test]
fn damage_is_told_and_no_link_is_followed() {
    let made = |content: &[u8]| {
        let temp = tempfile::tempdir().unwrap();
        let tar = [entry(b'0', "d/f", "", content), vec![0; 1024]].concat();
        apply(&tar, temp.path()).unwrap();
        temp
    };
    let told = |dir: &Path| {
        let e = replay(dir).unwrap_err();
        assert_eq!(e.kind(), model::Kind::System, "{e}");
        e.message().to_owned()
    };
    let temp = made(b"12345");
    std::fs::write(temp.path().join("tree/d/f"), "1234").unwrap();
    assert!(told(temp.path()).contains("too early"));
    let secret = temp.path().join("secret");
    std::fs::write(&secret, "67890").unwrap();
    std::fs::remove_file(temp.path().join("tree/d/f")).unwrap();
    assert!(told(temp.path()).contains("d/f"));
    std::os::unix::fs::symlink(&secret, temp.path().join("tree/d/f")).unwrap();
    assert!(told(temp.path()).contains("d/f"));
    std::fs::remove_dir_all(temp.path().join("tree/d")).unwrap();
    std::os::unix::fs::symlink(temp.path(), temp.path().join("tree/d")).unwrap();
    std::fs::write(temp.path().join("f"), "67890").unwrap();
    assert!(told(temp.path()).contains("d/f"));

    let temp = made(&[7; 5000]);
    let frame = temp.path().join("frame");
    let whole = std::fs::read(&frame).unwrap();
    for cut in [0, 7, 8, 12, whole.len() - 1] {
        std::fs::write(&frame, &whole[..cut]).unwrap();
        told(temp.path());
    }
    let mut newer = whole.clone();
    newer[7] = VERSION + 1;
    std::fs::write(&frame, newer).unwrap();
    assert!(told(temp.path()).contains("version"));
    std::fs::write(&frame, whole).unwrap();
    assert!(replay(temp.path()).is_ok());
    std::fs::remove_file(&frame).unwrap();
    told(temp.path());
}
