//! What a client's path says: where, and whether it wants a directory there.
//!
//! As Go's `path/filepath` and moby's `PreserveTrailingDotOrSeparator` read it: `..` is resolved by
//! words, and `/` or `/.` at the end asks for what is there, links followed, which must be a directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
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
    pub(crate) base: Vec<u8>,
    /// As it was given, for messages; what is no text in it is not as it was.
    pub(crate) given: String,
}

impl Wanted {
    /// # Errors
    /// A path that no file system has.
    pub(crate) fn parse(given: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(given);
        if given.len() > limits::LAYER_PATH_BYTES_MAX || given.contains(&0) {
            let said = match given.contains(&0) {
                true => "invalid argument",
                false => "file name too long",
            };
            let shown: String = text.chars().take(128).collect();
            return Err(Error::invalid(format!(
                "lstat {}: {said}",
                shown.escape_default()
            )));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in given.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = Path::new("/").join(OsStr::from_bytes(&parts.join(&b'/')));
        let mut said = given.rsplit(|b| *b == b'/');
        let is_here = said.find(|part| !part.is_empty()) == Some(b".");
        let base: &[u8] = match parts.last() {
            _ if is_here => b".",
            Some(last) => last,
            None => b"/",
        };
        Ok(Self {
            path,
            is_dir: is_here || given.ends_with(b"/"),
            base: base.to_vec(),
            given: text.into_owned(),
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
            let wanted = Wanted::parse(given.as_bytes()).unwrap();
            let found = (wanted.path.as_path(), wanted.is_dir, &wanted.base[..]);
            assert_eq!(found, (Path::new(path), is_dir, base.as_bytes()), "{given}");
        }
        let odd = Wanted::parse(b"/caf\xe9").unwrap();
        assert_eq!(odd.path.as_os_str().as_bytes(), b"/caf\xe9");
        assert_eq!(odd.base, b"caf\xe9");
        assert!(Wanted::parse(b"/a\0b").is_err());
        assert!(Wanted::parse("a/".repeat(3000).as_bytes()).is_err());
    }
}
