//! Paths resolved beneath a root (openat2), for everything that touches a rootfs or applies an
//! archive.
//!
//! A [`Dir`] is an open directory. Whatever is done inside it names either one component, which
//! is never followed when it is a link, or a path that the kernel resolves without leaving the
//! directory. A path is never checked first and used later, so a link that is swapped in between
//! changes nothing. Nothing here knows what the names mean.

mod attributes;
mod copy;
mod metadata;
mod names;
mod remove;
mod usage;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use metadata::metadata_of;

pub use attributes::{file_xattrs, set_file_mode, set_file_owner, set_file_times, set_file_xattr};
pub use copy::{content_ranges, copy_content};
pub use metadata::{FileTime, Kind, Metadata, file_metadata};
pub use names::Names;
pub use remove::{remove_all, remove_tree};
pub use usage::{Usage, tree_usage};

/// openat2 answers EAGAIN when a rename anywhere on the host races with `..`; a second try
/// nearly always succeeds (openat2(2)).
const RESOLVE_TRIES_MAX: usize = 128;

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// A device's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceNumber {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

/// What [`Dir::mknod`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A named pipe.
    Fifo,
    /// A character device; 0:0 is overlayfs' whiteout.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

/// An open directory; see the module head.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    /// Opens a directory of the host. Links in `path` are followed: it is ours, not an image's.
    ///
    /// # Errors
    /// Whatever open(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::openat(CWD, path, DIR_FLAGS, Mode::empty())?;
        Ok(Self { fd })
    }

    /// The directory at `path`, resolved as if this directory were `/`: links are followed, `..`
    /// and absolute targets stop here. For paths that an image may shape.
    ///
    /// # Errors
    /// Whatever openat2(2) says; magic links of proc are refused.
    pub fn in_root(&self, path: &Path) -> io::Result<Self> {
        self.resolve(path, ResolveFlags::IN_ROOT)
    }

    /// The directory at the relative `path` with no link on the way, not even a harmless one.
    ///
    /// # Errors
    /// Whatever openat2(2) says; `ELOOP` for a link.
    pub fn beneath(&self, path: &Path) -> io::Result<Self> {
        self.resolve(path, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    /// Holds what is at the relative `path`, whatever that is, without opening it. Links are followed
    /// where they stay in this directory.
    ///
    /// # Errors
    /// Whatever openat2(2) says; `EXDEV` for a way out.
    pub fn handle_beneath(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        resolve(self.fd.as_fd(), path, flags, ResolveFlags::BENEATH)
    }

    fn resolve(&self, path: &Path, how: ResolveFlags) -> io::Result<Self> {
        let fd = resolve(self.fd.as_fd(), path, DIR_FLAGS, how)?;
        Ok(Self { fd })
    }

    /// Holds what is at `path`, whatever that is, resolved as by [`Dir::in_root`] without opening it.
    ///
    /// # Errors
    /// As [`Dir::in_root`].
    pub fn handle_in_root(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        resolve(self.fd.as_fd(), path, flags, ResolveFlags::IN_ROOT)
    }

    /// The directory `name` in this one; a link is refused.
    ///
    /// # Errors
    /// Whatever openat(2) says; `ENOTDIR` for a link.
    pub fn child(&self, name: &OsStr) -> io::Result<Self> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Where this directory is now, from the root of the process: a path without links. Another process
    /// may move it at any moment.
    ///
    /// # Errors
    /// Whatever readlink(2) says; `ENAMETOOLONG` for a path longer than a page.
    pub fn place(&self) -> io::Result<PathBuf> {
        let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let text = rustix::fs::readlinkat(CWD, own, Vec::new())?;
        Ok(OsString::from_vec(text.into_bytes()).into())
    }

    /// The directory `name` in this one; a link is refused, and what is mounted there too.
    ///
    /// # Errors
    /// Whatever openat2(2) says; `EXDEV` where something is mounted.
    pub fn child_of_same_mount(&self, name: &OsStr) -> io::Result<Self> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        self.resolve(Path::new(one(name)?), how)
    }

    /// Opens the file `name` for reading; a link is refused, a fifo does not block.
    ///
    /// # Errors
    /// Whatever openat(2) says.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        // A terminal must not become the daemon's.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?.into())
    }

    /// Holds what `name` is, a link itself too, without opening it.
    ///
    /// # Errors
    /// Whatever openat(2) says.
    pub fn handle(&self, name: &OsStr) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.fd,
            one(name)?,
            flags,
            Mode::empty(),
        )?)
    }

    /// Makes the new file `name`, mode 0600, open for writing.
    ///
    /// # Errors
    /// `EEXIST` when anything has that name, a dangling link included.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        self.create_file_as(name, 0o600)
    }

    /// The same with these permission bits, if umask and access lists leave them alone; set-id bits
    /// are not among them, for the owner may be about to change.
    ///
    /// # Errors
    /// As [`Dir::create_file`].
    pub fn create_file_as(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o777);
        Ok(rustix::fs::openat(&self.fd, one(name)?, flags, mode)?.into())
    }

    /// Makes the directory `name`, mode 0700.
    ///
    /// # Errors
    /// `EEXIST` when anything has that name.
    pub fn mkdir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, one(name)?, Mode::RWXU)?)
    }

    /// Makes the link `name`, whose text is `target`.
    ///
    /// # Errors
    /// `EEXIST` when anything has that name.
    pub fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, one(name)?)?)
    }

    /// Gives what `name` in this directory names (itself, when it is a link) the further name
    /// `new_name` in `new_dir`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, and `EPERM` for a directory.
    pub fn link(&self, name: &OsStr, new_dir: &Dir, new_name: &OsStr) -> io::Result<()> {
        let (old, new) = (one(name)?, one(new_name)?);
        Ok(rustix::fs::linkat(
            &self.fd,
            old,
            &new_dir.fd,
            new,
            AtFlags::empty(),
        )?)
    }

    /// Makes the special file `name`, mode 0600.
    ///
    /// # Errors
    /// `EEXIST` when anything has that name; `EPERM` without the capability.
    pub fn mknod(&self, name: &OsStr, node: Node) -> io::Result<()> {
        let (kind, device) = match node {
            Node::Fifo => (FileType::Fifo, DeviceNumber::default()),
            Node::CharDevice(device) => (FileType::CharacterDevice, device),
            Node::BlockDevice(device) => (FileType::BlockDevice, device),
        };
        let number = rustix::fs::makedev(device.major, device.minor);
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::mknodat(
            &self.fd,
            one(name)?,
            kind,
            mode,
            number,
        )?)
    }

    /// What `name` is, not following a link; `None` when it is absent.
    ///
    /// # Errors
    /// Whatever statx(2) says otherwise.
    pub fn metadata(&self, name: &OsStr) -> io::Result<Option<Metadata>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(&self.fd, one(name)?, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(Some(metadata_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What this directory is.
    ///
    /// # Errors
    /// Whatever statx(2) says.
    pub fn own_metadata(&self) -> io::Result<Metadata> {
        file_metadata(&self.fd)
    }

    /// Whether what is in it is made up by the kernel: processes, devices and settings of the host, and
    /// no files of anybody (proc, sysfs, cgroups and the like).
    ///
    /// # Errors
    /// Whatever fstatfs(2) says.
    pub fn is_made_up(&self) -> io::Result<bool> {
        // linux/magic.h; of mqueue, ipc/mqueue.c.
        const MADE_UP: [u64; 14] = [
            0x9fa0,      // proc
            0x6265_6572, // sysfs
            0x0027_e0eb, // cgroup
            0x6367_7270, // cgroup2
            0x6462_6720, // debugfs
            0x7472_6163, // tracefs
            0x7363_6673, // securityfs
            0x6265_6570, // configfs
            0xcafe_4a11, // bpf
            0x6165_676c, // pstore
            0xde5e_81e4, // efivarfs
            0x1980_0202, // mqueue
            0x1cd1,      // devpts
            0xf97c_ff8c, // selinux
        ];
        let kind = rustix::fs::fstatfs(&self.fd)?.f_type;
        Ok(u64::try_from(kind).is_ok_and(|kind| MADE_UP.contains(&kind)))
    }

    /// The text of the link `name`.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let text = rustix::fs::readlinkat(&self.fd, one(name)?, Vec::new())?;
        Ok(OsString::from_vec(text.into_bytes()).into())
    }

    /// Removes the name of anything but a directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`.
    pub fn unlink(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn rmdir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Moves `name` to `new_name` in `new_dir`, on the same file system.
    ///
    /// # Errors
    /// Whatever renameat(2) says.
    pub fn rename(&self, name: &OsStr, new_dir: &Dir, new_name: &OsStr) -> io::Result<()> {
        let (old, new) = (one(name)?, one(new_name)?);
        Ok(rustix::fs::renameat(&self.fd, old, &new_dir.fd, new)?)
    }

    /// The names in this directory, in the file system's order, without `.` and `..`.
    ///
    /// # Errors
    /// Whatever getdents64(2) says.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        self.first_names(usize::MAX)
    }

    /// At most `limit` of [`Dir::names`].
    fn first_names(&self, limit: usize) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() >= limit {
                break;
            }
        }
        Ok(names)
    }
}

fn resolve(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    how: ResolveFlags,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let how = how | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RESOLVE_TRIES_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.fd
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether it is the path that is impossible (too long, through a file, links in a circle),
/// rather than the host that failed.
pub fn is_bad_path(e: &io::Error) -> bool {
    let bad = [Errno::NAMETOOLONG, Errno::NOTDIR, Errno::LOOP];
    Errno::from_io_error(e).is_some_and(|e| bad.contains(&e))
        || e.kind() == io::ErrorKind::NotADirectory
}

/// Whether an extended attribute cannot be set because of what it is: its name is too long, its value too
/// large, or not of the form that the kernel wants of that name.
pub fn is_bad_attribute(e: &io::Error) -> bool {
    let bad = [
        Errno::INVAL,
        Errno::TOOBIG,
        Errno::RANGE,
        Errno::NAMETOOLONG,
    ];
    Errno::from_io_error(e).is_some_and(|e| bad.contains(&e))
}

/// Whether a path that must have no link on its way has one, or goes in a circle.
pub fn is_link_on_the_way(e: &io::Error) -> bool {
    Errno::from_io_error(e) == Some(Errno::LOOP)
}

/// One component: anything else would let a caller's mistake walk the tree.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("not a single file name: {name:?}"),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
