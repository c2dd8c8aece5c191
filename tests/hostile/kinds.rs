//! Devices, whiteouts, and one name for things of several kinds.

use crate::{Case, Found, Head, Raw, base_256, refused, taken};

pub(crate) fn cases() -> Vec<Case> {
    [
        devices(),
        whiteouts_refused(),
        whiteouts_taken(),
        replaced(),
    ]
    .concat()
}

fn ok() -> Raw {
    Raw::new().file("ok", b"x")
}

fn devices() -> Vec<Case> {
    let unknown = "of the unknown type";
    let wide = |major: i128| {
        Head::new(b'3', "wide")
            .field(329, &base_256(major, 8))
            .octal(337..345, 0)
    };
    vec![
        taken(
            "devices and a pipe, as Docker makes them",
            ok().device(b'3', "null", 1, 3)
                .device(b'4', "disk", 8, 0)
                .with_content(b'6', "pipe", b""),
            &[
                ("null", Found::Device(false, 1, 3)),
                ("disk", Found::Device(true, 8, 0)),
                ("pipe", Found::Fifo),
            ],
        ),
        taken(
            "device that claims content",
            ok().put(Head::new(b'3', "null").device(1, 3).size(1 << 33), b"")
                .file("after", b"1"),
            &[
                ("null", Found::Device(false, 1, 3)),
                ("after", Found::File(b"1")),
            ],
        ),
        refused(
            "below a device",
            ok().device(b'3', "dev", 1, 3).file("dev/f", b"x").end(),
            "which is not a directory",
        ),
        refused(
            "below a pipe",
            ok().with_content(b'6', "p", b"").file("p/f", b"x").end(),
            "which is not a directory",
        ),
        refused(
            "device number of 33 bits",
            ok().put(wide(1 << 32), b"").end(),
            "is out of range",
        ),
        refused(
            "negative device number",
            ok().put(wide(-1), b"").end(),
            "negative device major",
        ),
        refused(
            "volume of several",
            ok().with_content(b'M', "m", b"").end(),
            unknown,
        ),
        refused("socket", ok().with_content(b's', "s", b"").end(), unknown),
        refused(
            "type of no letter",
            ok().with_content(0xff, "s", b"").end(),
            unknown,
        ),
        refused(
            "dump of a directory",
            ok().with_content(b'D', "d", b"Yf\0").end(),
            unknown,
        ),
    ]
}

fn whiteouts_refused() -> Vec<Case> {
    let of = "whiteout of";
    vec![
        refused("whiteout of nothing", ok().file(".wh.", b"").end(), of),
        refused("whiteout of dot", ok().file(".wh..", b"").end(), of),
        refused("whiteout of dot-dot", ok().file(".wh...", b"").end(), of),
        refused(
            "whiteout of dot-dot, with slashes",
            ok().dir("d/.wh...//").end(),
            of,
        ),
        refused(
            "whiteout of nothing in a directory",
            ok().file("d/.wh./", b"").end(),
            of,
        ),
        refused(
            "whiteout below a file",
            ok().file("ok/.wh.x", b"").end(),
            "which is not a directory",
        ),
        refused(
            "opaque mark below a file",
            ok().file("ok/.wh..wh..opq", b"").end(),
            "which is not a directory",
        ),
    ]
}

fn whiteouts_taken() -> Vec<Case> {
    vec![
        taken(
            "whiteout spelled as a device",
            ok().device(b'3', "gone", 0, 0),
            &[("gone", Found::Whiteout)],
        ),
        taken(
            "whiteout with content, as a directory and as a link",
            ok().file(".wh.a", b"content")
                .dir(".wh.b")
                .symlink(".wh.c", "/etc/passwd")
                .file("after", b"1"),
            &[
                ("a", Found::Whiteout),
                ("b", Found::Whiteout),
                ("c", Found::Whiteout),
                ("after", Found::File(b"1")),
            ],
        ),
        taken(
            "whiteout of what the same layer has stays without effect",
            ok().file(".wh.ok", b"").dir("d").file(".wh.d", b""),
            &[("ok", Found::File(b"x")), ("d", Found::OpaqueDir)],
        ),
        taken(
            "whiteout, then what it hid comes back",
            ok().file(".wh.f", b"")
                .file("f", b"1")
                .file(".wh.d", b"")
                .dir("d")
                .file(".wh.e", b"")
                .file("e/f", b"2"),
            &[
                ("f", Found::File(b"1")),
                ("d", Found::OpaqueDir),
                ("e", Found::OpaqueDir),
                ("e/f", Found::File(b"2")),
            ],
        ),
        taken(
            "opaque mark where nothing is, and as a directory",
            ok().file("new/.wh..wh..opq", b"")
                .dir("other/.wh..wh..opq")
                .file("new/f", b"1"),
            &[
                ("new", Found::OpaqueDir),
                ("other", Found::OpaqueDir),
                ("other/.wh..wh..opq", Found::Nothing),
                ("new/f", Found::File(b"1")),
            ],
        ),
        taken(
            "opaque mark on the root",
            ok().file(".wh..wh..opq", b""),
            &[("", Found::OpaqueDir), ("ok", Found::File(b"x"))],
        ),
        taken(
            "files of aufs",
            ok().file(".wh..wh.aufs", b"")
                .dir(".wh..wh.plnk")
                .file(".wh..wh.orph", b"x"),
            &[
                (".wh..wh.aufs", Found::Nothing),
                (".wh..wh.plnk", Found::Nothing),
                (".wh..wh.orph", Found::Nothing),
            ],
        ),
        taken(
            "whiteout of a name that is as long as names are",
            ok().pax(&[("path", &[b".wh.", &[b'n'; 251][..]].concat())])
                .file("x", b""),
            &[("ok", Found::File(b"x"))],
        ),
    ]
}

fn replaced() -> Vec<Case> {
    vec![
        taken(
            "file, then a directory of the same name",
            ok().file("f", b"1").dir("f").file("f/g", b"2"),
            &[("f/g", Found::File(b"2"))],
        ),
        taken(
            "directory with content, then a file of the same name",
            ok().file("d/e/f", b"1").file("d", b"2"),
            &[("d", Found::File(b"2"))],
        ),
        taken(
            "duplicates of every kind",
            ok().file("n", b"1")
                .dir("n")
                .file("n/f", b"2")
                .symlink("n", "/etc/passwd")
                .device(b'3', "n", 1, 3)
                .with_content(b'6', "n", b"")
                .hard_link("n", "ok")
                .device(b'4', "n", 8, 0)
                .dir("n")
                .file("n", b"last"),
            &[("n", Found::File(b"last")), ("ok", Found::File(b"x"))],
        ),
        taken(
            "the same file a hundred times",
            (0..100).fold(Raw::new(), |tar, _| tar.file("f", b"1")),
            &[("f", Found::File(b"1"))],
        ),
        taken(
            "directory again and again, between a file below it",
            ok().dir("d").file("d/f", b"1").dir("d/").dir("./d"),
            &[("d/f", Found::File(b"1"))],
        ),
    ]
}
