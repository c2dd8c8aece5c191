//! The file of a listening socket, and who listens.
//!
//! The file is known by device and inode and kept open, so that no other can have its number. Which file
//! a socket has is asked of the kernel (`SIOCUNIXFILE`, unix(7) does not tell of it; Linux 4.11,
//! `CAP_NET_ADMIN`); where it does not say, the name is believed that the socket was bound to.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::inherited;

/// `SIOCUNIXFILE` of linux/un.h: the file of a socket, opened with `O_PATH`.
const SIOCUNIXFILE: libc::Ioctl = 0x89e0;

/// A socket's file that is ours. Dropped after its socket it is removed, unless others hold that.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    /// Opened for nothing but its being there.
    file: (OwnedFd, (u64, u64)),
}

impl Bound {
    /// The file at `path`, which the socket at hand is bound to.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let identity = identity(&file)?;
        Ok(Self {
            path: path.to_owned(),
            file: (file, identity),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub(crate) fn file(&self) -> (u64, u64) {
        self.file.1
    }

    /// Whether nobody has put another in its place.
    pub(crate) fn is_in_place(&self) -> bool {
        let there = fs::symlink_metadata(&self.path);
        there.is_ok_and(|there| (there.dev(), there.ino()) == self.file())
    }
}

fn identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = File::from(file.try_clone()?).metadata()?;
    Ok((found.dev(), found.ino()))
}

/// Whether `fd` is a listening unix stream socket and `path` leads to its file.
pub(crate) fn is_at(fd: BorrowedFd<'_>, path: &Path) -> bool {
    if inherited::check(fd).is_err() {
        return false;
    }
    let file = file_of(fd).and_then(|file| identity(&file));
    match (file, fs::metadata(path)) {
        (Ok(file), Ok(there)) => file == (there.dev(), there.ino()),
        (Err(_), Ok(_)) => is_named(fd, path),
        (_, Err(_)) => false,
    }
}

/// The file that a socket is bound to.
fn file_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument and writes nowhere.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCUNIXFILE, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn is_named(socket: BorrowedFd<'_>, path: &Path) -> bool {
    let name = rustix::net::getsockname(socket).ok();
    let name = name.and_then(|name| rustix::net::SocketAddrUnix::try_from(name).ok());
    name.is_some_and(|name| {
        let bytes = name.path_bytes().unwrap_or_default();
        bytes == path.as_os_str().as_encoded_bytes()
    })
}

/// Whether the process lives that listened on what `connected` is connected to (`SO_PEERCRED`).
pub(crate) fn peer_lives(connected: BorrowedFd<'_>) -> bool {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = libc::socklen_t::try_from(size_of_val(&peer)).expect("a few bytes");
    // SAFETY: the kernel writes at most `size` bytes, which is the size of `peer`.
    let got = unsafe {
        libc::getsockopt(
            connected.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    // Not told, or of another pid namespace: it may.
    let Some(pid) = rustix::process::Pid::from_raw(peer.pid).filter(|_| got == 0) else {
        return true;
    };
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}
