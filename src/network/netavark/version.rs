//! Versions of netavark and aardvark-dns.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Context, Error, Result};
use sys::spawn::Program;

/// How long a program may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A version: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The oldest that is known to work: Debian 12's.
    pub const OLDEST: Self = Self(1, 4, 0);

    /// Of the text that `--version` prints: `netavark 1.4.0`, `1.14.0-dev`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.lines().next()?.split_ascii_whitespace().nth(1)?;
        let number = number.strip_prefix('v').unwrap_or(number);
        let mut parts = number.split(['.', '-', '+', '~']).map(str::parse::<u32>);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let patch = parts.next().and_then(std::result::Result::ok);
        Some(Self(major, minor, patch.unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Which file it was: device, inode, size, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

/// What was asked already.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<PathBuf, (Stamp, Version)>>);

impl Cache {
    /// The version of the program at `path`, asked when it is another file than the last time.
    pub(crate) async fn of(&self, name: &str, path: &Path) -> Result<Version> {
        let found =
            std::fs::metadata(path).context(format_args!("cannot stat {}", path.display()))?;
        let (time, part) = (found.ctime(), found.ctime_nsec());
        let stamp = (found.dev(), found.ino(), found.size(), time, part);
        let known = self.known().get(path).copied();
        if let Some((of, version)) = known
            && of == stamp
        {
            return Ok(version);
        }
        let done = Program::new(path)
            .args(["--version"])
            .run(VERSION_TIMEOUT)
            .await?;
        let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        let version = Version::parse(&said).ok_or_else(|| {
            Error::system(format!(
                "{} does not tell its version: {:?}",
                path.display(),
                done.message()
            ))
        })?;
        if version < Version::OLDEST {
            return Err(Error::system(format!(
                "{name} {version} ({}) is too old: {} or later is needed, as in Debian 12's package {name}",
                path.display(),
                Version::OLDEST
            )));
        }
        self.known().insert(path.to_owned(), (stamp, version));
        Ok(version)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Version)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        for (text, version) in [
            ("netavark 1.4.0", Some(Version(1, 4, 0))),
            ("netavark 1.14.1-dev\nmore", Some(Version(1, 14, 1))),
            ("aardvark-dns v2.0", Some(Version(2, 0, 0))),
            ("netavark", None),
            ("netavark x.y", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text:?}");
        }
        assert!(Version(1, 14, 0) > Version(1, 4, 9));
    }

    #[tokio::test]
    async fn what_is_too_old_names_the_package() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netavark");
        let say = |text: &str| {
            std::fs::write(&path, format!("#!/bin/sh\necho {text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let cache = Cache::default();
        say("netavark 1.3.9");
        let e = cache.of("netavark", &path).await.unwrap_err();
        assert!(e.message().starts_with("netavark 1.3.9 ("), "{e}");
        assert!(e.message().contains("Debian 12's package netavark"), "{e}");
        say("netavark 1.14.0");
        assert_eq!(
            cache.of("netavark", &path).await.unwrap(),
            Version(1, 14, 0)
        );
        say("nothing");
        assert!(cache.of("netavark", &path).await.is_err());
    }
}
