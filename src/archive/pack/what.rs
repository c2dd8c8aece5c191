//! What of a tree is packed, and what it is called in the archive.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use model::IdMaps;
use sys::beneath::Dir;

/// Something that is in use, to be sent as it is.
#[derive(Debug)]
pub struct Source {
    /// The directory.
    pub dir: Dir,
    /// Of all that is in it this alone, which is no directory.
    pub file: Option<OsString>,
    /// What it is called in messages.
    pub shown: PathBuf,
    /// What it is called in the archive. `/` stands before all names, empty is the archive's root.
    pub prefix: Vec<u8>,
    /// What is in the directory, without an entry of its own.
    pub bare: bool,
    /// Owners are told as they are inside; one that is not is nobody's.
    pub ids: Option<IdMaps>,
}

/// How changes become the entries of a layer.
#[derive(Debug, Default)]
pub struct Layered<'a> {
    /// What the tree is called in the archive; empty is the archive's root.
    pub prefix: &'a str,
    /// Paths in the tree that stay out, the empty one being the tree itself. What is in a directory that
    /// is left out does not.
    pub left_out: HashSet<PathBuf>,
    /// Another daemon takes it in as it was here. Images have what Docker's have.
    pub is_exact: bool,
}

/// What of a tree belongs to a layer that has no marks of its own in it.
#[derive(Debug, Default)]
pub(crate) struct Only {
    /// What is in it, with the directories above.
    kept: HashSet<PathBuf>,
    /// What it hides, by directory.
    hidden: HashMap<PathBuf, Vec<OsString>>,
}

impl Only {
    pub(crate) fn keep(&mut self, path: PathBuf) {
        self.keep_above(&path);
        self.kept.insert(path);
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.keep_above(path);
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
            let hidden = self.hidden.entry(dir.to_owned()).or_default();
            hidden.push(name.to_owned());
        }
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        self.kept.contains(path)
    }

    /// What the directory hides, once.
    pub(super) fn take_hidden(&mut self, dir: &Path) -> Vec<OsString> {
        self.hidden.remove(dir).unwrap_or_default()
    }

    fn keep_above(&mut self, path: &Path) {
        for dir in path.ancestors().skip(1) {
            if !self.kept.insert(dir.to_owned()) {
                break;
            }
        }
    }
}
