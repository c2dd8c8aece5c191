//! The 512-byte header block: v7, ustar, GNU and star differ in a few fields.
//!
//! Field positions are those of pax(1) (POSIX.1-2017) and GNU tar's manual, "Basic Tar Format".

use model::{Error, Result};
use sys::beneath::{DeviceNumber, FileTime};

use super::sparse;
use crate::path::shown;

/// Size of a header and of the units content is padded to.
pub(super) const BLOCK_BYTES: usize = 512;

const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A block whose checksum is right.
#[derive(Debug, Clone)]
pub(super) struct Header {
    block: [u8; BLOCK_BYTES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// No magic: nothing past the link name counts.
    V7,
    Ustar,
    Gnu,
    Star,
}

impl Header {
    pub(super) fn parse(block: [u8; BLOCK_BYTES]) -> Result<Self> {
        let header = Self { block };
        let stored = number(&block[CHECKSUM])?;
        let byte = |(at, b): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *b };
        let unsigned: i64 = block.iter().enumerate().map(|e| i64::from(byte(e))).sum();
        // Some old programs added the bytes up as signed ones.
        let signed: i64 = block
            .iter()
            .enumerate()
            .map(|e| i64::from(byte(e).cast_signed()))
            .sum();
        if stored != unsigned && stored != signed {
            return Err(Error::invalid(
                "not a tar archive, or damaged: bad header checksum",
            ));
        }
        Ok(header)
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[0..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32> {
        let mode = self.unsigned("mode", 100..108)?;
        // High bits are the file type in some archives; the type flag says that.
        Ok(u32::try_from(mode & 0o7777).unwrap_or_default())
    }

    pub(super) fn uid(&self) -> Result<u64> {
        self.unsigned("uid", 108..116)
    }

    pub(super) fn gid(&self) -> Result<u64> {
        self.unsigned("gid", 116..124)
    }

    pub(super) fn size_bytes(&self) -> Result<u64> {
        self.unsigned("size", 124..136)
    }

    pub(super) fn modified(&self) -> Result<FileTime> {
        Ok(FileTime {
            secs: number(&self.block[136..148])?,
            nanos: 0,
        })
    }

    pub(super) fn device(&self) -> Result<DeviceNumber> {
        if self.dialect() == Dialect::V7 {
            return Ok(DeviceNumber::default());
        }
        let field = |name, range| {
            let number = self.unsigned(name, range)?;
            u32::try_from(number)
                .map_err(|_| Error::invalid(format!("device number {number} is out of range")))
        };
        Ok(DeviceNumber {
            major: field("device major", 329..337)?,
            minor: field("device minor", 337..345)?,
        })
    }

    /// The map of an old GNU sparse file, and whether extension blocks follow.
    pub(super) fn sparse(&self) -> Result<(sparse::Map, bool)> {
        let mut map = sparse::Map {
            size_bytes: self.unsigned("real size", 483..495)?,
            segments: Vec::new(),
        };
        map.add_entries(&self.block[386..482])?;
        Ok((map, self.block[482] != 0))
    }

    fn dialect(&self) -> Dialect {
        match &self.block[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] if &self.block[508..512] == b"tar\0" => {
                Dialect::Star
            }
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    fn unsigned(&self, name: &str, range: std::ops::Range<usize>) -> Result<u64> {
        let value = number(&self.block[range])?;
        u64::try_from(value)
            .map_err(|_| Error::invalid(format!("negative {name} in a header of the archive")))
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// An octal number padded with spaces or NULs, or GNU's base-256 for what does not fit.
pub(super) fn number(field: &[u8]) -> Result<i64> {
    let invalid = || {
        Error::invalid(format!(
            "bad number {} in a header of the archive",
            shown(field)
        ))
    };
    if let Some(&first) = field.first()
        && first & 0x80 != 0
    {
        // Two's complement, the topmost bit being the marker.
        let negative = first & 0x40 != 0;
        let start: i64 = if negative { -1 } else { 0 };
        return field.iter().enumerate().try_fold(start, |sum, (at, byte)| {
            let digit = match (at, negative) {
                (0, true) => byte | 0x80,
                (0, false) => byte & 0x7f,
                _ => *byte,
            };
            if at == 0 {
                return Ok(if negative {
                    i64::from(digit.cast_signed())
                } else {
                    digit.into()
                });
            }
            sum.checked_mul(256)
                .and_then(|s| s.checked_add(digit.into()))
                .ok_or_else(invalid)
        });
    }
    let digits = text(field).trim_ascii();
    if digits.is_empty() {
        return Ok(0);
    }
    digits.iter().try_fold(0_i64, |sum, byte| match byte {
        b'0'..=b'7' => sum
            .checked_mul(8)
            .and_then(|s| s.checked_add(i64::from(byte - b'0')))
            .ok_or_else(invalid),
        _ => Err(invalid()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let good: [(&[u8], i64); 8] = [
            (b"0000644\0", 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0", 0),
            (b"        ", 0),
            (&[0x80, 0, 0, 1, 0], 256),
            (&[0xff, 0xff, 0xff, 0xfe], -2),
            (
                &[
                    0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                ],
                i64::MAX,
            ),
            (b"77777777777\0", 0o77_777_777_777),
        ];
        for (field, value) in good {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        for bad in [
            &b"12x"[..],
            b"8",
            b"-1",
            &[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }
}
