//! SELinux: labels of this process, of those it starts, and of files (selinux(8), proc_pid_attr(5)).

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::beneath::{Dir, Kind, is_bad_path};

/// Where the kernel says and takes a thread's labels.
const CURRENT: &str = "/proc/thread-self/attr/current";
const EXEC: &str = "/proc/thread-self/attr/exec";
/// A file's label.
const ATTRIBUTE: &str = "security.selinux";

/// The label of this thread.
///
/// # Errors
/// What reading /proc says.
pub fn current() -> io::Result<String> {
    let text = std::fs::read_to_string(CURRENT)?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// What the calling thread executes next has this label.
///
/// # Errors
/// What the kernel says: there is no such label, or it may not be given.
pub(crate) fn label_next_program(label: &str) -> io::Result<()> {
    std::fs::write(EXEC, label)
}

/// Gives `path` and all below it a label. A file system that has none is left alone.
///
/// # Errors
/// What the kernel says.
pub fn relabel(path: &Path, label: &str) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = Dir::open(parent)?;
    match parent.metadata(name)? {
        Some(found) if found.kind == Kind::Dir => {}
        Some(_) => return one(&parent, name, label),
        None => return Err(io::ErrorKind::NotFound.into()),
    }
    one(&parent, name, label)?;
    let top = parent.child(name)?;
    let mut waiting = vec![std::path::PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let dir = match top.beneath(&path) {
            // Gone meanwhile, or something else by now.
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_bad_path(&e) => continue,
            other => other?,
        };
        for name in dir.names()? {
            let Some(found) = dir.metadata(&name)? else {
                continue;
            };
            one(&dir, &name, label)?;
            if found.kind == Kind::Dir {
                waiting.push(path.join(name));
            }
        }
    }
    Ok(())
}

fn one(dir: &Dir, name: &OsStr, label: &str) -> io::Result<()> {
    // Writing it changes the file's times, and each start would.
    let has_it = |(attribute, value): &(std::ffi::OsString, Vec<u8>)| {
        attribute == ATTRIBUTE && value.strip_suffix(b"\0").unwrap_or(value) == label.as_bytes()
    };
    if dir.xattrs(name).is_ok_and(|all| all.iter().any(has_it)) {
        return Ok(());
    }
    match dir.set_xattr(name, OsStr::new(ATTRIBUTE), label.as_bytes()) {
        // Gone meanwhile, or of a file system without labels.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
