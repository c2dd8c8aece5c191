//! What was changed in a copy of layers: the copy beside what it was made of.
//!
//! moby's storage driver of such copies, vfs, has no other way either (`NaiveDiffDriver`, `ChangesDirs`
//! and `statDifferent`): a file is changed when mode, owner, device, size, time of change or capabilities
//! are, a directory when its mode or owner is. That is [`Care::Stat`], of which `docker diff` tells. A file
//! that was written without another size, and was given its time back, is not seen so. What an image is
//! made of must not lose it: the kernel's own time of change (`ctime`) says which files were touched since
//! the copy was made, and those are compared whole ([`Care::Whole`]). Nobody can set that time; only a
//! clock that is set back hides a touch, and what stat(2) tells is left then.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Result, limits};
use sys::beneath::{Dir, FileTime, Kind, Metadata};

use crate::Form;
use crate::apply::is_kept_xattr;
use crate::failure::At;
use crate::merged::{Level, Merged, Seen};
use crate::pack::{Layered, Only, pack_layer};
use crate::tar::Writer;

/// How much of two files is compared at once.
const COMPARE_BYTES: usize = 128 << 10;

/// What a container has changed of its image's files, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// In a directory of its own, in overlayfs' way.
    Upper(PathBuf),
    /// In a copy of all of them.
    Copy(Copied),
}

/// A copy of layers that was changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The copy.
    pub tree: PathBuf,
    /// A file that was made when the copy was complete, and never touched since.
    pub made: PathBuf,
    /// Where changes are, in the form of a layer, that came before the copy was made.
    pub incoming: PathBuf,
    /// The layers, the topmost first.
    pub lower: Vec<PathBuf>,
}

/// How two files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// By what stat(2) tells, and capabilities.
    Stat,
    /// Also by all that is in them, where they were touched.
    Whole,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Docker's own words")]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

/// What is found at a path of a copy.
#[derive(Debug, Clone)]
pub struct Difference {
    /// From the root.
    pub path: PathBuf,
    /// What happened to it; `None` for a directory that is as it was.
    pub kind: Option<ChangeKind>,
    /// What it is now.
    pub now: Option<Metadata>,
}

impl Changed {
    /// The directory that has the changes, and in a copy all the rest.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Upper(dir) => dir,
            Self::Copy(copied) => &copied.tree,
        }
    }

    /// Where they are now: what came with a container waits beside a copy that was not made yet.
    #[must_use]
    pub fn at_hand(&self) -> Self {
        match self {
            Self::Copy(copied) if !copied.tree.exists() && copied.incoming.exists() => {
                Self::Upper(copied.incoming.clone())
            }
            other => other.clone(),
        }
    }
}

/// Writes the changes as a layer's entries.
///
/// # Errors
/// As [`crate::pack()`]; Conflict or System where the two trees cannot be compared.
pub fn pack_changed<W: Write>(
    out: &mut Writer<W>,
    changed: &Changed,
    how: Layered<'_>,
) -> Result<()> {
    let changed = &changed.at_hand();
    let copied = match changed {
        Changed::Upper(dir) => return pack_layer(out, dir, how, None),
        Changed::Copy(copied) => copied,
    };
    let mut only = Only::default();
    differences(copied, Care::Whole, &mut |found| {
        match found.kind {
            Some(ChangeKind::Deleted) => only.remove(&found.path),
            Some(_) if !how.left_out.contains(&found.path) => only.keep(found.path),
            _ => {}
        }
        Ok(())
    })?;
    pack_layer(out, &copied.tree, how, Some(only))
}

/// Tells of every change, of what is in a directory after it and in order, and of every directory of the
/// copy. Somebody may work in the copy meanwhile. A copy that is not there has no changes.
///
/// # Errors
/// System: what cannot be read; what `tell` says.
pub fn differences(
    copied: &Copied,
    care: Care,
    tell: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let tree = match Dir::open(&copied.tree) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.at("open", &copied.tree)?,
    };
    let comparing = Comparing {
        tree,
        below: Merged::open(&copied.lower)?,
        made: made_at(&copied.made)?,
        care,
    };
    let root = Waiting {
        layers: comparing.below.numbers(),
        difference: Difference {
            path: PathBuf::new(),
            kind: None,
            now: None,
        },
    };
    let mut waiting = vec![root];
    while let Some(Waiting { difference, layers }) = waiting.pop() {
        let path = difference.path.clone();
        if !path.as_os_str().is_empty() {
            tell(difference)?;
        }
        let (others, mut dirs) = match comparing.dir(&path, &layers) {
            // It was there when its parent was read, and was a directory.
            Err(e) if is_gone(&e) => continue,
            other => other.at("compare", &copied.tree.join(&path))?,
        };
        others.into_iter().try_for_each(&mut *tell)?;
        dirs.reverse();
        waiting.append(&mut dirs);
    }
    Ok(())
}

/// When the copy was complete.
fn made_at(path: &Path) -> Result<FileTime> {
    let look = || {
        let parent = Dir::open(path.parent().unwrap_or(path))?;
        parent.metadata(path.file_name().unwrap_or_default())
    };
    // Without it everything is compared.
    let found = look().at("look at", path)?;
    Ok(found.map(|found| found.changed).unwrap_or_default())
}

struct Comparing {
    tree: Dir,
    below: Merged,
    made: FileTime,
    care: Care,
}

/// A directory whose turn comes.
struct Waiting {
    difference: Difference,
    layers: Vec<usize>,
}

impl Comparing {
    /// What is in a directory, and the directories in it, in order.
    fn dir(&self, path: &Path, layers: &[usize]) -> io::Result<(Vec<Difference>, Vec<Waiting>)> {
        let here = self.tree.beneath(path)?;
        let level = self.below.level(path, layers)?;
        let mut before = level.all()?;
        let (mut others, mut dirs) = (Vec::new(), Vec::new());
        let names = here.sorted_names(limits::PACK_NAMES_BYTES_MAX)?;
        let too_many = || io::Error::other("it has more names than can be held in memory");
        let names = names.ok_or_else(too_many)?;
        for (name, _) in (0..names.len()).filter_map(|nth| names.get(nth)) {
            let Some(now) = here.metadata(name)? else {
                continue;
            };
            let was = before.remove(name);
            let kind = match &was {
                None => Some(ChangeKind::Added),
                Some(was) => self
                    .is_changed(&here, &level, name, was, &now)?
                    .then_some(ChangeKind::Modified),
            };
            let difference = Difference {
                path: path.join(name),
                kind,
                now: Some(now),
            };
            if now.kind == Kind::Dir {
                let layers = was.map(|was| was.dirs).unwrap_or_default();
                dirs.push(Waiting { difference, layers });
            } else if kind.is_some() {
                others.push(difference);
            }
        }
        others.extend(before.into_keys().map(|name| Difference {
            path: path.join(name),
            kind: Some(ChangeKind::Deleted),
            now: None,
        }));
        Ok((others, dirs))
    }

    fn is_changed(
        &self,
        here: &Dir,
        level: &Level,
        name: &OsStr,
        was: &Seen,
        now: &Metadata,
    ) -> io::Result<bool> {
        if differs(&was.found, now) {
            return Ok(true);
        }
        let Some(layer) = level.of(was.layer).filter(|_| now.changed >= self.made) else {
            return Ok(false);
        };
        let compared = match self.care {
            Care::Stat => differ_in_capability(layer, here, name),
            Care::Whole => differ_inside(layer, here, name, now.kind),
        };
        match compared {
            // It has gone meanwhile, or has become something else.
            Err(e) if is_gone(&e) => Ok(true),
            other => other,
        }
    }
}

/// What was listed is not there, or is something else by now.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || sys::beneath::is_bad_path(e)
}

/// moby's `statDifferent`: archives have whole seconds, so a time without a fraction is as good as one
/// with any.
pub fn differs(was: &Metadata, now: &Metadata) -> bool {
    let same_time = was.modified.secs == now.modified.secs
        && (was.modified.nanos == now.modified.nanos
            || was.modified.nanos == 0
            || now.modified.nanos == 0);
    (was.kind, was.mode, was.uid, was.gid, was.device)
        != (now.kind, now.mode, now.uid, now.gid, now.device)
        || now.kind != Kind::Dir && (was.size != now.size || !same_time)
}

/// Whether a file has other capabilities in `here` than in `layer`.
///
/// # Errors
/// What getxattr(2) says.
pub fn differ_in_capability(layer: &Dir, here: &Dir, name: &OsStr) -> io::Result<bool> {
    let of = |dir: &Dir| {
        let attributes = match dir.xattrs(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let mut attributes = attributes.into_iter();
        Ok::<_, io::Error>(attributes.find(|(attribute, _)| attribute == "security.capability"))
    };
    Ok(of(layer)? != of(here)?)
}

fn differ_inside(layer: &Dir, here: &Dir, name: &OsStr, kind: Kind) -> io::Result<bool> {
    let attributes = |dir: &Dir| -> io::Result<HashMap<OsString, Vec<u8>>> {
        let all = dir.xattrs(name)?.into_iter();
        let kept = all.filter(|(name, _)| is_kept_xattr(name.as_bytes(), Form::Layer));
        Ok(kept.collect())
    };
    if attributes(layer)? != attributes(here)? {
        return Ok(true);
    }
    match kind {
        Kind::Symlink => Ok(layer.read_link(name)? != here.read_link(name)?),
        Kind::File => differ_in_content(layer, here, name),
        _ => Ok(false),
    }
}

fn differ_in_content(layer: &Dir, here: &Dir, name: &OsStr) -> io::Result<bool> {
    let (mut was, mut now) = (layer.open_file(name)?, here.open_file(name)?);
    if !now.metadata()?.is_file() {
        return Ok(true);
    }
    let (mut left, mut right) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let read = fill(&mut was, &mut left)?;
        if fill(&mut now, &mut right)? != read || left[..read] != right[..read] {
            return Ok(true);
        }
        if read < COMPARE_BYTES {
            return Ok(false);
        }
    }
}

/// As much as there is room for, or the rest.
fn fill(file: &mut std::fs::File, room: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < room.len() {
        match file.read(&mut room[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
