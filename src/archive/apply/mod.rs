//! Entry after entry put into a tree, none of them outside it.
//!
//! Every name is looked up from the tree's root by the kernel, as in a chroot: a link among the
//! parents is followed as Docker follows it, and ends at the root whatever it says. No path is checked
//! first and used later, so it does not matter who else works there: a tree in staging is ours alone,
//! a directory in use is not, and may be hostile.

mod entry;
mod onto;
mod parents;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Error, Result, limits};
use sys::beneath::{Dir, FileTime, Kind, Metadata, is_bad_path};

use crate::Form;
use crate::apply::entry::Target;
use crate::failure::At;
use crate::frame::Recording;
use crate::path::{CleanPath, shown};
use crate::tar::{Entry, EntryKind, Reader};

pub(crate) use entry::is_kept_xattr;
pub use onto::Onto;
use parents::Parent;

use crate::overlay::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX, hide, is_whiteout, set_opaque, unhide};
/// Other files of aufs, which Docker skips too.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Memory for directory times that are set at the end; when it is used up they are set at once.
const PENDING_TIMES_BYTES_MAX: usize = 8 << 20;

/// A tree that is being made of entries.
#[derive(Debug)]
pub struct Applier {
    tree: PathBuf,
    form: Form,
    root: Dir,
    /// How a directory in use wants it.
    onto: Option<onto::Rules>,
    /// The directory of the last entry: the next one is nearly always in the same.
    parent: Option<Parent>,
    /// What keeps the archive's bytes, where they are kept.
    recording: Option<Recording>,
    entries: u64,
    size_bytes: u64,
    /// Directory times, set at the end because every entry made inside changes them.
    times: Vec<(CleanPath, FileTime)>,
    times_bytes: usize,
    /// Names hide others here, for the file system has no whiteouts.
    hides_by_name: bool,
}

impl Applier {
    /// Of the empty directory `tree`, in which nobody else works.
    ///
    /// # Errors
    /// System: it cannot be opened.
    pub fn new(tree: &Path, form: Form) -> Result<Self> {
        let root = Dir::open(tree).at("open", tree)?;
        Ok(Self::of(tree.to_owned(), form, root, None))
    }

    fn of(tree: PathBuf, form: Form, root: Dir, onto: Option<onto::Rules>) -> Self {
        Self {
            tree,
            form,
            root,
            onto,
            parent: None,
            recording: None,
            entries: 0,
            size_bytes: 0,
            times: Vec::new(),
            times_bytes: 0,
            hides_by_name: false,
        }
    }

    /// Records where the content of the archive goes, and destroys none of it.
    #[must_use]
    pub fn recording(mut self, recording: Recording) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Applies every entry there is; the sum of the sizes of files and links.
    ///
    /// # Errors
    /// As [`Applier::entry`].
    pub fn all<R: Read>(mut self, reader: &mut Reader<R>) -> Result<u64> {
        while let Some(entry) = reader.next_entry()? {
            self.entry(reader, &entry)?;
        }
        self.finish()
    }

    /// Sets what could only be set at the end; the sum of the sizes of files and links.
    ///
    /// # Errors
    /// System: the host cannot write it.
    pub fn finish(mut self) -> Result<u64> {
        self.set_pending_times()?;
        Ok(self.size_bytes)
    }

    /// Applies an entry, the one that `reader` gave last.
    ///
    /// # Errors
    /// `InvalidParameter` for a damaged, hostile or oversized archive; `System` when the host
    /// cannot write it. The caller removes what was written.
    pub fn entry<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<()> {
        self.count_one()?;
        self.size_bytes = self.size_bytes.saturating_add(match &entry.kind {
            EntryKind::File => entry.size_bytes,
            // As `lstat` tells it, and so Docker (moby `directory.Size`).
            EntryKind::Symlink(target) => target.len() as u64,
            _ => 0,
        });
        if self.onto.is_none() && self.size_bytes > limits::LAYER_BYTES_MAX {
            return Err(Error::invalid(format!(
                "files of more than {} bytes in one archive",
                limits::LAYER_BYTES_MAX
            )));
        }
        let owned = self.onto.as_ref().map(|rules| rules.own(entry));
        let owned = owned.transpose()?.flatten();
        let entry = owned.as_ref().unwrap_or(entry);
        let path = CleanPath::parse(&entry.path)?;
        let Some((parent, name)) = path.split() else {
            return self.root_entry(entry);
        };
        let name = OsStr::from_bytes(name);
        if self.form == Form::Layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(parent, name);
        }
        self.enter(parent)?;
        match &entry.kind {
            EntryKind::Dir => self.dir(&path, name, entry),
            EntryKind::HardLink(target) => self.hard_link(&path, name, target),
            _ => {
                self.make_room(&path, name)?;
                let target = self.target(&path, name);
                let kept = self.recording.as_ref();
                let kept = kept.map(|r| (r, self.here().real.join(name.as_bytes())));
                entry::create(&target, entry, reader, kept.as_ref())
            }
        }
    }

    /// One more entry, or directory that an entry implies. A directory in use has no limit but its disk's.
    fn count_one(&mut self) -> Result<()> {
        self.entries += 1;
        if self.onto.is_none() && self.entries > limits::LAYER_ENTRIES_MAX {
            return Err(Error::invalid(format!(
                "more than {} entries in one archive",
                limits::LAYER_ENTRIES_MAX
            )));
        }
        Ok(())
    }

    /// `.`: the owner, mode and times of the tree's root itself.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Dir {
            return Err(Error::invalid(format!(
                "entry {} of the archive stands for the root but is not a directory",
                shown(&entry.path)
            )));
        }
        if self.onto.is_some() {
            // As in Docker: the directory is there, and stays as it is.
            return Ok(());
        }
        entry::set_dir_attributes(&self.root, entry, self.form, &self.tree)?;
        self.remember_times(CleanPath::default(), entry.modified)
    }

    fn dir(&mut self, path: &CleanPath, name: &OsStr, entry: &Entry) -> Result<()> {
        let existing = self.existing(path, name)?;
        // A directory is merged with the one that is there; anything else makes room.
        let opaque = match existing {
            Some(found) if found.kind == Kind::Dir => false,
            Some(found) => {
                if self.keeps_kinds() {
                    return Err(self.overwrites(path, "non-directory", "directory"));
                }
                self.remove(path, name, &found)?;
                self.form == Form::Layer && is_whiteout(&found)
            }
            None => self.shows_again(path, name)?,
        };
        let target = self.target(path, name);
        if existing.is_none_or(|found| found.kind != Kind::Dir) {
            target.dir.mkdir(name).map_err(|e| target.failed(&e))?;
        }
        let dir = target.dir.child(name).map_err(|e| target.failed(&e))?;
        if opaque {
            // The layer removes the lower directory and brings a new one.
            set_opaque(&dir).map_err(|e| target.failed(&e))?;
        }
        entry::set_dir_attributes(&dir, entry, self.form, &self.tree.join(path.as_path()))?;
        self.remember_times(path.clone(), entry.modified)
    }

    /// A further name for a file of this layer. Its owner, mode and times are the file's.
    fn hard_link(&mut self, path: &CleanPath, name: &OsStr, target: &[u8]) -> Result<()> {
        let is_in_use = self.onto.is_some();
        let dangling = || {
            if is_in_use {
                // As moby answers where link(2) finds nothing; who knows the container says so.
                return Error::new(model::Kind::NotFound, "");
            }
            Error::invalid(format!(
                "hard link {} to {}, which is not a file of the same layer",
                shown(path.as_bytes()),
                shown(target)
            ))
        };
        let target_path = CleanPath::parse(target)?;
        let (target_parent, target_name) = target_path.split().ok_or_else(dangling)?;
        let target_name = OsStr::from_bytes(target_name);
        if self.hides_by_name && target_name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Err(dangling());
        }
        let target_dir = self.open(&target_parent).map_err(|_| dangling())?;
        let found = target_dir
            .metadata(target_name)
            .map_err(|_| dangling())?
            .filter(|found| found.kind != Kind::Dir)
            .filter(|found| self.form == Form::Plain || !is_whiteout(found))
            .ok_or_else(dangling)?;
        if self
            .existing(path, name)?
            .is_some_and(|e| e.inode == found.inode)
        {
            return Ok(());
        }
        self.make_room(path, name)?;
        // It may have been in the directory that made room, and that may only be put aside.
        let target_dir = self.open(&target_parent).map_err(|_| dangling())?;
        let here = self.target(path, name);
        match target_dir.link(target_name, here.dir, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(dangling()),
            other => other.map_err(|e| here.failed(&e)),
        }
    }

    fn whiteout(&mut self, parent: CleanPath, name: &OsStr) -> Result<()> {
        let bytes = name.as_bytes();
        if bytes == OPAQUE_WHITEOUT {
            self.enter(parent)?;
            let here = self.here();
            let at = self.tree.join(here.path.as_path());
            return set_opaque(&here.dir).at("mark opaque", &at);
        }
        if bytes.starts_with(AUFS_PREFIX) {
            return Ok(());
        }
        let hidden = &bytes[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::invalid(format!(
                "whiteout of {} in the archive",
                shown(hidden)
            )));
        }
        self.enter(parent.clone())?;
        let hidden = OsStr::from_bytes(hidden);
        let hidden_path = joined(&parent, hidden)?;
        let existing = self.existing(&hidden_path, hidden)?;
        let mut by_name = false;
        let target = self.target(&hidden_path, hidden);
        let done = match existing {
            None => hide(target.dir, hidden).map(|is_name| by_name = is_name),
            // Whiteouts hide lower layers only, in whatever order they come (layer.md): a
            // directory of this layer stays and hides its lower namesake, all else does anyway.
            Some(found) if found.kind == Kind::Dir => {
                target.dir.child(hidden).and_then(|dir| set_opaque(&dir))
            }
            Some(_) => Ok(()),
        };
        done.map_err(|e| target.failed(&e))?;
        self.hides_by_name |= by_name;
        Ok(())
    }

    /// Takes away what hides that name without having it; whether there was such a thing.
    fn shows_again(&self, path: &CleanPath, name: &OsStr) -> Result<bool> {
        let target = self.target(path, name);
        let gone = self.hides_by_name && unhide(target.dir, name).map_err(|e| target.failed(&e))?;
        Ok(gone)
    }

    /// Removes whatever has the entry's name: the last entry of a name counts.
    fn make_room(&mut self, path: &CleanPath, name: &OsStr) -> Result<()> {
        match self.existing(path, name)? {
            Some(found) if found.kind == Kind::Dir && self.keeps_kinds() => {
                Err(self.overwrites(path, "directory", "non-directory"))
            }
            Some(found) => self.remove(path, name, &found),
            None => self.shows_again(path, name).map(drop),
        }
    }

    fn existing(&self, path: &CleanPath, name: &OsStr) -> Result<Option<Metadata>> {
        let target = self.target(path, name);
        target.dir.metadata(name).map_err(|e| target.failed(&e))
    }

    fn remove(&mut self, path: &CleanPath, name: &OsStr, found: &Metadata) -> Result<()> {
        if found.is_mount {
            return Err(self.busy(path));
        }
        let target = self.target(path, name);
        let has_content = found.kind == Kind::Dir || found.kind == Kind::File && found.size > 0;
        if let (true, Some(recording)) = (has_content, &self.recording) {
            let real = self.here().real.join(name.as_bytes());
            return recording.put_aside(target.dir, name, &real);
        }
        if found.kind != Kind::Dir {
            return target.dir.unlink(name).map_err(|e| target.failed(&e));
        }
        let removed = sys::beneath::remove_tree(target.dir, name);
        removed.map(drop).map_err(|e| match e.kind() {
            io::ErrorKind::ResourceBusy => self.busy(path),
            _ => target.failed(&e),
        })
    }

    fn here(&self) -> &Parent {
        self.parent.as_ref().expect("entered before use")
    }

    fn target<'b>(&'b self, path: &'b CleanPath, name: &'b OsStr) -> Target<'b> {
        Target {
            dir: &self.here().dir,
            name,
            path,
            tree: &self.tree,
            form: self.form,
        }
    }

    fn remember_times(&mut self, path: CleanPath, modified: FileTime) -> Result<()> {
        self.times_bytes += path.as_bytes().len() + size_of::<(CleanPath, FileTime)>();
        self.times.push((path, modified));
        if self.times_bytes > PENDING_TIMES_BYTES_MAX {
            self.set_pending_times()?;
        }
        Ok(())
    }

    fn set_pending_times(&mut self) -> Result<()> {
        for (path, modified) in std::mem::take(&mut self.times) {
            let opened = match path.split() {
                None => self.root.beneath(path.as_path()),
                // Links above it are followed, as they were when it was made.
                Some((parent, name)) => self
                    .open(&parent)
                    .and_then(|parent| parent.child(OsStr::from_bytes(name))),
            };
            let at = self.tree.join(path.as_path());
            match opened {
                // A later entry has replaced the directory or one above it.
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_bad_path(&e) => {}
                dir => dir
                    .and_then(|dir| dir.set_own_times(modified, modified))
                    .at("set times of", &at)?,
            }
        }
        self.times_bytes = 0;
        Ok(())
    }
}

fn joined(parent: &CleanPath, name: &OsStr) -> Result<CleanPath> {
    CleanPath::parse(&[parent.as_bytes(), b"/", name.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::Writer;

    /// A path of two thousand directories is two thousand things to make.
    #[test]
    fn directories_that_an_entry_implies_are_counted() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(Vec::new());
        let entry = Entry {
            path: b"a/b/c/f".to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: FileTime::default(),
            size_bytes: 0,
            xattrs: Vec::new(),
            segments: None,
        };
        writer.entry(&entry).unwrap();
        let tar = writer.finish().unwrap();
        let apply = |made: u64| {
            let mut applier = Applier::new(temp.path(), Form::Plain).unwrap();
            applier.entries = limits::LAYER_ENTRIES_MAX - made;
            applier.all(&mut Reader::new(&tar[..]))
        };
        let e = apply(3).unwrap_err();
        assert!(e.message().starts_with("more than 4000000 entries"), "{e}");
        std::fs::remove_dir_all(temp.path().join("a")).unwrap();
        apply(4).unwrap();
        // What is there is not made.
        apply(1).unwrap();
    }
}
