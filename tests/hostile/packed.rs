//! Compressed layers: cut, with rubbish, within one another, and larger than they have a right to be.

use std::io::Write as _;

use crate::{Case, Fate, Found, Raw, refused};

pub(crate) fn cases() -> Vec<Case> {
    let tar = Raw::new().file("ok", b"x").end();
    let (gz, zst) = (gzip(&tar), zstd(&tar));
    let mut flipped = gz.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let mut flipped_zstd = zst.clone();
    let last = flipped_zstd.len() - 1;
    flipped_zstd[last] ^= 1;
    let read = "cannot read the archive";
    let ok = |name, bytes| Case {
        name,
        bytes,
        fate: Fate::Taken(vec![("ok", Found::File(b"x"))]),
    };
    let half = tar.len() / 2;
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    vec![
        refused("gzip with a wrong checksum", flipped, read),
        refused("zstd with a wrong checksum", flipped_zstd, read),
        refused("gzip of a gzip", gzip(&gz), "truncated"),
        refused("zstd of a gzip", zstd(&gz), "truncated"),
        refused(
            "gzip with rubbish after it",
            [&gz[..], &[b'r'; 600]].concat(),
            read,
        ),
        refused(
            "zstd with rubbish after it",
            [&zst[..], b"rubbish"].concat(),
            read,
        ),
        refused("gzip's head alone", gz[..10].to_vec(), "truncated"),
        refused(
            "gzip of nothing but its magic",
            [&[0x1f, 0x8b][..], &[0xff; 600]].concat(),
            read,
        ),
        refused(
            "zstd of nothing but its magic",
            [&zst[..4], &[0xff; 600]].concat(),
            read,
        ),
        refused("zstd with a window of 2 GiB", wide_window(), "zstd window"),
        refused(
            "xz",
            [&b"\xfd7zXZ\0"[..], &[0; 600]].concat(),
            "compressed with xz",
        ),
        refused(
            "bzip2",
            [&b"BZh91AY&SY"[..], &[0; 600]].concat(),
            "compressed with bzip2",
        ),
        ok(
            "gzip in two members",
            [gzip(&tar[..half]), gzip(&tar[half..])].concat(),
        ),
        ok("zstd in two frames, and some that hold nothing", {
            [
                &skippable[..],
                &zstd(&tar[..half]),
                &skippable,
                &zstd(&tar[half..]),
            ]
            .concat()
        }),
        ok("gzip of no size and of all", [gzip(b""), gz].concat()),
    ]
}

/// Compressed with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(bytes).expect("memory takes it");
    w.finish().expect("memory takes it")
}

/// Compressed with zstd, with a checksum.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut w = zstd::Encoder::new(Vec::new(), 1).expect("it begins");
    w.include_checksum(true).expect("it can");
    w.write_all(bytes).expect("memory takes it");
    w.finish().expect("memory takes it")
}

/// Every cut of a compressed layer, some bytes apart.
pub fn truncations(step: usize) -> Vec<Vec<u8>> {
    let tar = Raw::new().file("ok", &[b'x'; 700]).end();
    let cuts = |whole: Vec<u8>| {
        (1..whole.len())
            .step_by(step)
            .map(move |at| whole[..at].to_vec())
            .collect::<Vec<_>>()
    };
    [cuts(gzip(&tar)), cuts(zstd(&tar))].concat()
}

/// A frame that says it needs 2 GiB to look back into (RFC 8878, 3.1.1.1.2), and then a block.
fn wide_window() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3];
    frame.extend_from_slice(&[0x01, 0x00, 0x00]);
    frame
}

/// That many bytes of zeros after the end of an empty tar, in blocks of four bytes for each 128 KiB
/// (RFC 8878, 3.1.1.2.2).
pub fn zstd_bomb(bytes: u64) -> Vec<u8> {
    const BLOCK_BYTES: u32 = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (20 - 10) << 3];
    let head = (BLOCK_BYTES << 3) | 0b010;
    let head = head.to_le_bytes();
    for _ in 0..bytes / u64::from(BLOCK_BYTES) {
        frame.extend_from_slice(&[head[0], head[1], head[2], 0]);
    }
    frame.extend_from_slice(&[0x01, 0x00, 0x00]);
    frame
}
