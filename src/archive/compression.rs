//! Streams unpacked in process, whatever they were packed with.
//!
//! Decided by magic, never by a name or media type, and never by an external program: one found
//! in a container's PATH runs as root on the host (CVE-2026-41567).

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use model::{Error, Result, limits};

use crate::failure::{carried, reading};

/// How much is read at once; large enough that system calls do not show.
const BUFFER_BYTES: usize = 128 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The longest of all of them.
const MAGIC_BYTES_MAX: u64 = 6;
/// Formats Docker knows and this does not: told by name instead of "not a tar".
const FOREIGN: [(&[u8], &str); 3] = [
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
];

/// The compressions that are unpacked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// How what begins with `head` is compressed; `None` for plain bytes and what is not known.
pub fn packed_with(head: &[u8]) -> Option<Packing> {
    if head.starts_with(GZIP) {
        return Some(Packing::Gzip);
    }
    (head.starts_with(ZSTD) || is_skippable_frame(head)).then_some(Packing::Zstd)
}

/// Whether what begins with `head` is compressed, with something that is unpacked here or not.
pub fn is_packed(head: &[u8]) -> bool {
    packed_with(head).is_some() || foreign(head).is_some()
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    let found = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, name)| *name)
}

/// The first bytes of `source`, as many as [`packed_with`] looks at, and all of it once more.
///
/// # Errors
/// As [`Reader::next_entry`](crate::Reader::next_entry).
pub fn peek<R: Read>(source: R) -> Result<(Vec<u8>, impl Read)> {
    let counted = Counted::new(source)?;
    Ok((counted.head.get_ref().clone(), counted))
}

/// An unpacked stream that refuses to grow beyond reason.
pub struct Unpacked<R: Read> {
    inner: Format<R>,
    out_bytes: u64,
}

type Input<R> = BufReader<Counted<R>>;

enum Format<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<zstd::Decoder<'static, Input<R>>>),
}

impl<R: Read> std::fmt::Debug for Unpacked<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked").finish_non_exhaustive()
    }
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes of `source` and unpacks it accordingly; anything unknown is
    /// passed as it is.
    ///
    /// # Errors
    /// `InvalidParameter` for a compression that is known but not built.
    pub fn new(source: R) -> Result<Self> {
        let counted = Counted::new(source)?;
        let head = counted.head.get_ref().clone();
        let input = BufReader::with_capacity(BUFFER_BYTES, counted);
        let inner = match packed_with(&head) {
            Some(Packing::Gzip) => Format::Gzip(Box::new(MultiGzDecoder::new(input))),
            Some(Packing::Zstd) => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(reading)?;
                decoder
                    .window_log_max(limits::ZSTD_WINDOW_LOG_MAX)
                    .map_err(reading)?;
                Format::Zstd(Box::new(decoder))
            }
            None => {
                if let Some(name) = foreign(&head) {
                    return Err(Error::invalid(format!(
                        "the archive is compressed with {name}, which is not supported: \
                         compress it with gzip or zstd"
                    )));
                }
                Format::Plain(input)
            }
        };
        Ok(Self {
            inner,
            out_bytes: 0,
        })
    }

    fn in_bytes(&self) -> u64 {
        match &self.inner {
            Format::Plain(r) => r.get_ref().bytes,
            Format::Gzip(r) => r.get_ref().get_ref().bytes,
            Format::Zstd(r) => r.get_ref().get_ref().bytes,
        }
    }

    /// Reads what follows the unpacked stream, up to so much, and throws it away.
    ///
    /// # Errors
    /// As [`Reader::next_entry`](crate::Reader::next_entry).
    pub fn finish_within(self, bytes_max: u64) -> Result<()> {
        let mut rest = self.into_input().take(bytes_max);
        io::copy(&mut rest, &mut io::sink()).map_err(reading)?;
        Ok(())
    }

    fn into_input(self) -> Input<R> {
        match self.inner {
            Format::Plain(r) => r,
            Format::Gzip(r) => r.into_inner(),
            Format::Zstd(r) => r.finish(),
        }
    }

    /// The source, with whatever follows the unpacked stream read and thrown away, so that
    /// digests over it are complete.
    ///
    /// # Errors
    /// As [`Reader::next_entry`](crate::Reader::next_entry).
    pub fn finish(self) -> Result<R> {
        let mut input = self.into_input();
        io::copy(&mut input, &mut io::sink()).map_err(reading)?;
        Ok(input.into_inner().source)
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.inner {
            Format::Plain(r) => r.read(buf),
            Format::Gzip(r) => r.read(buf),
            Format::Zstd(r) => r.read(buf).map_err(zstd_failure),
        }?;
        self.out_bytes += n as u64;
        if self.out_bytes > limits::EXPANSION_FREE_BYTES
            && self.out_bytes / limits::EXPANSION_RATIO_MAX > self.in_bytes()
        {
            return Err(carried(Error::invalid(format!(
                "the archive unpacks to more than {} times its size",
                limits::EXPANSION_RATIO_MAX
            ))));
        }
        Ok(n)
    }
}

/// libzstd's sentence about a window beyond the limit says nothing that helps, and has no code
/// once it is an [`io::Error`].
fn zstd_failure(e: io::Error) -> io::Error {
    if !e.to_string().contains("requires too much memory") {
        return e;
    }
    carried(Error::invalid(format!(
        "the archive needs a zstd window of more than {} MiB: compress it without --long and \
         --ultra",
        (1_u64 << limits::ZSTD_WINDOW_LOG_MAX) >> 20
    )))
}

/// zstd streams may begin with frames that hold no data (RFC 8878, 3.1.2).
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// A source of which the first bytes are known: a client may send them one by one.
struct Counted<R> {
    head: io::Cursor<Vec<u8>>,
    source: R,
    bytes: u64,
}

impl<R: Read> Counted<R> {
    fn new(mut source: R) -> Result<Self> {
        let mut head = Vec::new();
        let mut start = source.by_ref().take(MAGIC_BYTES_MAX);
        start.read_to_end(&mut head).map_err(reading)?;
        Ok(Self {
            head: io::Cursor::new(head),
            source,
            bytes: 0,
        })
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match self.head.read(buf)? {
            0 => self.source.read(buf)?,
            n => n,
        };
        self.bytes += n as u64;
        Ok(n)
    }
}

/// `source` behind a buffer of the size used everywhere here.
pub fn buffered<R: Read>(source: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, source)
}

/// What is written into it goes to `out` compressed with gzip, as fast as that can be.
pub fn gzip<W: io::Write>(out: W) -> flate2::write::GzEncoder<W> {
    flate2::write::GzEncoder::new(out, flate2::Compression::fast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut unpacked = Unpacked::new(bytes)?;
        unpacked.read_to_end(&mut out).map_err(reading)?;
        assert!(unpacked.finish()?.is_empty());
        Ok(out)
    }

    #[test]
    fn each_format_is_seen_by_its_magic() {
        let plain = b"hello ".repeat(1000);
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd].concat();
        for packed in [plain.clone(), gzip(&plain), zstd, skippable] {
            assert_eq!(unpack(&packed).unwrap(), plain);
        }
        // Whatever comes with the first read.
        for packed in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
            let (first, rest) = packed.split_at(1);
            let mut out = Vec::new();
            let mut unpacked = Unpacked::new(first.chain(rest)).unwrap();
            unpacked.read_to_end(&mut out).unwrap();
            assert_eq!(out, plain);
        }
        let e = Unpacked::new((&b"\xfd7z"[..]).chain(&b"XZ\0.."[..])).unwrap_err();
        assert!(e.message().contains("compressed with xz"), "{e}");
        let two = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(unpack(&two).unwrap(), b"onetwo");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    /// Gives what it has a byte at a time, as a slow client does.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let one = buf.len().min(1);
            self.0.read(&mut buf[..one])
        }
    }

    #[test]
    fn a_magic_that_comes_in_pieces_is_seen() {
        let plain = b"hello ".repeat(100);
        for packed in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
            let mut out = Vec::new();
            let mut unpacked = Unpacked::new(Dribble(&packed)).unwrap();
            unpacked.read_to_end(&mut out).unwrap();
            assert_eq!(out, plain);
        }
        let e = Unpacked::new(Dribble(b"\xfd7zXZ\0..")).unwrap_err();
        assert!(e.message().contains("compressed with xz"), "{e}");
    }

    #[test]
    fn what_cannot_be_unpacked_is_the_clients_fault() {
        let packed = gzip(&b"x".repeat(100_000));
        let mut flipped = packed.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        let zstd = zstd::encode_all(&b"y".repeat(100_000)[..], 1).unwrap();
        for bad in [
            &packed[..packed.len() - 20],
            &flipped,
            &zstd[..zstd.len() - 3],
            b"\xfd7zXZ\0..",
            b"BZh9",
        ] {
            let e = unpack(bad).unwrap_err();
            assert_eq!(e.kind(), model::Kind::InvalidParameter, "{e}");
        }
    }

    #[test]
    fn a_window_larger_than_allowed_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(limits::ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        // More than one window, or the encoder shrinks it.
        encoder.write_all(&vec![7; 20 << 20]).unwrap();
        let e = unpack(&encoder.finish().unwrap()).unwrap_err();
        assert_eq!(e.kind(), model::Kind::InvalidParameter, "{e}");
        assert!(e.message().contains("more than 8 MiB"), "{e}");
    }

    #[test]
    fn a_bomb_is_refused_after_the_free_part() {
        let mut one = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..1100 {
            one.write_all(&zeros).unwrap();
        }
        let packed = one.finish().unwrap();
        let mut bomb = Unpacked::new(&packed[..]).unwrap();
        let e = io::copy(&mut bomb, &mut io::sink())
            .map_err(reading)
            .unwrap_err();
        assert!(e.message().contains("more than 1000 times"), "{e}");
    }
}
