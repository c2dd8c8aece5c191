//! What a layer's marks are called: in an archive, and where overlayfs looks for them.
//!
//! Where the file system cannot have overlayfs' marks, which is also where no overlay can be mounted,
//! a layer has on the disk what its archive has: files with names that mean something. Nobody but
//! `merged` reads these, and nobody takes a container's own file of such a name for one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use sys::beneath::{DeviceNumber, Dir, Kind, Metadata, Node};

/// What a directory that hides the same directory of lower layers carries (kernel,
/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
pub(crate) const OPAQUE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");
/// Overlayfs' mark for "removed".
pub(crate) const WHITEOUT_DEVICE: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// OCI image spec, layer.md, "Whiteouts".
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The same, of all that lower layers have in a directory.
pub(crate) const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// Whether overlayfs takes it for a directory that hides those of lower layers.
///
/// # Errors
/// Whatever listxattr(2) or getxattr(2) says.
pub fn is_opaque(dir: &Dir) -> io::Result<bool> {
    let attributes = dir.own_xattrs()?;
    Ok(attributes
        .iter()
        .any(|(name, value)| name == OPAQUE.0 && value == OPAQUE.1))
}

/// Whether overlayfs takes it for a removed name.
pub fn is_whiteout(found: &Metadata) -> bool {
    found.kind == Kind::CharDevice && found.device == WHITEOUT_DEVICE
}

/// What hides `name` where overlayfs' mark cannot be had.
pub(crate) fn mark_of(name: &OsStr) -> OsString {
    let mark = [WHITEOUT_PREFIX, name.as_bytes()].concat();
    OsStr::from_bytes(&mark).to_owned()
}

/// Hides what lower layers have of that name; `true` when the file system has no whiteouts, so that a
/// name does it.
pub(crate) fn hide(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    match dir.mknod(name, Node::CharDevice(WHITEOUT_DEVICE)) {
        Err(e) if has_no_marks(&e) => make_mark(dir, &mark_of(name)).map(|()| true),
        made => made.map(|()| false),
    }
}

/// Takes away what [`hide`] made of a name; `false` when there was nothing.
pub(crate) fn unhide(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    match dir.unlink(&mark_of(name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        gone => gone.map(|()| true),
    }
}

/// Hides what lower layers have in the directory.
pub(crate) fn set_opaque(dir: &Dir) -> io::Result<()> {
    match dir.set_own_xattr(OsStr::new(OPAQUE.0), OPAQUE.1) {
        Err(e) if has_no_marks(&e) => make_mark(dir, OsStr::from_bytes(OPAQUE_WHITEOUT)),
        set => set,
    }
}

/// Whether a layer's directory hides those of lower layers, whichever way it says so.
pub(crate) fn hides_below(dir: &Dir) -> io::Result<bool> {
    Ok(is_opaque(dir)? || is_mark(dir, OsStr::from_bytes(OPAQUE_WHITEOUT))?)
}

/// Whether a layer has such a name, and it is no directory of somebody who wanted to call one so.
pub(crate) fn is_mark(dir: &Dir, mark: &OsStr) -> io::Result<bool> {
    let found = dir.metadata(mark)?;
    Ok(found.is_some_and(|found| found.kind == Kind::File))
}

fn make_mark(dir: &Dir, mark: &OsStr) -> io::Result<()> {
    match dir.create_file(mark) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn has_no_marks(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(e.kind(), InvalidInput | PermissionDenied | Unsupported)
}

/// Whether the file system of the empty directory `dir` has overlayfs' marks: tried there.
///
/// # Errors
/// What it says of anything else.
pub fn has_overlay_marks(dir: &Dir) -> io::Result<bool> {
    let name = OsStr::new("mark");
    let by_name = hide(dir, name)?;
    if by_name {
        unhide(dir, name)?;
        return Ok(false);
    }
    dir.unlink(name)?;
    dir.mkdir(name)?;
    let inner = dir.child(name)?;
    set_opaque(&inner)?;
    let has_both = is_opaque(&inner)?;
    match sys::beneath::remove_tree(dir, name) {
        Ok(_) => Ok(has_both),
        Err(e) => Err(e),
    }
}
