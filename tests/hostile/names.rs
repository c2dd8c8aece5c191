//! Names that lead out, are too long, or mean nothing.

use crate::{Case, Found, Raw, refused, taken};

const CLIMBS: &str = "leaves the root";

pub(crate) fn cases() -> Vec<Case> {
    [outside(), odd(), long()].concat()
}

fn ok() -> Raw {
    Raw::new().file("ok", b"x")
}

fn outside() -> Vec<Case> {
    let x = b"x";
    vec![
        refused("dot-dot", ok().file("../evil", x).end(), CLIMBS),
        refused("dot-dot inside", ok().file("a/../../evil", x).end(), CLIMBS),
        refused("absolute dot-dot", ok().file("/../evil", x).end(), CLIMBS),
        refused(
            "dot-dot to what is beside",
            ok().file("../canary/keep", x).end(),
            CLIMBS,
        ),
        refused("directory out", ok().dir("..").end(), CLIMBS),
        refused("directory out, slash", ok().dir("../").end(), CLIMBS),
        refused(
            "link named dot-dot",
            ok().symlink("a/../..", "x").end(),
            CLIMBS,
        ),
        refused(
            "whiteout out",
            ok().file("../.wh.canary", b"").end(),
            CLIMBS,
        ),
        refused(
            "opaque mark out",
            ok().file("../canary/.wh..wh..opq", b"").end(),
            CLIMBS,
        ),
        refused(
            "dot-dot in an extended header",
            ok().pax(&[("path", b"../evil")]).file("fine", x).end(),
            CLIMBS,
        ),
        refused(
            "dot-dot in a long name",
            ok().long_name(b"../evil\0").file("fine", x).end(),
            CLIMBS,
        ),
        refused(
            "dot-dot in the name of a sparse file",
            ok().pax(&[
                ("GNU.sparse.name", b"../evil"),
                ("GNU.sparse.size", b"1"),
                ("GNU.sparse.map", b"0,1"),
            ])
            .file("fine", x)
            .end(),
            CLIMBS,
        ),
        taken(
            "absolute",
            ok().file("/absolute", b"1").file("///slashes//f", b"2"),
            &[
                ("absolute", Found::File(b"1")),
                ("slashes/f", Found::File(b"2")),
            ],
        ),
        taken(
            "dot-dot that stays inside",
            ok().file("a/../b", b"5").dir("c/./d/.."),
            &[
                ("a", Found::Nothing),
                ("b", Found::File(b"5")),
                ("c", Found::Dir),
            ],
        ),
    ]
}

fn odd() -> Vec<Case> {
    let root = "stands for the root";
    vec![
        refused("root as a file", ok().file(".", b"x").end(), root),
        refused("root as a link", ok().symlink("./", "/etc").end(), root),
        refused("slashes as a file", ok().file("//", b"x").end(), root),
        refused("empty name as a file", ok().file("", b"x").end(), root),
        refused("root as a hard link", ok().hard_link(".", "ok").end(), root),
        refused(
            "root by dot-dot as a device",
            ok().device(b'3', "a/..", 1, 3).end(),
            root,
        ),
        taken(
            "the root in all its spellings",
            ok().dir(".").dir("./").dir("//").dir("").dir("a/.."),
            &[("ok", Found::File(b"x")), ("a", Found::Nothing)],
        ),
        taken(
            "newlines, controls and no UTF-8",
            ok().file("new\nline", b"1")
                .file(b"\xff\xfe\x80", b"2")
                .file("\x1b[2J\x07", b"3"),
            &[
                ("new\nline", Found::File(b"1")),
                ("\x1b[2J\x07", Found::File(b"3")),
            ],
        ),
        refused(
            "NUL in a name",
            ok().pax(&[("path", b"a\0b")]).file("x", b"").end(),
            "bad extended header",
        ),
        taken(
            "NUL in a header's name ends it",
            ok().file(b"cut\0/../../evil", b"1"),
            &[("cut", Found::File(b"1"))],
        ),
        refused(
            "below a file",
            ok().file("ok/below", b"x").end(),
            "which is not a directory",
        ),
        refused(
            "directory below a file",
            ok().dir("ok/below/further").end(),
            "which is not a directory",
        ),
        taken(
            "file with a slash at its end",
            ok().file("slash/", b"1"),
            &[("slash", Found::File(b"1"))],
        ),
    ]
}

fn long() -> Vec<Case> {
    let ten = vec![b'n'; 10_000];
    vec![
        refused(
            "name of 10 kB",
            ok().long_name(&ten).file("x", b"").end(),
            "header of 10000 bytes",
        ),
        refused(
            "name of 10 kB in an extended header",
            ok().pax(&[("path", &ten)]).file("x", b"").end(),
            "name of 10000 bytes",
        ),
        refused(
            "path of a megabyte",
            ok().pax(&[("path", &b"n/".repeat(1 << 19))])
                .file("x", b"")
                .end(),
            "the longest allowed has 1048576",
        ),
        refused(
            "over-long component",
            ok().pax(&[("path", &ten[..300])]).file("x", b"").end(),
            "bad path",
        ),
        refused(
            "over-long component among the parents",
            ok().pax(&[("path", &[&ten[..300], b"/f"].concat())])
                .file("x", b"")
                .end(),
            "bad path",
        ),
    ]
}

/// Each link leads so many directories further down that no path says where the last one ends.
pub fn deep_through_links() -> Raw {
    let mut tar = Raw::new();
    for level in 0..3 {
        let at = ["l0/", "l1/", "l2/"][..level].last().copied().unwrap_or("");
        let step = "d/".repeat(1900);
        let dir = format!("{at}{step}");
        let text = format!("/{dir}");
        tar = tar
            .pax(&[("path", dir.as_bytes())])
            .dir("x")
            .pax(&[("linkpath", text.as_bytes())])
            .symlink(format!("l{level}"), "x");
    }
    tar.file("l2/f", b"x")
}
