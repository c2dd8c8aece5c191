//! A moment as filters name it: a time in one of several spellings, or an age (moby's
//! `timestamp.GetTimestamp`).

use jiff::tz::Offset;
use jiff::{SignedDuration, civil};

use crate::Timestamp;
use crate::error::{Error, Result};

/// Reads a moment:
///
/// - an age before `now`, as Go writes durations: `10s`, `1h30m`;
/// - a date, `2006-01-02`, with an hour, minute, second and fraction behind it or without, and
///   with `Z` or an offset (`+02:00`) at the end or else in the host's zone, `local`;
/// - Unix seconds, with a fraction or without.
///
/// # Errors
/// 400 in Docker's words.
pub fn parse(text: &str, now: Timestamp, local: Offset) -> Result<Timestamp> {
    let found = match duration(text) {
        // Go takes a bare 0 for a duration too; Docker takes it for the year 1970.
        Some(age) if text != "0" => now.checked_sub(age).ok(),
        // With a dash it was meant for a date.
        _ if text.contains('-') => date_time(text, local),
        _ => date_time(text, local).or_else(|| unix(text)),
    };
    found.ok_or_else(|| {
        let shown: String = text.chars().take(128).collect();
        Error::invalid(format!(
            "failed to parse value as time or duration: {shown:?}"
        ))
    })
}

/// A duration as Go shows it: `1h0m0s`, `1m30s`, `1.5s`, `500ms`, `0s`.
pub fn show_duration(duration: std::time::Duration) -> String {
    let with_fraction = |nanos: u128, unit: u128, name: &str| {
        let digits = unit.ilog10() as usize;
        let (whole, fraction) = (nanos / unit, nanos % unit);
        let text = format!("{whole}.{fraction:0digits$}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{text}{name}")
    };
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => with_fraction(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => with_fraction(nanos, 1_000_000, "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let below = nanos - u128::from(minutes) * 60_000_000_000;
            let seconds = with_fraction(below, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// Go's `time.ParseDuration`.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number_end);
        let is_unit = |c: char| !c.is_ascii_digit() && c != '.';
        let (unit, behind) = behind.split_at(behind.find(|c| !is_unit(c)).unwrap_or(behind.len()));
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse::<i64>().ok()?.into()
        };
        total += whole * nanos + i128::from(nine_digits(fraction)?) * nanos / 1_000_000_000;
        rest = behind;
    }
    let nanos = i64::try_from(total).ok()?;
    Some(SignedDuration::from_nanos(if is_negative {
        -nanos
    } else {
        nanos
    }))
}

/// RFC 3339, or the beginning of it.
fn date_time(text: &str, local: Offset) -> Option<Timestamp> {
    let (text, offset) = split_offset(text, local)?;
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4..=4)?;
    let month = digits(parts.next()?, 2..=2)?;
    let day = digits(parts.next()?, 2..=2)?;
    let date = civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let time = time.map_or(Some(civil::Time::MIN), time_of_day)?;
    offset.to_timestamp(date.to_datetime(time)).ok()
}

/// `15`, `15:04`, `15:04:05` or `15:04:05.999`.
fn time_of_day(text: &str) -> Option<civil::Time> {
    let mut parts = text.splitn(3, ':');
    let hour = digits(parts.next()?, 1..=2)?;
    let minute = parts.next().map_or(Some(0), |text| digits(text, 2..=2))?;
    let (second, fraction) = match parts.next() {
        Some(text) => text.split_once('.').unwrap_or((text, "")),
        None => ("00", ""),
    };
    let second = digits(second, 2..=2)?;
    let [hour, minute, second] = [hour, minute, second].map(|n| i8::try_from(n).unwrap_or(i8::MAX));
    civil::Time::new(hour, minute, second, nine_digits(fraction)?).ok()
}

/// The offset at the end of a time, and what is before it.
fn split_offset(text: &str, local: Offset) -> Option<(&str, Offset)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest, Offset::UTC));
    }
    // A date has two dashes of its own.
    let sign = match text.rfind('+') {
        Some(at) => at,
        None if text.matches('-').count() == 3 => text.rfind('-')?,
        None => return Some((text, local)),
    };
    let (rest, offset) = text.split_at(sign);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let seconds = i32::from(digits(hours, 2..=2)?) * 3600 + i32::from(digits(minutes, 2..=2)?) * 60;
    let is_west = offset.starts_with('-');
    let offset = Offset::from_seconds(if is_west { -seconds } else { seconds }).ok()?;
    Some((rest, offset))
}

/// Unix seconds and a fraction.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = seconds.parse().ok()?;
    Timestamp::new(seconds, nine_digits(fraction)?).ok()
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<i16> {
    let is_number = length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// What stands behind the dot, as billionths; more than nine digits are cut.
fn nine_digits(text: &str) -> Option<i32> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let nine = text.bytes().chain(std::iter::repeat(b'0')).take(9);
    is_number.then(|| nine.fold(0, |n, digit| n * 10 + i32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Timestamp> {
        let now = "2020-01-02T03:04:05.123456789Z".parse().unwrap();
        parse(text, now, Offset::constant(2))
    }

    #[test]
    fn durations_are_shown_as_go_does() {
        let nanos = std::time::Duration::from_nanos;
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_001_000_000, "1h1m1.001s"),
        ] {
            assert_eq!(show_duration(nanos(ns)), text);
        }
    }

    #[test]
    fn times_ages_and_unix_seconds_as_moby_reads_them() {
        for (text, wanted) in [
            (
                "2006-01-02T15:04:05.999999999+07:00",
                "2006-01-02T08:04:05.999999999Z",
            ),
            (
                "2006-01-02T15:04:05.999999999Z",
                "2006-01-02T15:04:05.999999999Z",
            ),
            ("2006-01-02T15:04:05.5", "2006-01-02T13:04:05.5Z"),
            ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z"),
            ("2006-01-02T15:04:05", "2006-01-02T13:04:05Z"),
            ("2006-01-02T15:04Z", "2006-01-02T15:04:00Z"),
            ("2006-01-02T15:04-01:30", "2006-01-02T16:34:00Z"),
            ("2006-01-02T15:04", "2006-01-02T13:04:00Z"),
            ("2006-01-02T15+00:00", "2006-01-02T15:00:00Z"),
            ("2006-01-02T1", "2006-01-01T23:00:00Z"),
            ("2006-01-02-00:01", "2006-01-02T00:01:00Z"),
            ("2006-01-02Z", "2006-01-02T00:00:00Z"),
            ("2006-01-02", "2006-01-01T22:00:00Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
            ("1136073600.5", "2006-01-01T00:00:00.5Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("-1m", "2020-01-02T03:05:05.123456789Z"),
            ("0m", "2020-01-02T03:04:05.123456789Z"),
            ("10s", "2020-01-02T03:03:55.123456789Z"),
            ("1.5h", "2020-01-02T01:34:05.123456789Z"),
            ("1h30m", "2020-01-02T01:34:05.123456789Z"),
            ("1h.5m1ms", "2020-01-02T02:03:35.122456789Z"),
            ("24h", "2020-01-01T03:04:05.123456789Z"),
        ] {
            let wanted: Timestamp = wanted.parse().unwrap();
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_moby_refuses() {
        for text in [
            "",
            " 1136073600 ",
            "foo.bar",
            "1136073600.bar",
            "soon",
            "-",
            "+",
            "h",
            ".s",
            "1d",
            "1 h",
            "9999999999h",
            "99999999999999999999",
            "-5",
            "2006-01-02T",
            "2006-01-02TZ",
            "2006-01-02T15:0",
            "2006-01-02T15:04:0Z",
            "2006-13-02",
            "2006-01-02T25",
            "06-01-02",
            "2006-01-02T15:04+7",
            "2006-01-02é+",
            "1µ",
            "2006-01-02T15:04:05:06",
        ] {
            let e = read(text).unwrap_err();
            assert!(
                e.message().ends_with(&format!("duration: {text:?}")),
                "{text}: {e}"
            );
        }
    }
}
