//! Extended headers (POSIX.1-2017 pax, "pax Extended Header"): `length key=value\n` records.
//!
//! Of a repeated key the last one counts, and an empty value takes the record back, as in Go's
//! `archive/tar`.

use std::collections::HashSet;

use model::{Error, Result, limits};
use sys::beneath::FileTime;

use super::sparse::Segment;
use crate::path::shown;

pub(super) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
pub(super) const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// The records that say something about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) modified: Option<FileTime>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// GNU tar's records about sparse files, in its three versions (its manual, "Storing Sparse
/// Files").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    pub(super) segments: Vec<Segment>,
    /// The offset of a version 0.0 pair whose length has not come yet.
    offset: Option<u64>,
}

impl Pax {
    pub(super) fn parse(mut content: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        let mut names_bytes = 0;
        while !content.is_empty() {
            let (key, value, rest) = record(content).ok_or_else(|| {
                Error::invalid(format!(
                    "bad extended header in the archive: {}",
                    shown(content)
                ))
            })?;
            if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                names_bytes += name.len() + 1;
            }
            if names_bytes > limits::XATTR_NAMES_BYTES_MAX {
                return Err(Error::invalid(format!(
                    "entry of the archive with more than {} bytes of names of attributes",
                    limits::XATTR_NAMES_BYTES_MAX
                )));
            }
            pax.set(key, value)?;
            content = rest;
        }
        pax.keep_last_xattrs();
        if pax.sparse.offset.is_some() {
            return Err(Error::invalid("sparse file with half a map in the archive"));
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size_bytes = optional_number(value)?,
            b"uid" => self.uid = optional_number(value)?,
            b"gid" => self.gid = optional_number(value)?,
            b"mtime" if value.is_empty() => self.modified = None,
            b"mtime" => self.modified = Some(time(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(key) = key.strip_prefix(SPARSE_PREFIX) {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    fn keep_last_xattrs(&mut self) {
        let mut seen = HashSet::new();
        self.xattrs.reverse();
        self.xattrs.retain(|(name, _)| seen.insert(name.clone()));
        self.xattrs.reverse();
    }
}

impl SparseRecords {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = Some(number(value)?),
            b"minor" => self.minor = Some(number(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size_bytes = Some(number(value)?),
            b"offset" if self.offset.is_none() => self.offset = Some(number(value)?),
            b"numbytes" => {
                let offset = self
                    .offset
                    .take()
                    .ok_or_else(|| Error::invalid("sparse file with half a map in the archive"))?;
                self.add(offset, number(value)?)?;
            }
            b"map" => {
                let mut numbers = value.split(|b| *b == b',').map(number);
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().ok_or_else(|| {
                        Error::invalid("sparse file with half a map in the archive")
                    })?;
                    self.add(offset?, length?)?;
                }
            }
            b"offset" => return Err(Error::invalid("sparse file with half a map in the archive")),
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() >= limits::SPARSE_SEGMENTS_MAX {
            return Err(super::sparse::too_many_segments());
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }
}

/// The first record's key and value, and what follows it.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = content.iter().position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&content[..space]).ok()?.parse().ok()?;
    let (record, rest) = content.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    // Names with a NUL would be cut by the kernel and mean two things.
    let is_text = !key.starts_with(XATTR_PREFIX);
    if key.is_empty() || key.contains(&0) || (is_text && value.contains(&0)) {
        return None;
    }
    Some((key, value, rest))
}

fn optional_number(value: &[u8]) -> Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    number(value).map(Some)
}

pub(super) fn number(value: &[u8]) -> Result<u64> {
    std::str::from_utf8(value)
        .ok()
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| Error::invalid(format!("bad number {} in an extended header", shown(value))))
}

/// Seconds with a fraction of any length; what is below a nanosecond is cut off.
fn time(value: &[u8]) -> Result<FileTime> {
    let parsed = || {
        let text = std::str::from_utf8(value).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let negative = whole.starts_with('-');
        let secs: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanos: u32 = digits.parse().ok()?;
        Some(if negative && nanos > 0 {
            FileTime {
                secs: secs.checked_sub(1)?,
                nanos: 1_000_000_000 - nanos,
            }
        } else {
            FileTime { secs, nanos }
        })
    };
    parsed()
        .ok_or_else(|| Error::invalid(format!("bad time {} in an extended header", shown(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(key: &str, value: &str) -> String {
        let body = format!(" {key}={value}\n");
        let mut length = body.len();
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        format!("{length}{body}")
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_takes_back() {
        let records = [
            encode("path", "first"),
            encode("path", "a=b\nc"),
            encode("uid", "7"),
            encode("uid", ""),
            encode("SCHILY.xattr.user.x", "1"),
            encode("SCHILY.xattr.user.x", "2"),
            encode("comment", "ignored"),
        ];
        let pax = Pax::parse(records.concat().as_bytes()).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a=b\nc"[..]));
        assert_eq!(pax.uid, None);
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"2".to_vec())]);
    }

    #[test]
    fn attributes_are_as_many_as_a_file_can_have() {
        let of = |count: usize| -> String {
            let records = (0..count).map(|n| encode(&format!("SCHILY.xattr.{n:07}"), ""));
            records.collect()
        };
        let most = limits::XATTR_NAMES_BYTES_MAX / 8;
        assert_eq!(Pax::parse(of(most).as_bytes()).unwrap().xattrs.len(), most);
        let e = Pax::parse(of(most + 1).as_bytes()).unwrap_err();
        assert!(e.message().contains("names of attributes"), "{e}");
    }

    #[test]
    fn times_have_fractions_on_either_side_of_1970() {
        let at = |text: &str| time(text.as_bytes()).map(|t| (t.secs, t.nanos));
        assert_eq!(at("12").unwrap(), (12, 0));
        assert_eq!(at("12.5").unwrap(), (12, 500_000_000));
        assert_eq!(
            at("1350244992.0239601089").unwrap(),
            (1_350_244_992, 23_960_108)
        );
        assert_eq!(at("-1.25").unwrap(), (-2, 750_000_000));
        for bad in ["", "x", "1.x", "1.-5", "99999999999999999999"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            "5 a=b",
            "99 a=b\n",
            "6 ab=\n\n",
            "x a=b\n",
            "6 path\n",
            "7 =abc\n",
            "0 a=b\n",
            "3 a\n",
            "11 path=a\0b\n",
            "-6 a=b\n",
            "18446744073709551616 a=b\n",
        ] {
            assert!(Pax::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "1x"),
            ("GNU.sparse.map", "1,2,3"),
            ("GNU.sparse.numbytes", "1"),
            ("GNU.sparse.offset", "1"),
        ] {
            assert!(Pax::parse(encode(key, value).as_bytes()).is_err(), "{key}");
        }
    }
}
