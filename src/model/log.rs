//! Where a container's output is kept, and how much of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where a container's output is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The driver.
    pub driver: LogDriver,
    /// The driver's options as given, for inspect.
    pub options: BTreeMap<String, String>,
}

/// The log drivers that are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's default name; kept as a k8s-file by conmon.
    #[default]
    JsonFile,
    /// Docker's `local`; kept as a k8s-file too.
    Local,
    /// Nothing is kept.
    None,
}

impl LogDriver {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }

    /// Whether output can be read back.
    pub fn is_readable(self) -> bool {
        self != Self::None
    }
}

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// A file that has so many bytes is put aside for a new one.
    pub bytes_max: u64,
    /// Files that are kept, the one being written among them.
    pub files_max: usize,
    /// Those put aside are packed.
    pub compress: bool,
}

/// What is known to be missing from a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogFaults {
    /// Places that a reader could not read.
    pub damaged_places: u64,
    /// Bytes of the files in them.
    pub damaged_bytes: u64,
    /// The disk was seen full between these moments: what was written then may be missing.
    pub full: Option<(Timestamp, Timestamp)>,
}

/// Docker's for the driver `local` (moby `daemon/logger/local`).
const LOCAL_LIMITS: LogLimits = LogLimits {
    bytes_max: 20 << 20,
    files_max: 5,
    compress: true,
};
/// More files than that are nobody's wish: each rotation lists them.
const FILES_MAX: usize = 10_000;

impl LogConfig {
    /// The limits of its options `max-size`, `max-file` and `compress`, with the driver's
    /// defaults; `None` when it may grow without end.
    ///
    /// # Errors
    /// 400 in Docker's words. dockerd tells them only at the start.
    pub fn limits(&self) -> Result<Option<LogLimits>> {
        let bytes_max = self.option("max-size").map(parse_size).transpose()?;
        let files_max = self.option("max-file").map(parse_count).transpose()?;
        let compress = self.option("compress").map(parse_bool).transpose()?;
        let refuse = |why: &str| Err(Error::invalid(format!("{INITIALIZE}{why}")));
        match self.driver {
            LogDriver::None => Ok(None),
            LogDriver::Local => {
                let limits = LogLimits {
                    bytes_max: bytes_max.unwrap_or(LOCAL_LIMITS.bytes_max),
                    files_max: files_max.unwrap_or(LOCAL_LIMITS.files_max),
                    compress: compress.unwrap_or(LOCAL_LIMITS.compress),
                };
                if limits.compress && limits.files_max < 2 {
                    return refuse("compression cannot be enabled when max file count is 1");
                }
                Ok(Some(limits))
            }
            LogDriver::JsonFile => {
                let (files_max, compress) = (files_max.unwrap_or(1), compress.unwrap_or(false));
                if compress && (files_max < 2 || bytes_max.is_none()) {
                    return refuse(
                        "compress cannot be true when max-file is less than 2 or max-size is not set",
                    );
                }
                Ok(bytes_max.map(|bytes_max| LogLimits {
                    bytes_max,
                    files_max,
                    compress,
                }))
            }
        }
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

/// What stands before a logging driver's own words (moby `StartLogger`).
const INITIALIZE: &str = "failed to initialize logging driver: ";

/// A size as people write it, `10m`: units of 1000 (go-units `FromHumanSize`).
fn parse_size(text: &str) -> Result<u64> {
    let invalid = || Error::invalid(format!("{INITIALIZE}invalid size: '{text}'"));
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1e3,
        "m" | "mb" | "mib" => 1e6,
        "g" | "gb" | "gib" => 1e9,
        "t" | "tb" | "tib" => 1e12,
        "p" | "pb" | "pib" => 1e15,
        _ => return Err(invalid()),
    };
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return Err(invalid());
    }
    let number: f64 = digits.parse().map_err(|_| invalid())?;
    let bytes = number * unit;
    if bytes < 1.0 {
        let why = "max-size must be a positive number";
        return Err(Error::invalid(format!("{INITIALIZE}{why}")));
    }
    // A size beyond all disks.
    if bytes >= 1e18 {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10^18 by now"
    )]
    Ok(bytes as u64)
}

fn parse_count(text: &str) -> Result<usize> {
    let count: i64 = text.parse().map_err(|_| {
        Error::invalid(format!(
            "{INITIALIZE}strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })?;
    match usize::try_from(count) {
        Ok(count) if (1..=FILES_MAX).contains(&count) => Ok(count),
        Ok(count) if count > FILES_MAX => Err(Error::invalid(format!(
            "{INITIALIZE}max-file cannot be more than {FILES_MAX}"
        ))),
        _ => Err(Error::invalid(format!(
            "{INITIALIZE}max-file cannot be less than 1"
        ))),
    }
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::invalid(format!(
            "{INITIALIZE}strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(driver: LogDriver, options: &[(&str, &str)]) -> Result<Option<LogLimits>> {
        let options = options.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let config = LogConfig {
            driver,
            options: options.collect(),
        };
        config.limits()
    }

    #[test]
    fn each_driver_has_dockers_defaults() {
        let of = |driver| limits(driver, &[]).unwrap();
        assert_eq!(of(LogDriver::JsonFile), None);
        assert_eq!(of(LogDriver::Local), Some(LOCAL_LIMITS));
        assert_eq!(of(LogDriver::None), None);
        let some = limits(LogDriver::JsonFile, &[("max-size", "10m")])
            .unwrap()
            .unwrap();
        assert_eq!(
            (some.bytes_max, some.files_max, some.compress),
            (10_000_000, 1, false)
        );
        let all = [("max-size", "64k"), ("max-file", "3"), ("compress", "true")];
        let all = limits(LogDriver::JsonFile, &all).unwrap().unwrap();
        assert_eq!(
            (all.bytes_max, all.files_max, all.compress),
            (64_000, 3, true)
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("1000", 1000),
            ("32b", 32),
            ("1.5k", 1500),
            ("2KB", 2000),
            ("3 MiB", 3_000_000),
            ("1g", 1_000_000_000),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for bad in [
            "", " ", "m", "10 mm", "10mx", "ten", "1e30", "inf", "nan", "1 2", "--1",
        ] {
            let e = parse_size(bad).unwrap_err();
            assert!(e.message().contains("invalid size"), "{bad}: {e}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        use LogDriver::{JsonFile, Local};
        type Case = (
            LogDriver,
            &'static [(&'static str, &'static str)],
            &'static str,
        );
        let cases: &[Case] = &[
            (
                JsonFile,
                &[("max-size", "0")],
                "max-size must be a positive number",
            ),
            (
                JsonFile,
                &[("max-size", "-1")],
                "max-size must be a positive number",
            ),
            (
                JsonFile,
                &[("max-file", "0")],
                "max-file cannot be less than 1",
            ),
            (
                JsonFile,
                &[("max-file", "x")],
                "strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                JsonFile,
                &[("max-file", "99999")],
                "max-file cannot be more than 10000",
            ),
            (
                JsonFile,
                &[("compress", "true")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (
                JsonFile,
                &[("compress", "yes")],
                "strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
            (
                Local,
                &[("max-file", "1")],
                "compression cannot be enabled when max file count is 1",
            ),
        ];
        for (driver, options, words) in cases {
            let e = limits(*driver, options).unwrap_err();
            assert_eq!(e.message(), format!("{INITIALIZE}{words}"));
        }
    }
}
