//! What a client's path says: where, and whether it wants a directory there.
//!
//! As Go's `path/filepath` and moby's `PreserveTrailingDotOrSeparator` read it: `..` is resolved by
//! words, and `/` or `/.` at the end asks for what is there, links followed, which must be a directory.

use std::path::{Path, PathBuf};

use model::{Error, Result, limits};

/// A path as a client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// From the root, without `.` and `..`.
    pub(crate) path: PathBuf,
    /// It must be a directory, and links to one are followed.
    pub(crate) is_dir: bool,
    /// What it is called: the last component, `.` or `/`.
    pub(crate) base: String,
    /// As it was given, for messages.
    pub(crate) given: String,
}

impl Wanted {
    /// # Errors
    /// A path that no file system has.
    pub(crate) fn parse(given: &str) -> Result<Self> {
        if given.len() > limits::LAYER_PATH_BYTES_MAX || given.contains('\0') {
            let said = match given.contains('\0') {
                true => "invalid argument",
                false => "file name too long",
            };
            let shown: String = given.chars().take(128).collect();
            return Err(Error::invalid(format!(
                "lstat {}: {said}",
                shown.escape_default()
            )));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in given.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = Path::new("/").join(parts.join("/"));
        let is_here = given.trim_end_matches('/').rsplit('/').next() == Some(".");
        let base = match parts.last() {
            _ if is_here => ".".to_owned(),
            Some(last) => (*last).to_owned(),
            None => "/".to_owned(),
        };
        Ok(Self {
            path,
            is_dir: is_here || given.ends_with('/'),
            base,
            given: given.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_paths_mean_something() {
        let cases = [
            ("/etc", "/etc", false, "etc"),
            ("etc/", "/etc", true, "etc"),
            ("/etc/.", "/etc", true, "."),
            ("/etc/./", "/etc", true, "."),
            ("/", "/", true, "/"),
            (".", "/", true, "."),
            ("/a/../b//c", "/b/c", false, "c"),
            ("../../x", "/x", false, "x"),
            ("/a/..", "/", false, "/"),
            ("/a/.b", "/a/.b", false, ".b"),
        ];
        for (given, path, is_dir, base) in cases {
            let wanted = Wanted::parse(given).unwrap();
            let found = (wanted.path.as_path(), wanted.is_dir, wanted.base.as_str());
            assert_eq!(found, (Path::new(path), is_dir, base), "{given}");
        }
        assert!(Wanted::parse("/a\0b").is_err());
        assert!(Wanted::parse(&"a/".repeat(3000)).is_err());
    }
}
