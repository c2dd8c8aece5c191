//! The directory that entries are put into: looked up from the tree's root, and made where it is missing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use model::{Error, Result};
use sys::beneath::{Dir, Kind};

use super::{Applier, entry, joined};
use crate::Form;
use crate::overlay::{is_whiteout, set_opaque, unhide};
use crate::path::{CleanPath, shown};

/// A directory that entries are put into.
#[derive(Debug)]
pub(super) struct Parent {
    /// As the archive calls it.
    pub(super) path: CleanPath,
    /// Without a link on the way; told only where the archive is recorded.
    pub(super) real: CleanPath,
    pub(super) dir: Dir,
}

impl Applier {
    /// Makes `path` the directory of the next operations, with whatever is missing on the way.
    pub(super) fn enter(&mut self, path: CleanPath) -> Result<()> {
        if self.parent.as_ref().is_some_and(|open| open.path == path) {
            return Ok(());
        }
        let mut real = Some(path.clone());
        let dir = match self.root.beneath(path.as_path()) {
            Ok(dir) => dir,
            // Missing, behind a link, or impossible.
            Err(_) => {
                real = None;
                self.open_or_make(&path)?
            }
        };
        let real = match real {
            None if self.recording.is_some() => self.real_path(&path, &dir)?,
            real => real.unwrap_or_default(),
        };
        self.parent = Some(Parent { path, real, dir });
        Ok(())
    }

    fn open_or_make(&mut self, path: &CleanPath) -> Result<Dir> {
        match self.open(path) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                self.make_dirs(path)
            }
            other => other.map_err(|e| entry::failed(&e, path, &self.tree)),
        }
    }

    /// What `path`, opened as `dir`, is called when no link is followed.
    fn real_path(&self, path: &CleanPath, dir: &Dir) -> Result<CleanPath> {
        if self.root.beneath(path.as_path()).is_ok() {
            return Ok(path.clone());
        }
        let told = dir
            .place()
            .and_then(|place| Ok((place, self.root.place()?)));
        let (place, root) = told.map_err(|e| entry::failed(&e, path, &self.tree))?;
        let inside = place.strip_prefix(&root).map_err(|_| {
            let path = shown(path.as_bytes());
            Error::system(format!("{path} of the archive is outside of the tree"))
        })?;
        Ok(CleanPath::real(inside.as_os_str().as_bytes().to_vec()))
    }

    /// Opens `path` one component after the other and makes the missing ones, mode 0755, root's.
    fn make_dirs(&mut self, path: &CleanPath) -> Result<Dir> {
        let tree = self.tree.clone();
        let failed = |e: &io::Error| entry::failed(e, path, &tree);
        let mut dir = self.open(&CleanPath::default()).map_err(|e| failed(&e))?;
        let mut walked = CleanPath::default();
        for name in path.components() {
            let name = OsStr::from_bytes(name);
            walked = joined(&walked, name)?;
            let found = dir.metadata(name).map_err(|e| failed(&e))?;
            if found.is_none() {
                self.count_one()?;
            }
            dir = match found {
                Some(found) if found.kind == Kind::Dir => dir.child(name),
                Some(found) if found.kind == Kind::Symlink => self.open(&walked),
                Some(found) if self.form == Form::Layer && is_whiteout(&found) => dir
                    .unlink(name)
                    .and_then(|()| make_dir(&dir, name))
                    .and_then(|new| set_opaque(&new).map(|()| new)),
                Some(_) => Err(io::ErrorKind::NotADirectory.into()),
                None if self.hides_by_name => match unhide(&dir, name) {
                    Ok(true) => make_dir(&dir, name).and_then(|new| set_opaque(&new).map(|()| new)),
                    Ok(false) => make_dir(&dir, name),
                    Err(e) => Err(e),
                },
                None => make_dir(&dir, name),
            }
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::invalid(format!(
                    "{} in the archive is in {}, which is not a directory",
                    shown(path.as_bytes()),
                    shown(walked.as_bytes())
                )),
                _ => failed(&e),
            })?;
        }
        Ok(dir)
    }
}

fn make_dir(parent: &Dir, name: &OsStr) -> io::Result<Dir> {
    parent.mkdir(name)?;
    let dir = parent.child(name)?;
    dir.set_own_mode(0o755)?;
    Ok(dir)
}
