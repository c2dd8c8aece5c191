//! Owners, modes, times and extended attributes of what a [`Dir`] names, and of open files.
//!
//! A link is never followed to set something on its target.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Dir, FileTime, one};

impl Dir {
    /// Changes the owner of `name`, of the link itself when it is one. Clears set-id bits and
    /// file capabilities, so it comes before [`Dir::set_mode`] and [`Dir::set_xattr`].
    ///
    /// # Errors
    /// Whatever fchownat(2) says.
    pub fn set_owner(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = owner(uid, gid)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(&self.fd, one(name)?, uid, gid, flags)?)
    }

    /// Changes the permission bits of `name`; a link is refused.
    ///
    /// # Errors
    /// Whatever chmod(2) says; `EOPNOTSUPP` for a link.
    pub fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        // fchmodat(2) follows links on kernels before 6.6: the inode is held first.
        let path = self.proc_path_of(name)?;
        Ok(rustix::fs::chmod(&path.1, mode)?)
    }

    /// Sets the times of `name`, of the link itself when it is one.
    ///
    /// # Errors
    /// Whatever utimensat(2) says.
    pub fn set_times(
        &self,
        name: &OsStr,
        accessed: FileTime,
        modified: FileTime,
    ) -> io::Result<()> {
        let times = timestamps(accessed, modified);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(&self.fd, one(name)?, &times, flags)?)
    }

    /// Sets an extended attribute of `name`, of the link itself when it is one.
    ///
    /// # Errors
    /// Whatever setxattr(2) says.
    pub fn set_xattr(&self, name: &OsStr, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
        let path = self.proc_path_of(name)?;
        Ok(rustix::fs::setxattr(
            &path.1,
            attribute,
            value,
            XattrFlags::empty(),
        )?)
    }

    /// All extended attributes of `name`, of the link itself when it is one.
    ///
    /// # Errors
    /// Whatever listxattr(2) or getxattr(2) says; a file system without them gives none.
    pub fn xattrs(&self, name: &OsStr) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        // The name is looked up in this very directory, and nothing has to be opened.
        let path = proc_path(self.fd.as_fd()).join(one(name)?);
        read_with(
            |room| rustix::fs::llistxattr(&path, room),
            |name, room| rustix::fs::lgetxattr(&path, name, room),
        )
    }

    /// A path that names the inode of `name` itself for calls that have no `*at` form: following
    /// the magic link of an O_PATH descriptor lands on it, whatever it is. The descriptor must
    /// live as long as the path is used.
    fn proc_path_of(&self, name: &OsStr) -> io::Result<(OwnedFd, PathBuf)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
        let path = proc_path(fd.as_fd());
        Ok((fd, path))
    }

    /// [`Dir::set_owner`] of this directory.
    ///
    /// # Errors
    /// Whatever fchown(2) says.
    pub fn set_own_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = owner(uid, gid)?;
        Ok(rustix::fs::fchown(&self.fd, uid, gid)?)
    }

    /// Changes the permission bits of this directory.
    ///
    /// # Errors
    /// Whatever fchmod(2) says.
    pub fn set_own_mode(&self, mode: u32) -> io::Result<()> {
        set_file_mode(self.fd.as_fd(), mode)
    }

    /// Sets the times of this directory.
    ///
    /// # Errors
    /// Whatever futimens(2) says.
    pub fn set_own_times(&self, accessed: FileTime, modified: FileTime) -> io::Result<()> {
        set_file_times(self.fd.as_fd(), accessed, modified)
    }

    /// Sets an extended attribute of this directory.
    ///
    /// # Errors
    /// Whatever fsetxattr(2) says.
    pub fn set_own_xattr(&self, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
        set_file_xattr(self.fd.as_fd(), attribute, value)
    }

    /// All extended attributes of this directory.
    ///
    /// # Errors
    /// As [`Dir::xattrs`].
    pub fn own_xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        file_xattrs(&self.fd)
    }
}

/// Changes the owner of an open file; see [`Dir::set_owner`] for the order.
///
/// # Errors
/// Whatever fchown(2) says.
pub fn set_file_owner(file: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = owner(uid, gid)?;
    Ok(rustix::fs::fchown(file, uid, gid)?)
}

/// Changes the permission bits of an open file.
///
/// # Errors
/// Whatever fchmod(2) says.
pub fn set_file_mode(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(
        file,
        Mode::from_bits_truncate(mode & 0o7777),
    )?)
}

/// Sets the times of an open file.
///
/// # Errors
/// Whatever futimens(2) says.
pub fn set_file_times(
    file: BorrowedFd<'_>,
    accessed: FileTime,
    modified: FileTime,
) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &timestamps(accessed, modified))?)
}

/// Sets an extended attribute of an open file.
///
/// # Errors
/// Whatever fsetxattr(2) says.
pub fn set_file_xattr(file: BorrowedFd<'_>, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(
        file,
        attribute,
        value,
        XattrFlags::empty(),
    )?)
}

/// `u32::MAX` means "leave as it is" to chown(2); as an id it is refused.
fn owner(uid: u32, gid: u32) -> io::Result<(Option<Uid>, Option<Gid>)> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

fn timestamps(accessed: FileTime, modified: FileTime) -> Timestamps {
    let spec = |t: FileTime| Timespec {
        tv_sec: t.secs,
        tv_nsec: t.nanos.into(),
    };
    Timestamps {
        last_access: spec(accessed),
        last_modification: spec(modified),
    }
}

fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Largest value and list the kernel handles (XATTR_SIZE_MAX, XATTR_LIST_MAX in limits.h).
const XATTR_BYTES_MAX: usize = 64 << 10;
/// As much as most files have: to clear more for each file of a tree takes longer than to read them.
const XATTR_BYTES_USUAL: usize = 512;

/// All extended attributes of an open file.
///
/// # Errors
/// As [`Dir::xattrs`].
pub fn file_xattrs(file: impl AsFd) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    read_with(
        |room| rustix::fs::flistxattr(&file, room),
        |name, room| rustix::fs::fgetxattr(&file, name, room),
    )
}

fn read_with(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    value: impl Fn(&OsStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let list = match with_room(list) {
        Ok(list) => list,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in list.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let name = OsStr::from_bytes(name);
        match with_room(|room| value(name, room)) {
            Ok(value) => found.push((name.to_owned(), value)),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}

fn with_room(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut usual = [0; XATTR_BYTES_USUAL];
    match read(&mut usual) {
        Ok(used) => return Ok(usual[..used].to_vec()),
        Err(Errno::RANGE) => {}
        Err(e) => return Err(e),
    }
    let mut room = vec![0; XATTR_BYTES_MAX];
    let used = read(&mut room)?;
    room.truncate(used);
    Ok(room)
}
