//! A datagram socket by name in a directory whose path is longer than a socket's address.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixDatagram;

/// Binds one as `name` in `dir`, for everybody to send to.
///
/// # Errors
/// What the kernel says; `AddrInUse` when there is something of that name.
pub fn bind_open(dir: &Path, name: &str) -> io::Result<UnixDatagram> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(dir, flags, Mode::empty())?;
    let short = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
    let socket = UnixDatagram::bind(&short)?;
    std::fs::set_permissions(&short, PermissionsExt::from_mode(0o666))?;
    Ok(socket)
}
