//! One line of a k8s-file log, as conmon writes it: `TIME STREAM F|P text`.
//!
//! conmon puts one time on everything it read at once, cuts at newlines and at 8192 bytes, and
//! marks with `P` what did not end in a newline. Its times have nine digits and the local offset,
//! which is `+00:00` because it is started with TZ=UTC; other offsets are read too, for logs that
//! were written otherwise. This file judges single lines; joining them is `assemble`'s.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memmem;

use crate::stdcopy::StreamId;

/// A line of the log file, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) stamp: Stamp,
    pub(super) stream: StreamId,
    /// The container wrote no newline here: the line goes on in the stream's next record.
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a whole line; `None` when it is damaged.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let space = memchr::memchr(b' ', line)?;
        let stamp = Stamp::parse(&line[..space])?;
        let (stream, rest) = match line[space + 1..].split_at_checked(7)? {
            (b"stdout ", rest) => (StreamId::Stdout, rest),
            (b"stderr ", rest) => (StreamId::Stderr, rest),
            _ => return None,
        };
        let (partial, text) = match rest {
            [b'F', b' ', text @ ..] => (false, text),
            [b'P', b' ', text @ ..] => (true, text),
            _ => return None,
        };
        Some(Self {
            stamp,
            stream,
            partial,
            text,
        })
    }

    /// Finds a whole record at the end of a damaged line: after a crash, zeros or the torn
    /// beginning of another record can stand in front of it. Returns where it begins.
    pub(super) fn salvage(line: &'a [u8]) -> Option<(usize, Self)> {
        memmem::find_iter(line, b" std").find_map(|space| {
            let at = space.checked_sub(CONMON_TIME_BYTES)?;
            Some((at, Self::parse(&line[at..])?))
        })
    }
}

/// `2026-11-23T11:52:22.085016519+00:00`.
const CONMON_TIME_BYTES: usize = 35;
const STAMP_BYTES: usize = 29;
const STAMP_SHAPE: &[u8; STAMP_BYTES] = b"0000-00-00T00:00:00.000000000";

/// A time in UTC with nine digits, as text without the `Z`: what is read is mostly what is
/// written out, and bytes compare as times do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp([u8; STAMP_BYTES]);

impl Stamp {
    fn parse(text: &[u8]) -> Option<Self> {
        if let Some((stamp, b"+00:00" | b"Z")) = text.split_first_chunk::<STAMP_BYTES>()
            && has_shape(stamp)
        {
            return Some(Self(*stamp));
        }
        let time: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(Self::from(time))
    }

    /// The text, without the `Z`.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn has_shape(stamp: &[u8; STAMP_BYTES]) -> bool {
    stamp.iter().zip(STAMP_SHAPE).all(|(byte, shape)| {
        if *shape == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        }
    })
}

impl From<Timestamp> for Stamp {
    /// Years before 0 become 0: nothing was logged then.
    fn from(time: Timestamp) -> Self {
        let t = time.to_zoned(TimeZone::UTC).datetime();
        let mut text = String::with_capacity(STAMP_BYTES);
        write!(
            text,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}",
            t.year().max(0),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.subsec_nanosecond()
        )
        .expect("writing to a string succeeds");
        Self(
            text.into_bytes()
                .try_into()
                .expect("every field has its fixed width, and years end at 9999"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-23T11:52:22.085016519+00:00";

    fn line(rest: &str) -> Vec<u8> {
        format!("{TIME} {rest}").into_bytes()
    }

    #[test]
    fn conmons_lines_are_read() {
        let full = line("stdout F out1");
        let record = Record::parse(&full).unwrap();
        assert_eq!(record.stamp.as_bytes(), &TIME.as_bytes()[..29]);
        assert_eq!(record.stream, StreamId::Stdout);
        assert!(!record.partial);
        assert_eq!(record.text, b"out1");

        let partial = line("stderr P  two  spaces \r");
        let record = Record::parse(&partial).unwrap();
        assert_eq!(record.stream, StreamId::Stderr);
        assert!(record.partial);
        assert_eq!(record.text, b" two  spaces \r");

        let empty = line("stdout F ");
        assert_eq!(Record::parse(&empty).unwrap().text, b"");
    }

    #[test]
    fn other_times_become_utc_with_nine_digits() {
        for (written, read) in [
            (
                "2026-11-23T13:52:22.085016519+02:00",
                "2026-11-23T11:52:22.085016519",
            ),
            (
                "2026-11-22T23:30:00.000000001-05:00",
                "2026-11-23T04:30:00.000000001",
            ),
            (
                "2026-11-23T11:52:22.085016519Z",
                "2026-11-23T11:52:22.085016519",
            ),
            ("2026-11-23T11:52:22.5Z", "2026-11-23T11:52:22.500000000"),
            ("2026-11-23T11:52:22Z", "2026-11-23T11:52:22.000000000"),
        ] {
            let stamp = Stamp::parse(written.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(stamp.as_bytes()).unwrap(), read);
        }
    }

    #[test]
    fn stamps_compare_as_times() {
        let times = ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999999999Z"];
        let [old, new] = times.map(|t| Stamp::from(t.parse::<Timestamp>().unwrap()));
        assert!(old < new);
        assert!(Stamp::from(Timestamp::MIN) < old);
        assert!(new < Stamp::from(Timestamp::MAX));
    }

    #[test]
    fn damaged_lines_are_none() {
        for bad in [
            "",
            " ",
            "hello world",
            "2026-11-23T11:52:22.085016519+00:00",
            "2026-11-23T11:52:22.085016519+00:00 stdout",
            "2026-11-23T11:52:22.085016519+00:00 stdout F",
            "2026-11-23T11:52:22.085016519+00:00 stdin F x",
            "2026-11-23T11:52:22.085016519+00:00 stdout X x",
            "2026-11-23T11:52:22.085016519+00:00 stdout Fx",
            "2026-11-23T11:52:22.08501651x+00:00 stdout F x",
            "026-11-23T11:52:22.085016519+00:00 stdout F x",
            "yesterday stdout F x",
            "\0\0\0\0",
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_record_behind_damage_is_salvaged() {
        for damage in ["\0\0\0\0\0", "2026-11-23T11:5", " stdout F ", " std"] {
            let mut bytes = damage.as_bytes().to_vec();
            bytes.extend(line("stderr F whole"));
            let (at, record) = Record::salvage(&bytes).unwrap();
            assert_eq!(at, damage.len());
            assert_eq!(record.text, b"whole");
        }
        assert_eq!(Record::salvage(b"stdout F no time at all stdout F"), None);
    }
}
