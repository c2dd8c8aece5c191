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
    /// The journal of systemd, by conmon.
    Journald,
    /// Nothing is kept.
    None,
}

impl LogDriver {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::Journald => "journald",
            Self::None => "none",
        }
    }

    /// Whether output is kept in files of the daemon's.
    pub fn has_files(self) -> bool {
        matches!(self, Self::JsonFile | Self::Local)
    }
}

/// The option that names a container's entries in the journal.
pub const TAG: &str = "tag";

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
        let limits = match self.driver {
            LogDriver::None | LogDriver::Journald => Ok(None),
            LogDriver::Local => self.local_limits().map(Some),
            LogDriver::JsonFile => self.json_file_limits(),
        };
        limits.map_err(|why| Error::invalid(format!("failed to initialize logging driver: {why}")))
    }

    /// moby `daemon/logger/local/config.go`.
    fn local_limits(&self) -> Result<LogLimits, String> {
        let mut limits = LOCAL_LIMITS;
        if let Some(text) = self.option("max-size") {
            let bytes = parse_size(text);
            let bytes = bytes.map_err(|e| format!("invalid value for max-size: {text}: {e}"))?;
            // None of its own for 0, which would be a file for each line.
            limits.bytes_max = match bytes {
                0 => return Err("max-size must be a positive number".to_owned()),
                bytes => u64::try_from(bytes).map_err(|_| "max-size must not be negative")?,
            };
        }
        if let Some(text) = self.option("max-file") {
            let count = parse_count(text);
            let count = count.map_err(|e| format!("invalid value for max-file: {text}: {e}"))?;
            limits.files_max =
                usize::try_from(count).map_err(|_| "max-file must not be negative")?;
        }
        if let Some(text) = self.option("compress") {
            let compress = parse_bool(text);
            limits.compress =
                compress.map_err(|e| format!("invalid boolean value for compress: {e}"))?;
        }
        if limits.compress && limits.files_max <= 1 {
            return Err("compression cannot be enabled when max file count is 1".to_owned());
        }
        bounded(limits)
    }

    /// moby `daemon/logger/jsonfilelog`.
    fn json_file_limits(&self) -> Result<Option<LogLimits>, String> {
        let bytes_max = match self.option("max-size").map(parse_size).transpose()? {
            Some(bytes) if bytes <= 0 => {
                return Err("max-size must be a positive number".to_owned());
            }
            bytes => bytes.map(i64::unsigned_abs),
        };
        let count = self.option("max-file").map_or(Ok(1), parse_count)?;
        let files_max = usize::try_from(count).unwrap_or(0);
        if files_max < 1 {
            return Err("max-file cannot be less than 1".to_owned());
        }
        let compress = self.option("compress").map_or(Ok(false), parse_bool)?;
        if compress && (files_max == 1 || bytes_max.is_none()) {
            let why = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(why.to_owned());
        }
        let limits = |bytes_max| LogLimits {
            bytes_max,
            files_max,
            compress,
        };
        bytes_max.map(limits).map(bounded).transpose()
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

fn bounded(limits: LogLimits) -> Result<LogLimits, String> {
    match limits.files_max {
        ..=FILES_MAX => Ok(limits),
        _ => Err(format!("max-file cannot be more than {FILES_MAX}")),
    }
}

/// A size as people write it, `10m`: units of 1000 (go-units `FromHumanSize`).
fn parse_size(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
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
    // A size beyond all disks.
    if bytes.abs() >= 1e18 {
        return Err(invalid());
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 10^18 by now")]
    Ok(bytes as i64)
}

fn parse_count(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
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
            assert_eq!(e, format!("invalid size: '{bad}'"));
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
                &[("max-size", "1k"), ("max-file", "99999")],
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
                &[("max-size", "ten")],
                "invalid value for max-size: ten: invalid size: 'ten'",
            ),
            (
                Local,
                &[("max-size", "-1")],
                "max-size must not be negative",
            ),
            (
                Local,
                &[("max-file", "1")],
                "compression cannot be enabled when max file count is 1",
            ),
        ];
        for (driver, options, words) in cases {
            let e = limits(*driver, options).unwrap_err();
            let words = format!("failed to initialize logging driver: {words}");
            assert_eq!(e.message(), words);
        }
    }
}
