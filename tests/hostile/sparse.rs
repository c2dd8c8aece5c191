//! Files with holes whose maps are impossible, in every dialect.

use crate::{Case, Found, Head, Raw, base_256, refused, taken};

const IMPOSSIBLE: &str = "impossible map";
const HALF: &str = "half a map";

pub(crate) fn cases() -> Vec<Case> {
    [old(), pax_0(), pax_1()].concat()
}

fn ok() -> Raw {
    Raw::new().file("ok", b"x")
}

/// GNU's old form: pairs of offset and length in the header, then the whole size.
fn old_head(pairs: &[(i128, i128)], real_size: i128, stored: u64) -> Head {
    let mut head = Head::new(b'S', "s").size(stored);
    for (n, (offset, length)) in pairs.iter().enumerate() {
        head = head
            .field(386 + 24 * n, &base_256(*offset, 12))
            .field(398 + 24 * n, &base_256(*length, 12));
    }
    head.field(483, &base_256(real_size, 12))
}

fn old() -> Vec<Case> {
    let with = |pairs: &[(i128, i128)], real: i128, content: &[u8]| {
        let head = old_head(pairs, real, content.len() as u64);
        ok().put(head, content).end()
    };
    let more = |stored: u64| old_head(&[(0, 1)], 100, stored).field(482, &[1]);
    let mut empty_block = [0; 512];
    empty_block[504] = 1;
    let mut full_block = [0; 512];
    for n in 0..21 {
        full_block[24 * n..24 * n + 12].copy_from_slice(&base_256(50, 12));
        full_block[24 * n + 12..24 * n + 24].copy_from_slice(&base_256(0, 12));
    }
    full_block[504] = 1;
    let flood = (0..12_600).fold(ok().put(more(1), b""), |tar, _| tar.bytes(&full_block));
    vec![
        refused(
            "overlapping pieces",
            with(&[(0, 5), (3, 2)], 100, &[1; 7]),
            IMPOSSIBLE,
        ),
        refused(
            "descending pieces",
            with(&[(50, 5), (0, 2)], 100, &[1; 7]),
            IMPOSSIBLE,
        ),
        refused(
            "negative offset",
            with(&[(-5, 5)], 100, &[1; 5]),
            IMPOSSIBLE,
        ),
        refused(
            "negative length",
            with(&[(5, -5)], 100, &[1; 5]),
            IMPOSSIBLE,
        ),
        refused(
            "piece beyond the file",
            with(&[(99, 5)], 100, &[1; 5]),
            IMPOSSIBLE,
        ),
        refused(
            "pieces of less than there is",
            with(&[(0, 5)], 100, &[1; 7]),
            IMPOSSIBLE,
        ),
        refused(
            "pieces whose sum turns over",
            with(
                &[(0, i128::from(i64::MAX)), (i128::from(i64::MAX), 1)],
                100,
                &[1; 7],
            ),
            IMPOSSIBLE,
        ),
        refused(
            "real size of 2^63",
            with(&[(0, 5)], 1 << 63, &[1; 5]),
            "bad number",
        ),
        refused(
            "negative real size",
            with(&[(0, 5)], -1, &[1; 5]),
            "negative real size",
        ),
        refused(
            "map that goes on and does not",
            ok().put(more(1), b"").cut(),
            "the archive is truncated",
        ),
        refused(
            "map that goes on without a piece",
            ok().put(more(1), b"")
                .bytes(&empty_block)
                .bytes(&empty_block)
                .end(),
            "empty map block",
        ),
        refused(
            "map of a quarter of a million pieces",
            flood.end(),
            "in more than",
        ),
        taken(
            "file of a hole",
            ok().put(old_head(&[], 1 << 34, 0), b""),
            &[("s", Found::Hole(1 << 34))],
        ),
    ]
}

fn pax_0() -> Vec<Case> {
    let with =
        |records: &[(&str, &[u8])], content: &[u8]| ok().pax(records).file("s", content).end();
    let size = ("GNU.sparse.size", &b"10"[..]);
    let map = |text: &'static str| ("GNU.sparse.map", text.as_bytes());
    let zeros = "1,0,".repeat(200_000);
    vec![
        refused(
            "map beyond its file",
            with(&[size, map("0,50")], &[0; 50]),
            IMPOSSIBLE,
        ),
        refused(
            "map of odd numbers",
            with(&[size, map("0,1,2")], b"x"),
            HALF,
        ),
        refused(
            "map with a sign",
            with(&[size, map("-1,1")], b"x"),
            "bad number",
        ),
        refused("map of nothing", with(&[size, map("")], b"x"), HALF),
        refused(
            "map without a size",
            with(&[("GNU.sparse.map", b"0,1")], b"x"),
            NO_SIZE,
        ),
        refused(
            "map that is longer than headers are",
            with(
                &[
                    size,
                    (
                        "GNU.sparse.map",
                        &[zeros.as_bytes(), zeros.as_bytes()].concat(),
                    ),
                ],
                b"x",
            ),
            "the longest allowed has",
        ),
        refused(
            "file of an exabyte",
            with(
                &[("GNU.sparse.size", b"1152921504606846976"), map("0,1")],
                b"x",
            ),
            IMPOSSIBLE,
        ),
        refused(
            "length before its offset",
            with(&[size, ("GNU.sparse.numbytes", b"1")], b"x"),
            HALF,
        ),
        refused(
            "offset without a length",
            with(&[size, ("GNU.sparse.offset", b"1")], b"x"),
            HALF,
        ),
        refused(
            "two offsets of one length",
            with(
                &[
                    size,
                    ("GNU.sparse.offset", b"1"),
                    ("GNU.sparse.offset", b"2"),
                    ("GNU.sparse.numbytes", b"1"),
                ],
                b"x",
            ),
            HALF,
        ),
        taken(
            "hole of 32 GiB takes no disk",
            ok().pax(&[
                ("GNU.sparse.size", b"34359738368"),
                ("GNU.sparse.map", b"34359738367,1"),
            ])
            .file("s", b"x"),
            &[("s", Found::Hole(1 << 35))],
        ),
    ]
}

const NO_SIZE: &str = "without its size";

fn pax_1() -> Vec<Case> {
    let version = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
    ];
    let with = |map: &[u8], rest: &[u8]| {
        let records = [&version[..], &[("GNU.sparse.realsize", b"4096")]].concat();
        let mut content = map.to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        content.extend_from_slice(rest);
        ok().pax(&records).file("stored", &content)
    };
    let damaged = "damaged map";
    vec![
        refused("map of no numbers", with(b"x\n", b"").end(), "bad number"),
        refused("map without lines", with(&[b'1'; 600], b"").end(), damaged),
        refused(
            "map of a number too long",
            with(&[b"1\n", &[b'9'; 30][..]].concat(), b"").end(),
            damaged,
        ),
        refused(
            "map of a million pieces",
            with(b"1000000\n0\n0\n", b"").end(),
            "in more than",
        ),
        refused(
            "map of more pieces than there are",
            with(b"100\n0\n1\n", b"").end(),
            damaged,
        ),
        refused(
            "map that is the whole content, and no more",
            with(b"1\n0\n5\n", b"").end(),
            IMPOSSIBLE,
        ),
        refused(
            "descending map",
            with(b"2\n100\n1\n0\n1\n", b"xy").end(),
            IMPOSSIBLE,
        ),
        refused(
            "map without the real size",
            ok().pax(&version).file("stored", b"0\n").end(),
            "without its size",
        ),
        taken(
            "an honest one",
            with(b"2\n0\n1\n4096\n0\n", b"x"),
            &[("s", Found::Hole(4096)), ("stored", Found::Nothing)],
        ),
    ]
}
