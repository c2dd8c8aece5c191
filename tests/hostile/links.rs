//! Links that lead out, in circles or to nothing, and entries that go through them.

use crate::{Case, Found, Head, Raw, refused, taken};

const DANGLES: &str = "which is not a file of the same layer";
const NO_DIR: &str = "which is not a directory";

pub(crate) fn cases() -> Vec<Case> {
    [symbolic(), swapped(), hard_refused(), hard_taken()].concat()
}

fn ok() -> Raw {
    Raw::new().file("ok", b"x")
}

fn symbolic() -> Vec<Case> {
    let chain = (0..100).fold(Raw::new().dir("l0"), |tar, n| {
        tar.symlink(format!("l{}", n + 1), format!("l{n}"))
    });
    let x = b"x";
    vec![
        refused("link to nothing", ok().symlink("s", "").end(), "to nothing"),
        refused(
            "through a dangling link",
            ok().symlink("e", "/nowhere").file("e/f", x).end(),
            NO_DIR,
        ),
        refused(
            "through a link to the host's /etc",
            ok().symlink("e", "/etc").file("e/passwd", x).end(),
            NO_DIR,
        ),
        refused(
            "through links in a circle",
            ok().symlink("a", "b")
                .symlink("b", "a")
                .file("a/f", x)
                .end(),
            "bad path",
        ),
        refused(
            "through a link to itself",
            ok().symlink("a", "a").file("a/f", x).end(),
            "bad path",
        ),
        refused(
            "through more links than the kernel follows",
            chain.clone().file("l100/f", x).end(),
            "bad path",
        ),
        refused(
            "through a magic link",
            ok().symlink("e", "/proc/self/root").file("e/f", x).end(),
            NO_DIR,
        ),
        refused(
            "through a link to a file",
            ok().symlink("e", "ok").file("e/f", x).end(),
            NO_DIR,
        ),
        taken(
            "through a chain of links",
            chain.file("l20/f", b"1"),
            &[("l0/f", Found::File(b"1")), ("l20", Found::Link("l19"))],
        ),
        taken(
            "through a link that climbs",
            ok().symlink("up", "../../../../..")
                .file("up/evil", b"1")
                .file("up/canary/keep", b"2"),
            &[
                ("evil", Found::File(b"1")),
                ("canary/keep", Found::File(b"2")),
            ],
        ),
        taken(
            "through an absolute link",
            ok().dir("etc").symlink("e", "/etc").file("e/passwd", b"1"),
            &[
                ("etc/passwd", Found::File(b"1")),
                ("e", Found::Link("/etc")),
            ],
        ),
        taken(
            "a link that leads out is kept as it is",
            ok().symlink("s", "../../../../etc/shadow")
                .symlink("abs", "/etc/shadow"),
            &[
                ("s", Found::Link("../../../../etc/shadow")),
                ("abs", Found::Link("/etc/shadow")),
            ],
        ),
        taken(
            "whiteout through a link that climbs",
            ok().symlink("up", "../..").file("up/.wh.canary", b""),
            &[("canary", Found::Whiteout)],
        ),
    ]
}

/// What is a link when it is looked at, and something else when it is used, or the other way round.
fn swapped() -> Vec<Case> {
    vec![
        taken(
            "directory becomes a link",
            Raw::new()
                .dir("etc")
                .file("d/f", b"1")
                .symlink("d", "/etc")
                .file("d/passwd", b"2"),
            &[
                ("d", Found::Link("/etc")),
                ("etc/passwd", Found::File(b"2")),
                ("etc/f", Found::Nothing),
            ],
        ),
        refused(
            "directory becomes a link to nothing",
            Raw::new()
                .file("d/f", b"1")
                .symlink("d", "/nowhere")
                .file("d/f", b"2")
                .end(),
            NO_DIR,
        ),
        taken(
            "link becomes a directory",
            Raw::new()
                .dir("etc")
                .symlink("d", "/etc")
                .file("d/f", b"1")
                .dir("d")
                .file("d/f", b"2"),
            &[("etc/f", Found::File(b"1")), ("d/f", Found::File(b"2"))],
        ),
        taken(
            "link among the parents is swapped again and again",
            (0..40).fold(Raw::new().dir("a").dir("b"), |tar, n| {
                let to = ["a", "b", "../../.."][n % 3];
                tar.symlink("l", to).file(format!("l/f{n}"), b"1")
            }),
            &[
                ("a/f39", Found::File(b"1")),
                ("b/f37", Found::File(b"1")),
                ("f38", Found::File(b"1")),
            ],
        ),
        taken(
            "file in the place of a link is not written through it",
            Raw::new()
                .file("target", b"1")
                .symlink("l", "target")
                .file("l", b"2"),
            &[("target", Found::File(b"1")), ("l", Found::File(b"2"))],
        ),
        taken(
            "directory in the place of a link does not change what it leads to",
            Raw::new()
                .put(Head::new(b'5', "real").octal(100..108, 0o700), b"")
                .symlink("l", "real")
                .put(Head::new(b'5', "l").octal(100..108, 0o777), b""),
            &[("real", Found::Dir), ("l", Found::Dir)],
        ),
    ]
}

fn hard_refused() -> Vec<Case> {
    let ten = vec![b'n'; 10_000];
    vec![
        refused(
            "hard link out",
            ok().hard_link("h", "../../../etc/passwd").end(),
            "leaves the root",
        ),
        refused(
            "hard link to a file of the host",
            ok().hard_link("h", "/etc/passwd").end(),
            DANGLES,
        ),
        refused(
            "hard link to what is beside",
            ok().hard_link("h", "../canary/keep").end(),
            "leaves the root",
        ),
        refused(
            "hard link through a link out",
            ok().symlink("e", "/etc").hard_link("h", "e/passwd").end(),
            DANGLES,
        ),
        refused(
            "hard link through a link that climbs",
            ok().symlink("up", "../../..")
                .hard_link("h", "up/canary/keep")
                .end(),
            DANGLES,
        ),
        refused(
            "hard link through a magic link",
            ok().symlink("e", "/proc/self/cwd")
                .hard_link("h", "e/x")
                .end(),
            DANGLES,
        ),
        refused(
            "hard link to nothing",
            ok().hard_link("h", "absent").end(),
            DANGLES,
        ),
        refused(
            "hard link with an empty target",
            ok().hard_link("h", "").end(),
            DANGLES,
        ),
        refused(
            "hard link to the root",
            ok().hard_link("h", ".").end(),
            DANGLES,
        ),
        refused(
            "hard link to a directory",
            ok().dir("d").hard_link("h", "d").end(),
            DANGLES,
        ),
        refused(
            "hard link to itself",
            ok().hard_link("h", "h").end(),
            DANGLES,
        ),
        refused(
            "hard link to what it replaces",
            ok().file("d/f", b"").hard_link("d", "d/f").end(),
            DANGLES,
        ),
        refused(
            "hard link to a whiteout",
            ok().file(".wh.gone", b"").hard_link("h", "gone").end(),
            DANGLES,
        ),
        refused(
            "hard link below a file",
            ok().hard_link("h", "ok/below").end(),
            DANGLES,
        ),
        refused(
            "hard link to a name of 10 kB",
            ok().pax(&[("linkpath", &ten)]).hard_link("h", "x").end(),
            "name of 10000 bytes",
        ),
        refused(
            "hard link to a long target of 10 kB",
            ok().long_link(&ten).hard_link("h", "x").end(),
            "header of 10000 bytes",
        ),
    ]
}

fn hard_taken() -> Vec<Case> {
    vec![
        taken(
            "hard link to a symbolic link",
            ok().symlink("s", "/etc/passwd").hard_link("h", "s"),
            &[("h", Found::Link("/etc/passwd")), ("h", Found::SameAs("s"))],
        ),
        taken(
            "file in the place of a hard link leaves the other name alone",
            ok().hard_link("h", "ok").file("h", b"2"),
            &[("ok", Found::File(b"x")), ("h", Found::File(b"2"))],
        ),
        taken(
            "hard link to a name that is replaced",
            ok().hard_link("h", "ok").file("ok", b"2"),
            &[("ok", Found::File(b"2")), ("h", Found::File(b"x"))],
        ),
        taken(
            "hard link to where it is already",
            ok().hard_link("h", "ok").hard_link("h", "ok"),
            &[("h", Found::SameAs("ok"))],
        ),
        taken(
            "hard link to a device and a pipe",
            ok().device(b'3', "null", 1, 3)
                .with_content(b'6', "pipe", b"")
                .hard_link("n", "null")
                .hard_link("p", "pipe"),
            &[("n", Found::SameAs("null")), ("p", Found::SameAs("pipe"))],
        ),
        taken(
            "hard link that claims content",
            ok().put(Head::new(b'1', "h").link("ok").size(1 << 40), b"")
                .file("after", b"1"),
            &[("h", Found::SameAs("ok")), ("after", Found::File(b"1"))],
        ),
        taken(
            "absolute hard link is meant from the root",
            ok().hard_link("/h", "/ok").hard_link("i", "a/../ok"),
            &[("h", Found::SameAs("ok")), ("i", Found::SameAs("ok"))],
        ),
    ]
}
