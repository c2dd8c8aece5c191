//! What statx(2) tells of a file.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags};

use super::DeviceNumber;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

/// A point in time: seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct FileTime {
    /// Seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds, below 1e9.
    pub nanos: u32,
}

/// What lstat(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// What is kept for it, in units of 512 bytes.
    pub blocks: u64,
    /// Number of names.
    pub links: u64,
    /// The device's numbers when it is one.
    pub device: DeviceNumber,
    /// File system and inode: the same pair is the same file.
    pub inode: (u64, u64),
    /// Last access.
    pub accessed: FileTime,
    /// Last change of the content.
    pub modified: FileTime,
    /// Last change of anything of it, by the kernel's clock: nobody can set it.
    pub changed: FileTime,
    /// Something is mounted there, and this is what it shows. Only who asks sees that: to remove the name
    /// is refused where the mount is in the caller's own mount namespace, and elsewhere takes it away.
    pub is_mount: bool,
}

/// What an open file is.
///
/// # Errors
/// Whatever statx(2) says.
pub fn file_metadata(file: impl AsFd) -> io::Result<Metadata> {
    let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(metadata_of(&found))
}

pub(super) fn metadata_of(stat: &Statx) -> Metadata {
    let mode = u32::from(stat.stx_mode);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket => Kind::Socket,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    let time = |time: rustix::fs::StatxTimestamp| FileTime {
        secs: time.tv_sec,
        nanos: time.tv_nsec,
    };
    let on = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Metadata {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        links: stat.stx_nlink.into(),
        device: DeviceNumber {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        },
        inode: (on, stat.stx_ino),
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    }
}
