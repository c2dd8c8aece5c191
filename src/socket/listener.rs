//! The listening socket: bound by ourselves with the right owner and mode before anyone can
//! connect, or handed over by systemd.
//!
//! A socket file outlives a daemon that was killed. Such a leftover (nobody listens) is replaced; one
//! that a living daemon listens on is refused. The socket itself can outlive its daemon, too: a conmon
//! whose container has it mounted [holds](Share) it, clients wait in its queue, and the next daemon takes
//! it over with its file. At the end the file is removed if it is ours still and nobody else holds the
//! socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use model::{Context as _, Error, Kind, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use crate::bound::{self, Bound};
use crate::inherited;
use crate::stream::Stream;

/// Longest path of a socket: `sun_path` less its closing NUL (unix(7)).
const PATH_BYTES_MAX: usize = 107;
/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How long a directory may be locked by somebody else. Who may read it can lock it for ever.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried.
const LOCK_PERIOD: Duration = Duration::from_millis(5);

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

/// Finds a listening socket among those that others keep, by what it is asked.
pub type Find<'a> = &'a dyn Fn(&dyn Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd>;

/// A listening unix socket. Dropping it removes its file if it is ours and nobody else holds the socket.
#[derive(Debug)]
pub struct Listener {
    // Dropped first: whether others hold the socket shows only when we do not.
    io: Arc<UnixListener>,
    bound: Option<Bound>,
}

/// Gives copies of a listening socket away, for as long as its [`Listener`] lives.
#[derive(Debug, Clone)]
pub struct Share(Weak<UnixListener>);

impl Share {
    /// A copy; `None` at the daemon's end.
    ///
    /// # Errors
    /// When this process may open no more.
    pub fn copy(&self) -> io::Result<Option<OwnedFd>> {
        let io = self.0.upgrade();
        io.map(|io| io.as_fd().try_clone_to_owned()).transpose()
    }
}

impl Listener {
    /// Binds `path` and listens. Nobody can connect before owner and mode are set, because the
    /// socket does not listen until then. Blocks for the few calls it makes; for start-up only.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when another process answers on `path`; [`Kind::InvalidParameter`] when
    /// the path is too long or is something else than a socket; [`Kind::System`] otherwise.
    pub fn bind(path: &Path, access: Access) -> Result<Self> {
        Self::bind_or_take(path, access, &|_| None)
    }

    /// As [`Listener::bind`]. Where the socket of an earlier daemon lives, because somebody holds it, `find`
    /// is asked for it; it is taken over with its file and whoever waits in its queue.
    ///
    /// # Errors
    /// As there.
    pub fn bind_or_take(path: &Path, access: Access, find: Find<'_>) -> Result<Self> {
        let said = || format!("cannot listen on {}", path.display());
        bind(path, access, find).context(said())
    }

    /// The sockets that systemd handed over in `LISTEN_FDS`. Call it once, early.
    ///
    /// # Errors
    /// When something else than a listening unix stream socket is among them.
    pub fn inherited() -> Result<Vec<Self>> {
        let handed = inherited::take()?;
        handed
            .into_iter()
            .map(|fd| Self::from_fd(fd, None))
            .collect()
    }

    fn from_fd(fd: OwnedFd, bound: Option<Bound>) -> Result<Self> {
        let io = std::os::unix::net::UnixListener::from(fd);
        io.set_nonblocking(true)
            .context("make the socket asynchronous")?;
        let io = UnixListener::from_std(io).context("register the socket")?;
        let io = Arc::new(io);
        Ok(Self { io, bound })
    }

    /// Who may be given copies of it.
    pub fn share(&self) -> Share {
        Share(Arc::downgrade(&self.io))
    }

    /// Device and inode of its file, where that is ours.
    pub fn file(&self) -> Option<(u64, u64)> {
        self.bound.as_ref().map(Bound::file)
    }

    /// Whether it is what `path` leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        bound::is_at(self.io.as_fd(), path)
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
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let path = self.path();
        // Until the file is gone no other daemon may find that nobody listens.
        let _lock = lock_dir(parent(path));
        if !self.is_in_place() {
            return;
        }
        match address(path).and_then(|address| probe(&address)) {
            Ok(Answer::Nobody) => {
                if let Err(e) = fs::remove_file(path) {
                    tracing::warn!(path = %path.display(), error = %e, "cannot remove the socket");
                }
            }
            Ok(Answer::Held { .. }) => {
                tracing::info!(path = %path.display(), "containers keep the socket for the next daemon");
            }
            Err(e) => tracing::warn!(path = %path.display(), error = %e, "the socket is left"),
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn bind(path: &Path, access: Access, find: Find<'_>) -> Result<Listener> {
    let address = address(path)?;
    // Two daemons that start together must not both find the same leftover and replace each
    // other's socket: from the look to listen(2) the directory is locked.
    let _lock = lock_dir(parent(path))?;
    if let Some(kept) = clear_the_way(path, &address, find)? {
        tracing::info!(path = %path.display(), "taking over the socket that containers have kept");
        let own = rustix::process::getegid().as_raw();
        let group = access.group.unwrap_or(own);
        give(path, access.mode, Some(group))?;
        return listen(kept, path);
    }
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
    if let Err(e) = give(path, access.mode, access.group) {
        let _ = fs::remove_file(path);
        return Err(e);
    }
    listen(fd, path)
}

/// Lets those connect to the socket at `path` who may.
fn give(path: &Path, mode: u32, group: Option<u32>) -> Result<()> {
    if let Some(gid) = group {
        std::os::unix::fs::lchown(path, None, Some(gid))
            .context(format!("give it to group {gid}"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("set its mode")
}

/// Listens on `fd`, which is bound to `path`. Also where it listens already: whoever connects is told that
/// it is this process who does.
fn listen(fd: OwnedFd, path: &Path) -> Result<Listener> {
    let bound = Bound::open(path).context("open its file")?;
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
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PERIOD);
            }
            Err(Errno::WOULDBLOCK) => {
                tracing::warn!(dir = %dir.display(), "somebody keeps the directory locked: going on without");
                return Ok(file);
            }
            locked => {
                locked
                    .map_err(host)
                    .context(format!("lock {}", dir.display()))?;
                return Ok(file);
            }
        }
    }
}

/// Who is there at an address.
enum Answer {
    /// Nobody.
    Nobody,
    /// Somebody has the socket open.
    Held {
        /// The process that listened is there still.
        listens: bool,
    },
}

fn probe(address: &SocketAddrUnix) -> Result<Answer> {
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(host)
    .context("socket")?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => Ok(Answer::Nobody),
        Ok(()) => Ok(Answer::Held {
            listens: bound::peer_lives(probe.as_fd()),
        }),
        // A full queue is somebody's, too.
        Err(Errno::AGAIN) => Ok(Answer::Held { listens: true }),
        Err(e) => Err(host(e)).context("find out whether another process serves it"),
    }
}

/// Removes a leftover socket; refuses anything that lives or is not a socket. One that only waits for a
/// daemon is taken where it is found.
fn clear_the_way(path: &Path, address: &SocketAddrUnix, find: Find<'_>) -> Result<Option<OwnedFd>> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).context("look for a leftover"),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(Error::invalid(
            "the path exists and is not a socket: remove it or choose another path",
        ));
    }
    if let Answer::Held { listens } = probe(address)? {
        if let Some(kept) = find(&|fd| bound::is_at(fd, path)) {
            return Ok(Some(kept));
        }
        if listens {
            return Err(Error::new(
                Kind::Conflict,
                "another process serves it: stop that one or choose another path",
            ));
        }
    }
    tracing::info!(path = %path.display(), "replacing a socket that nobody serves");
    fs::remove_file(path).context("remove the leftover")?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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
    async fn a_socket_that_others_hold_outlives_its_listener_and_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let first = Listener::bind(&path, access()).unwrap();
        let file = first.file();
        let share = first.share();
        let held = share.copy().unwrap().unwrap();
        drop(first);
        assert!(share.copy().unwrap().is_none(), "no copies are left");
        // The one that looked whether anybody holds it has gone again.
        let mut waiting = tokio::net::UnixStream::connect(&path).await.unwrap();
        let stranger = std::os::unix::net::UnixListener::bind(dir.path().join("other")).unwrap();
        let find = |is_it: &dyn Fn(BorrowedFd<'_>) -> bool| {
            assert!(!is_it(stranger.as_fd()), "another's");
            is_it(held.as_fd()).then(|| held.try_clone().unwrap())
        };
        let wider = Access {
            mode: 0o666,
            ..access()
        };
        let second = Listener::bind_or_take(&path, wider, &find).unwrap();
        assert_eq!(second.file(), file);
        assert!(second.is_at(&path));
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o666);
        let mut served = second.accept().await.unwrap();
        while served.write_all(b"x").await.is_err() {
            served = second.accept().await.unwrap();
        }
        assert_eq!(waiting.read_u8().await.unwrap(), b'x');
        drop(second);
        assert!(path.exists(), "it is held still");
        let third = Listener::bind_or_take(&path, access(), &find).unwrap();
        drop(held);
        drop(third);
        assert!(!path.exists());
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
