//! Names of slices, and where their cgroups are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use model::{Error, Result};

/// A slice's name, `machine-a.slice` (systemd.slice(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice(String);

/// Docker's words, for a parent that is none.
const REFUSED: &str =
    "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";

impl Slice {
    /// As systemd has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its cgroup, below a hierarchy's root: a dash in the name is a level, so that
    /// `machine-a.slice` is in `machine.slice/machine-a.slice`.
    pub fn directory(&self) -> PathBuf {
        let stem = self.0.strip_suffix(".slice").unwrap_or(&self.0);
        let mut path = PathBuf::new();
        // The root slice.
        if stem == "-" {
            return path;
        }
        for (dash, _) in stem.match_indices('-') {
            path.push(format!("{}.slice", &stem[..dash]));
        }
        path.push(&self.0);
        path
    }
}

impl FromStr for Slice {
    type Err = Error;

    /// # Errors
    /// InvalidParameter in Docker's words.
    fn from_str(name: &str) -> Result<Self> {
        let stem = name.strip_suffix(".slice").unwrap_or_default();
        // A plain unit's name (systemd.unit(5)), without the escapes nobody writes by hand; a colon
        // would be one of the runtimes' `slice:prefix:name`.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let levels = stem.split('-').all(|level| !level.is_empty());
        let is_one = !stem.is_empty() && stem.chars().all(plain) && (levels || stem == "-");
        if is_one && name.len() <= UNIT_NAME_BYTES_MAX {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::invalid(REFUSED))
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `UNIT_NAME_MAX` of systemd.
const UNIT_NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_a_level() {
        for (name, directory) in [
            ("system.slice", "system.slice"),
            ("machine-a.slice", "machine.slice/machine-a.slice"),
            ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"),
            ("-.slice", ""),
        ] {
            let slice: Slice = name.parse().unwrap();
            assert_eq!(slice.directory(), PathBuf::from(directory), "{name}");
        }
    }

    #[test]
    fn what_is_no_slice_is_refused_in_dockers_words() {
        for name in [
            "",
            "moored",
            ".slice",
            "/a.slice",
            "a/b.slice",
            "a..",
            "-a.slice",
            "a--b.slice",
            "a.scope",
            "a b.slice",
            "a:b.slice",
            "a@b.slice",
        ] {
            let e = name.parse::<Slice>().unwrap_err();
            assert_eq!(e.message(), REFUSED, "{name:?}");
        }
    }
}
