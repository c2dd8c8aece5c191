//! The listening socket: bound by ourselves with the right owner and mode before anyone can
//! connect, or handed over by systemd.
//!
//! A socket file outlives a daemon that was killed. Such a leftover (nobody answers) is replaced;
//! one that answers belongs to a living daemon and is refused. At the end only the socket that
//! we bound is removed: whoever replaced it meanwhile keeps theirs.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{Context as _, Error, Kind, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use crate::inherited;
use crate::stream::Stream;

/// Longest path of a socket: `sun_path` less its closing NUL (unix(7)).
const PATH_BYTES_MAX: usize = 107;
/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Who may connect to a socket we bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits of the socket file; connecting needs write permission.
    pub mode: u32,
    /// Its group; `None` leaves the daemon's own.
    pub group: Option<u32>,
}

impl Default for Access {
    /// Docker's: the owner and the group, nobody else.
    fn default() -> Self {
        Self {
            mode: 0o660,
            group: None,
        }
    }
}

/// A listening unix socket. Dropping it removes its file if this process made it.
#[derive(Debug)]
pub struct Listener {
    // Dropped first, while our socket still holds its inode: no other file can have its number.
    _bound: Option<Bound>,
    io: UnixListener,
}

/// The file we made, and how to recognise it; dropping it removes the file.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Binds `path` and listens. Nobody can connect before owner and mode are set, because the
    /// socket does not listen until then. Blocks for the few calls it makes; for start-up only.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when another process answers on `path`; [`Kind::InvalidParameter`] when
    /// the path is too long or is something else than a socket; [`Kind::System`] otherwise.
    pub fn bind(path: &Path, access: Access) -> Result<Self> {
        let said = || format!("cannot listen on {}", path.display());
        bind(path, access).context(said())
    }

    /// The socket that systemd handed over in `LISTEN_FDS`, if it did. Call it once, early.
    ///
    /// # Errors
    /// When what was handed over is not exactly one listening unix stream socket.
    pub fn inherited() -> Result<Option<Self>> {
        inherited::take()?
            .map(|fd| Self::from_fd(fd, None))
            .transpose()
    }

    fn from_fd(fd: OwnedFd, bound: Option<Bound>) -> Result<Self> {
        let io = std::os::unix::net::UnixListener::from(fd);
        io.set_nonblocking(true)
            .context("make the socket asynchronous")?;
        let io = UnixListener::from_std(io).context("register the socket")?;
        Ok(Self { io, _bound: bound })
    }

    /// The next connection.
    ///
    /// # Errors
    /// As accept(2): `EMFILE` and the like may pass; the caller waits before it tries again.
    pub async fn accept(&self) -> io::Result<Stream> {
        let (io, _) = self.io.accept().await?;
        Stream::new(io)
    }

    /// Where clients connect; `None` for a handed over socket that has no file (abstract).
    pub fn path(&self) -> Option<PathBuf> {
        let address = self.io.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|m| (m.dev(), m.ino()) == (self.device, self.inode));
        if still_ours && let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "cannot remove the socket");
        }
    }
}

fn bind(path: &Path, access: Access) -> Result<Listener> {
    let address = address(path)?;
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // Two daemons that start together must not both find the same leftover and replace each
    // other's socket: from the look to listen(2) the directory is locked.
    let _lock = lock_dir(parent)?;
    clear_the_way(path, &address)?;

    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(host)
    .context("socket")?;
    rustix::net::bind(&fd, &address)
        .map_err(host)
        .context("bind")?;
    let made = fs::symlink_metadata(path).context("stat")?;
    let bound = Bound {
        path: path.to_owned(),
        device: made.dev(),
        inode: made.ino(),
    };
    if let Some(gid) = access.group {
        std::os::unix::fs::lchown(path, None, Some(gid))
            .context(format!("give it to group {gid}"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).context("set its mode")?;
    rustix::net::listen(&fd, BACKLOG)
        .map_err(host)
        .context("listen")?;
    // Only now: epoll reports a socket that does not listen yet as hung up, and tokio never
    // forgets a hang-up, so accepting would spin.
    Listener::from_fd(fd, Some(bound))
}

fn host(e: Errno) -> Error {
    Error::system(io::Error::from(e).to_string())
}

fn address(path: &Path) -> Result<SocketAddrUnix> {
    let bytes = path.as_os_str().len();
    if bytes > PATH_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the path has {bytes} bytes, a unix socket takes {PATH_BYTES_MAX}: choose a shorter one"
        )));
    }
    SocketAddrUnix::new(path).map_err(|e| Error::invalid(io::Error::from(e).to_string()))
}

fn lock_dir(dir: &Path) -> Result<fs::File> {
    let file = fs::File::open(dir).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::system(format!(
            "its directory {} does not exist: create it or choose another path",
            dir.display()
        )),
        _ => Error::system(format!("open its directory {}: {e}", dir.display())),
    })?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(host)
        .context(format!("lock {}", dir.display()))?;
    Ok(file)
}

/// Removes a leftover socket; refuses anything that lives or is not a socket.
fn clear_the_way(path: &Path, address: &SocketAddrUnix) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).context("look for a leftover"),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(Error::invalid(
            "the path exists and is not a socket: remove it or choose another path",
        ));
    }
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(host)
    .context("socket")?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {
            tracing::info!(path = %path.display(), "replacing a socket that nobody serves");
            fs::remove_file(path).context("remove the leftover")
        }
        // A full queue (AGAIN) is a living owner too.
        Ok(()) | Err(Errno::AGAIN) => Err(Error::new(
            Kind::Conflict,
            "another process serves it: stop that one or choose another path with --socket",
        )),
        Err(e) => Err(host(e)).context("find out whether another process serves it"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn access() -> Access {
        Access::default()
    }

    #[tokio::test]
    async fn serves_with_mode_0660_and_removes_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let listener = Listener::bind(&path, access()).unwrap();
        assert_eq!(listener.path(), Some(path.clone()));
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o660);

        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        let mut served = listener.accept().await.unwrap();
        assert_eq!(served.peer().pid, i32::try_from(std::process::id()).ok());
        client.write_all(b"x").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'x');
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_group_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        // Our own group works for any user; root may give it to any.
        let gid = if rustix::process::geteuid().is_root() {
            12_345
        } else {
            rustix::process::getegid().as_raw()
        };
        let access = Access {
            group: Some(gid),
            ..access()
        };
        let _listener = Listener::bind(&path, access).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().gid(), gid);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        // std's listener leaves its file behind, as a killed daemon does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _live = Listener::bind(&path, access()).unwrap();

        let e = Listener::bind(&path, access()).unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict);
        assert!(e.message().contains("another process serves it"), "{e}");
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_replaced_socket_is_left_to_its_new_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let first = Listener::bind(&path, access()).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Listener::bind(&path, access()).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn wrong_paths_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "data").unwrap();
        let e = Listener::bind(&file, access()).unwrap_err();
        assert_eq!(e.kind(), Kind::InvalidParameter);
        assert_eq!(fs::read_to_string(&file).unwrap(), "data");

        let e = Listener::bind(&dir.path().join("none/m.sock"), access()).unwrap_err();
        assert!(e.message().contains("none does not exist"), "{e}");

        let long = dir.path().join("x".repeat(120));
        let e = Listener::bind(&long, access()).unwrap_err();
        assert_eq!(e.kind(), Kind::InvalidParameter);
        assert!(e.message().contains("takes 107"), "{e}");
    }
}
