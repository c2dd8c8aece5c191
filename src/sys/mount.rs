//! Mounts: bind, tmpfs, unmount, propagation, and what is mounted where.
//!
//! All in the mount namespace of the calling thread, which is the daemon's but for those that live
//! [apart](crate::apart). What is mounted and for how long is decided above.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// What may happen on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// No writes.
    pub read_only: bool,
    /// Set-id bits have no effect.
    pub no_suid: bool,
    /// Devices cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

/// One line of `/proc/thread-self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Its number.
    pub id: u64,
    /// The mount it sits on.
    pub parent: u64,
    /// The part of its file system that it shows.
    pub root: PathBuf,
    /// Where it is.
    pub target: PathBuf,
    /// `overlay`, `ext4`, ...
    pub fs_type: String,
    /// Device, or whatever the mounter said.
    pub source: OsString,
}

/// Mounts `source`, a file or directory, at `target` of the same kind; with what is mounted
/// inside it when `recursive`.
///
/// # Errors
/// Whatever mount(2) says; when the options cannot be set, nothing stays mounted.
pub fn bind(
    source: &Path,
    target: &Path,
    recursive: bool,
    options: MountOptions,
) -> io::Result<()> {
    if recursive {
        rustix::mount::mount_bind_recursive(source, target)?;
    } else {
        rustix::mount::mount_bind(source, target)?;
    }
    if options == MountOptions::default() {
        return Ok(());
    }
    // mount(2) ignores every flag but MS_REC while it binds, so they take a second call.
    let flags = MountFlags::BIND | flags_of(options);
    rustix::mount::mount_remount(target, flags, c"").map_err(|e| {
        let _ = unmount(target, true);
        e.into()
    })
}

/// Mounts a new, empty tmpfs of at most `size_bytes` at `target`.
///
/// # Errors
/// Whatever mount(2) says.
pub fn tmpfs(target: &Path, size_bytes: u64, mode: u32, options: MountOptions) -> io::Result<()> {
    let data = CString::new(format!("size={size_bytes},mode={:o}", mode & 0o7777))?;
    Ok(rustix::mount::mount(
        "tmpfs",
        target,
        "tmpfs",
        flags_of(options),
        data.as_c_str(),
    )?)
}

fn flags_of(options: MountOptions) -> MountFlags {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, options.read_only);
    flags.set(MountFlags::NOSUID, options.no_suid);
    flags.set(MountFlags::NODEV, options.no_dev);
    flags.set(MountFlags::NOEXEC, options.no_exec);
    flags
}

/// Puts a mount that is attached nowhere at `target`.
///
/// # Errors
/// Whatever move_mount(2) says.
pub fn attach(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", CWD, target, flags)?)
}

/// A new, empty tmpfs of at most `size_bytes`, attached nowhere.
///
/// # Errors
/// Whatever fsopen(2) and those after it say.
pub fn detached_tmpfs(size_bytes: u64, mode: u32) -> io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    };
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "size", size_bytes.to_string())?;
    fsconfig_set_string(context.as_fd(), "mode", format!("{:o}", mode & 0o7777))?;
    fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(context.as_fd(), flags, MountAttrFlags::empty())?)
}

/// What is mounted at `path`, or the part of it that begins there, once more and attached nowhere;
/// with what is mounted inside it when `recursive`.
///
/// # Errors
/// Whatever open_tree(2) says.
pub fn detached_clone(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// What `held` is, once more and attached nowhere, without what is mounted inside it. Nobody can put
/// something else in its place meanwhile.
///
/// # Errors
/// Whatever open_tree(2) says.
pub fn detached_clone_of(held: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(held, "", flags)?)
}

/// Takes away the topmost mount at `target`; `false` when none is there. With `lazy` it
/// disappears from the tree at once and ends when its last user does.
///
/// # Errors
/// `EBUSY` when it is in use and not `lazy`, and whatever else umount2(2) says.
pub fn unmount(target: &Path, lazy: bool) -> io::Result<bool> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(target, flags) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Keeps mounts made below the mount point `target` from other mount namespaces, and theirs
/// from here.
///
/// # Errors
/// Whatever mount(2) says; `EINVAL` when `target` is no mount point.
pub fn make_private(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_change(
        target,
        MountPropagationFlags::PRIVATE,
    )?)
}

/// Keeps to itself what is mounted and unmounted here from now on at and below the mount point
/// `target`, and still sees what is in the namespace it was copied from.
///
/// # Errors
/// Whatever mount(2) says; `EINVAL` when `target` is no mount point.
pub fn make_slave(target: &Path) -> io::Result<()> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(target, flags)?)
}

/// Whether something is mounted exactly at `path`. One statx(2) where the kernel tells
/// (Linux 5.8), else a look into mountinfo.
///
/// # Errors
/// Whatever statx(2) or the read says; a missing path is `false`.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(found)
            if found
                .stx_attributes_mask
                .contains(StatxAttributes::MOUNT_ROOT) =>
        {
            Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) => Ok(find(path)?.is_some()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The topmost mount at exactly `target`, an absolute path without links.
///
/// # Errors
/// When `/proc/thread-self/mountinfo` cannot be read.
pub fn find(target: &Path) -> io::Result<Option<MountEntry>> {
    Ok(mounts()?.into_iter().rev().find(|m| m.target == target))
}

/// Every mount at or below `path`, the last made first: the order in which they can be
/// unmounted.
///
/// # Errors
/// As [`find`].
pub fn below(path: &Path) -> io::Result<Vec<MountEntry>> {
    let mut found = mounts()?;
    found.retain(|m| m.target.starts_with(path));
    found.reverse();
    Ok(found)
}

fn mounts() -> io::Result<Vec<MountEntry>> {
    let text = std::fs::read("/proc/thread-self/mountinfo")?;
    Ok(text
        .split(|b| *b == b'\n')
        .filter_map(parse_mountinfo)
        .collect())
}

fn parse_mountinfo(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let root = fields.nth(1)?;
    let target = fields.next()?;
    // Optional fields of any number end with a dash.
    let mut rest = fields.skip_while(|f| *f != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(rest.next()?).into_owned();
    Some(MountEntry {
        id,
        parent,
        root: unescape(root).into(),
        target: unescape(target).into(),
        fs_type,
        source: unescape(rest.next()?),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(byte) if first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

/// The type of the file system that holds `path`, as mountinfo calls it; empty when unknown.
pub fn fs_type_of(path: &Path) -> String {
    let holds = |m: &MountEntry| path.starts_with(&m.target);
    let found = mounts().unwrap_or_default();
    let best = found
        .iter()
        .filter(|m| holds(m))
        .max_by_key(|m| m.target.as_os_str().len());
    best.map(|m| m.fs_type.clone()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Unmounts when the test ends, however it ends.
    pub(crate) struct Mounted(pub(crate) PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            while unmount(&self.0, true).unwrap_or(false) {}
        }
    }

    #[test]
    fn mountinfo_lines_are_read_with_their_escapes() {
        let line = b"36 35 98:0 /mnt1 /a\\040b\\134 rw,noatime master:1 - ext3 /dev/root rw,x=y";
        let m = parse_mountinfo(line).unwrap();
        assert_eq!((m.id, m.parent), (36, 35));
        assert_eq!(m.root, Path::new("/mnt1"));
        assert_eq!(m.target, Path::new("/a b\\"));
        assert_eq!((m.fs_type.as_str(), m.source), ("ext3", "/dev/root".into()));
        for bad in [
            "",
            "36",
            "36 35 98:0 / /a rw - ",
            "x 35 98:0 / /a rw - ext3 d",
        ] {
            assert_eq!(parse_mountinfo(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn bind_and_tmpfs_take_their_options() {
        let temp = tempfile::tempdir().unwrap();
        let (source, target) = (temp.path().join("s"), temp.path().join("t"));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&target).unwrap();
        let (_a, _b) = (Mounted(source.clone()), Mounted(target.clone()));
        tmpfs(&source, 1 << 20, 0o711, MountOptions::default()).unwrap();
        std::fs::write(source.join("f"), "x").unwrap();
        let read_only = MountOptions {
            read_only: true,
            ..MountOptions::default()
        };
        bind(&source, &target, false, read_only).unwrap();
        make_private(&target).unwrap();
        assert_eq!(std::fs::read(target.join("f")).unwrap(), b"x");
        let e = std::fs::write(target.join("g"), "").unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let full = std::fs::write(source.join("big"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_absent_is_not_mounted() {
        let absent = Path::new("/nonexistent/moored");
        assert!(!is_mount_point(absent).unwrap());
        assert!(!unmount(absent, true).unwrap());
    }
}
