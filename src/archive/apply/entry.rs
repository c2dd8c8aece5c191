//! One entry made: content, owner, attributes, mode and times, in the order that keeps them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Error, Result};
use sys::beneath::{self, Dir, Node};

use crate::Form;
use crate::failure::{self, At};
use crate::frame::Recording;
use crate::path::{CleanPath, shown};
use crate::tar::{Entry, EntryKind, Reader};

/// How much content is moved at once.
const COPY_BYTES: usize = 128 << 10;

/// What keeps the bytes of the archive, and what the file is really called.
pub(super) type Kept<'a> = (&'a Recording, CleanPath);

/// Where an entry goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) dir: &'a Dir,
    pub(super) name: &'a OsStr,
    /// For messages.
    pub(super) path: &'a CleanPath,
    pub(super) tree: &'a Path,
    pub(super) form: Form,
}

impl Target<'_> {
    /// For messages.
    fn shown_path(&self) -> PathBuf {
        self.tree.join(self.path.as_path())
    }

    pub(super) fn failed(&self, e: &io::Error) -> Error {
        failed(e, self.path, self.tree)
    }
}

/// Tells of a failure with one name of a layer: the archive's fault when the name is impossible,
/// the host's otherwise.
pub(super) fn failed(e: &io::Error, path: &CleanPath, tree: &Path) -> Error {
    if beneath::is_bad_path(e) {
        return Error::invalid(format!(
            "bad path {} in the archive: {e}",
            shown(path.as_bytes())
        ));
    }
    Error::system(format!(
        "cannot write {}: {e}",
        tree.join(path.as_path()).display()
    ))
}

/// Makes an entry that is neither a directory nor a hard link at a free name.
pub(super) fn create<R: Read>(
    target: &Target<'_>,
    entry: &Entry,
    reader: &mut Reader<R>,
    kept: Option<&Kept<'_>>,
) -> Result<()> {
    let node = match &entry.kind {
        EntryKind::File => return create_file(target, entry, reader, kept),
        EntryKind::Symlink(text) => return create_symlink(target, entry, text),
        EntryKind::CharDevice(device) => Node::CharDevice(*device),
        EntryKind::BlockDevice(device) => Node::BlockDevice(*device),
        EntryKind::Fifo => Node::Fifo,
        EntryKind::Unknown(flag) => {
            return Err(Error::invalid(format!(
                "entry {} of the archive is of the unknown type {}",
                shown(&entry.path),
                shown(&[*flag])
            )));
        }
        EntryKind::Dir | EntryKind::HardLink(_) => return Ok(()),
    };
    let made = target
        .dir
        .mknod(target.name, node)
        .and_then(|()| target.dir.set_owner(target.name, entry.uid, entry.gid));
    made.map_err(|e| target.failed(&e))?;
    set_named_xattrs(target, entry)?;
    target
        .dir
        .set_mode(target.name, entry.mode)
        .and_then(|()| {
            target
                .dir
                .set_times(target.name, entry.modified, entry.modified)
        })
        .map_err(|e| target.failed(&e))
}

fn create_file<R: Read>(
    target: &Target<'_>,
    entry: &Entry,
    reader: &mut Reader<R>,
    kept: Option<&Kept<'_>>,
) -> Result<()> {
    let mut file = target
        .dir
        .create_file_as(target.name, entry.mode)
        .map_err(|e| target.failed(&e))?;
    let written = fill_file(target, &mut file, entry, reader, kept);
    if written.is_err() {
        // Nobody is to take a part for the whole. By now another may have that name, whose it is.
        let own = beneath::file_metadata(&file).map(|own| own.inode);
        let now = target.dir.metadata(target.name);
        if matches!((own, now), (Ok(own), Ok(Some(now))) if now.inode == own) {
            drop(target.dir.unlink(target.name));
        }
    }
    written
}

fn fill_file<R: Read>(
    target: &Target<'_>,
    file: &mut File,
    entry: &Entry,
    reader: &mut Reader<R>,
    kept: Option<&Kept<'_>>,
) -> Result<()> {
    write_content(target, file, entry, reader, kept)?;
    // What is right already is not set: each change is one of the file system's journal.
    let made = beneath::file_metadata(&*file).map_err(|e| target.failed(&e))?;
    let is_owned = (made.uid, made.gid) == (entry.uid, entry.gid);
    if !is_owned {
        // chown(2) clears set-id bits and file capabilities, so it comes first.
        beneath::set_file_owner(file.as_fd(), entry.uid, entry.gid)
            .map_err(|e| target.failed(&e))?;
    }
    let has_acl = entry
        .xattrs
        .iter()
        .any(|(name, _)| name.starts_with(b"system."));
    for (name, value) in kept_xattrs(entry, target.form) {
        let set = beneath::set_file_xattr(file.as_fd(), name, value);
        check_xattr(set, name, target.dir, &target.shown_path())?;
    }
    let set = match made.mode == entry.mode && is_owned && !has_acl {
        true => Ok(()),
        false => beneath::set_file_mode(file.as_fd(), entry.mode),
    };
    set.and_then(|()| beneath::set_file_times(file.as_fd(), entry.modified, entry.modified))
        .map_err(|e| target.failed(&e))
}

fn write_content<R: Read>(
    target: &Target<'_>,
    file: &mut File,
    entry: &Entry,
    reader: &mut Reader<R>,
    kept: Option<&Kept<'_>>,
) -> Result<()> {
    let record = |offset, length| match kept {
        Some((recording, file)) => recording.piece(file, offset, length),
        None => Ok(()),
    };
    let mut buffer =
        vec![0; COPY_BYTES.min(usize::try_from(entry.size_bytes).unwrap_or(COPY_BYTES))];
    let Some(segments) = &entry.segments else {
        record(0, entry.size_bytes)?;
        return copy(target, file, entry.size_bytes, reader, &mut buffer);
    };
    for segment in segments {
        file.seek(SeekFrom::Start(segment.offset))
            .map_err(|e| target.failed(&e))?;
        record(segment.offset, segment.length)?;
        copy(target, file, segment.length, reader, &mut buffer)?;
    }
    file.set_len(entry.size_bytes)
        .map_err(|e| target.failed(&e))
}

fn copy<R: Read>(
    target: &Target<'_>,
    file: &mut File,
    bytes: u64,
    reader: &mut Reader<R>,
    buffer: &mut [u8],
) -> Result<()> {
    let mut left = bytes;
    while left > 0 {
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = match reader.read(&mut buffer[..wanted]) {
            Ok(0) => return Err(failure::reading(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failure::reading(e)),
        };
        file.write_all(&buffer[..n])
            .map_err(|e| target.failed(&e))?;
        left -= n as u64;
    }
    Ok(())
}

fn create_symlink(target: &Target<'_>, entry: &Entry, text: &[u8]) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!(
            "link {} to nothing in the archive",
            shown(&entry.path)
        )));
    }
    let made = target
        .dir
        .symlink(OsStr::from_bytes(text), target.name)
        .and_then(|()| target.dir.set_owner(target.name, entry.uid, entry.gid));
    made.map_err(|e| target.failed(&e))?;
    set_named_xattrs(target, entry)?;
    target
        .dir
        .set_times(target.name, entry.modified, entry.modified)
        .map_err(|e| target.failed(&e))
}

/// Owner, attributes and mode of a directory; its times come when it is complete.
pub(super) fn set_dir_attributes(
    dir: &Dir,
    entry: &Entry,
    form: Form,
    shown_path: &Path,
) -> Result<()> {
    dir.set_own_owner(entry.uid, entry.gid)
        .at("change the owner of", shown_path)?;
    for (name, value) in kept_xattrs(entry, form) {
        let set = dir.set_own_xattr(name, value);
        check_xattr(set, name, dir, shown_path)?;
    }
    dir.set_own_mode(entry.mode)
        .at("change the mode of", shown_path)
}

fn set_named_xattrs(target: &Target<'_>, entry: &Entry) -> Result<()> {
    for (name, value) in kept_xattrs(entry, target.form) {
        let set = target.dir.set_xattr(target.name, name, value);
        check_xattr(set, name, target.dir, &target.shown_path())?;
    }
    Ok(())
}

/// Tells of an attribute that could not be set: the archive's fault when it is one that no file can have.
fn check_xattr(set: io::Result<()>, name: &OsStr, dir: &Dir, path: &Path) -> Result<()> {
    let e = match set {
        Err(e) if !is_unsupported(&e, name) => e,
        _ => return Ok(()),
    };
    let shown_name = shown(name.as_bytes());
    if beneath::is_bad_attribute(&e) || is_misplaced(&e, name) || is_too_large(&e, dir) {
        return Err(Error::invalid(format!(
            "bad attribute {shown_name} of {} in the archive: {e}",
            path.display()
        )));
    }
    Err(Error::system(format!(
        "cannot set the attribute {shown_name} of {}: {e}",
        path.display()
    )))
}

/// An access list for what is to be in a file (setxattr(2) of ext4, xfs and the like).
fn is_misplaced(e: &io::Error, name: &OsStr) -> bool {
    e.kind() == io::ErrorKind::PermissionDenied && name == "system.posix_acl_default"
}

/// Some file systems have a block for all attributes of a file, and say that there is no room when that
/// is full.
fn is_too_large(e: &io::Error, dir: &Dir) -> bool {
    const ROOM_BYTES: u64 = 16 << 20;
    let has_room = || dir.space().is_ok_and(|space| space.root_bytes > ROOM_BYTES);
    e.kind() == io::ErrorKind::StorageFull && has_room()
}

/// `user.*` is decoration that some file systems and all links do without; losing a capability
/// or an access list would change what a program may do, so that is an error.
fn is_unsupported(e: &io::Error, name: &OsStr) -> bool {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    name.as_bytes().starts_with(b"user.") && matches!(e.kind(), Unsupported | PermissionDenied)
}

fn kept_xattrs(entry: &Entry, form: Form) -> impl Iterator<Item = (&OsStr, &[u8])> {
    entry
        .xattrs
        .iter()
        .filter(move |(name, _)| is_kept_xattr(name, form))
        .map(|(name, value)| (OsStr::from_bytes(name), &value[..]))
}

/// What an archive may set. Overlayfs' own attributes would make a layer reach or hide what it
/// should not, and are a volume's own business; labels and measurements of security modules are the host's to give.
pub(crate) fn is_kept_xattr(name: &[u8], form: Form) -> bool {
    const KEPT: [&[u8]; 3] = [
        b"security.capability",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    ];
    let overlay = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
    let free = name.starts_with(b"user.") || name.starts_with(b"trusted.");
    KEPT.contains(&name) || free && (form == Form::Plain || !overlay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_overlayfs_and_of_the_host_are_left_out() {
        for kept in [
            "user.x",
            "trusted.x",
            "security.capability",
            "system.posix_acl_access",
        ] {
            assert!(is_kept_xattr(kept.as_bytes(), Form::Layer), "{kept}");
        }
        for left in [
            "trusted.overlay.redirect",
            "trusted.overlay.opaque",
            "user.overlay.opaque",
            "security.selinux",
            "security.ima",
            "system.nfs4_acl",
            "",
            "capability",
        ] {
            assert!(!is_kept_xattr(left.as_bytes(), Form::Layer), "{left}");
            let overlay = left.contains("overlay");
            assert_eq!(
                is_kept_xattr(left.as_bytes(), Form::Plain),
                overlay,
                "{left}"
            );
        }
    }
}
