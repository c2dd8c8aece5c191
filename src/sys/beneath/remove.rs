//! Removal of a tree that somebody hostile may have made.

use std::ffi::{OsStr, OsString};
use std::io;

use super::{Dir, Kind};

/// Names held in memory while a directory is emptied.
const NAMES_AT_ONCE: usize = 4096;

/// Removes `name` in `parent` with everything in it; absent is fine. Returns the bytes of the
/// regular files whose last name went.
///
/// Never follows a link and holds two descriptors however deep the tree is: a container can make
/// directories deeper than any recursion or path can go. `scratch` is a directory of the same
/// file system that nobody else uses; subdirectories are moved there before they are emptied.
///
/// # Errors
/// The first failure; what remains can be removed by calling again, with the scratch directory
/// itself removed by the same means.
pub fn remove_tree(parent: &Dir, name: &OsStr, scratch: &Dir) -> io::Result<u64> {
    let mut freed_bytes = 0;
    let mut waiting: Vec<u64> = Vec::new();
    let mut next = 0;
    match remove_or_report_dir(parent, name, &mut freed_bytes)? {
        Removal::Gone => return Ok(freed_bytes),
        Removal::FullDir => {
            parent.rename(name, scratch, OsStr::new("0"))?;
            waiting.push(next);
        }
    }
    while let Some(number) = waiting.pop() {
        let number = OsString::from(number.to_string());
        let dir = scratch.child(&number)?;
        loop {
            // Each pass empties what it lists, so the next one starts at the rest.
            let entries = dir.first_names(NAMES_AT_ONCE)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let removal = remove_or_report_dir(&dir, &entry, &mut freed_bytes)?;
                if matches!(removal, Removal::FullDir) {
                    next += 1;
                    dir.rename(&entry, scratch, OsStr::new(&next.to_string()))?;
                    waiting.push(next);
                }
            }
        }
        scratch.rmdir(&number)?;
    }
    Ok(freed_bytes)
}

enum Removal {
    Gone,
    FullDir,
}

fn remove_or_report_dir(dir: &Dir, name: &OsStr, freed_bytes: &mut u64) -> io::Result<Removal> {
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
