//! Removal of a tree that somebody hostile may have made.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use model::{Context as _, Error};

use super::{Dir, Kind};

/// Names held in memory while a directory is emptied.
const NAMES_AT_ONCE: usize = 4096;

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
/// Never follows a link and holds two descriptors however deep the tree is: a container can make
/// directories deeper than any recursion or path can go. What a subdirectory holds is moved up
/// into the doomed directory itself, so nothing has to be made, and a full disk can be emptied. What is
/// mounted in it is not of the tree, and is in the way (`EXDEV`).
///
/// # Errors
/// The first failure; what remains can be removed by calling again.
pub fn remove_tree(parent: &Dir, name: &OsStr) -> io::Result<u64> {
    let mut freed_bytes = 0;
    if matches!(remove_one(parent, name, &mut freed_bytes)?, Removal::Gone) {
        return Ok(freed_bytes);
    }
    let doomed = parent.child_of_same_mount(name)?;
    let mut names = FreshNames::default();
    empty(&doomed, &mut freed_bytes, |entry, freed_bytes| {
        let child = doomed.child_of_same_mount(entry)?;
        empty(&child, freed_bytes, |grandchild, _| {
            child.rename(grandchild, &doomed, &names.next_in(&doomed)?)
        })?;
        doomed.rmdir(entry)
    })?;
    parent.rmdir(name)?;
    Ok(freed_bytes)
}

/// Removes all that `dir` holds; what `full_dir` is called for must be gone when it returns.
fn empty(
    dir: &Dir,
    freed_bytes: &mut u64,
    mut full_dir: impl FnMut(&OsStr, &mut u64) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        // Each pass takes away what it lists, so the next one starts at the rest.
        let entries = dir.first_names(NAMES_AT_ONCE)?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if matches!(remove_one(dir, &entry, freed_bytes)?, Removal::FullDir) {
                full_dir(&entry, freed_bytes)?;
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
