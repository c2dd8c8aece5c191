//! Single values of a query, read as Docker's handlers read them.

use model::{Error, Result, Timestamp};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

/// A boolean of a query: empty, `0`, `no`, `false` and `none` in any case are false, all else is
/// true (moby `httputils.BoolValue`). docker-py sends `True`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DockerBool(pub bool);

impl DockerBool {
    /// From the text of a query.
    pub fn parse(text: &str) -> Self {
        let word = text.trim().to_ascii_lowercase();
        Self(!matches!(word.as_str(), "" | "0" | "no" | "false" | "none"))
    }
}

impl<'de> Deserialize<'de> for DockerBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::parse(&text))
    }
}

/// A time of a query: unix seconds with optional nanoseconds behind a dot (moby
/// `timetypes.ParseTimestamps`). Absent, empty and `0` are no time. What lies beyond the years
/// that a timestamp can hold becomes the first or last of them.
///
/// # Errors
/// 400, in the words of Go's `strconv`.
pub fn timestamp(text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text.filter(|t| !t.is_empty() && *t != "0") else {
        return Ok(None);
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = parse_int("ParseInt", seconds)?;
    let nanos = nanoseconds(fraction)?;
    let extreme = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Ok(Some(Timestamp::new(seconds, nanos).unwrap_or(extreme)))
}

/// The digits behind the dot as nanoseconds; more than nine digits are cut.
fn nanoseconds(digits: &str) -> Result<i32> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax("ParseInt", digits));
    }
    let nine = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    Ok(nine.fold(0, |n, digit| n * 10 + i32::from(digit - b'0')))
}

/// A whole number of a query, as Go's `strconv.Atoi` reads it. Absent and empty are none.
///
/// # Errors
/// 400, in the words of Go's `strconv`.
pub fn integer(text: Option<&str>) -> Result<Option<i64>> {
    text.filter(|t| !t.is_empty())
        .map(|t| parse_int("Atoi", t))
        .transpose()
}

fn parse_int(function: &str, text: &str) -> Result<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax(function, text));
    }
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "strconv.{function}: parsing {text:?}: value out of range"
        ))
    })
}

fn syntax(function: &str, text: &str) -> Error {
    Error::invalid(format!(
        "strconv.{function}: parsing {text:?}: invalid syntax"
    ))
}

/// Rows or columns of a terminal (`struct winsize` has 16 bits). Unlike other numbers, none is an error.
///
/// # Errors
/// 400, in Docker's words.
fn terminal_side(text: Option<&str>) -> Result<u16> {
    let number = integer(text)?
        .ok_or_else(|| Error::invalid("strconv.Atoi: parsing \"\": invalid syntax"))?;
    u16::try_from(number).map_err(|_| Error::invalid(format!("invalid terminal size: {number}")))
}

/// The query of a resize.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResizeQuery {
    /// Rows.
    #[param(value_type = u16, required = true)]
    h: Option<String>,
    /// Columns.
    #[param(value_type = u16, required = true)]
    w: Option<String>,
}

impl ResizeQuery {
    /// Rows and columns.
    ///
    /// # Errors
    /// 400, in Docker's words.
    pub fn size(&self) -> Result<(u16, u16)> {
        let height = terminal_side(self.h.as_deref())?;
        Ok((height, terminal_side(self.w.as_deref())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_booleans() {
        for no in ["", "0", "no", "false", "none", "False", " NONE "] {
            assert!(!DockerBool::parse(no).0, "{no:?}");
        }
        for yes in ["1", "true", "True", "yes", "2", "-"] {
            assert!(DockerBool::parse(yes).0, "{yes:?}");
        }
    }

    #[test]
    fn timestamps_are_seconds_and_a_fraction() {
        let read = |text| timestamp(Some(text)).unwrap();
        assert_eq!(timestamp(None).unwrap(), None);
        assert_eq!(read(""), None);
        assert_eq!(read("0"), None);
        assert_eq!(read("1.5").unwrap().as_nanosecond(), 1_500_000_000);
        assert_eq!(
            read("1700000000.000000001").unwrap().to_string(),
            "2023-11-14T22:13:20.000000001Z"
        );
        assert_eq!(read("9223372036854775807"), Some(Timestamp::MAX));
        for bad in ["x", "1.x", "1.", ".5", "2024-01-01T00:00:00Z", "1.-5"] {
            assert!(timestamp(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_told_in_gos_words() {
        assert_eq!(integer(Some("-1")).unwrap(), Some(-1));
        assert_eq!(
            integer(Some("abc")).unwrap_err().message(),
            "strconv.Atoi: parsing \"abc\": invalid syntax"
        );
        assert_eq!(
            integer(Some("99999999999999999999")).unwrap_err().message(),
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range"
        );
    }

    #[test]
    fn a_size_is_a_number_of_16_bits() {
        assert_eq!(terminal_side(Some("24")).unwrap(), 24);
        for none in [None, Some("")] {
            assert_eq!(
                terminal_side(none).unwrap_err().message(),
                "strconv.Atoi: parsing \"\": invalid syntax"
            );
        }
        assert!(terminal_side(Some("-1")).is_err());
        assert!(terminal_side(Some("65536")).is_err());
        assert!(terminal_side(Some("x")).is_err());
    }
}
