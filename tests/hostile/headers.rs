//! Headers whose numbers, lengths and order are lies.

use crate::raw::record;
use crate::{Case, Found, Head, Raw, base_256, refused, taken};

const CUT: &str = "the archive is truncated";
const BAD_PAX: &str = "bad extended header";

pub(crate) fn cases() -> Vec<Case> {
    [
        fields(),
        times(),
        records(),
        extended(),
        attributes(),
        gnu(),
        ends(),
    ]
    .concat()
}

fn ok() -> Raw {
    Raw::new().file("ok", b"x")
}

fn file() -> Head {
    Head::new(b'0', "f")
}

fn fields() -> Vec<Case> {
    let mut bad_checksum = ok().end();
    bad_checksum[0] ^= 1;
    let mut no_checksum = ok().end();
    no_checksum[148..156].copy_from_slice(b"zzzzzzzz");
    let with = |head: Head| ok().put(head, b"").end();
    vec![
        refused("bad checksum", bad_checksum, "bad header checksum"),
        refused("checksum of letters", no_checksum, "bad number"),
        refused(
            "size that is no number",
            with(file().field(124, b"99999999999\0")),
            "bad number",
        ),
        refused(
            "negative size",
            with(file().field(124, &base_256(-1, 12))),
            "negative size",
        ),
        refused(
            "size of 2^63",
            with(file().field(124, &base_256(1 << 63, 12))),
            "bad number",
        ),
        refused(
            "size of 2^63 - 1",
            with(file().size(i64::MAX.unsigned_abs())),
            "the largest allowed has",
        ),
        refused(
            "size beyond the limit",
            with(file().size((64 << 30) + 1)),
            "the largest allowed has",
        ),
        refused(
            "two sizes beyond the limit together",
            ok().pax(&hole("17179869184"))
                .file("a", b"x")
                .pax(&hole("68719476736"))
                .file("b", b"x")
                .end(),
            "files of more than",
        ),
        refused(
            "size of more than there is",
            with(file().size(1 << 30)),
            CUT,
        ),
        refused(
            "owner of 33 bits",
            with(file().field(108, &base_256(1 << 32, 8))),
            "out of range",
        ),
        refused(
            "owner that means nobody",
            with(file().field(108, &base_256(0xffff_ffff, 8))),
            "out of range",
        ),
        refused(
            "negative owner",
            with(file().field(116, &base_256(-5, 8))),
            "negative gid",
        ),
        refused(
            "negative mode",
            with(file().field(100, &base_256(-1, 8))),
            "negative mode",
        ),
        refused(
            "number of 88 bits",
            with(file().field(124, &base_256(1 << 80, 12))),
            "bad number",
        ),
        taken(
            "mode of all bits",
            ok().put(file().octal(100..108, 0o777_7777), b""),
            &[("f", Found::File(b""))],
        ),
    ]
}

fn hole(size: &'static str) -> [(&'static str, &'static [u8]); 2] {
    [
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.map", b"0,1"),
    ]
}

fn times() -> Vec<Case> {
    let at = |text: &'static str| ok().pax(&[("mtime", text.as_bytes())]).file("f", b"");
    let bad = "bad time";
    vec![
        refused("time that is none", at("nonsense").end(), bad),
        refused("time beyond numbers", at("1e400").end(), bad),
        refused(
            "time of 30 digits",
            at("999999999999999999999999999999").end(),
            bad,
        ),
        refused("time with two fractions", at("1.2.3").end(), bad),
        refused("time with a negative fraction", at("1.-5").end(), bad),
        refused(
            "time before all numbers",
            at("-9223372036854775808.5").end(),
            bad,
        ),
        taken(
            "time before 1970",
            at("-1.25"),
            &[("f", Found::Changed(-2, 750_000_000))],
        ),
        taken(
            "time before 1970 in a header",
            ok().put(file().field(136, &base_256(-7, 12)), b""),
            &[("f", Found::Changed(-7, 0))],
        ),
        // What the file system does not hold it makes the nearest that it does.
        taken(
            "time of the farthest future",
            at("9223372036854775807.999999999999"),
            &[("f", Found::File(b""))],
        ),
    ]
}

fn records() -> Vec<Case> {
    let with = |records: &[u8]| Raw::new().pax_bytes(records).file("f", b"x").end();
    vec![
        refused(
            "record longer than its header",
            with(b"99 path=a\n"),
            BAD_PAX,
        ),
        refused(
            "record shorter than it is",
            with(b"6 path=abcdef\n"),
            BAD_PAX,
        ),
        refused("record of no length", with(b"0 path=a\n"), BAD_PAX),
        refused(
            "record of a negative length",
            with(b"-10 path=a\n"),
            BAD_PAX,
        ),
        refused(
            "record of 65 bits",
            with(b"18446744073709551616 path=a\n"),
            BAD_PAX,
        ),
        refused("record without a length", with(b"path=a\n"), BAD_PAX),
        refused("record without a newline", with(b"10 path=aa"), BAD_PAX),
        refused("record without a value", with(b"9 path a\n"), BAD_PAX),
        refused("record without a key", with(b"6 =ab\n"), BAD_PAX),
        refused("record of its length alone", with(b"2 "), BAD_PAX),
        refused(
            "rubbish after a record",
            with(&[&record("path", b"a")[..], b"\0\0\0"].concat()),
            BAD_PAX,
        ),
        refused(
            "header of no records but bytes",
            with(&[0xff; 700]),
            BAD_PAX,
        ),
        taken(
            "records taken back, repeated and unknown",
            Raw::new()
                .pax(&[
                    ("path", b"first"),
                    ("path", b"second"),
                    ("uid", b"7"),
                    ("uid", b""),
                    ("comment", b"\xff\xff"),
                    ("SUN.devmajor", b"x"),
                ])
                .file("f", b"x"),
            &[("second", Found::File(b"x")), ("first", Found::Nothing)],
        ),
    ]
}

fn extended() -> Vec<Case> {
    let with = |key: &str, value: &str| {
        Raw::new()
            .pax(&[(key, value.as_bytes())])
            .file("f", b"x")
            .end()
    };
    let bad = "bad number";
    vec![
        refused("negative size in a record", with("size", "-1"), bad),
        refused("size of letters in a record", with("size", "1x"), bad),
        refused(
            "size of 2^63 in a record",
            with("size", "9223372036854775808"),
            "the largest allowed has",
        ),
        refused(
            "size of 2^64 in a record",
            with("size", "18446744073709551616"),
            bad,
        ),
        refused(
            "size of less than there is",
            Raw::new()
                .pax(&[("size", b"0")])
                .file("f", &[b'x'; 600])
                .end(),
            bad,
        ),
        refused(
            "owner of nobody in a record",
            with("uid", "4294967295"),
            "out of range",
        ),
        refused(
            "owner of 65 bits in a record",
            with("gid", "99999999999999999999"),
            bad,
        ),
        refused("negative owner in a record", with("uid", "-1"), bad),
        refused(
            "two extended headers of one entry",
            Raw::new()
                .pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("f", b"x")
                .end(),
            "two headers of one kind",
        ),
        refused(
            "extended header of no entry",
            ok().pax(&[("path", b"a")]).end(),
            "describes a missing entry",
        ),
        refused(
            "extended header that claims a terabyte",
            ok().put(Head::new(b'x', "x").size(1 << 40), b"").end(),
            "the longest allowed has 1048576",
        ),
        refused(
            "global header of more than there is",
            ok().put(Head::new(b'g', "g").size(1 << 30), b"").end(),
            CUT,
        ),
        taken(
            "global header with a path",
            Raw::new()
                .with_content(b'g', "g", &record("path", b"../evil"))
                .file("f", b"x"),
            &[("f", Found::File(b"x"))],
        ),
    ]
}

fn attributes() -> Vec<Case> {
    let with = |name: &str, value: &[u8]| {
        Raw::new()
            .pax(&[(&format!("SCHILY.xattr.{name}"), value)])
            .file("f", b"x")
    };
    let flood: Vec<u8> = (0..30_000)
        .flat_map(|n| record(&format!("SCHILY.xattr.user.{n:05}"), b""))
        .collect();
    let long = format!("user.{}", "n".repeat(300));
    vec![
        refused(
            "a flood of attributes",
            ok().pax_bytes(&flood).file("f", b"x").end(),
            "attributes",
        ),
        refused(
            "a flood of attributes of a directory",
            ok().pax_bytes(&flood).dir("f").end(),
            "attributes",
        ),
        refused(
            "attribute of 70 kB",
            with("user.x", &[b'v'; 70_000]).end(),
            "attribute",
        ),
        refused(
            "attribute with a name of 300 bytes",
            with(&long, b"v").end(),
            "attribute",
        ),
        refused(
            "capabilities that are none",
            with("security.capability", b"rubbish").end(),
            "attribute",
        ),
        taken(
            "attributes of overlayfs and of the host",
            with("trusted.overlay.opaque", b"y")
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.security.selinux", b"x"),
                    ("SCHILY.xattr.", b"no name"),
                    ("SCHILY.xattr.nonsense", b"no namespace"),
                ])
                .dir("d"),
            &[("f", Found::File(b"x")), ("d", Found::Dir)],
        ),
    ]
}

fn gnu() -> Vec<Case> {
    let twice = "two headers of one kind";
    vec![
        refused(
            "long name of more than there is",
            ok().put(Head::new(b'L', "l").size(4000), b"name").cut(),
            CUT,
        ),
        refused(
            "long name that claims a terabyte",
            ok().put(Head::new(b'L', "l").size(1 << 40), b"").end(),
            "the longest allowed has 4097",
        ),
        refused(
            "two long names",
            ok().long_name(b"a\0")
                .long_name(b"b\0")
                .file("f", b"")
                .end(),
            twice,
        ),
        refused(
            "two long targets",
            ok().long_link(b"a\0")
                .long_link(b"b\0")
                .symlink("f", "x")
                .end(),
            twice,
        ),
        refused(
            "long name of no entry",
            ok().long_name(b"a\0").end(),
            "describes a missing entry",
        ),
        taken(
            "long name without its NUL, and an empty one",
            ok().long_name(b"whole")
                .file("f", b"1")
                .long_name(b"")
                .file("g", b"2"),
            &[("whole", Found::File(b"1")), ("g", Found::File(b"2"))],
        ),
        taken(
            "long name with more after its NUL",
            ok().long_name(b"cut\0/../../evil").file("f", b"1"),
            &[("cut", Found::File(b"1"))],
        ),
        taken(
            "two names of one entry",
            ok().pax(&[("path", b"pax")])
                .long_name(b"gnu\0")
                .file("f", b"1"),
            &[("gnu", Found::File(b"1")), ("pax", Found::Nothing)],
        ),
    ]
}

fn ends() -> Vec<Case> {
    let mut garbage = ok().cut();
    garbage.extend_from_slice(&[7; 512]);
    let whole = Raw::new().file("f", &[1; 5000]).cut();
    // With a NUL where the oldest tars have one.
    let mut no_tar = vec![b'x'; 4096];
    (no_tar[99], no_tar[155]) = (0, b' ');
    vec![
        refused("cut in a header", [ok().cut(), vec![1; 100]].concat(), CUT),
        refused("cut in content", whole[..2048].to_vec(), CUT),
        refused("cut in the padding", whole[..512 + 5000].to_vec(), CUT),
        refused(
            "cut in an extended header",
            {
                let pax = ok().pax(&[("path", &[b'n'; 900])]).file("f", b"").cut();
                pax[..2000].to_vec()
            },
            CUT,
        ),
        refused("garbage after an entry", garbage, "bad number"),
        refused("not a tar", no_tar, "bad number"),
        Case {
            bytes: ok().cut(),
            ..taken(
                "no mark of the end",
                Raw::new(),
                &[("ok", Found::File(b"x"))],
            )
        },
        taken(
            "more after the end",
            ok().bytes(&[0; 1024])
                .file("../evil", b"x")
                .bytes(&[7; 700]),
            &[("ok", Found::File(b"x"))],
        ),
    ]
}
