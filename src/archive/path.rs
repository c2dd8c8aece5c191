//! Names in archives, cleaned before anything is done with them.
//!
//! Pure: it decides what a name means, the kernel (`sys::beneath`) sees to it that it stays
//! inside.

use model::{Error, Result, limits};

/// A path inside a tree: relative, no empty, `.` or `..` component. Empty is the tree's root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CleanPath(Vec<u8>);

impl CleanPath {
    /// Reads `raw` as a path from the tree's root, as moby's `pkg/archive` does: a leading slash
    /// is dropped and `..` is resolved by words, before any link is looked at.
    ///
    /// # Errors
    /// `InvalidParameter` when it leaves the root, holds a NUL or is too long.
    pub fn parse(raw: &[u8]) -> Result<Self> {
        if raw.len() > limits::LAYER_PATH_BYTES_MAX {
            return Err(Error::invalid(format!(
                "name of {} bytes in the archive, the longest allowed has {}: {}...",
                raw.len(),
                limits::LAYER_PATH_BYTES_MAX,
                shown(&raw[..64])
            )));
        }
        if raw.contains(&0) {
            return Err(Error::invalid(format!(
                "name with a NUL byte in the archive: {}",
                shown(raw)
            )));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    if parts.pop().is_none() {
                        return Err(Error::invalid(format!(
                            "name in the archive leaves the root: {}",
                            shown(raw)
                        )));
                    }
                }
                part => parts.push(part),
            }
        }
        Ok(Self(parts.join(&b'/')))
    }

    /// One that is known to be clean: the kernel told it, or it was one before.
    pub(crate) fn real(clean: Vec<u8>) -> Self {
        Self(clean)
    }

    /// What is called `name` in this directory.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let parts = [&self.0[..], name];
        let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        Self(parts.join(&b'/'))
    }

    /// Whether it is the tree's root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it is in and its last component; `None` for the root.
    pub fn split(&self) -> Option<(CleanPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (Self(self.0[..at].to_vec()), &self.0[at + 1..]),
            None => (Self::default(), &self.0),
        })
    }

    /// Its components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the operating system takes it.
    pub fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }
}

/// A name of unknown bytes for an error message: quoted, escaped and short.
pub fn shown(raw: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 128;
    let text: String = String::from_utf8_lossy(raw)
        .chars()
        .take(SHOWN_CHARS_MAX)
        .collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_read_as_docker_reads_them() {
        let good = [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../b", "b"),
            ("a/..", ""),
            (".", ""),
            ("", ""),
            ("/", ""),
            ("...", "..."),
            ("..a/b..", "..a/b.."),
        ];
        for (raw, clean) in good {
            let path = CleanPath::parse(raw.as_bytes()).unwrap();
            assert_eq!(path.as_bytes(), clean.as_bytes(), "{raw}");
        }
        let long = "a/".repeat(3000);
        for bad in ["..", "../a", "/..", "a/../../b", "a\0b", &long] {
            assert!(CleanPath::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_splits_into_parent_and_name() {
        let split = |text: &str| {
            let path = CleanPath::parse(text.as_bytes()).unwrap();
            path.split()
                .map(|(p, n)| (p.as_bytes().to_vec(), n.to_vec()))
        };
        assert_eq!(split("a/b/c"), Some((b"a/b".to_vec(), b"c".to_vec())));
        assert_eq!(split("a"), Some((Vec::new(), b"a".to_vec())));
        assert_eq!(split("/"), None);
    }

    proptest! {
        #[test]
        fn a_clean_path_is_inside_and_stays_as_it_is(
            parts in prop::collection::vec("[a.]{0,3}|\\PC{1,4}", 0..12),
            absolute: bool,
        ) {
            let raw = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
            if let Ok(path) = CleanPath::parse(raw.as_bytes()) {
                for c in path.components() {
                    prop_assert!(!matches!(c, b"" | b"." | b".."));
                    prop_assert!(!c.contains(&b'/'));
                }
                prop_assert_eq!(CleanPath::parse(path.as_bytes()).unwrap(), path.clone());
                if let Some((parent, name)) = path.split() {
                    let again = [parent.as_bytes(), b"/", name].concat();
                    prop_assert_eq!(CleanPath::parse(&again).unwrap(), path);
                }
            }
        }

        #[test]
        fn only_a_path_that_climbs_is_refused(parts in prop::collection::vec("a|b|\\.|\\.\\.", 0..10)) {
            let mut depth = 0_i32;
            let mut lowest = 0;
            for part in &parts {
                depth += match part.as_str() { ".." => -1, "." => 0, _ => 1 };
                lowest = lowest.min(depth);
            }
            let parsed = CleanPath::parse(parts.join("/").as_bytes());
            prop_assert_eq!(parsed.is_ok(), lowest == 0);
        }
    }
}
