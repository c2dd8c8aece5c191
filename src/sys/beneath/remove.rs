//! Removal of a tree that somebody hostile may have made.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use model::{Context as _, Error};

use super::{Dir, Kind};

/// Names of one directory held in memory while it is emptied.
const NAMES_AT_ONCE: usize = 256;
/// Directories within one another that are held open.
const DEPTH_MAX: usize = 128;

/// Removes a directory and all in it; absent is fine. Containers write into what is removed, so not
/// by `remove_dir_all`: it recurses, and a tree that is deep enough ends the daemon.
///
/// # Errors
/// The first failure; what remains can be removed by calling again.
pub fn remove_all(dir: &Path) -> model::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(Error::system(format!(
            "{} cannot be removed",
            dir.display()
        )));
    };
    let removed = Dir::open(parent).and_then(|parent| remove_tree(&parent, name));
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other
            .map(drop)
            .context(format_args!("remove {}", dir.display())),
    }
}

/// Removes `name` in `parent` with everything in it; absent is fine. Returns the bytes of the
/// regular files whose last name went.
///
/// Never follows a link and holds few descriptors however deep the tree is: a container can make
/// directories deeper than any recursion or path can go. What lies deeper than [`DEPTH_MAX`] is moved up
/// into the doomed directory itself, so nothing has to be made, and a full disk can be emptied. Overlayfs
/// moves no directory of a lower layer (`EXDEV`): those are gone into, and are no deeper than the paths of
/// a layer may be long. What is mounted in it is not of the tree, and is in the way (`EBUSY`), wherever
/// that mount is seen.
///
/// # Errors
/// The first failure; what remains can be removed by calling again.
pub fn remove_tree(parent: &Dir, name: &OsStr) -> io::Result<u64> {
    let mut freed_bytes = 0;
    if matches!(remove_one(parent, name, &mut freed_bytes)?, Removal::Gone) {
        return Ok(freed_bytes);
    }
    let mut names = FreshNames::default();
    let mut way = vec![Level::open(parent, name)?];
    let mut refilled = 0;
    while let Some(level) = way.last_mut() {
        match level.next_full_dir(&mut freed_bytes)? {
            Some(full) => {
                let child = Level::open(&level.dir, &full)?;
                if way.len() < DEPTH_MAX || !lift(&child.dir, &way[0].dir, &mut names)? {
                    way.push(child);
                }
            }
            None => {
                let Some(level) = way.pop() else { break };
                match way.last().map_or(parent, |l| &l.dir).rmdir(&level.name) {
                    // Somebody who has it open is still writing there.
                    Err(e)
                        if e.kind() == io::ErrorKind::DirectoryNotEmpty
                            && refilled < REFILLED_MAX =>
                    {
                        refilled += 1;
                        way.push(level);
                    }
                    other => other?,
                }
            }
        }
    }
    Ok(freed_bytes)
}

/// How often a directory that was emptied may have been filled again, before that is an error: whoever
/// fills it has a tree that was removed, and ends soon.
const REFILLED_MAX: usize = 10_000;

/// A directory that is being emptied.
struct Level {
    name: OsString,
    dir: Dir,
    /// Of what is in it, the last first.
    left: Vec<OsString>,
}

impl Level {
    fn open(parent: &Dir, name: &OsStr) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            dir: parent.child_of_same_mount(name)?,
            left: Vec::new(),
        })
    }

    /// Removes what is in it up to a directory that is not empty; `None` when it is all gone.
    fn next_full_dir(&mut self, freed_bytes: &mut u64) -> io::Result<Option<OsString>> {
        loop {
            if self.left.is_empty() {
                // What was listed is gone, so this starts at the rest.
                self.left = self.dir.first_names(NAMES_AT_ONCE)?;
            }
            let Some(name) = self.left.pop() else {
                return Ok(None);
            };
            if matches!(remove_one(&self.dir, &name, freed_bytes)?, Removal::FullDir) {
                return Ok(Some(name));
            }
        }
    }
}

/// Moves what is in `dir` up into `doomed`, so that it is empty; `false` where that cannot be.
fn lift(dir: &Dir, doomed: &Dir, names: &mut FreshNames) -> io::Result<bool> {
    loop {
        let entries = dir.first_names(NAMES_AT_ONCE)?;
        if entries.is_empty() {
            return Ok(true);
        }
        for entry in entries {
            match dir.rename(&entry, doomed, &names.next_in(doomed)?) {
                Err(e) if e.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
                other => other?,
            }
        }
    }
}

/// Names that a directory does not have: numbers, for they are short.
#[derive(Default)]
struct FreshNames {
    next: u64,
}

impl FreshNames {
    fn next_in(&mut self, dir: &Dir) -> io::Result<OsString> {
        loop {
            let name = OsString::from(self.next.to_string());
            self.next += 1;
            if dir.metadata(&name)?.is_none() {
                return Ok(name);
            }
        }
    }
}

enum Removal {
    Gone,
    FullDir,
}

fn remove_one(dir: &Dir, name: &OsStr, freed_bytes: &mut u64) -> io::Result<Removal> {
    let Some(found) = dir.metadata(name)? else {
        return Ok(Removal::Gone);
    };
    if found.is_mount {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    if found.kind != Kind::Dir {
        dir.unlink(name)?;
        if found.kind == Kind::File && found.links <= 1 {
            *freed_bytes += found.size;
        }
        return Ok(Removal::Gone);
    }
    match dir.rmdir(name) {
        Ok(()) => Ok(Removal::Gone),
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(Removal::FullDir),
        Err(e) => Err(e),
    }
}
